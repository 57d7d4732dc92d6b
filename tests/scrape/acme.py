"""A small provider: its price page, its scraper, a second opinion, and a registry that has its models."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import msgspec

from sidecar.registry.card import Catalogue, ModelCard, Price

from .served import Site

PRICES = {f"acme-{n}": (float(n), 4.0 * n) for n in range(1, 7)}
"""Input and output price of six models, in the registry and, at first, on the page."""
GATEWAY = """
kind: gateway
policies: []
registry: models.json
registry_update: {enabled: false, scrapers: [acme, opinion]}
providers:
  acme: {protocol: openai, base_url: "http://127.0.0.1:9/v1"}
"""
SCRAPER = """
kind: scraper
name: acme
provider: acme
sources:
  - url: {url}/prices
    type: markdown
    min_rows: 2
    tables:
      - from: markdown
        heading: Prices
        fields:
          id: {{column: Model}}
          input: {{column: Input}}
          output: {{column: Output}}
"""
OPINION = """
kind: scraper
name: opinion
provider: everybody
second_opinion: true
sources:
  - url: {url}/opinion
    type: json
    min_rows: 0
    tables:
      - from: json
        rows: '@'
        fields:
          id: {{column: id}}
          input: {{column: input}}
          output: {{column: output}}
          context: {{column: context, optional: true}}
          max_output: {{column: max_output, optional: true}}
"""


def page(prices: dict[str, tuple[float, float]]) -> str:
    """The price page, in Markdown."""
    rows = [f"| {name} | ${a:g} | ${b:g} |" for name, (a, b) in prices.items()]
    return "\n".join(["# Acme", "## Prices", "", "| Model | Input | Output |", "| --- | --- | --- |", *rows, ""])


def opinion(prices: dict[str, tuple[float, float]], **sizes: int) -> str:
    """What the catalogue says."""
    return json.dumps([{"id": name, "input": a, "output": b, **sizes} for name, (a, b) in prices.items()])


def registry() -> bytes:
    """A models.json with Acme's models."""
    cards = [
        ModelCard(id=name, provider="acme", context=100_000, max_output=8_000, prices=(Price(input=a, output=b),))
        for name, (a, b) in PRICES.items()
    ]
    return msgspec.json.encode(Catalogue(version=1, generated=date(2026, 1, 1), models=tuple(cards)))


def settle(folder: Path, served: Site, gateway: str = GATEWAY) -> None:
    """A configuration in `folder` whose scrapers ask `served`, which has the pages."""
    (folder / "scrapers").mkdir()
    (folder / "scrapers" / "acme.yaml").write_text(SCRAPER.format(url=served.url))
    (folder / "scrapers" / "opinion.yaml").write_text(OPINION.format(url=served.url))
    (folder / "gateway.yaml").write_text(gateway)
    (folder / "models.json").write_bytes(registry())
    served.put("/prices", page(PRICES), etag='"1"')
    served.put("/opinion", "[]", "application/json")


def models(folder: Path) -> dict[str, dict[str, Any]]:
    """The cards of models.json, by id."""
    return {card["id"]: card for card in json.loads((folder / "models.json").read_bytes())["models"]}


def price(folder: Path, model: str) -> tuple[float, float]:
    """The newest price of a model there."""
    newest = models(folder)[model]["prices"][-1]
    return newest["input"], newest["output"]

"""Which price a recorded or made-up usage block is billed by: the bundled registry's, else a public catalogue's."""

import gzip
import json
from datetime import date
from fractions import Fraction
from functools import cache
from typing import Any

from msgspec.structs import replace
from registry.catalogues import catalogues
from shared import shared

from sidecar.registry.card import ModelCard, Price, ServiceTier
from sidecar.registry.index import Registry
from sidecar.registry.load import load

DAY = date(2026, 11, 20)
REGISTRY = Registry(load().catalogue.models, DAY)

CATALOGUE_NAMES = {
    "claude-3-haiku-20240307": "claude-3-haiku",
    "claude-3-opus-20240229": "claude-3-opus",
    "claude-3-5-sonnet-20240620": "claude-3-5-sonnet",
    "claude-3-7-sonnet-20250219": "claude-3-7-sonnet",
    "claude-sonnet-4-20250514": "claude-sonnet-4-0",
    "claude-opus-4-1-20250805": "claude-opus-4-1",
    "gemini-1.5-flash": "gemini-1.5-flash",
    "gemini-2.0-flash-exp": "gemini-2.0-flash",
    "gemini-3-pro-preview": "gemini-3-pro-preview",
    "gpt-3.5-turbo-0125": "gpt-3.5-turbo",
    "gpt-4-0613": "gpt-4",
    "gpt-4.5-preview-2025-02-27": "gpt-4.5-preview",
    "gpt-4o-mini-search-preview-2025-03-11": "gpt-4o-mini",
    "gpt-5.2-codex": "gpt-5.2",
    "gpt-5.3-codex": "gpt-5.3-codex",
}
"""Recorded models that the registry has not, by their names in the genai-prices catalogue."""

UNPRICED = {"facebook/opt-125m", "gemma3:1b", "llama3", "text-embedding-ada-002"}
"""Local models that nobody lists, and an embedding model: it has no output price."""

SUFFIXES = {"batch": "batches", "flex": "flex", "priority": "priority", "ultrafast": "ultrafast"}


def price_of(model: str) -> Price | None:
    """The price in force on DAY, with the service tiers of LiteLLM's map where the card names none."""
    card = REGISTRY.card(model)
    if card is not None:
        return with_service_tiers(card, in_force(card))
    figures = catalogues()["genai-prices"].get(CATALOGUE_NAMES.get(model, ""))
    if figures is None:
        return None
    return Price(**{meter: figure for meter, figure in figures.items() if "@" not in meter})  # type: ignore[arg-type]


def in_force(card: ModelCard) -> Price:
    """The card's price list of DAY."""
    return [price for price in card.prices if price.valid_from is None or price.valid_from <= DAY][-1]


def with_service_tiers(card: ModelCard, price: Price) -> Price:
    """The price with the multipliers in LiteLLM's map, unless the card says its own."""
    return price if price.service_tiers else replace(price, service_tiers=listed_tiers(card.id))


@cache
def litellm() -> dict[str, dict[str, Any]]:
    """LiteLLM's price map; Google's models by their bare names."""
    path = shared("catalogues", "litellm-1.109.1_model_prices_and_context_window.json.gz")
    rows: dict[str, dict[str, Any]] = json.loads(gzip.decompress(path.read_bytes()))
    return rows | {name.removeprefix("gemini/"): row for name, row in rows.items() if name.startswith("gemini/")}


def listed_tiers(model: str) -> dict[str, ServiceTier]:
    """The factors between LiteLLM's prices of a service tier and of the standard one. Output decides; cached reads
    may have another factor."""
    row, found = litellm().get(model, {}), {}
    for tier, suffix in SUFFIXES.items():
        factor = _factor(row, "output_cost_per_token", suffix)
        if factor is None:
            continue
        cached = _factor(row, "cache_read_input_token_cost", suffix)
        found[tier] = ServiceTier(multiplier=factor, cache_read=None if cached in (None, factor) else cached)
    fast = (row.get("provider_specific_entry") or {}).get("fast")
    return found | ({"fast": ServiceTier(multiplier=fast)} if fast else {})


def _factor(row: dict[str, Any], meter: str, suffix: str) -> float | None:
    plain, special = row.get(meter), row.get(f"{meter}_{suffix}")
    return round(float(Fraction(repr(special)) / Fraction(repr(plain))), 6) if plain and special else None

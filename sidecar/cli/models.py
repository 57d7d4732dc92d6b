"""`sidecar models [gateway.yaml]`: what a policy may use, with prices in USD per million tokens."""

import argparse
import sys
from collections.abc import Sequence

import msgspec

from ..registry.index import Model
from .config import config_option, read

_HEAD = (
    f"{'model':<36} {'provider':<12} {'context':>9} {'input':>8} {'output':>8} "
    f"{'quality':>7} {'tok/s':>6}  capabilities"
)


def options(parser: argparse.ArgumentParser) -> None:
    """Which file, which models, which format."""
    config_option(parser)
    parser.add_argument(
        "--all", action="store_true", help="also models whose provider is not configured, and retired ones"
    )
    parser.add_argument("--format", choices=("text", "json"), default="text")


def action(options: argparse.Namespace) -> int:
    """0, or 1 when the configuration has errors."""
    graph = read(options.config, strict=False).graph
    if graph is None:
        return 1
    models = graph.registry.models if options.all else graph.registry.routable
    if options.format == "json":
        overridden = graph.registry.overridden
        cards = [
            {**msgspec.to_builtins(graph.registry.card(m.id)), "overridden": overridden.get(m.id, ())} for m in models
        ]
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(cards), indent=2).decode() + "\n")
    else:
        rows = (_row(model, graph.registry.overridden.get(model.id, ())) for model in models)
        sys.stdout.write("\n".join([_HEAD, *rows]) + "\n")
    return 0


def _row(model: Model, overridden: Sequence[str]) -> str:
    price = model.price
    cost = f"{'-':>8} {'-':>8}" if price is None else f"{price.input / 1e9:>8g} {price.output / 1e9:>8g}"
    quality = "-" if model.quality is None else f"{model.quality:g}"
    speed = "-" if model.speed is None else f"{model.speed:g}"
    mark = "" if model.status == "current" else f" ({model.status})"
    mark += f" (overridden: {', '.join(overridden)})" if overridden else ""
    able = " ".join(sorted(model.capabilities - {"streaming"}))
    return f"{model.id:<36} {model.provider:<12} {model.context:>9} {cost} {quality:>7} {speed:>6}  {able}{mark}"

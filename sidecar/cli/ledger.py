"""`sidecar ledger reprice`: what today's prices would have made of past rows. The ledger is only read.

A row holds no audio and image tokens, no retention of a cache write and no service tier: what was billed by these is
repriced as text, as the short retention and as the standard tier.
"""

import argparse
import os
import re
import sqlite3
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any, get_args

import msgspec

from ..chat import Usage
from ..registry.index import Registry
from ..registry.load import load
from ..registry.price import cost, usd
from ..spec import Duration, seconds
from .config import database_option, default_path, read

_DURATION = get_args(Duration)[1].pattern
_ROWS = """
    SELECT model, cost_nano, input_tokens, output_tokens, cached_tokens, cache_write_tokens, reasoning_tokens
    FROM request_logs
    WHERE ts >= ? AND attempt > 0 AND (cost_nano IS NOT NULL OR input_tokens > 0 OR output_tokens > 0)"""
"""A cache hit is no attempt, and an attempt without tokens and cost was never billed."""


class Repriced(msgspec.Struct):
    """One model's rows. `recorded`, `repriced` and their difference are of the rows with a recorded cost;
    `unrecorded` rows have none, and `unrecorded_nano` is what they cost at today's price.

    Money is nano-USD; `repriced_nano` is null where the model has no price.
    """

    model: str
    rows: int = 0
    recorded_nano: int = 0
    repriced_nano: int | None = 0
    difference_nano: int | None = 0
    unrecorded: int = 0
    unrecorded_nano: int | None = 0


def options(parser: argparse.ArgumentParser) -> None:
    """Which rows, which ledger, which prices."""
    verbs = parser.add_subparsers(dest="what", metavar="WHAT", required=True)
    reprice = verbs.add_parser("reprice", help="past rows at today's prices; writes nothing", description=__doc__)
    reprice.add_argument("--since", type=_duration, default="30d", metavar="DURATION", help="30d, 12h (default: 30d)")
    database_option(reprice, "--database", "the ledger (default: the configuration's)")
    reprice.add_argument("--config", type=Path, metavar="FILE", help="gateway.yaml, for the prices of its models")
    reprice.add_argument("--format", choices=("text", "json"), default="text")


def action(options: argparse.Namespace) -> int:
    """0, 1 when rows have a model without a price (or the configuration has errors), 2 when nothing can be read."""
    registry, database = _registry(options.config, options.database)
    if registry is None:
        return 1
    try:
        with closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)) as ledger:
            found = reprice(ledger.execute(_ROWS, [time.time() - options.since]), registry)
    except sqlite3.Error as fault:
        sys.stderr.write(f"sidecar ledger: {database}: {fault}\n")
        return 2
    sys.stdout.write(_json(found) if options.format == "json" else _text(found))
    return int(any(one.repriced_nano is None for one in found))


def reprice(rows: Iterable[tuple[Any, ...]], registry: Registry) -> list[Repriced]:
    """The rows by model, the largest difference first, models without a price before all."""
    found: dict[str, Repriced] = {}
    for name, recorded, size, output, cached, written, reasoning in rows:
        one = found.get(name) or found.setdefault(name, Repriced(name))
        model = registry.find(name)
        usage = Usage(size, output, cached, cache_write_5m_tokens=written, reasoning_tokens=reasoning)
        nano = cost(usage, None if model is None else model.price)
        one.rows += 1
        if recorded is None:
            one.unrecorded += 1
            one.unrecorded_nano = _plus(one.unrecorded_nano, nano)
        else:
            one.recorded_nano += recorded
            one.repriced_nano = _plus(one.repriced_nano, nano)
        if nano is None:
            one.repriced_nano = one.unrecorded_nano = None
    for one in found.values():
        one.difference_nano = None if one.repriced_nano is None else one.repriced_nano - one.recorded_nano
    return sorted(found.values(), key=lambda one: (one.repriced_nano is not None, -abs(one.difference_nano or 0)))


def _plus(total: int | None, nano: int | None) -> int | None:
    return None if total is None or nano is None else total + nano


def _registry(config: Path | None, database: Path | None) -> tuple[Registry | None, Path]:
    """Prices in force today, and the ledger's file. Without a configuration the bundled models.json has the prices;
    no registry at all when the configuration has errors."""
    if config is None and database is not None and not default_path().exists():
        return Registry(load().catalogue.models, datetime.now().astimezone().date()), database
    loaded = read(config, strict=False)
    if loaded.policy is None or loaded.graph is None:
        return None, Path()
    return loaded.graph.registry, database or loaded.graph.gateway.ledger(config or default_path(), os.environ)


def _duration(text: str) -> float:
    if not re.fullmatch(_DURATION, text):
        raise argparse.ArgumentTypeError(f"`{text}` is not a length of time: 30d, 12h, 1h30m")
    return seconds(text)


def _json(found: list[Repriced]) -> str:
    return msgspec.json.format(msgspec.json.encode(found), indent=2).decode() + "\n"


def _text(found: list[Repriced]) -> str:
    return "\n".join(_lines(found)) + "\n"


def _lines(found: list[Repriced]) -> Iterator[str]:
    yield f"{'model':<36} {'rows':>8} {'recorded USD':>16} {'repriced USD':>16} {'difference':>16}"
    for one in found:
        amounts = (_usd(one.recorded_nano), _usd(one.repriced_nano), _usd(one.difference_nano))
        yield f"{one.model:<36} {one.rows:>8} {amounts[0]:>16} {amounts[1]:>16} {amounts[2]:>16}"
    for one in found:
        if one.unrecorded and one.unrecorded_nano is not None:
            yield f"{one.model}: {one.unrecorded} rows had no price then: {usd(one.unrecorded_nano)} USD today"
    unpriced = [one for one in found if one.repriced_nano is None]
    yield from (f"{one.model}: no price today for {one.rows} rows" for one in unpriced)
    if not unpriced:
        total = sum(one.difference_nano or 0 for one in found)
        yield f"ok: {sum(one.rows for one in found)} rows, {len(found)} models, difference {usd(total)} USD"


def _usd(nano: int | None) -> str:
    return "no price" if nano is None else usd(nano)

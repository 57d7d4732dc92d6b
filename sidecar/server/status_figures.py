"""The ledger's figures of the last day, read seldom and by one query at a time: a reload storm costs one query."""

import asyncio
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import Struct

from ..registry.price import usd
from ..stores.ledger import Ledger
from ..stores.rollups import HOUR
from .status_data import ModelTraffic, Traffic

DAY = 86_400.0
FRESH = 2.0
"""Seconds a reading is shown to everybody who asks."""
PATIENCE = 3.0
"""Seconds a page waits for a slow query before it shows the reading before."""
SHARE = 10.0
"""A query that took t seconds is not asked again for SHARE * t: a large ledger takes at most a tenth of a core."""


class Reading(Struct, frozen=True):
    """Figures, and why they are old or absent."""

    traffic: Traffic | None = None
    problem: str | None = None


class Figures:
    """Shared by all requests for the page. Use on one event loop."""

    def __init__(self, ledger: Ledger, clock: Callable[[], float]) -> None:
        self._ledger = ledger
        self._clock = clock
        self._last = Reading(problem="still counting")
        self._next = 0.0
        self._query: asyncio.Task[None] | None = None

    async def read(self) -> Reading:
        """The newest figures, at most FRESH seconds old unless the ledger is slow."""
        if self._query is None and self._clock() >= self._next:
            self._query = asyncio.create_task(self._ask(self._clock()), name="status figures")
        if self._query is not None:
            # Not awaited itself: a caller who hangs up must not cancel what others wait for.
            await asyncio.wait({self._query}, timeout=PATIENCE)
        return self._last

    async def _ask(self, began: float) -> None:
        since = (began - DAY) // HOUR * HOUR  # as far back as the roll-ups of the ledger go
        try:
            self._last = Reading(_traffic(await self._ledger.summary(since), since, began))
        except (sqlite3.Error, OSError) as fault:
            self._last = Reading(self._last.traffic, f"the ledger cannot be read: {fault}")
        finally:
            ended = self._clock()
            self._next = ended + max(FRESH, SHARE * (ended - began))
            self._query = None


def _traffic(summary: Mapping[str, Any], since: float, as_of: float) -> Traffic:
    """A summary of the ledger with what follows from it. Sums over no rows are null there."""
    models = [_model(row) for row in summary["models"]]
    hits, lookups = summary["hits"], summary["cacheable"]
    return Traffic(
        since=since,
        as_of=as_of,
        requests=summary["requests"],
        cost_usd=usd(summary["cost_nano"]),
        cache_hits=hits,
        cache_lookups=lookups,
        cache_hit_rate=round(hits / lookups, 4) if lookups else None,
        input_tokens=summary["input_tokens"],
        output_tokens=summary["output_tokens"],
        failed_attempts=summary["failed_attempts"] or 0,
        latency_ms=_mean([(m.latency_ms, m.attempts) for m in models]),
        # A failed attempt has no first token as a rule, and the ledger's averages leave it out.
        first_token_ms=_mean([(m.first_token_ms, m.attempts - m.failures) for m in models]),
        models=models,
    )


def _model(row: Mapping[str, Any]) -> ModelTraffic:
    return ModelTraffic(
        model=row["model"],
        provider=row["provider"] or "",
        attempts=row["attempts"],
        failures=row["failures"],
        cost_usd=usd(row["cost_nano"]),
        latency_ms=_rounded(row["latency_ms"]),
        first_token_ms=_rounded(row["first_token_ms"]),
    )


def _mean(figures: Sequence[tuple[float | None, int]]) -> float | None:
    """The mean of means, each with its weight."""
    known = [(figure, weight) for figure, weight in figures if figure is not None and weight > 0]
    total = sum(weight for _, weight in known)
    return round(sum(figure * weight for figure, weight in known) / total, 1) if total else None


def _rounded(figure: float | None) -> float | None:
    return None if figure is None else round(figure, 1)

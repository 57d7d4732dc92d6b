"""`GET /api/analytics`: what was spent, by whom and for what, and what other models would have cost."""

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime
from time import time
from typing import Any, cast, get_args

from litestar import Request, get
from litestar.handlers import HTTPRouteHandler

from ..chat import Usage
from ..registry.index import Model, Registry
from ..registry.price import usd
from ..stores.figures import MAX_GROUPS, By, Group, groups, percentile, whole_hours
from ..stores.rollups import BUCKETS, SUMS
from .api_data import Analytics, Figures, Saving
from .api_query import invalid, moment, one_of, parameters
from .state import Running

WEEK = 7 * 86_400.0
_FORMS = {"day": "%Y-%m-%d", "hour": "%Y-%m-%dT%H:00:00Z"}


def analytics_route(running: Running) -> HTTPRouteHandler:
    """The handler. One reading at a time: however many ask, the ledger's own work goes on."""
    turn = asyncio.Lock()

    @get("/api/analytics", guards=[running.access.needs("viewer")])
    async def analytics(request: Request[Any, Any, Any]) -> Analytics:
        """Figures from the roll-ups."""
        given = parameters(request, ("since", "until", "by", "baseline"))
        now = time()
        since, until = whole_hours(moment(given, "since", now, now - WEEK), moment(given, "until", now, now))
        if since >= until:
            raise invalid("`since` is not before `until`.")
        by = cast(By, one_of(given, "by", get_args(By)) or "model")
        registry = running.holder.current.graph.registry
        others = (strongest(registry), _named(registry, given.get("baseline")))
        await running.records.ledger.flush()

        def read() -> Analytics:
            return report(groups(running.ledger.path, since, until, by), (since, until, by), others)

        async with turn:
            return await asyncio.to_thread(read)

    return analytics


def report(found: list[Group], window: tuple[int, int, By], others: tuple[Model | None, Model | None]) -> Analytics:
    """Groups as an answer. `others` are the strongest model and the baseline."""
    since, until, by = window
    named: dict[str | int, list[Group]] = {}
    for group in found:
        named.setdefault(group.name, []).append(group)
    times = by in _FORMS
    ordered = sorted(named, reverse=True) if times else sorted(named, key=lambda name: (-_cost(named[name]), name))
    shown = ordered[:MAX_GROUPS]
    if times:
        shown.reverse()
    return Analytics(
        since=since,
        until=until,
        by=by,
        totals=_figures("", found, others),
        groups=[_figures(_shown(name, by), named[name], others) for name in shown],
        omitted=len(ordered) - len(shown),
    )


def _figures(name: str, parts: list[Group], others: tuple[Model | None, Model | None]) -> Figures:
    sums, priced = _sums(parts), _sums(part for part in parts if part.priced)
    buckets = tuple(sum(part.buckets[place] for part in parts) for place in range(len(BUCKETS)))
    strongest, baseline = (None if model is None else _saving(model, priced) for model in others)
    return Figures(
        name=name,
        requests=sums["requests"],
        attempts=sums["attempts"],
        failures=sums["failures"],
        unpriced_attempts=sums["attempts"] - priced["attempts"],
        cache_hits=sums["hits"],
        cache_lookups=sums["lookups"],
        cache_hit_rate=_ratio(sums["hits"], sums["lookups"], 4),
        input_tokens=sums["input_tokens"],
        output_tokens=sums["output_tokens"],
        cached_tokens=sums["cached_tokens"],
        cache_write_tokens=sums["cache_write_tokens"],
        reasoning_tokens=sums["reasoning_tokens"],
        cost_usd=usd(sums["cost_nano"]),
        cost_nano=sums["cost_nano"],
        latency_ms=_ratio(sums["latency_us"] / 1000, sums["attempts"], 1),
        latency_p50_ms=percentile(buckets, 0.5),
        latency_p95_ms=percentile(buckets, 0.95),
        first_token_ms=_ratio(sums["first_token_us"] / 1000, sums["first_tokens"], 1),
        strongest=strongest,
        baseline=baseline,
    )


def _sums(parts: Iterable[Group]) -> dict[str, int]:
    total = dict.fromkeys(SUMS, 0)
    for part in parts:
        for name, value in part.sums.items():
            total[name] += value
    return total


def _saving(model: Model, priced: dict[str, int]) -> Saving | None:
    """By base rates: sums do not tell which of their requests were large enough for others."""
    if model.price is None:
        return None
    usage = Usage(
        priced["input_tokens"],
        priced["output_tokens"],
        priced["cached_tokens"],
        cache_write_5m_tokens=priced["cache_write_tokens"],
        reasoning_tokens=priced["reasoning_tokens"],
    )
    cost = model.price.base.bill(usage)
    saved = cost - priced["cost_nano"]
    return Saving(model.id, usd(cost), cost, usd(saved), saved, _ratio(saved, cost, 4))


def strongest(registry: Registry) -> Model | None:
    """The routable model with the highest quality prior and a price; of equals the dearest."""
    ranked = [(m.quality, m.price.output, m.id, m) for m in registry.routable if m.price and m.quality is not None]
    return max(ranked, key=lambda entry: entry[:3])[3] if ranked else None


def _named(registry: Registry, name: str | None) -> Model | None:
    if name is None:
        return None
    model = registry.find(name)
    if model is None or model.price is None:
        close = None if model is not None else registry.suggest(name)
        hint = f" Did you mean `{close}`?" if close else ""
        raise invalid(f"`baseline`: {'there is no model' if model is None else 'no price for'} `{name}`.{hint}")
    return model


def _cost(parts: list[Group]) -> int:
    return sum(part.sums["cost_nano"] for part in parts)


def _shown(name: str | int, by: By) -> str:
    return datetime.fromtimestamp(int(name), UTC).strftime(_FORMS[by]) if by in _FORMS else str(name)


def _ratio(part: float, whole: int, digits: int) -> float | None:
    return round(part / whole, digits) if whole else None

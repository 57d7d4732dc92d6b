"""Reads what the status page shows of the database: roll-ups, keys, changelog and the newest requests."""

import asyncio
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from ..engine.walks import Trace
from ..registry.index import Registry
from ..registry.price import usd
from ..stores.base import Principal
from ..stores.decisions import Rows
from ..stores.figures import Group, daily_costs, groups, percentile, whole_hours
from ..stores.keys import KeyTable, StoredKey
from ..stores.rollups import BUCKETS
from ..stores.updates import Updates
from .api_analytics import report, strongest
from .api_data import Figures
from .record_data import (
    ChangeStatus,
    DayCost,
    DecisionStatus,
    GatewayKeyStatus,
    HistoryStatus,
    HourStatus,
    NamedStatus,
    RecordStatus,
    SavedStatus,
    TryStatus,
    WindowStatus,
)
from .state import Running

DAY = 86_400
DAYS = 14
"""Days of the chart of costs."""
MAX_KEYS = 100
MAX_CHANGES = 20
MAX_DECISIONS = 20
_NEWEST = 2**63 - 1


class _Explained(msgspec.Struct):
    """What is shown of a stored explanation."""

    dropped: list[tuple[str, str]] = []
    trace: list[tuple[str, str]] = []


async def read_record(running: Running, now: float) -> RecordStatus:
    """All of it, on other threads. Raises sqlite3.Error."""
    running.records.work_off()
    path, live = running.ledger.path, running.holder.current
    history = await asyncio.to_thread(_history, path, now, live.graph.registry)
    keys = await asyncio.to_thread(_keys, path, running.stores.keys.declared, now)
    changes = await asyncio.to_thread(Updates(path).changelog, MAX_CHANGES)
    return RecordStatus(
        history=history,
        keys=keys[:MAX_KEYS],
        keys_omitted=max(0, len(keys) - MAX_KEYS),
        changes=[ChangeStatus(c.ts, c.source, c.model, c.field, c.old, c.new, c.action, c.reason) for c in changes],
        decisions=await _decisions(running),
    )


def _history(path: Path, now: float, registry: Registry) -> HistoryStatus:
    since, until = whole_hours(now - DAY, now)
    week = whole_hours(now - 7 * DAY, now)[0]
    first = int(now // DAY - DAYS + 1) * DAY
    models = groups(path, since, until, "model")
    return HistoryStatus(
        day=_window(models, since, registry),
        week=_window(groups(path, week, until, "model"), week, registry),
        costs=[DayCost(day, model, usd(nano)) for day, model, nano in daily_costs(path, first) if nano],
        hours=_hours(groups(path, since, until, "hour")),
        tiers=_named(groups(path, since, until, "tier")),
        tenants=_named(groups(path, since, until, "tenant")),
    )


def _window(found: list[Group], since: int, registry: Registry) -> WindowStatus:
    totals: Figures = report(found, (since, since, "model"), (strongest(registry), None)).totals
    saving = totals.strongest
    return WindowStatus(
        since=since,
        requests=totals.requests,
        attempts=totals.attempts,
        failures=totals.failures,
        repeated=max(0, totals.attempts - (totals.requests - totals.cache_hits)),
        cost_usd=totals.cost_usd,
        latency_p50_ms=totals.latency_p50_ms,
        latency_p95_ms=totals.latency_p95_ms,
        latency_p99_ms=percentile(_buckets(found), 0.99),
        saved=None if saving is None else SavedStatus(saving.model, saving.saved_usd, saving.share),
    )


def _buckets(found: list[Group]) -> tuple[int, ...]:
    return tuple(sum(group.buckets[place] for group in found) for place in range(len(BUCKETS)))


def _hours(found: list[Group]) -> list[HourStatus]:
    named: dict[int, list[Group]] = {}
    for group in found:
        named.setdefault(int(group.name), []).append(group)
    hours = []
    for at, parts in sorted(named.items()):
        requests, failures = (sum(part.sums[name] for part in parts) for name in ("requests", "failures"))
        buckets = _buckets(parts)
        hours.append(HourStatus(at, requests, failures, percentile(buckets, 0.5), percentile(buckets, 0.95)))
    return hours


def _named(found: list[Group]) -> list[NamedStatus]:
    """By name, the most requests first. What has no name was refused a model, or is from before there were tiers."""
    sums: dict[str, tuple[int, int]] = {}
    for group in found:
        name = str(group.name)
        requests, nano = sums.get(name, (0, 0))
        sums[name] = (requests + group.sums["requests"], nano + group.sums["cost_nano"])
    ordered = sorted(sums.items(), key=lambda item: (-item[1][0], item[0]))
    return [NamedStatus(name or "(none)", requests, usd(nano)) for name, (requests, nano) in ordered[:100]]


def _keys(path: Path, declared: tuple[Principal, ...], now: float) -> list[GatewayKeyStatus]:
    with closing(KeyTable(path)) as table:
        stored = table.all()
    return [*(_declared(key, now) for key in declared), *(_stored(key, now) for key in stored)]


def _declared(key: Principal, now: float) -> GatewayKeyStatus:
    ended = key.expires is not None and key.expires <= now
    return GatewayKeyStatus(
        name=key.key,
        tenant=key.tenant,
        prefix=None,
        kept="git",
        state="revoked" if key.revoked else "expired" if ended else "active",
        expires=key.expires,
    )


def _stored(key: StoredKey, now: float) -> GatewayKeyStatus:
    return GatewayKeyStatus(
        name=key.name,
        tenant=key.tenant,
        prefix=key.prefix,
        kept="database",
        state=key.state(now),
        expires=key.expires,
    )


async def _decisions(running: Running) -> list[DecisionStatus]:
    decisions = running.records.decisions
    found = await decisions.recent(_NEWEST, MAX_DECISIONS)
    explained = await decisions.explanations([rows[0]["request_id"] for _, rows in found])
    walked = running.records.walks.newest()
    return [_decision(rows, walked, explained.get(rows[0]["request_id"])) for _, rows in found]


def _decision(rows: Rows, walked: dict[str, Trace], explained: bytes | None) -> DecisionStatus:
    first = rows[0]
    told = _Explained() if explained is None else _explanation(explained)
    return DecisionStatus(
        id=first["request_id"],
        at=first["ts"],
        tenant=first["tenant"],
        requested=first["requested_model"],
        tier=first["tier"],
        rule=first["rule"],
        strategy=first["strategy"],
        cache=first["cache"],
        trace=walked.get(first["request_id"]) or told.trace,
        dropped=told.dropped,
        attempts=[_attempt(row) for row in rows],
    )


def _explanation(data: bytes) -> _Explained:
    """What was stored; nothing when an earlier version wrote it in another form."""
    try:
        return msgspec.json.decode(data, type=_Explained)
    except msgspec.DecodeError:
        return _Explained()


def _attempt(row: dict[str, Any]) -> TryStatus:
    nano = row["cost_nano"]
    return TryStatus(
        model=row["model"] or "",
        provider=row["provider"] or "",
        outcome=row["failure"] or row["outcome"],
        tokens=row["input_tokens"] + row["output_tokens"],
        cost_usd=None if nano is None else usd(nano),
        latency_ms=row["latency_ms"],
    )

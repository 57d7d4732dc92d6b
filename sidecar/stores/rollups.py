"""Roll-ups of the ledger: sums by hour and name, and by day and name, written in the transaction of the rows they are
of, so that figures over any time cost what its days and hours cost and not what the rows do.

Each hour has one row for each model, each tier, each tenant and each key that was used in it: not for each combination
of these, which would be as many as the rows. So has each day. Of names that anybody may invent (tenants and keys of
tokens) the first MAX_NAMES of an hour, and of a day, are kept; the rest go under OTHER.
"""

import sqlite3
from bisect import bisect_right
from collections.abc import Iterable
from operator import add
from typing import Any

HOUR = 3600
"""Seconds that the finest roll-up is of."""
DAY = 24
"""Hours of the others: days are UTC."""
MAX_NAMES = 1000
"""Tenants of an hour or a day, and keys, that are told apart."""
OTHER = "(other)"
"""What the rest is called: no name that a configuration can give."""
BOUNDS = (
    *(5, 10, 20, 50, 100, 200, 300, 500, 700),
    *(1000, 1500, 2000, 3000, 5000, 7000, 10_000, 15_000, 20_000, 30_000, 60_000),
)
"""Milliseconds between the histogram's buckets; the last bucket has no end."""
MAX_TOKENS = 10**9
MAX_NANO = 10**15
"""The most of one row that is summed: a provider may claim any number, and no sum may overflow."""

KINDS = ("model", "tier", "tenant", "key")
"""What each row of the ledger is summed under, once for each."""
DAYS = {kind: f"{kind} by day" for kind in KINDS}
"""The kinds of the sums of days, by those of hours. Their `hour` is the day's first."""
INVENTED = frozenset({"tenant", "key", DAYS["tenant"], DAYS["key"]})
NAMES = ("kind", "hour", "name", "provider", "priced")
"""What roll-ups are told apart by. Only models have a provider. `priced` is 0 for what a model without a price did."""
SUMS = (
    *("requests", "attempts", "failures", "hits", "lookups"),
    *("input_tokens", "output_tokens", "cached_tokens", "cache_write_tokens", "reasoning_tokens", "cost_nano"),
    *("latency_us", "hit_us", "first_tokens", "first_token_us"),
)
"""What is summed. A request is counted by its first row: that of attempt 1, or the one of an answer from the cache,
which is no attempt. Latency (of attempts, and of hits) is in microseconds."""
BUCKETS = tuple(f"bucket_{place}" for place in range(len(BOUNDS) + 1))
"""Attempts by latency."""
COLUMNS = (*NAMES, *SUMS, *BUCKETS)

_ADD = f" ON CONFLICT DO UPDATE SET {', '.join(f'{name} = {name} + excluded.{name}' for name in (*SUMS, *BUCKETS))}"
_PUT = f"INSERT INTO rollups ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})" + _ADD  # noqa: S608
_KNOWN = "SELECT DISTINCT name FROM rollups WHERE kind = ? AND hour = ?"

_TABLE = f"""
    CREATE TABLE rollups (
        kind TEXT NOT NULL, hour INTEGER NOT NULL, name TEXT NOT NULL, provider TEXT NOT NULL, priced INTEGER NOT NULL,
        {", ".join(f"{name} INTEGER NOT NULL" for name in (*SUMS, *BUCKETS))},
        PRIMARY KEY ({", ".join(NAMES)})
    ) WITHOUT ROWID"""
_SUM_DAYS = f"""
    INSERT INTO rollups ({", ".join(COLUMNS)})
    SELECT kind || ' by day', hour / {DAY} * {DAY}, name, provider, priced,
           {", ".join(f"sum({name})" for name in (*SUMS, *BUCKETS))}
    FROM rollups WHERE NOT EXISTS (SELECT 1 FROM rollups WHERE kind = '{DAYS["model"]}') GROUP BY 1, 2, 3, 4, 5"""  # noqa: S608
_ROWS = """
    SELECT ts, 0, attempt, 0, 0, 0, tenant, key_name, model, provider, tier, 0, 0, 0, cache, failure, 0, 0,
           input_tokens, output_tokens, cached_tokens, cache_write_tokens, reasoning_tokens, 0, cost_nano, latency_ms,
           first_token_ms
    FROM request_logs ORDER BY id"""
"""In the order of the ledger's columns, 0 for what is not summed: of millions of rows, each text read counts."""
_BATCH = 20_000
"""Rows of an older ledger that are summed at a time."""

_Names = tuple[int, str | None, str | None, str | None, str, str, bool]
"""Hour, model, provider, tier, tenant, key, priced: a batch is summed by all of them first."""
_Kept = tuple[str, int, str, str, bool]
_HITS = frozenset({"hit", "semantic-hit"})
(
    _REQUESTS, _ATTEMPTS, _FAILURES, _HIT, _LOOKUPS, _INPUT, _OUTPUT, _CACHED, _WRITTEN, _THOUGHT, _NANO, _LATENCY,
    _HIT_LATENCY, _FIRSTS, _FIRST, _BUCKETS,
) = range(len(SUMS) + 1)  # fmt: skip


class Batch:
    """Sums of the rows of one transaction. The ledger's thread makes one for each."""

    __slots__ = ("_groups",)

    def __init__(self) -> None:
        self._groups: dict[_Names, list[int]] = {}

    def add(self, rows: Iterable[tuple[Any, ...]]) -> None:
        """Sum rows, given as tuples in the order of the ledger's columns. A microsecond a row: it is part of what
        every request costs."""
        groups = self._groups
        for (
            ts, _, attempt, _, _, _, tenant, key, model, provider, tier, _, _, _, cache, failure, _, _,
            fresh, output, cached, written, thought, _, nano, latency, first, *_
        ) in rows:  # fmt: skip
            names = (int(ts) // HOUR, model, provider, tier, tenant, key, nano is not None)
            sums = groups.get(names)
            if sums is None:
                sums = groups[names] = [0] * (len(SUMS) + len(BUCKETS))
            if attempt > 0:
                sums[_ATTEMPTS] += 1
                sums[_LATENCY] += round(latency * 1000)
                sums[_BUCKETS + bisect_right(BOUNDS, latency)] += 1
            else:
                sums[_HIT_LATENCY] += round(latency * 1000)
            if attempt <= 1:
                sums[_REQUESTS] += 1
                if cache == "miss":
                    sums[_LOOKUPS] += 1
                elif cache in _HITS:
                    sums[_HIT] += 1
                    sums[_LOOKUPS] += 1
            if failure is not None:
                sums[_FAILURES] += 1
            if fresh > 0:
                sums[_INPUT] += fresh if fresh < MAX_TOKENS else MAX_TOKENS
            if output > 0:
                sums[_OUTPUT] += output if output < MAX_TOKENS else MAX_TOKENS
            if cached > 0:
                sums[_CACHED] += cached if cached < MAX_TOKENS else MAX_TOKENS
            if written > 0:
                sums[_WRITTEN] += written if written < MAX_TOKENS else MAX_TOKENS
            if thought > 0:
                sums[_THOUGHT] += thought if thought < MAX_TOKENS else MAX_TOKENS
            if nano:
                sums[_NANO] += min(max(nano, 0), MAX_NANO)
            if first is not None:
                sums[_FIRSTS] += 1
                sums[_FIRST] += round(first * 1000)

    def rollups(self) -> dict[_Kept, list[int]]:
        """The sums so far, under each kind of name."""
        found: dict[_Kept, list[int]] = {}
        for (hour, model, provider, tier, tenant, key, priced), sums in self._groups.items():
            for kind, name in zip(KINDS, (model, tier, tenant, key), strict=True):
                kept = (kind, hour, name or "", (provider or "") if kind == "model" else "", priced)
                before = found.get(kept)
                found[kept] = sums if before is None else list(map(add, before, sums))
        for (kind, hour, named, provider, priced), sums in list(found.items()):
            day = (DAYS[kind], hour // DAY * DAY, named, provider, priced)
            before = found.get(day)
            found[day] = sums if before is None else list(map(add, before, sums))
        return found


class Rollups:
    """Writes batches. For one thread, which is the one that writes the ledger."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._known: dict[str, tuple[int, set[str]]] = {}

    def write(self, batch: Batch) -> None:
        """Add a batch's sums, inside the transaction that inserted its rows."""
        self._db.executemany(_PUT, [(*self._named(kept), *sums) for kept, sums in batch.rollups().items()])

    def _named(self, kept: _Kept) -> _Kept:
        """The names that the hour, or the day, has room for."""
        kind, hour, name, provider, priced = kept
        if kind not in INVENTED:
            return kept
        at, known = self._known.get(kind, (None, set()))
        if at != hour:
            known = {one for (one,) in self._db.execute(_KNOWN, (kind, hour))}
            self._known[kind] = hour, known
        if name not in known:
            if len(known) >= MAX_NAMES:
                return kind, hour, OTHER, provider, priced
            known.add(name)
        return kept


def make(db: sqlite3.Connection) -> None:
    """The table, filled from the rows there are: some 5 microseconds for each, a third of what GROUP BY takes, which
    sorts them once for every kind of name. Inside the caller's transaction."""
    db.execute(_TABLE)
    rollups, rows = Rollups(db), db.execute(_ROWS)
    while some := rows.fetchmany(_BATCH):
        batch = Batch()
        batch.add(some)
        rollups.write(batch)


def sum_days(db: sqlite3.Connection) -> None:
    """The sums of days from those of hours, for a file that has no sums of days."""
    db.execute(_SUM_DAYS)

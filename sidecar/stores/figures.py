"""Figures of the ledger, read from its roll-ups by short-lived connections: times are whole hours, UTC."""

from collections.abc import Mapping
from contextlib import closing
from itertools import accumulate
from pathlib import Path
from typing import Any, Literal

from msgspec import Struct

from .database import open_database
from .rollups import BOUNDS, BUCKETS, DAY, DAYS, HOUR, SUMS

By = Literal["model", "provider", "tenant", "tier", "key", "day", "hour"]
MAX_GROUPS = 1000
"""Groups of one answer: the largest, or of times the newest."""

_GROUP: Mapping[By, tuple[str, str]] = {
    "model": ("model", "name"),
    "provider": ("model", "provider"),
    "tenant": ("tenant", "name"),
    "tier": ("tier", "name"),
    "key": ("key", "name"),
    "day": ("model", f"hour / {DAY} * {DAY * HOUR}"),
    "hour": ("model", f"hour * {HOUR}"),
}
"""By what -> the kind of roll-ups that tells it, and the name in SQL."""
_ADDED = ", ".join(f"sum({name}) AS {name}" for name in (*SUMS, *BUCKETS))
_MODELS = """
    SELECT name AS model, provider, sum(attempts) + sum(hits) AS attempts, sum(failures) AS failures,
           sum(cost_nano) AS cost_nano,
           (sum(latency_us) + sum(hit_us)) / 1000.0 / (sum(attempts) + sum(hits)) AS latency_ms,
           sum(first_token_us) / 1000.0 / sum(first_tokens) AS first_token_ms
    FROM rollups WHERE kind = 'model' AND hour >= ? AND name != '' GROUP BY 1, 2 ORDER BY attempts DESC LIMIT 100"""
_TOTALS = f"""
    SELECT {", ".join(f"coalesce(sum({name}), 0) AS {name}" for name in SUMS)}
    FROM rollups WHERE kind = 'model' AND hour >= ?"""  # noqa: S608


_PART = "SELECT * FROM rollups WHERE kind = ? AND hour >= ? AND hour < ?"
_COSTS = f"""
    SELECT hour * {HOUR}, name, sum(cost_nano) FROM rollups
    WHERE kind = '{DAYS["model"]}' AND hour >= ? AND name != '' GROUP BY 1, 2"""  # noqa: S608


class Group(Struct, frozen=True):
    """What the requests of one name, or of one stretch of time, did. `sums` are those of the roll-ups, `buckets` its
    attempts by latency.

    `priced` is 0 for what models without a price did: a name may have a group of each.
    """

    name: str | int
    priced: int
    sums: Mapping[str, int]
    buckets: tuple[int, ...]


def whole_hours(since: float, until: float) -> tuple[int, int]:
    """The window in Unix seconds, made as much larger as it takes to begin and end with an hour."""
    return int(since // HOUR) * HOUR, -int(-until // HOUR) * HOUR


def groups(path: Path, since: int, until: int, by: By) -> list[Group]:
    """Sums of the hours from `since` to before `until`, by name. Raises sqlite3.Error."""
    kind, name = _GROUP[by]
    parts = [(kind, since // HOUR, until // HOUR)] if by == "hour" else _parts(kind, since // HOUR, until // HOUR)
    source = " UNION ALL ".join([_PART] * len(parts))
    query = f"SELECT {name}, priced, {_ADDED} FROM ({source}) GROUP BY 1, 2"  # noqa: S608
    with closing(open_database(path).conn) as db:
        rows = db.execute(query, [value for part in parts for value in part]).fetchall()
    end = 2 + len(SUMS)
    return [Group(row[0], row[1], dict(zip(SUMS, row[2:end], strict=True)), row[end:]) for row in rows]


def _parts(kind: str, since: int, until: int) -> list[tuple[str, int, int]]:
    """The roll-ups of these hours: of the whole days in them by day, of what is before and after by hour."""
    first, last = -(-since // DAY) * DAY, until // DAY * DAY
    if first >= last:
        return [(kind, since, until)]
    return [(kind, since, first), (DAYS[kind], first, last), (kind, last, until)]


def daily_costs(path: Path, since: int) -> list[tuple[int, str, int]]:
    """(Unix time of a day's beginning, model, nano-USD) from a day's beginning on. Raises sqlite3.Error."""
    with closing(open_database(path).conn) as db:
        return db.execute(_COSTS, [since // HOUR]).fetchall()


def percentile(buckets: tuple[int, ...], share: float) -> float | None:
    """The latency in milliseconds that this share of attempts kept within, as well as a histogram can tell: inside a
    bucket they are taken to lie evenly. None without attempts; the last bucket has only its beginning."""
    total = sum(buckets)
    if not total:
        return None
    wanted = share * total
    place = next(n for n, passed in enumerate(accumulate(buckets)) if passed >= wanted and passed)
    if place == len(BOUNDS):
        return float(BOUNDS[-1])
    low = BOUNDS[place - 1] if place else 0
    inside = (wanted - sum(buckets[:place])) / buckets[place]
    return round(low + (BOUNDS[place] - low) * inside, 1)


def summary(path: Path, since: float) -> dict[str, Any]:
    """Totals and per-model figures since the beginning of an hour. Raises sqlite3.Error."""
    hour = [int(since // HOUR)]
    db = open_database(path)
    try:
        totals = next(iter(db.query(_TOTALS, hour)))
        return {
            **totals,
            "cacheable": totals["lookups"],
            "failed_attempts": totals["failures"],
            "models": list(db.query(_MODELS, hour)),
        }
    finally:
        db.conn.close()

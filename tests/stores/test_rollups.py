"""Roll-ups say what the rows say: after any batches, after a kill, after a migration, past the bound on names."""

import asyncio
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Sequence
from itertools import pairwise, repeat
from math import inf
from pathlib import Path
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_sqlite_ledger import row

from sidecar.stores import database, rollups
from sidecar.stores.database import MIGRATIONS, migrate
from sidecar.stores.figures import By, groups, percentile, whole_hours
from sidecar.stores.ledger import Row
from sidecar.stores.rollups import BOUNDS, BUCKETS, HOUR, MAX_NANO, MAX_TOKENS, OTHER
from sidecar.stores.sqlite import SQLiteLedger

TOKENS = st.one_of(st.integers(0, 5000), st.integers(-5, 2**70))
HOURS = st.sampled_from([0, 1, 22, 23, 24, 25, 47, 48, 49, 71, 72, 73])
"""About the ends of days."""
ROWS = st.lists(
    st.fixed_dictionaries(
        {
            "ts": st.builds(lambda hour, rest: hour * HOUR + rest, HOURS, st.floats(0, HOUR, exclude_max=True)),
            "attempt": st.integers(0, 3),
            "tenant": st.sampled_from(["a", "b", "c"]),
            "key_name": st.sampled_from(["", "k", "l"]),
            "model": st.sampled_from([None, "m", "n"]),
            "provider": st.sampled_from([None, "p"]),
            "tier": st.sampled_from([None, "simple"]),
            "cache": st.sampled_from(["disabled", "hit", "semantic-hit", "miss", "bypass"]),
            "failure": st.sampled_from([None, "cut"]),
            "input_tokens": TOKENS,
            "output_tokens": TOKENS,
            "cached_tokens": TOKENS,
            "cache_write_tokens": TOKENS,
            "reasoning_tokens": TOKENS,
            "cost_nano": st.one_of(st.none(), st.integers(0, 10**9), st.integers(0, 2**64)),
            "latency_ms": st.integers(0, 200_000_000).map(lambda us: us / 1000),
            "first_token_ms": st.one_of(st.none(), st.integers(0, 10**6).map(lambda us: us / 1000)),
        }
    ),
    max_size=40,
)


def table(path: Path) -> list[tuple[Any, ...]]:
    with sqlite3.connect(path) as db:
        found = db.execute("SELECT * FROM rollups ORDER BY 1, 2, 3, 4, 5").fetchall()
    db.close()
    return found


def remade(path: Path) -> list[tuple[Any, ...]]:
    """The table as an upgrade makes it of the rows."""
    with sqlite3.connect(path) as db:
        db.execute("DROP TABLE rollups")
        rollups.make(db)
    db.close()
    return table(path)


def sums(one: Row) -> list[int]:
    """What a row adds to each group that it is in, said plainly."""
    tried, first = one.attempt > 0, one.attempt <= 1
    tokens = (one.input_tokens, one.output_tokens, one.cached_tokens, one.cache_write_tokens, one.reasoning_tokens)
    latency = round(one.latency_ms * 1000)
    buckets = [low <= one.latency_ms < high for low, high in pairwise((0, *BOUNDS, inf))]
    hit = one.cache in ("hit", "semantic-hit")
    return [
        *(first, tried, one.failure is not None, first and hit, first and (hit or one.cache == "miss")),
        *(min(max(count, 0), MAX_TOKENS) for count in tokens),
        min(max(one.cost_nano or 0, 0), MAX_NANO),
        *((latency, 0) if tried else (0, latency)),
        *(one.first_token_ms is not None, round((one.first_token_ms or 0) * 1000)),
        *(found and tried for found in buckets),
    ]


def expected(rows: Sequence[Row]) -> list[tuple[Any, ...]]:
    """The table, from the rows themselves."""
    found: dict[tuple[Any, ...], list[int]] = {}
    for one in rows:
        names = {"model": one.model, "tier": one.tier, "tenant": one.tenant, "key": one.key_name}
        for kind, name in names.items():
            provider = one.provider or "" if kind == "model" else ""
            hour, priced = int(one.ts // HOUR), int(one.cost_nano is not None)
            for key in (
                (kind, hour, name or "", provider, priced),
                (f"{kind} by day", hour // 24 * 24, name or "", provider, priced),
            ):
                found[key] = [a + b for a, b in zip(found.get(key, repeat(0)), sums(one), strict=False)]
    return sorted((*key, *values) for key, values in found.items())


async def stored(path: Path, rows: Sequence[Row], batch: int) -> None:
    ledger = SQLiteLedger(path)
    for place, one in enumerate(rows):
        ledger.add(one)
        if place % batch == 0:
            await ledger.flush()
    await ledger.close()


@settings(max_examples=60, deadline=None)
@given(ROWS, st.integers(1, 20), HOURS, HOURS)
def test_they_are_the_sums_of_the_rows(values: list[dict[str, Any]], batch: int, first: int, last: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "ledger.db")
        rows = [row(number, **{**one, "request_id": f"req_{number}"}) for number, one in enumerate(values)]
        asyncio.run(stored(path, rows, batch))
        assert table(path) == remade(path) == expected(rows)
        for by in get_args(By):
            found = groups(path, first * HOUR, last * HOUR, by)
            inside = [sums(one) for one in rows if first * HOUR <= one.ts < last * HOUR]
            shown = [[*group.sums.values(), *group.buckets] for group in found]
            assert list(map(sum, zip(*shown, strict=True))) == list(map(sum, zip(*inside, strict=True)))


def test_a_killed_process_leaves_them_right(tmp_path: Path) -> None:
    rows = [row(number, ts=number * 900.0) for number in range(40)]

    async def main() -> None:
        there, here = tmp_path / "there", tmp_path / "here"
        ledger = SQLiteLedger(there / "ledger.db")
        for one in rows[:25]:
            ledger.add(one)
        await ledger.flush()
        for one in rows[25:]:
            ledger.add(one)
        shutil.copytree(there, here)  # what a kill leaves: committed rows, and a journal with more than the others
        await ledger.close()
        again = SQLiteLedger(here / "ledger.db")
        assert again.notices
        await again.close()
        assert table(here / "ledger.db") == table(there / "ledger.db") == expected(rows)
        assert sum(group.sums["requests"] for group in groups(here / "ledger.db", 0, 40 * HOUR, "model")) == 40

    asyncio.run(main())


@pytest.mark.parametrize(
    ("step", "undone"),
    [(rollups.make, "DROP TABLE rollups"), (rollups.sum_days, "DELETE FROM rollups WHERE kind LIKE '% by day'")],
)
def test_an_older_file_is_filled_from_what_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: Callable[[sqlite3.Connection], None], undone: str
) -> None:
    path = tmp_path / "ledger.db"
    asyncio.run(stored(path, [row(number, ts=number * 2500.0) for number in range(100)], 30))
    kept = table(path)
    with sqlite3.connect(path) as db:
        db.execute(undone)
        db.execute(f"PRAGMA user_version = {MIGRATIONS.index(step)}")
    db.close()
    monkeypatch.setattr(database, "MIGRATIONS", MIGRATIONS[: MIGRATIONS.index(step) + 1])
    migrate(path)
    assert table(path) == kept
    with sqlite3.connect(path) as db:
        rollups.sum_days(db)
    db.close()
    assert table(path) == kept


def test_names_beyond_the_bound_of_an_hour_go_under_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollups, "MAX_NAMES", 10)
    path = tmp_path / "ledger.db"
    rows = [row(number, ts=1.0, tenant=f"t{number % 5}", key_name=f"k{number}") for number in range(50)]
    rows += [row(number + 50, ts=HOUR + 1.0, tenant=f"t{number}", key_name="k") for number in range(50)]
    asyncio.run(stored(path, rows, 7))
    first = {group.name: group.sums["requests"] for group in groups(path, 0, HOUR, "key")}
    assert first == {**{f"k{number}": 1 for number in range(10)}, OTHER: 40}
    tenants = {group.name: group.sums["requests"] for group in groups(path, 0, HOUR, "tenant")}
    assert tenants == {f"t{number}": 10 for number in range(5)}
    second = {group.name: group.sums["requests"] for group in groups(path, HOUR, 2 * HOUR, "tenant")}
    assert second == {**{f"t{number}": 1 for number in range(10)}, OTHER: 40}
    assert table(path) == remade(path)


def test_a_refused_batch_leaves_neither_rows_nor_sums(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"

    async def main() -> None:
        ledger = SQLiteLedger(path)
        with sqlite3.connect(path) as db:
            db.execute("ALTER TABLE rollups RENAME TO hidden")
        ledger.add(row(0))
        await ledger.flush()
        assert ledger.fault
        with sqlite3.connect(path) as db:
            assert db.execute("SELECT count(*) FROM request_logs").fetchone() == (0,)
            db.execute("ALTER TABLE hidden RENAME TO rollups")
        db.close()
        await ledger.close()
        assert sum(group.sums["requests"] for group in groups(path, 0, HOUR, "model")) == 1

    asyncio.run(main())


@given(st.lists(st.floats(0, 59_999), min_size=1, max_size=200), st.sampled_from([0.5, 0.95, 1.0]))
def test_a_percentile_lies_in_the_bucket_of_the_true_one(latencies: list[float], share: float) -> None:
    buckets = [0] * len(BUCKETS)
    for latency in latencies:
        buckets[next(n for n, high in enumerate(BOUNDS) if latency < high)] += 1
    ordered = sorted(latencies)
    true = ordered[max(0, -int(-share * len(ordered) // 1) - 1)]
    place = next(n for n, high in enumerate(BOUNDS) if true < high)
    found = percentile(tuple(buckets), share)
    assert found is not None
    assert (BOUNDS[place - 1] if place else 0) <= found <= BOUNDS[place]


def test_a_window_is_whole_hours() -> None:
    assert whole_hours(3599.0, 3601.0) == (0, 7200)
    assert whole_hours(3600.0, 7200.0) == (3600, 7200)
    assert percentile((0,) * len(BUCKETS), 0.5) is None

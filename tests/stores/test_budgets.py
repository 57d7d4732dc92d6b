"""Accounts of budgets against a plain list of what happened: never above the limit in any window, settled once."""

import asyncio
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from gateway import read_rows
from house import looped
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from sidecar.stores import database
from sidecar.stores.budgets import Account, Accounts, Hold, Terms, Window, calendar, rolling
from sidecar.stores.database import MIGRATIONS
from sidecar.stores.journal import read
from sidecar.stores.ledger import Row
from sidecar.stores.sqlite import SQLiteLedger

LIMIT = 1000
NOON = datetime(2026, 3, 31, 12, tzinfo=UTC).timestamp()
HOUR, DAY = 3600, 86400


class Spending(RuleBasedStateMachine):
    """Calls come, are settled or not, late or never; the clock goes on, and a little back at times."""

    window: Window
    length: float

    def __init__(self) -> None:
        super().__init__()
        self.account = Account("b", "s", self.window)
        self.now = NOON
        self.open: list[Hold] = []
        self.spent: list[tuple[float, int]] = []

    @rule(seconds=st.sampled_from([-5.0, 0.0, 1.0, 59.0, 600.0, 3500.0, 3600.0, 40_000.0, 86_400.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @rule(nano=st.integers(0, LIMIT + 1), limit=st.sampled_from([LIMIT, LIMIT // 2, None]))
    def reserve(self, nano: int, limit: int | None) -> None:
        if limit is None:
            return
        hold = Hold(self.now, nano)
        wait = self.account.reserve(hold, limit)
        assert wait >= 0
        if wait:
            assert sum(self.account.standing(self.now)) + nano > limit
        else:
            self.open.append(hold)

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def settle(self, data: st.DataObject) -> None:
        hold = self.open.pop(data.draw(st.integers(0, len(self.open) - 1)))
        nano = data.draw(st.integers(0, hold.nano))
        assert self.account.settle(hold, nano)
        self.spent.append((hold.ts, nano))
        before = self.account.standing(self.now)
        assert not self.account.settle(hold, nano)
        assert self.account.standing(self.now) == before

    @precondition(lambda self: self.spent)
    @rule()
    def waiting_helps(self) -> None:
        wait = self.account.wait(1, LIMIT, self.now)
        if wait and not self.open:
            assert self.account.wait(1, LIMIT, self.now + wait) == 0

    def stretch(self, ts: float) -> tuple[float, float]:
        return ts, ts + self.length

    @invariant()
    def no_window_holds_more_than_the_limit(self) -> None:
        taken = [*self.spent, *((hold.ts, hold.nano) for hold in self.open)]
        for start, end in {self.stretch(ts) for ts, _ in taken}:
            assert sum(nano for ts, nano in taken if start <= ts < end) <= LIMIT

    @invariant()
    def it_counts_what_is_in_the_window_now(self) -> None:
        first = self.window.since(self.now)
        last = self.window.leaves(self.window.bucket(self.now)) if not self.window.span else float("inf")
        spent, held = self.account.standing(self.now)
        assert spent == sum(nano for ts, nano in self.spent if first <= ts < last)
        assert held == sum(hold.nano for hold in self.open if first <= hold.ts < last)


class Rolling(Spending):
    window, length = rolling(HOUR), HOUR


class Daily(Spending):
    window, length = calendar("day"), DAY

    def stretch(self, ts: float) -> tuple[float, float]:
        start = ts // DAY * DAY
        return start, start + DAY


class Monthly(Daily):
    window = calendar("month")

    def stretch(self, ts: float) -> tuple[float, float]:
        day = datetime.fromtimestamp(ts, UTC)
        after = datetime(day.year + day.month // 12, day.month % 12 + 1, 1, tzinfo=UTC)
        return datetime(day.year, day.month, 1, tzinfo=UTC).timestamp(), after.timestamp()


TestRolling, TestDaily, TestMonthly = Rolling.TestCase, Daily.TestCase, Monthly.TestCase
for case in (TestRolling, TestDaily, TestMonthly):
    case.settings = settings(deadline=None, max_examples=60, stateful_step_count=30)


@pytest.mark.parametrize(
    ("unit", "begins", "ends"),
    [
        ("hour", "2026-03-31T12:00", "2026-03-31T13:00"),
        ("day", "2026-03-31T00:00", "2026-04-01T00:00"),
        ("week", "2026-03-30T00:00", "2026-04-06T00:00"),  # from Monday
        ("month", "2026-03-01T00:00", "2026-04-01T00:00"),
    ],
)
def test_calendar_windows_are_those_of_utc(unit: str, begins: str, ends: str) -> None:
    window = calendar(unit)
    shown = [
        datetime.fromtimestamp(t, UTC).isoformat()[:16]
        for t in (window.since(NOON), window.leaves(window.bucket(NOON)))
    ]
    assert shown == [begins, ends]


@given(st.integers(1, 40), st.integers(0, 10))
def test_accounts_are_bounded_and_none_with_money_in_it_goes(most: int, more: int) -> None:
    store, terms = Accounts(most), Terms("b", LIMIT, calendar("day"))
    for number in range(most):
        account = store.find(terms, f"s{number}", NOON)
        assert account is not None
        hold = Hold(NOON, 1)
        account.reserve(hold, LIMIT)
        if number >= more:
            store.settle(account, hold, number % 2)
    assert store.find(terms, "another", NOON) is None
    assert store.find(terms, "s0", NOON) is not None
    later = NOON + 2 * HOUR  # the same day: those who spent nothing, and hold nothing, are forgotten
    free = sum(number >= more and not number % 2 for number in range(most))
    assert (store.find(terms, "another", later) is not None) == (free > 0)


def row(number: int, nano: int, budgets: str = "b|s", **more: object) -> Row:
    values = {"outcome": "answered", "surface": "chat", "requested_model": "m", "tenant": "t", "key_name": "k"}
    values |= {"model": "m", "provider": "p", "cost_nano": nano, "budgets": budgets}
    return Row(NOON + number, f"req_{number}", 1, **{**values, **more})  # type: ignore[arg-type]


TODAY = calendar("day")


async def known(path: Path, window: Window = TODAY, now: float = NOON) -> dict[tuple[str, str], int]:
    """What a gateway that starts now knows."""
    store = Accounts()
    store.ledger = ledger = SQLiteLedger(path)
    terms = [Terms(name, LIMIT, window) for name in ("a", "b")]
    await store.recall(terms, now)
    store.adopt(terms)
    await ledger.close()
    return {(each.name, each.subject): each.spent for each in store.snapshot(now) if each.spent}


@looped
async def test_what_rows_cost_is_known_after_a_restart_by_account_and_window(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    ledger = SQLiteLedger(path)
    for number, (nano, budgets) in enumerate([(1, "b|s"), (2, "a|,b|s"), (4, "b|x,a|"), (8, ""), (16, "c|s")]):
        ledger.add(row(number, nano, budgets))
    ledger.add(row(-DAY, 32))
    ledger.add(row(-12 * HOUR - 60, 64))
    await ledger.close()
    assert await known(path) == {("b", "s"): 3, ("b", "x"): 4, ("a", ""): 6}
    assert await known(path, calendar("month")) == {("b", "s"): 99, ("b", "x"): 4, ("a", ""): 6}
    assert await known(path, rolling(DAY), NOON + DAY + 1500) == {}
    assert await known(path, rolling(DAY), NOON + DAY - 60) == {("b", "s"): 3, ("b", "x"): 4, ("a", ""): 6}


@looped
async def test_what_was_begun_and_never_ended_is_stored_by_the_next_start(tmp_path: Path) -> None:
    path, left = tmp_path / "ledger.db", tmp_path / "left"
    ledger = SQLiteLedger(path)
    for number in range(4):
        ledger.begin(row(number, 100, outcome="lost"))
    ledger.add(row(0, 7))
    for number in range(10, 40):  # the parts of the journal go round while two are still under way
        ledger.add(row(number, 0))
        await ledger.flush()
        if number == 12:
            ledger.add(row(3, 9))
    left.write_bytes((tmp_path / "ledger.db-rows").read_bytes())  # killed here
    ledger.add(row(1, 1))
    ledger.add(row(2, 1))
    await ledger.close()
    assert [name for name in os.listdir(tmp_path) if "-rows" in name] == []
    assert await known(path) == {("b", "s"): 7 + 9 + 1 + 1}

    other = tmp_path / "other" / "ledger.db"
    early = SQLiteLedger(other)
    await early.close()
    left.rename(other.with_name("ledger.db-rows"))
    assert (await known(other))["b", "s"] >= 200
    lost = [r["request_id"] for r in read_rows(other) if r["outcome"] == "lost"]
    assert {"req_1", "req_2"} <= set(lost)


@looped
async def test_a_settled_attempt_is_the_one_that_counts_when_both_are_in_the_journal(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    ledger = SQLiteLedger(path)
    ledger.begin(row(1, 100, outcome="lost"))
    ledger.begin(row(2, 100, outcome="lost"))
    ledger.add(row(1, 7))
    data = (tmp_path / "ledger.db-rows").read_bytes()
    assert len(read(data) or ()) == 3
    await ledger.close()
    other = tmp_path / "other" / "ledger.db"
    other.parent.mkdir()
    other.with_name("ledger.db-rows").write_bytes(data)
    assert await known(other) == {("b", "s"): 107}
    assert await known(other) == {("b", "s"): 107}


@pytest.mark.parametrize("version", range(1, len(MIGRATIONS)))
def test_a_ledger_of_an_earlier_version_goes_on(tmp_path: Path, version: int, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "ledger.db"
    with monkeypatch.context() as older:
        older.setattr(database, "MIGRATIONS", MIGRATIONS[:version])
        database.migrate(path)
    old = database.open_database(path)
    values = {"ts": NOON, "request_id": "req_old", "attempt": 1, "outcome": "answered", "surface": "chat"}
    values |= {"requested_model": "m", "tenant": "t", "key_name": "k", "stream": 0, "cache": "miss", "cost_nano": 5}
    values |= dict.fromkeys(("input_tokens", "output_tokens", "cached_tokens", "cache_write_tokens"), 1)
    values |= {"reasoning_tokens": 0, "estimated": 0, "latency_ms": 1.0, "policy": "p"}
    old["request_logs"].insert(values)  # type: ignore[union-attr]
    old.conn.close()

    async def go_on() -> dict[tuple[str, str], int]:
        ledger = SQLiteLedger(path)
        ledger.add(row(1, 3))
        await ledger.close()
        return await known(path)

    assert asyncio.run(go_on()) == {("b", "s"): 3}
    rows = {r["request_id"]: r for r in read_rows(path)}
    assert (rows["req_old"]["cost_nano"], rows["req_old"]["budgets"]) == (5, "")
    assert rows["req_1"]["budgets"] == "b|s"


@looped
async def test_what_is_settled_while_it_is_read_is_counted_once(tmp_path: Path) -> None:
    store = Accounts()
    store.ledger = ledger = SQLiteLedger(tmp_path / "ledger.db")
    day, month = (Terms("b", LIMIT, calendar(unit)) for unit in ("day", "month"))
    await store.recall([day], NOON)
    store.adopt([day])
    account = store.find(day, "s", NOON)
    assert account is not None
    holds = [Hold(NOON + number, 10) for number in range(4)]
    for hold in holds:
        assert account.reserve(hold, LIMIT) == 0

    def settle(number: int) -> None:
        store.settle(account, holds[number], 5)
        ledger.add(row(number, 5))

    settle(0)
    reading = asyncio.create_task(store.recall([month], NOON))
    settle(1)
    for _ in range(3):
        await asyncio.sleep(0)
    settle(2)
    await reading
    store.adopt([month])
    assert account.standing(NOON) == (15, 10)
    settle(3)
    assert account.standing(NOON) == (20, 0)
    await ledger.close()
    assert sum(r["cost_nano"] for r in read_rows(tmp_path / "ledger.db")) == 20

"""The ledger on a real file: rows survive, a disk that refuses is said and waited for, old and new schemas."""

import asyncio
import sqlite3
from pathlib import Path

import pytest
from gateway import gateway, read_rows
from house import CHAT, HELLO, UP_KEY, client, config, eventually, looped, upstream

from sidecar.stores.ledger import Row
from sidecar.stores.sqlite import MIGRATIONS, SQLiteLedger


def row(number: int, **more: object) -> Row:
    values = {
        "ts": float(number),
        "request_id": f"req_{number}",
        "attempt": 1,
        "outcome": "answered",
        "surface": "chat",
    }
    values |= {"requested_model": "m", "tenant": "t", "key_name": "k", "model": "m", "provider": "p", "cost_nano": 5}
    return Row(**{**values, **more})  # type: ignore[arg-type]


@looped
async def test_rows_are_there_in_order_after_it_was_closed(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "er" / "ledger.db"
    ledger = SQLiteLedger(path)
    for number in range(3):
        ledger.add(row(number, failure="cut", requested_model="a\x00b", estimated=1))
    assert ledger.depth == 3
    await ledger.close()
    rows = read_rows(path)
    assert [r["request_id"] for r in rows] == ["req_0", "req_1", "req_2"]
    assert (rows[0]["requested_model"], rows[0]["cost_nano"], rows[0]["estimated"]) == ("a\x00b", 5, 1)
    again = SQLiteLedger(path)
    again.add(row(3))
    await again.close()
    assert len(read_rows(path)) == 4


@looped
async def test_ten_thousand_rows_and_none_waits(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    ledger = SQLiteLedger(path)
    for start in range(0, 10_000, 500):
        for number in range(start, start + 500):
            ledger.add(row(number))
        await asyncio.sleep(0)
    await ledger.flush()
    assert ledger.depth == 0
    assert ledger.dropped == 0
    summary = await ledger.summary(5000.0)
    assert (summary["requests"], summary["cost_nano"]) == (5000, 25_000)
    assert summary["models"][0]["attempts"] == 5000
    await ledger.close()
    assert [r["request_id"] for r in read_rows(path)] == [f"req_{number}" for number in range(10_000)]


@looped
async def test_a_file_that_refuses_is_said_and_no_row_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    ledger = SQLiteLedger(path)
    with sqlite3.connect(path) as db:
        db.execute("ALTER TABLE request_logs RENAME TO hidden")
    ledger.add(row(0))
    await eventually(lambda: ledger.fault)
    assert str(path) in str(ledger.fault)
    for number in range(1, 50):
        ledger.add(row(number))
        await asyncio.sleep(0.001)
    assert ledger.depth >= 49
    with sqlite3.connect(path) as db:
        db.execute("ALTER TABLE hidden RENAME TO request_logs")
    db.close()
    await eventually(lambda: ledger.fault is None and not ledger.depth)
    await ledger.close()
    assert [r["request_id"] for r in read_rows(path)] == [f"req_{number}" for number in range(50)]


@looped
async def test_a_locked_file_shows_in_ready_and_recovers_without_losing_a_row(tmp_path: Path) -> None:
    async with upstream() as up:
        text = config({"up": up.url}, {"m1": "up"})
        async with gateway(text, {"UP_KEY": UP_KEY}) as served, client(served.url) as http:
            lock = sqlite3.connect(served.database, isolation_level=None)
            lock.execute("BEGIN IMMEDIATE")
            try:
                for _ in range(5):
                    assert (await http.post(CHAT, json={"model": "m1", "messages": HELLO})).status_code == 200

                async def refusing() -> bool:
                    return (await http.get("/ready")).status_code == 503

                await eventually(refusing, 20)
                body = (await http.get("/ready")).json()
                assert "locked" in body["reasons"]["database"]
                assert body["database"] == body["reasons"]["database"]
                # Answers do not wait for the disk, nor does the rest of the gateway.
                assert (await http.post(CHAT, json={"model": "m1", "messages": HELLO})).status_code == 200
                assert (await http.get("/health")).status_code == 200
            finally:
                lock.execute("ROLLBACK")
                lock.close()

            async def well() -> bool:
                return (await http.get("/ready")).status_code == 200

            await eventually(well, 20)
            assert len(await served.rows(count=6)) == 6


@looped
async def test_figures_that_no_column_holds_stop_nobodys_row(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    ledger = SQLiteLedger(path)
    ledger.add(row(0))
    ledger.add(row(1, input_tokens=10**30, cost_nano=-(10**30)))
    ledger.add(row(2))
    await ledger.close()
    rows = read_rows(path)
    assert [r["request_id"] for r in rows] == ["req_0", "req_1", "req_2"]
    assert (rows[1]["input_tokens"], rows[1]["cost_nano"]) == (2**63 - 1, -(2**63 - 1))


def test_a_newer_schema_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with sqlite3.connect(path) as db:
        db.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    db.close()
    with pytest.raises(sqlite3.DatabaseError, match="newer version"):
        SQLiteLedger(path)
    with sqlite3.connect(path) as db:
        assert db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
    db.close()


@looped
async def test_two_gateways_may_share_a_file(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    first, second = SQLiteLedger(path), SQLiteLedger(path)
    for number in range(100):
        (first, second)[number % 2].add(row(number))
    await asyncio.gather(first.close(), second.close())
    assert {r["request_id"] for r in read_rows(path)} == {f"req_{number}" for number in range(100)}


@looped
async def test_what_waits_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidecar.stores.sqlite.MAX_WAITING", 10)
    ledger = SQLiteLedger(tmp_path / "ledger.db")
    for number in range(25):
        ledger.add(row(number))
    assert (ledger.depth, ledger.dropped) == (10, 15)
    await ledger.close()
    assert len(read_rows(tmp_path / "ledger.db")) == 10

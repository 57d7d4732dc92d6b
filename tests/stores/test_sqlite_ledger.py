"""The ledger on a real file: rows survive, a disk that refuses is said and waited for, old and new schemas."""

import asyncio
import errno
import os
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest import mock

import pytest
from gateway import gateway, read_rows
from house import CHAT, HELLO, UP_KEY, client, config, eventually, looped, upstream
from sqlite_utils import Database

from sidecar.stores.database import MIGRATIONS
from sidecar.stores.journal import Journal
from sidecar.stores.ledger import Row
from sidecar.stores.sqlite import SQLiteLedger


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
async def test_the_files_are_for_their_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    before = os.umask(0)
    try:
        ledger = SQLiteLedger(path)
        found = await asyncio.to_thread(os.listdir, tmp_path)
        modes = {name: oct((await asyncio.to_thread(os.stat, tmp_path / name)).st_mode & 0o777) for name in found}
        await ledger.close()
    finally:
        os.umask(before)
    assert "ledger.db" in modes and set(modes.values()) == {"0o600"}, modes


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
    summary = await ledger.summary(5000.0)  # the hour that it is in began at 3600
    assert (summary["requests"], summary["cost_nano"]) == (6400, 32_000)
    assert summary["models"][0]["attempts"] == 6400
    await ledger.close()
    assert [r["request_id"] for r in read_rows(path)] == [f"req_{number}" for number in range(10_000)]


@looped
async def test_a_flush_that_begins_as_a_batch_ends_waits_for_what_came_meanwhile(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    ledger = SQLiteLedger(path)
    ledger.add(row(0))
    first = asyncio.create_task(ledger.flush())
    await asyncio.sleep(0)
    ledger.add(row(1))
    hold()  # the thread is done, and the event loop learns of it in the very turn in which it goes on here
    await asyncio.sleep(0)
    await ledger.flush()
    assert ids(path) == ["req_0", "req_1"]
    await first
    await ledger.close()


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


def killed(path: Path) -> Path:
    """What a process that is killed at this moment leaves: its files, and no lock on them."""
    copy = path.parent.with_name(f"{path.parent.name}-killed")
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(path.parent, copy)
    return copy / path.name


def hold() -> None:
    time.sleep(0.1)


def write(path: str, data: bytes) -> None:
    Path(path).write_bytes(data)


def ids(path: Path) -> list[str]:
    return [r["request_id"] for r in read_rows(path)]


def beside(path: Path) -> dict[str, bytes]:
    """Journals of a ledger, and what was one, by what follows the ledger's name."""
    return {file.name.removeprefix(path.name): file.read_bytes() for file in path.parent.glob(f"{path.name}-rows*")}


@contextmanager
def locked(path: Path) -> Iterator[None]:
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("BEGIN IMMEDIATE")
    yield
    db.execute("ROLLBACK")
    db.close()


@looped
async def test_a_row_survives_the_process_from_add_on(tmp_path: Path) -> None:
    path = tmp_path / "a" / "ledger.db"
    ledger = SQLiteLedger(path)
    full = row(0, requested_model="ü\x00€", cost_nano=10**30, first_token_ms=1.25, cache="hit", failure="cut", stream=1)
    ledger.add(full)
    ledger.add(row(1, attempt=1))
    ledger.add(row(1, attempt=2))
    left = killed(path)
    assert ids(left) == []
    again = SQLiteLedger(left)
    assert again.notices == [f"{left}-rows: 3 rows of a killed process were stored"]
    assert again.fault is None
    await ledger.close()
    await again.close()
    expected, found = read_rows(path), read_rows(left)
    assert found == expected
    assert [(r["request_id"], r["attempt"]) for r in found] == [("req_0", 1), ("req_1", 1), ("req_1", 2)]
    assert (beside(path), beside(left)) == ({}, {})


@looped
async def test_killed_between_commit_and_the_journals_part_no_row_is_doubled(tmp_path: Path) -> None:
    path = tmp_path / "a" / "ledger.db"
    ledger = SQLiteLedger(path)
    with mock.patch.object(Journal, "done"):
        for number in range(300):
            ledger.add(row(number))
        await ledger.flush()
        ledger.add(row(300))
        left = killed(path)
    assert len(ids(left)) == 300
    journal = beside(left)["-rows"]
    for notices in ([f"{left}-rows: 1 rows of a killed process were stored"], []):
        write(f"{left}-rows", journal)  # the second time as if killed before the journal was removed
        again = SQLiteLedger(left)
        assert again.notices == notices
        await again.close()
        assert ids(left) == [f"req_{number}" for number in range(301)]
    await ledger.close()


@looped
async def test_every_row_that_waits_for_a_locked_file_survives(tmp_path: Path) -> None:
    path = tmp_path / "a" / "ledger.db"
    with mock.patch("sidecar.stores.sqlite.open_database", side_effect=_impatient):
        ledger = SQLiteLedger(path)
    with locked(path):
        for number in range(9000):
            ledger.add(row(number))
            if number % 1000 == 0:
                await ledger.flush()
        assert "locked" in str(ledger.fault)
        left = killed(path)
    again = SQLiteLedger(left)
    assert ids(left) == [f"req_{number}" for number in range(9000)]
    await again.close()
    await ledger.close()
    assert ids(path) == [f"req_{number}" for number in range(9000)]


@looped
async def test_what_the_disk_refuses_to_the_last_is_there_after_the_next_start(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with mock.patch("sidecar.stores.sqlite.open_database", side_effect=_impatient):
        ledger = SQLiteLedger(path)
    with locked(path):
        ledger.add(row(0))
        await ledger.close()
        with mock.patch("sidecar.stores.sqlite.open_database", side_effect=_impatient):
            early = SQLiteLedger(path)
        (notice,) = early.notices
        assert "locked" in notice
    early.add(row(1))
    await early.close()
    assert ids(path) == ["req_1"]
    again = SQLiteLedger(path)
    await again.close()
    assert sorted(ids(path)) == ["req_0", "req_1"]


@looped
async def test_a_row_of_another_layout_stops_no_start_and_is_not_thrown_away(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    journal = Journal(path)
    old = b'{"ts":1,"request_id":"old","attempt":1,"outcome":"answered","surface":"chat","requested_model":"m"}'
    new = old[:-1] + b',"tenant":"t","key_name":"k","a_later_column":[1]}'
    for record in (old, b"\xff\xfe", b"{}", new):
        journal.add(record)
    journal.close()
    ledger = SQLiteLedger(path)
    (notice,) = ledger.notices
    assert "3 of its rows cannot be read" in notice
    assert ids(path) == ["old"]
    await ledger.close()
    (aside,) = beside(path).items()
    assert aside[0].startswith("-rows.unread-")
    assert old in aside[1]


@looped
async def test_without_a_journal_rows_are_written_and_the_fault_is_said(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with mock.patch.object(os, "pwrite", side_effect=OSError(errno.ENOSPC, "No space left on device")):
        ledger = SQLiteLedger(path)
        ledger.add(row(0))
        assert "No space left on device" in str(ledger.fault)
        await ledger.flush()
        assert ids(path) == ["req_0"]
        assert "No space left on device" in str(ledger.fault)
    ledger.add(row(1))
    await ledger.flush()
    assert ledger.fault is None
    await ledger.close()
    assert ids(path) == ["req_0", "req_1"]
    assert beside(path) == {}


@pytest.mark.parametrize("count", [1, 127, 128, 129, 383])
def test_batches_of_any_size_go_in_whole(tmp_path: Path, count: int) -> None:
    @looped
    async def test() -> None:
        ledger = SQLiteLedger(tmp_path / "ledger.db")
        for number in range(count):
            ledger.add(row(number))
        await ledger.close()
        assert ids(tmp_path / "ledger.db") == [f"req_{number}" for number in range(count)]

    test()


def _impatient(path: Path) -> Database:
    db = Database(sqlite3.connect(path, timeout=0, check_same_thread=False))
    db.enable_wal()
    return db

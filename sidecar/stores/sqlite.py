"""The ledger in SQLite: WAL, written in batches by one thread of its own, read by short-lived connections."""

import asyncio
import sqlite3
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import msgspec
from sqlite_utils import Database

from .ledger import Row

BATCH = 2000
PAUSE = 0.05
"""Seconds the writer lets rows gather: one commit for all of them costs what one for each would."""
MAX_WAITING = 200_000
"""Rows kept while the disk refuses; beyond it the oldest behaviour is to drop and count."""

MIGRATIONS = (
    """
    CREATE TABLE request_logs (
        id INTEGER PRIMARY KEY,
        ts REAL NOT NULL,
        request_id TEXT NOT NULL,
        attempt INTEGER NOT NULL,
        outcome TEXT NOT NULL,
        surface TEXT NOT NULL,
        requested_model TEXT NOT NULL,
        tenant TEXT NOT NULL,
        key_name TEXT NOT NULL,
        model TEXT, provider TEXT, tier TEXT, rule TEXT, strategy TEXT,
        stream INTEGER NOT NULL,
        cache TEXT NOT NULL,
        failure TEXT, status INTEGER, finish_reason TEXT,
        input_tokens INTEGER NOT NULL, output_tokens INTEGER NOT NULL, cached_tokens INTEGER NOT NULL,
        cache_write_tokens INTEGER NOT NULL, reasoning_tokens INTEGER NOT NULL,
        estimated INTEGER NOT NULL,
        cost_nano INTEGER,
        latency_ms REAL NOT NULL, first_token_ms REAL, overhead_ms REAL,
        policy TEXT NOT NULL
    );
    CREATE INDEX request_logs_ts ON request_logs (ts);
    CREATE INDEX request_logs_request ON request_logs (request_id);
    """,
)
"""Numbered by place; `PRAGMA user_version` says how many a file has had."""

_COLUMNS = Row.__struct_fields__
_INSERT = f"INSERT INTO request_logs ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"  # noqa: S608


class SQLiteLedger:
    """Opens (and migrates) the file at once, so that a file that cannot be used is known before serving.

    Raises sqlite3.Error or OSError when it cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._fault: str | None = None
        self.dropped = 0
        self._queue: SimpleQueue[Row | asyncio.Future[None] | None] = SimpleQueue()
        path.parent.mkdir(parents=True, exist_ok=True)
        _migrate(path)
        self._thread = threading.Thread(target=self._write, name="ledger", daemon=True)
        self._thread.start()

    @property
    def depth(self) -> int:
        """Rows waiting to be written."""
        return self._queue.qsize()

    @property
    def fault(self) -> str | None:
        """Why rows cannot be written now, or None."""
        return self._fault

    def add(self, row: Row) -> None:
        """Hand a row over; never blocks. Past MAX_WAITING rows are dropped and counted."""
        if self._queue.qsize() < MAX_WAITING:
            self._queue.put(row)
        else:
            self.dropped += 1

    async def flush(self) -> None:
        """Wait until everything handed over so far was written (or refused by the disk)."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.put(done)
        await done

    async def summary(self, since: float) -> Mapping[str, Any]:
        """Totals and per-model figures of the rows since a Unix time."""
        return await asyncio.to_thread(_summary, self.path, since)

    async def close(self) -> None:
        """Write what is left and end the thread."""
        if self._thread.is_alive():
            await self.flush()
            self._queue.put(None)
            await asyncio.to_thread(self._thread.join)

    def _write(self) -> None:
        db = _open(self.path)
        rows: list[tuple[Any, ...]] = []
        while True:
            item = self._queue.get()
            waiting, stop = self._gather(item, rows)
            if rows and self._commit(db, rows):
                rows = []
            for done in waiting:
                done.get_loop().call_soon_threadsafe(_resolve, done)
            if stop:
                break
        db.conn.close()

    def _gather(
        self, item: Row | asyncio.Future[None] | None, rows: list[tuple[Any, ...]]
    ) -> tuple[list[asyncio.Future[None]], bool]:
        """Take what comes within PAUSE, up to BATCH rows; a flush or the end cuts the wait short."""
        waiting: list[asyncio.Future[None]] = []
        until = time.monotonic() + PAUSE
        while True:
            if item is None:
                return waiting, True
            if isinstance(item, Row):
                rows.append(msgspec.structs.astuple(item))
            else:
                waiting.append(item)
            if len(rows) >= BATCH:
                return waiting, False
            try:
                item = self._queue.get(timeout=0 if waiting else max(0.0, until - time.monotonic()))
            except Empty:
                return waiting, False

    def _commit(self, db: Database, rows: list[tuple[Any, ...]]) -> bool:
        """One transaction. On a fault the rows are kept for the next try, and `fault` says why."""
        try:
            with db.conn:
                db.conn.executemany(_INSERT, rows)
        except sqlite3.Error as fault:
            self._fault = f"{self.path}: {fault}"
            return len(rows) > MAX_WAITING
        self._fault = None
        return True


def _resolve(done: asyncio.Future[None]) -> None:
    if not done.done():
        done.set_result(None)


def _open(path: Path) -> Database:
    db = Database(sqlite3.connect(path, timeout=5, check_same_thread=False))
    db.enable_wal()
    db.execute("PRAGMA synchronous = NORMAL")
    return db


def _migrate(path: Path) -> None:
    db = _open(path)
    try:
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version > len(MIGRATIONS):
            raise sqlite3.DatabaseError(f"{path}: written by a newer version (schema {version})")
        for number, script in enumerate(MIGRATIONS[version:], version + 1):
            db.conn.executescript(f"BEGIN; {script} PRAGMA user_version = {number}; COMMIT;")
    finally:
        db.conn.close()


_TOTALS = """
    SELECT count(DISTINCT request_id) AS requests, coalesce(sum(cost_nano), 0) AS cost_nano,
           coalesce(sum(input_tokens), 0) AS input_tokens, coalesce(sum(output_tokens), 0) AS output_tokens,
           count(DISTINCT CASE WHEN cache = 'hit' THEN request_id END) AS hits,
           count(DISTINCT CASE WHEN cache IN ('hit', 'miss') THEN request_id END) AS cacheable,
           sum(failure IS NOT NULL) AS failed_attempts
    FROM request_logs WHERE ts >= ?"""
_MODELS = """
    SELECT model, provider, count(*) AS attempts, sum(failure IS NOT NULL) AS failures,
           coalesce(sum(cost_nano), 0) AS cost_nano, avg(latency_ms) AS latency_ms,
           avg(first_token_ms) AS first_token_ms
    FROM request_logs WHERE ts >= ? AND model IS NOT NULL GROUP BY model, provider ORDER BY attempts DESC LIMIT 100"""


def _summary(path: Path, since: float) -> dict[str, Any]:
    db = _open(path)
    try:
        totals = next(iter(db.query(_TOTALS, [since])))
        return {**totals, "models": list(db.query(_MODELS, [since]))}
    finally:
        db.conn.close()

"""What was decided of single requests: their rows in the ledger, and the explanations that callers asked for.

Explanations are an aid for people, not a record: the newest MAX_KEPT are kept, and a killed process may lose the last.
"""

import asyncio
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from .database import open_database

PAUSE = 0.2
"""Seconds explanations gather."""
MAX_KEPT = 10_000
MAX_WAITING = 500
MAX_BYTES = 256 * 1024
"""Of one explanation; a larger one is not kept."""

_PUT = "INSERT OR REPLACE INTO decisions (request_id, data) VALUES (?, ?)"
_PRUNE = "DELETE FROM decisions WHERE id <= (SELECT max(id) FROM decisions) - ?"
_FIND = "SELECT data FROM decisions WHERE request_id = ?"
_FIRST = "SELECT id, request_id FROM request_logs WHERE attempt <= 1 AND id < ? ORDER BY id DESC LIMIT ?"

Rows = list[dict[str, Any]]


class Decisions:
    """Keeps explanations. Use on one event loop; files are touched on other threads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.dropped = 0
        self._waiting: list[tuple[str, bytes]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._writing: asyncio.Task[None] | None = None

    def add(self, request_id: str, data: bytes) -> None:
        """Keep an explanation, given as JSON; never blocks. What is too large or too much is dropped and counted."""
        if len(data) > MAX_BYTES or len(self._waiting) >= MAX_WAITING:
            self.dropped += 1
            return
        self._waiting.append((request_id, data))
        if self._timer is None and self._writing is None:
            self._timer = asyncio.get_running_loop().call_later(PAUSE, self._start)

    async def flush(self) -> None:
        """Wait until what was handed over so far is in the file, or was refused."""
        if self._writing is not None:
            await self._writing
        if self._waiting and self._writing is None:
            self._start()
        if self._writing is not None:
            await self._writing

    async def find(self, request_id: str) -> tuple[Rows, bytes | None]:
        """A request's attempts, and its explanation as JSON if there is one. Raises sqlite3.Error."""
        await self.flush()
        return await asyncio.to_thread(_find, self.path, request_id)

    async def recent(self, before: int, limit: int) -> list[tuple[int, Rows]]:
        """The newest requests whose first row is older than row `before`, each with that row's number and all of its
        rows. Raises sqlite3.Error."""
        return await asyncio.to_thread(_recent, self.path, before, limit)

    def _start(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting, self._waiting = self._waiting, []
        self._writing = asyncio.get_running_loop().create_task(self._write(waiting))

    async def _write(self, waiting: Sequence[tuple[str, bytes]]) -> None:
        try:
            await asyncio.to_thread(_put, self.path, waiting)
        except sqlite3.Error:
            self.dropped += len(waiting)
        finally:
            self._writing = None
            if self._waiting:
                self._timer = asyncio.get_running_loop().call_later(PAUSE, self._start)


def _put(path: Path, waiting: Sequence[tuple[str, bytes]]) -> None:
    with closing(open_database(path).conn) as db, db:
        db.executemany(_PUT, waiting)
        db.execute(_PRUNE, (MAX_KEPT,))


def _find(path: Path, request_id: str) -> tuple[Rows, bytes | None]:
    with closing(open_database(path).conn) as db:
        found = db.execute(_FIND, (request_id,)).fetchone()
        return _rows(db, [request_id]).get(request_id, []), None if found is None else found[0]


def _recent(path: Path, before: int, limit: int) -> list[tuple[int, Rows]]:
    with closing(open_database(path).conn) as db:
        first = db.execute(_FIRST, (before, limit)).fetchall()
        rows = _rows(db, [request_id for _, request_id in first])
    return [(number, rows[request_id]) for number, request_id in first]


def _rows(db: sqlite3.Connection, ids: Sequence[str]) -> dict[str, Rows]:
    """The rows of these requests, in the order of their attempts."""
    marks = ", ".join("?" * len(ids))
    found = db.execute(f"SELECT * FROM request_logs WHERE request_id IN ({marks}) ORDER BY attempt", ids)  # noqa: S608
    columns = [column[0] for column in found.description]
    rows: dict[str, Rows] = {}
    for values in found:
        row = dict(zip(columns, values, strict=True))
        rows.setdefault(row["request_id"], []).append(row)
    return rows

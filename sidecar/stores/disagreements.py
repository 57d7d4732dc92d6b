"""What a shadow policy would have decided otherwise: the newest of it in memory for the status page, more in SQLite.

Written off the event loop in batches. These are notes for a person, not money: what the disk refuses is counted and
let go.
"""

import asyncio
import sqlite3
from collections import deque
from collections.abc import Sequence
from pathlib import Path

from msgspec import Struct
from msgspec.structs import astuple

from .database import open_database

PAUSE = 0.2
"""Seconds in which they gather."""
MAX_WAITING = 1000
KEPT = 10_000
"""Rows in the table: the newest."""
SHOWN = 20
"""How many are at hand in memory."""


class Disagreement(Struct, frozen=True):
    """One request that two policies decide differently, each as its hash. Texts are empty where there is nothing to
    say: no tier and no model when it was refused, no refusal when it was not. `ts` is Unix seconds."""

    ts: float
    request_id: str
    policy: str
    shadow: str
    tier: str
    shadow_tier: str
    model: str
    shadow_model: str
    refusal: str
    shadow_refusal: str


_COLUMNS = Disagreement.__struct_fields__
_INSERT = f"INSERT INTO shadow_disagreements ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"  # noqa: S608
_PRUNE = f"DELETE FROM shadow_disagreements WHERE id <= (SELECT max(id) FROM shadow_disagreements) - {KEPT}"  # noqa: S608


class Disagreements:
    """The table `shadow_disagreements` of a migrated file. Use on one event loop. `lost` are those that were not
    written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lost = 0
        self._newest: deque[Disagreement] = deque(maxlen=SHOWN)
        self._waiting: list[Disagreement] = []
        self._writing: asyncio.Task[None] | None = None

    def add(self, found: Disagreement) -> None:
        """Keep one; never blocks."""
        self._newest.appendleft(found)
        if len(self._waiting) >= MAX_WAITING:
            self.lost += 1
            return
        self._waiting.append(found)
        if self._writing is None:
            self._writing = asyncio.get_running_loop().create_task(self._drain(), name="shadow disagreements")

    @property
    def newest(self) -> list[Disagreement]:
        """The last ones of this process, newest first."""
        return list(self._newest)

    async def close(self) -> None:
        """Write what is left."""
        if self._writing is not None:
            await self._writing

    async def _drain(self) -> None:
        await asyncio.sleep(PAUSE)
        while self._waiting:
            rows, self._waiting = self._waiting, []
            try:
                await asyncio.to_thread(_write, self.path, rows)
            except sqlite3.Error:
                self.lost += len(rows)
        self._writing = None


def _write(path: Path, rows: Sequence[Disagreement]) -> None:
    conn = open_database(path).conn
    try:
        with conn:
            conn.executemany(_INSERT, map(astuple, rows))
            conn.execute(_PRUNE)
    finally:
        conn.close()

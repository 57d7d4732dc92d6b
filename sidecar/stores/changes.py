"""Tables that other processes write while the gateway runs: the command line revokes a key, the gateway hears of it.

Each such table has triggers that count its changes in the table `changes`; one small query, twice a second, tells.
"""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from pathlib import Path

from .database import open_database

EVERY = 0.4
"""Seconds between two looks: what is revoked must be refused within a second."""

Heard = Callable[[], Awaitable[None]]


class Changes:
    """Calls who asked for it when a table has changed. `run` runs as long as the gateway does."""

    def __init__(self, path: Path, log: Callable[[str, str, dict[str, object]], None]) -> None:
        self._log = log
        self.fault: str | None = None
        self._db = open_database(path)
        self._heard: dict[str, Heard] = {}
        self._seen = self._read()

    def hear(self, table: str, heard: Heard) -> None:
        """Call `heard` after each change of `table`, whoever made it; again at the next look while it raises
        sqlite3.Error."""
        self._heard[table] = heard

    async def run(self) -> None:
        """Look, for ever. While the file cannot be read `fault` says why, and so does the log, once."""
        while True:
            await asyncio.sleep(EVERY)
            await self.look()

    async def look(self) -> None:
        """Look now, and tell."""
        fault = None
        try:
            found = await asyncio.to_thread(self._read)
        except sqlite3.Error as error:
            self._tell(str(error))
            return
        for table, heard in self._heard.items():
            if found.get(table) != self._seen.get(table):
                try:
                    await heard()
                except sqlite3.Error as error:
                    fault = str(error)
                else:
                    self._seen[table] = found.get(table)
        self._tell(fault)

    def close(self) -> None:
        """Close the connection; `run` must have ended."""
        self._db.conn.close()

    def _tell(self, fault: str | None) -> None:
        if fault != self.fault:
            self.fault = fault
            self._log("info" if fault is None else "error", "changes", {"problem": fault or "mended"})

    def _read(self) -> dict[str, int | None]:
        return dict(self._db.execute("SELECT name, number FROM changes").fetchall())

"""The ledger in SQLite: WAL, written in batches by one thread of its own, read by short-lived connections.

A row is in the journal (`journal.py`) from `add` on, so a process may be killed at any time. A power cut may take the
last half minute: neither journal nor commit waits for the disk, and the file stays sound.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import chain
from math import inf
from pathlib import Path
from typing import Any

import msgspec

from ..threads import into_background
from .database import migrate, open_database
from .figures import summary
from .journal import Journal, replay
from .ledger import REMEMBERED, Row, Spent
from .rollups import Batch, Rollups

PAUSE = 0.2
"""Seconds rows gather: one commit for all of them costs what one for each would. Rows that wait are in the journal, so
this is about how often pages are written, and how late `summary` may be."""
MAX_WAITING = 200_000
"""Rows kept while the disk refuses; beyond that they are dropped and counted."""

_INT64 = 2**63 - 1
_COLUMNS = Row.__struct_fields__
CHUNK = 128
"""Most rows one statement inserts. The interpreter's lock is let go and taken again for each statement, not for each
row: while the event loop is busy, every such hand-over costs two switches of the thread."""

_VALUES = f"({', '.join('?' * len(_COLUMNS))})"
_INSERT = f"INSERT INTO request_logs ({', '.join(_COLUMNS)}) VALUES "  # noqa: S608
_STATEMENTS = {1 << n: _INSERT + ", ".join([_VALUES] * (1 << n)) for n in range(CHUNK.bit_length())}
"""By number of rows, powers of two only: few enough to stay prepared, so none is parsed twice."""
_CHARGE = """
    INSERT INTO budget_spend (budget, subject, minute, nano) VALUES (?, ?, ?, ?)
    ON CONFLICT DO UPDATE SET nano = min(nano + excluded.nano, 9223372036854775807)"""
_FORGET = "DELETE FROM budget_spend WHERE minute < ?"
_SPENDING = "SELECT budget, subject, minute, nano FROM budget_spend WHERE budget = ? AND minute >= ?"
_KNOWN = "SELECT 1 FROM request_logs WHERE request_id = ? AND attempt = ?"
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Row).decode


class SQLiteLedger:
    """Opens (and migrates) the file at once, so that a file that cannot be used is known before serving.

    Rows gather on the event loop; one thread writes what gathered. A thread woken for every row would take the
    interpreter from the loop thousands of times a second. Raises sqlite3.Error or OSError when it cannot be opened.
    `notices` says what was found in journals of processes that were killed.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.dropped = 0
        self._fault: str | None = None
        self._rows: list[Row] = []
        self._begun: dict[tuple[str, int], bytes] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._writing: asyncio.Task[None] | None = None
        path.parent.mkdir(parents=True, exist_ok=True)
        migrate(path)
        self._db = open_database(path)
        self._rollups = Rollups(self._db.conn)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ledger", initializer=into_background)
        self.notices = replay(path, self._restore)
        self._journal = Journal(path)

    @property
    def depth(self) -> int:
        """Rows waiting to be written."""
        return len(self._rows)

    @property
    def fault(self) -> str | None:
        """Why rows cannot be written now, or None."""
        return self._fault or self._journal.fault

    def add(self, row: Row, data: bytes | None = None) -> None:
        """Hand a row over; never blocks. From here on it survives the process, though not a power cut. `data` is the
        same as JSON, where it is at hand.

        Past MAX_WAITING rows are dropped and counted.
        """
        if self._begun:
            self._begun.pop((row.request_id, row.attempt), None)
        if len(self._rows) >= MAX_WAITING:
            self.dropped += 1
            return
        self._journal.add(_encode(row) if data is None else data)
        self._rows.append(row)
        if self._timer is None and self._writing is None:
            self._timer = asyncio.get_running_loop().call_later(PAUSE, self._start)

    def begin(self, row: Row) -> None:
        """Keep the row of an attempt that is about to be sent in the journal alone: `add` puts another in its place,
        and what nobody lived to settle is stored by the next start."""
        data = self._begun[row.request_id, row.attempt] = _encode(row)
        self._journal.add(data)

    async def spending(self, since: Mapping[str, float]) -> list[Spent]:
        """What was charged to the accounts of these budgets, each from a Unix time on; rows handed over up to this call
        are in it, and no later ones: the thread that is asked is the one that writes."""
        waiting = _charges(self._rows)
        loop = asyncio.get_running_loop()
        found = await loop.run_in_executor(self._thread, self._spending, since)
        late = [spent for spent in waiting if spent.minute >= since.get(spent.budget, inf) // 60]
        return [*found, *late]

    async def flush(self) -> None:
        """Wait until everything handed over so far was written, or the disk refused it."""
        if self._writing is not None:
            await self._writing
        if self._rows and self._writing is None:
            self._start()
        if self._writing is not None:
            await self._writing

    async def summary(self, since: float) -> Mapping[str, Any]:
        """Totals and per-model figures since the beginning of the hour that a Unix time is in."""
        return await asyncio.to_thread(summary, self.path, since)

    async def close(self) -> None:
        """Write what is left and end the thread. What the disk refuses is left to the next start."""
        await self.flush()
        if self._timer is not None:
            self._timer.cancel()
        self._thread.shutdown()
        self._db.conn.close()
        self._journal.close()

    def _start(self) -> None:
        """Hand what gathered to the thread; what comes meanwhile gathers for the next time."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        rows, self._rows = self._rows, []
        journaled = self._journal.turn()
        for data in self._begun.values():  # the part that they stand in is about to be used anew
            self._journal.add(data)
        self._writing = asyncio.get_running_loop().create_task(self._write(rows, journaled))

    async def _write(self, rows: list[Row], journaled: int) -> None:
        loop = asyncio.get_running_loop()
        try:
            if await loop.run_in_executor(self._thread, self._commit, rows):
                self._journal.done(journaled)
        finally:
            self._writing = None
            if self._rows:
                self._timer = loop.call_later(PAUSE, self._start)

    def _commit(self, rows: list[Row]) -> bool:
        """One transaction. On a fault the rows wait for the next try, and `fault` says why."""
        try:
            self._insert(rows)
        except sqlite3.Error as fault:
            self._fault = f"{self.path}: {fault}"
            self._rows[:0] = rows
            return False
        self._fault = None
        return True

    def _insert(self, rows: Sequence[Row]) -> None:
        try:
            self._execute(rows, msgspec.structs.astuple)
        except OverflowError:
            self._execute(rows, _storable)

    def _execute(self, rows: Sequence[Row], values: Callable[[Row], tuple[Any, ...]]) -> None:
        start, size, batch = 0, CHUNK, Batch()
        with self._db.conn:
            while start < len(rows):
                while size > len(rows) - start:
                    size //= 2
                chunk = list(map(values, rows[start : start + size]))
                batch.add(chunk)
                self._db.conn.execute(_STATEMENTS[size], list(chain.from_iterable(chunk)))
                start += size
            self._rollups.write(batch)
            if charges := _charges(rows):
                self._db.conn.executemany(_CHARGE, map(msgspec.structs.astuple, charges))

    def _spending(self, since: Mapping[str, float]) -> list[Spent]:
        with suppress(sqlite3.OperationalError), self._db.conn:  # another time will do as well
            self._db.conn.execute(_FORGET, [int((min(since.values()) - REMEMBERED) // 60)])
        asked = [(budget, int(ts // 60)) for budget, ts in since.items()]
        return [Spent(*row) for each in asked for row in self._db.conn.execute(_SPENDING, each)]

    def _restore(self, records: list[bytes]) -> tuple[int, int]:
        """Insert what a journal holds and the file lacks: a process may end between a commit and its journal's part.

        Returns how many rows were inserted and how many records are no rows.
        """
        rows: dict[tuple[str, int], Row] = {}
        unread = 0
        for record in records:
            try:
                row = _decode(record)
            except (msgspec.DecodeError, UnicodeDecodeError):
                unread += 1
            else:
                rows[row.request_id, row.attempt] = row
        new = [row for key, row in rows.items() if not self._db.conn.execute(_KNOWN, key).fetchone()]
        self._insert(new)
        return len(new), unread


def _charges(rows: Iterable[Row]) -> list[Spent]:
    """What rows cost the budgets that they name, one sum a minute."""
    sums: dict[tuple[str, int], int] = {}
    for row in rows:
        if row.budgets and row.cost_nano:
            for account in row.budgets.split(","):
                key = account, int(row.ts // 60)
                sums[key] = min(sums.get(key, 0) + row.cost_nano, _INT64)
    return [
        Spent(budget, subject, minute, nano)
        for (account, minute), nano in sums.items()
        for budget, _, subject in (account.partition("|"),)
    ]


def _storable(row: Row) -> tuple[Any, ...]:
    """A row whose integers fit: a provider may claim any number of tokens, and no row may hold up the others."""
    return tuple(min(max(v, -_INT64), _INT64) if isinstance(v, int) else v for v in msgspec.structs.astuple(row))

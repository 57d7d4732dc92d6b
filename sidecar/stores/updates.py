"""What updates of the registry leave in the database: the changelog, the pages that were believed, and who updates now.

Each call opens the file for itself: there are a few a day.
"""

import sqlite3
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from msgspec import Struct
from msgspec.structs import astuple

from .database import migrate, open_database

LEASE = "registry-update"


class Page(Struct, frozen=True):
    """A page as it was served, and what to send along when it is asked for again. `fetched_at` is an ISO date."""

    url: str
    etag: str | None
    last_modified: str | None
    sha256: str
    fetched_at: str
    page: bytes


class Entry(Struct, frozen=True):
    """A line of the changelog: `old` and `new` are JSON, `page` the sha256 of the page that said so."""

    ts: float
    source: str
    model: str
    field: str
    old: str | None
    new: str | None
    page: str
    action: str
    reason: str


class Updates:
    """The tables of one database file. Everything may raise sqlite3.Error."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def prepare(self) -> None:
        """Make the tables, if they are not there."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        migrate(self.path)

    def page(self, url: str) -> Page | None:
        """The last page of a URL that was believed."""
        found = self._read("SELECT * FROM registry_pages WHERE url = ?", [url])
        for url, etag, modified, sha256, fetched_at, page in found:
            return Page(url, etag, modified, sha256, fetched_at, zlib.decompress(page))
        return None

    def commit(self, entries: Sequence[Entry], pages: Sequence[Page], write: Callable[[], None]) -> None:
        """Keep pages and changelog with what `write` does: all of it, or when it raises, nothing."""
        with self._open() as db, db:
            db.execute("BEGIN IMMEDIATE")
            insert = f"INSERT INTO registry_changelog VALUES (NULL, {', '.join('?' * len(Entry.__struct_fields__))})"  # noqa: S608
            db.executemany(insert, map(astuple, entries))
            rows = [(*astuple(page)[:5], zlib.compress(page.page)) for page in pages]
            db.executemany("INSERT OR REPLACE INTO registry_pages VALUES (?, ?, ?, ?, ?, ?)", rows)
            write()

    def changelog(self, limit: int = 100) -> list[Entry]:
        """The last lines, newest first."""
        fields = ", ".join(Entry.__struct_fields__)
        found = self._read(f"SELECT {fields} FROM registry_changelog ORDER BY id DESC LIMIT ?", [limit])  # noqa: S608
        return [Entry(*row) for row in found]

    def claim(self, holder: str, now: float, until: float, tick: float | None = None) -> bool:
        """Become, or stay, the only one who updates until a Unix time. With `tick`, not if it was done since then."""
        with self._open() as db, db:
            taken = db.execute(
                "INSERT INTO leases VALUES (?, ?, ?, 0, '') ON CONFLICT (name) DO UPDATE "
                "SET holder = excluded.holder, until = excluded.until "
                "WHERE (holder IS NULL OR until < ? OR holder = excluded.holder) AND done < ?",
                (LEASE, holder, until, now, float("inf") if tick is None else tick),
            )
            return taken.rowcount == 1

    def release(self, holder: str, done: float | None = None, outcome: str = "") -> None:
        """Let others update. `done` and `outcome` are for those who want to know when and how it ended."""
        with self._open() as db, db:
            if done is not None:
                db.execute("UPDATE leases SET done = ?, outcome = ? WHERE holder = ?", (done, outcome, holder))
            db.execute("UPDATE leases SET holder = NULL, until = 0 WHERE holder = ?", (holder,))

    def last(self) -> tuple[float, str] | None:
        """When the last update ended, whoever made it, and how."""
        found = self._read("SELECT done, outcome FROM leases WHERE name = ? AND done > 0", [LEASE])
        return next((tuple(row) for row in found), None)

    def _read(self, query: str, values: list[Any]) -> list[Any]:
        """Rows; none where there is no such file, or none with these tables yet: reading makes neither."""
        if not self.path.exists():
            return []
        with self._open() as db:
            try:
                return db.execute(query, values).fetchall()
            except sqlite3.OperationalError as fault:
                if "no such table" in str(fault):
                    return []
                raise

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        db: sqlite3.Connection = open_database(self.path).conn
        try:
            yield db
        finally:
            db.close()

"""The vault's table: names and ciphertexts. What is in them, this file cannot tell.

Opened for one piece of work and closed again: the command line writes it, a gateway reads it when it has changed.
"""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

from .database import migrate, open_database


class SealedKey(Struct, frozen=True):
    """One row. Times are Unix seconds; `changed` is when the secret last became another."""

    name: str
    sealed: bytes
    created: float
    changed: float


class ProviderKeys:
    """The table in a database file, which is made when it is not there. All methods raise sqlite3.Error."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def rows(self) -> list[SealedKey]:
        """All of them, by name."""
        with self._opened(writes=False) as db:
            return _rows(db)

    def put(self, name: str, sealed: bytes, now: float) -> bool:
        """Keep a secret, in place of the one that had the name; whether there was one."""
        with self._opened() as db:
            known = db.execute("SELECT 1 FROM provider_keys WHERE name = ?", [name]).fetchone() is not None
            db.execute(
                "INSERT INTO provider_keys VALUES (?, ?, ?, ?) "
                "ON CONFLICT (name) DO UPDATE SET sealed = excluded.sealed, changed = excluded.changed",
                [name, sealed, now, now],
            )
        return known

    def remove(self, name: str) -> bool:
        """Take a secret out; whether it was there."""
        with self._opened() as db:
            return bool(db.execute("DELETE FROM provider_keys WHERE name = ?", [name]).rowcount)

    def seal_anew(self, again: Callable[[SealedKey], bytes]) -> int:
        """Replace every ciphertext by what `again` makes of its row, all or, when it raises, none; how many."""
        with self._opened() as db:
            rows = _rows(db)
            for row in rows:
                db.execute("UPDATE provider_keys SET sealed = ? WHERE name = ?", [again(row), row.name])
        return len(rows)

    @contextmanager
    def _opened(self, writes: bool = True) -> Iterator[sqlite3.Connection]:
        """One transaction; between what it reads and what it writes no other writer comes."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        migrate(self.path)
        db = open_database(self.path).conn
        try:
            db.execute("PRAGMA secure_delete = ON")
            db.execute("BEGIN IMMEDIATE" if writes else "BEGIN")
            yield db
            db.execute("COMMIT")
        finally:
            db.close()


def _rows(db: sqlite3.Connection) -> list[SealedKey]:
    found = db.execute("SELECT name, sealed, created, changed FROM provider_keys ORDER BY name").fetchall()
    return [SealedKey(*row) for row in found]

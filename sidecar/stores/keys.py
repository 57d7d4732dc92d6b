"""Gateway keys that the command line and the API make: a table of the gateway's database. No key is in it, only hashes.

What is revoked stays in the table, so that nothing that still names its hash can bring it back.
"""

import secrets
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct, field

from .base import Principal
from .database import migrate, open_database

TABLE = "gateway_keys"
"""Its name, and that of its changes."""
SHOWN = 8
"""Characters of a key that may be shown: enough to tell one's keys apart, too few to guess one."""


class DuplicateKeyError(Exception):
    """There is a key with this name (or, though nobody will live to see it, with this hash)."""


class StoredKey(Struct, frozen=True, kw_only=True):
    """One key of the table. `hash` is its SHA-256 as 64 hex digits, `prefix` its first SHOWN characters.

    Times are Unix seconds. `limits` are what is counted (requests or tokens), how many, and in how many seconds.
    `former` are the hashes that rotations replaced, with the time until which each still works. A key that is added
    revoked is a tombstone: it refuses a key of git with the same hash.
    """

    name: str
    hash: str
    prefix: str
    created: float
    id: str = field(default_factory=lambda: f"key_{secrets.token_hex(6)}")
    tenant: str = "default"
    labels: Mapping[str, str] = {}
    models: tuple[str, ...] = ()
    strategies: tuple[str, ...] = ()
    limits: tuple[tuple[str, int, float], ...] = ()
    expires: float | None = None
    revoked: float | None = None
    rotated: float | None = None
    former: tuple[tuple[str, float], ...] = ()

    def state(self, now: float) -> Literal["active", "expired", "revoked"]:
        """`active`, `expired` or `revoked`."""
        if self.revoked is not None:
            return "revoked"
        return "expired" if self.expires is not None and self.expires <= now else "active"

    def principals(self) -> dict[bytes, Principal]:
        """Who holds it, by the digest of each text that is, or was, the key."""
        holder = Principal(
            key=self.name,
            tenant=self.tenant,
            labels=self.labels,
            models=frozenset(self.models),
            strategies=self.strategies,
            limits=self.limits,
            expires=self.expires,
            revoked=self.revoked is not None,
        )
        found = {}
        for digest, until in self.former:
            end = until if self.expires is None else min(until, self.expires)
            found[bytes.fromhex(digest)] = msgspec.structs.replace(holder, expires=end)
        return {**found, bytes.fromhex(self.hash): holder}


_COLUMNS = StoredKey.__struct_fields__
_JSON = frozenset({"labels", "models", "strategies", "limits", "former"})
_NAMED = "(id = :key OR (name = :key AND NOT EXISTS (SELECT 1 FROM gateway_keys WHERE id = :key)))"


class KeyTable:
    """The table in the database at `path`, which is made or brought up to date. Calls block; one thread at a time.

    Every method may raise sqlite3.Error. Gateways on the same database hear of each change within a second.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        migrate(path)
        self._db = open_database(path).conn
        self._db.execute("PRAGMA synchronous = FULL")  # a power cut must not undo a revocation

    def add(self, key: StoredKey) -> None:
        """Store a key. Raises DuplicateKeyError when one that is not revoked has its name, or any its hash."""
        try:
            with self._db:
                self._db.execute(_INSERT, [_cell(getattr(key, column)) for column in _COLUMNS])
        except sqlite3.IntegrityError as fault:
            what = "this hash" if f"{TABLE}.hash" in str(fault) else f"the name `{key.name}`"
            raise DuplicateKeyError(f"there is a key with {what} already") from fault

    def all(self) -> list[StoredKey]:
        """Every key, revoked ones too, in the order they were made."""
        return self._select("ORDER BY created, rowid", {})

    def find(self, name_or_id: str) -> StoredKey | None:
        """The key with this name or id. Of several with one name the one that is not revoked, else the newest."""
        found = self._select(f"WHERE {_NAMED} ORDER BY revoked IS NULL, created, rowid", {"key": name_or_id})
        return found[-1] if found else None

    def revoke(self, name_or_id: str, at: float) -> bool:
        """Refuse the key from now on, and for good. False when there is none, or it was revoked before."""
        with self._db:
            sql = f"UPDATE gateway_keys SET revoked = :at WHERE {_NAMED} AND revoked IS NULL"  # noqa: S608
            return self._db.execute(sql, {"key": name_or_id, "at": at}).rowcount > 0

    def rotate(self, name_or_id: str, hash: str, prefix: str, at: float, grace_seconds: float) -> StoredKey | None:
        """Put a new hash in place of the key's, which works on for `grace_seconds`; limits and expiry stay.

        Returns the key as it is now; None when there is none, or it is revoked or expired.
        """
        with self._db:
            self._db.execute("BEGIN IMMEDIATE")
            key = self.find(name_or_id)
            if key is None or key.state(at) != "active":
                return None
            former = (*key.former, (key.hash, at + grace_seconds))
            changed = msgspec.structs.replace(key, hash=hash, prefix=prefix, rotated=at, former=former)
            self._db.execute(
                "UPDATE gateway_keys SET hash = ?, prefix = ?, rotated = ?, former = ? WHERE id = ?",
                [hash, prefix, at, _cell(former), key.id],
            )
        return changed

    def close(self) -> None:
        """Close the connection."""
        self._db.close()

    def _select(self, clause: str, values: Mapping[str, Any]) -> list[StoredKey]:
        return _select(self._db, clause, values)


def read_keys(path: Path) -> dict[bytes, Principal]:
    """Every key of the database at `path` as look-ups want them. Blocks; raises sqlite3.Error."""
    with closing(KeyTable(path)) as table:
        return {digest: holder for key in table.all() for digest, holder in key.principals().items()}


def holders(path: Path) -> dict[str, Principal]:
    """Who holds, or held, the key of each name, as if it were good. Only reads the database at `path`; raises
    sqlite3.Error."""
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=5)) as db:
        keys = _select(db, "ORDER BY revoked IS NULL, created, rowid", {})
    good = [msgspec.structs.replace(key, revoked=None, expires=None) for key in keys]
    return {key.name: holder for key in good for holder in list(key.principals().values())[-1:]}


_INSERT = f"INSERT INTO gateway_keys ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"  # noqa: S608


def _select(db: sqlite3.Connection, clause: str, values: Mapping[str, Any]) -> list[StoredKey]:
    rows = db.execute(f"SELECT {', '.join(_COLUMNS)} FROM gateway_keys {clause}", values)  # noqa: S608
    return [_stored(dict(zip(_COLUMNS, row, strict=True))) for row in rows.fetchall()]


def _cell(value: Any) -> Any:
    return msgspec.json.encode(value).decode() if isinstance(value, (Mapping, tuple)) else value


def _stored(row: dict[str, Any]) -> StoredKey:
    """A row as a key. What somebody else wrote and nobody can read is a fault of the file."""
    try:
        return msgspec.convert({c: msgspec.json.decode(v) if c in _JSON else v for c, v in row.items()}, StoredKey)
    except (msgspec.DecodeError, TypeError) as fault:
        raise sqlite3.DatabaseError(f"{TABLE}: key `{row['name']}`: {fault}") from fault

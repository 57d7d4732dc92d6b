"""Where the keys of `sidecar keys` are: those that git declares and those of the database, seen as one list."""

import os
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from msgspec import Struct

from ..config.codes import Code
from ..engine.callers import key_digest
from ..gateway import Gateway
from ..identity.jwt import WeakKeyError
from ..identity.secrets import MissingError, resolve
from ..link import declared_keys
from ..policy import Loaded, Policy
from ..stages.keys import Key
from ..stages.rates import written
from ..stores.base import Principal
from ..stores.keys import KeyTable, StoredKey
from ..stores.memory import stricter
from .config import default_path, read


class RefusedError(Exception):
    """It cannot be done: what to say, and the exit code."""

    def __init__(self, text: str, code: int = 1) -> None:
        super().__init__(text)
        self.code = code


class Declared(Struct, frozen=True):
    """A key of git, where it stands, and its digest; None when its secret cannot be read here."""

    key: Key
    place: str
    digest: bytes | None


class Home(Struct, frozen=True):
    """The configuration, if there is one without errors, and the database's file, if one is known."""

    policy: Policy | None
    database: Path | None

    def declared(self) -> Iterator[Declared]:
        """The keys that git declares."""
        if self.policy is None:
            return
        for linked, index, key in declared_keys([*self.policy.stages, *self.policy.parts]):
            try:
                digest = key_digest(key, lambda reference: resolve(reference, os.environ))
            except (MissingError, WeakKeyError):
                digest = None
            place = linked.place(("keys", index, "name"))
            yield Declared(key, f"{place.file}:{place.line}", digest)

    @property
    def file(self) -> Path:
        """The database's file, be it there or not. Raises RefusedError."""
        if self.database is None:
            raise RefusedError(f"there is no {default_path()} here: name it with --config, or a --database", 2)
        return self.database

    def table(self) -> KeyTable:
        """The table of the database, which is made if it is not there. Raises RefusedError."""
        try:
            return KeyTable(self.file)
        except (OSError, sqlite3.Error) as fault:
            raise RefusedError(f"the database {self.database} cannot be used: {fault}", 2) from fault

    def stored(self) -> list[StoredKey]:
        """All keys of the database; none when the file is not there yet."""
        if self.database is None or not self.database.exists():
            return []
        with closing(self.table()) as table:
            return table.all()


def find_home(config: Path | None, database: Path | None) -> Home:
    """What the options name. A configuration with errors does not hide the keys of a database that is named."""
    path = config or default_path()
    if config is None and not path.exists():
        by_name = Gateway().ledger(path, os.environ) if "SIDECAR_DATABASE_URL" in os.environ else None
        return Home(None, database or by_name)
    loaded = read(config, strict=False, quiet=True)
    if loaded.policy is None:
        if database is None:
            raise RefusedError(f"{path} has errors; --database FILE does without it")
        return Home(None, database)
    if database is None and _unknown_database(loaded, loaded.policy):
        raise RefusedError(f"{path}: `database` names a variable that is not set; --database FILE does without it")
    return Home(loaded.policy, database or loaded.policy.gateway.spec.ledger(path, os.environ))


def _unknown_database(loaded: Loaded, policy: Policy) -> bool:
    """Whether the database's path is made of a variable that is not set here: a stand-in is no place for keys."""
    place = policy.gateway.place(("database",))
    unset = [f.place for f in loaded.findings if f.code is Code.UNSET_VARIABLE]
    named = not os.environ.get("SIDECAR_DATABASE_URL")
    return named and any((found.file, found.line) == (place.file, place.line) for found in unset)


class Listed(Struct, frozen=True):
    """One key as `sidecar keys list` shows it: `source` is the line that declares it, or the database's file; `shown`
    is what may be seen of it, its first characters or its hash's. Times are ISO 8601, in UTC."""

    name: str
    id: str | None
    source: str
    shown: str
    tenant: str
    state: str
    labels: Mapping[str, str]
    models: Sequence[str]
    strategies: Sequence[str]
    limits: Sequence[Mapping[str, str]]
    created: str | None
    expires: str | None
    revoked: str | None
    rotated: str | None


def every_key(home: Home, now: float) -> list[Listed]:
    """All keys, those of git first; one that stands in both places is one, and ends when either ends it."""
    stored = home.stored()
    twins = {digest: (key, holder) for key in stored for digest, holder in key.principals().items()}
    rows: list[Listed] = []
    declared = list(home.declared())
    for entry in declared:
        holder, twin = entry.key.principal(), None
        if entry.digest in twins:
            twin, of_table = twins[entry.digest]
            holder = stricter(holder, of_table)
        text = entry.key.secret or f"sha256:{(entry.key.hash or '')[7:15]}..."
        rows.append(_row(holder, twin, entry.place, text, now))
    known = {entry.digest for entry in declared}
    for key in stored:
        digest = bytes.fromhex(key.hash)
        if digest not in known:
            text = f"{key.prefix}..." if key.prefix else f"sha256:{key.hash[:8]}..."
            rows.append(_row(key.principals()[digest], key, str(home.database), text, now))
    return rows


def _row(holder: Principal, stored: StoredKey | None, source: str, shown: str, now: float) -> Listed:
    ended = holder.expires is not None and holder.expires <= now
    return Listed(
        name=holder.key,
        id=None if stored is None else stored.id,
        source=source,
        shown=shown,
        tenant=holder.tenant,
        state="revoked" if holder.revoked else "expired" if ended else "active",
        labels=holder.labels,
        models=sorted(holder.models),
        strategies=holder.strategies,
        limits=[{what: written(count, period)} for what, count, period in holder.limits],
        created=None if stored is None else moment(stored.created),
        expires=moment(holder.expires),
        revoked=None if stored is None else moment(stored.revoked),
        rotated=None if stored is None else moment(stored.rotated),
    )


def moment(at: float | None) -> str | None:
    """Unix seconds as a `Moment` of the configuration."""
    return None if at is None else f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%SZ}"

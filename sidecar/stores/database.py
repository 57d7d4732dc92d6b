"""The gateway's database file: how it is opened, and how an older one becomes one of today.

The ledger, the gateway keys, the vault and the roll-ups are tables of one SQLite file, so that one copy of it is all
there is to keep.
"""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from sqlite_utils import Database

from . import rollups


def counted(table: str) -> str:
    """Triggers that count every change of a table in `changes`, for those who listen (`stores/changes.py`)."""
    count = f"INSERT INTO changes VALUES ('{table}', 1) ON CONFLICT (name) DO UPDATE SET number = number + 1;"  # noqa: S608
    return "".join(
        f"CREATE TRIGGER {table}_{change} AFTER {change.upper()} ON {table} BEGIN {count} END;"
        for change in ("insert", "update", "delete")
    )


MIGRATIONS: tuple[str | Callable[[sqlite3.Connection], None], ...] = (
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
    """
    CREATE TABLE changes (name TEXT PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID;
    """,
    """
    CREATE TABLE gateway_keys (
        id TEXT PRIMARY KEY,
        name TEXT NOT NULL,
        hash TEXT NOT NULL UNIQUE CHECK (length(hash) = 64),
        prefix TEXT NOT NULL,
        tenant TEXT NOT NULL,
        labels TEXT NOT NULL, models TEXT NOT NULL, strategies TEXT NOT NULL, limits TEXT NOT NULL,
        created REAL NOT NULL, expires REAL, revoked REAL, rotated REAL,
        former TEXT NOT NULL
    );
    CREATE UNIQUE INDEX gateway_keys_name ON gateway_keys (name) WHERE revoked IS NULL;
    """
    + counted("gateway_keys"),
    """
    CREATE TABLE registry_changelog (
        id INTEGER PRIMARY KEY,
        ts REAL NOT NULL,
        source TEXT NOT NULL, model TEXT NOT NULL, field TEXT NOT NULL,
        old TEXT, new TEXT,
        page TEXT NOT NULL,
        action TEXT NOT NULL, reason TEXT NOT NULL
    );
    CREATE INDEX registry_changelog_model ON registry_changelog (model, ts);
    CREATE TABLE registry_pages (
        url TEXT PRIMARY KEY, etag TEXT, last_modified TEXT,
        sha256 TEXT NOT NULL, fetched_at TEXT NOT NULL, page BLOB NOT NULL
    );
    CREATE TABLE leases (
        name TEXT PRIMARY KEY, holder TEXT, until REAL NOT NULL, done REAL NOT NULL, outcome TEXT NOT NULL
    ) WITHOUT ROWID;
    """,
    """
    CREATE TABLE provider_keys (
        name TEXT PRIMARY KEY,
        sealed BLOB NOT NULL,
        created REAL NOT NULL,
        changed REAL NOT NULL
    ) WITHOUT ROWID;
    """
    + counted("provider_keys"),
    """
    ALTER TABLE request_logs ADD COLUMN budgets TEXT NOT NULL DEFAULT '';
    CREATE TABLE budget_spend (
        budget TEXT NOT NULL, subject TEXT NOT NULL, minute INTEGER NOT NULL, nano INTEGER NOT NULL,
        PRIMARY KEY (budget, subject, minute)
    ) WITHOUT ROWID;
    """,
    rollups.make,
    """
    CREATE TABLE decisions (id INTEGER PRIMARY KEY, request_id TEXT NOT NULL UNIQUE, data BLOB NOT NULL);
    """,
    """
    CREATE TABLE shadow_disagreements (
        id INTEGER PRIMARY KEY,
        ts REAL NOT NULL,
        request_id TEXT NOT NULL,
        policy TEXT NOT NULL, shadow TEXT NOT NULL,
        tier TEXT NOT NULL, shadow_tier TEXT NOT NULL,
        model TEXT NOT NULL, shadow_model TEXT NOT NULL,
        refusal TEXT NOT NULL, shadow_refusal TEXT NOT NULL
    );
    """,
    """
    ALTER TABLE request_logs ADD COLUMN features BLOB;
    CREATE TABLE fingerprint_key (id INTEGER PRIMARY KEY CHECK (id = 1), key BLOB NOT NULL);
    """,
    # By time first: what a start reads and forgets are ranges, and what is written goes to one place.
    """
    ALTER TABLE budget_spend RENAME TO spend_by_budget;
    CREATE TABLE budget_spend (
        minute INTEGER NOT NULL, budget TEXT NOT NULL, subject TEXT NOT NULL, nano INTEGER NOT NULL,
        PRIMARY KEY (minute, budget, subject)
    ) WITHOUT ROWID;
    INSERT INTO budget_spend SELECT minute, budget, subject, nano FROM spend_by_budget ORDER BY 1, 2, 3;
    DROP TABLE spend_by_budget;
    """,
    rollups.sum_days,
)
"""Statements, or what executes them; numbered by place. `PRAGMA user_version` says how many a file has had."""


def open_database(path: Path) -> Database:
    """A connection: WAL, so that reading and writing do not wait for each other. A file that is not there is made, for
    its owner alone: it holds hashes of keys, the key of fingerprints, and prompts where they are kept. Raises
    sqlite3.Error."""
    with suppress(OSError):  # it is there, or SQLite will say why not
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    db = Database(sqlite3.connect(path, timeout=5, check_same_thread=False))
    db.enable_wal()
    db.execute("PRAGMA synchronous = NORMAL")
    return db


def migrate(path: Path) -> None:
    """Bring the file up to today's tables; one that is not there is made. Raises sqlite3.Error.

    Processes that start together take turns: the version is read again by whoever may write.
    """
    conn = open_database(path).conn
    try:
        if _version(conn, path) < len(MIGRATIONS):
            with conn:
                conn.execute("BEGIN IMMEDIATE")
                for step in MIGRATIONS[_version(conn, path) :]:
                    _take(step, conn)
                conn.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
    finally:
        conn.close()


def _take(step: str | Callable[[sqlite3.Connection], None], conn: sqlite3.Connection) -> None:
    if callable(step):
        step(conn)
    else:
        for statement in _statements(step):
            conn.execute(statement)


def _version(conn: sqlite3.Connection, path: Path) -> int:
    version: int = conn.execute("PRAGMA user_version").fetchone()[0]
    if version > len(MIGRATIONS):
        raise sqlite3.DatabaseError(f"{path}: written by a newer version (schema {version})")
    return version


def _statements(script: str) -> Iterator[str]:
    """One by one: Python's `executescript` would commit what is under way. Triggers have semicolons inside."""
    statement = ""
    for part in script.split(";")[:-1]:
        statement += f"{part};"
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""

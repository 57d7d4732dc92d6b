"""Past requests, read from a ledger that somebody else may be writing: oldest first, each with all of its attempts."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import msgspec
from msgspec import Struct

from ..chat import Usage
from ..stores.vector import Vector, decode

BATCH = 2000
"""Rows asked for at once."""


class Attempted(Struct, frozen=True, gc=False):
    """One row of the ledger, as far as a replay looks at it."""

    ts: float
    request_id: str
    attempt: int
    outcome: str
    requested_model: str
    tenant: str
    key_name: str
    model: str | None
    provider: str | None
    tier: str | None
    rule: str | None
    stream: int
    failure: str | None
    finish_reason: str | None
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    cache_write_tokens: int
    reasoning_tokens: int
    cost_nano: int | None
    latency_ms: float
    policy: str
    features: bytes | None

    @property
    def usage(self) -> Usage:
        """What was counted. A row does not tell sound, images and the long cache retention apart."""
        return Usage(
            self.input_tokens,
            self.output_tokens,
            self.cached_tokens,
            cache_write_5m_tokens=self.cache_write_tokens,
            reasoning_tokens=self.reasoning_tokens,
        )


class Past(Struct, gc=False):
    """One request: its rows by attempt, and its vector, if one was kept."""

    rows: list[Attempted]
    vector: Vector | None

    @property
    def first(self) -> Attempted:
        """The row that stands for the request."""
        return self.rows[0]

    @property
    def last(self) -> Attempted:
        """The row of what the caller got."""
        return self.rows[-1]

    @property
    def hit(self) -> bool:
        """Whether it was answered from the cache."""
        return self.rows[0].outcome == "hit"


_ROWS = f"""
    SELECT {", ".join(Attempted.__struct_fields__)} FROM request_logs
    WHERE ts >= ? ORDER BY ts, request_id, attempt"""  # noqa: S608
_ONE = f"""
    SELECT {", ".join(Attempted.__struct_fields__)} FROM request_logs
    WHERE request_id = ? ORDER BY attempt"""  # noqa: S608
_EXPLAINED = "SELECT data FROM decisions WHERE request_id = ?"
_ANSWERS = """
    SELECT model, output_tokens, count(*), sum(latency_ms) FROM request_logs
    WHERE ts >= ? AND attempt > 0 AND failure IS NULL AND model IS NOT NULL GROUP BY 1, 2 ORDER BY 1, 2"""


class Ledger:
    """A ledger's file, opened to read. Raises sqlite3.Error, also from its methods."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with closing(self._open()) as db:
            db.execute(_ONE, [""])

    def since(self, ts: float) -> Iterator[Past]:
        """Every request that came since a Unix time, in the order they came."""
        with closing(self._open()) as db:
            cursor = db.execute(_ROWS, [ts])
            rows: list[Attempted] = []
            while batch := cursor.fetchmany(BATCH):
                for values in batch:
                    if rows and rows[0].request_id != values[1]:
                        yield _past(rows)
                        rows = []
                    rows.append(Attempted(*values))
            if rows:
                yield _past(rows)

    def one(self, request_id: str) -> Past | None:
        """One request by its id."""
        with closing(self._open()) as db:
            rows = [Attempted(*values) for values in db.execute(_ONE, [request_id])]
        return _past(rows) if rows else None

    def explained(self, request_id: str) -> bytes | None:
        """The explanation that was asked for when it was decided, as JSON."""
        with closing(self._open()) as db:
            found = db.execute(_EXPLAINED, [request_id]).fetchone()
        return None if found is None else bytes(found[0])

    def answers(self, ts: float) -> list[tuple[str, int, int, float]]:
        """Model, output tokens, and of the answers that had so many: their number and milliseconds together."""
        with closing(self._open()) as db:
            return db.execute(_ANSWERS, [ts]).fetchall()

    def _open(self) -> sqlite3.Connection:
        return sqlite3.connect(f"{self.path.absolute().as_uri()}?mode=ro", uri=True, timeout=5)


def _past(rows: list[Attempted]) -> Past:
    data = rows[0].features
    try:
        return Past(rows, None if data is None else decode(data))
    except msgspec.DecodeError:  # of a later version
        return Past(rows, None)


def unreadable(path: Path, fault: sqlite3.Error) -> str:
    """Why a ledger cannot be read, for its user."""
    said = str(fault)
    if not path.exists():
        return f"{path}: no such file"
    help_ = next((help_ for begin, help_ in _HELP.items() if said.startswith(begin)), "")
    return f"{path}: {said}{help_}"


_HELP = {
    "no such column": " (an older gateway wrote it: start today's once, it brings the file up to date)",
    "no such table": " (no gateway keeps its ledger there)",
}

"""What the ledger holds: one row per attempt, tied together by the request's id. No prompt, no answer, no key."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from msgspec import Raw, Struct

REMEMBERED = 32 * 86400
"""Seconds for which a ledger knows what budgets spent: as long as the longest month, and a day."""

NO_FEATURES = Raw(b"null")
"""What a row without features has."""


class Row(Struct, frozen=True, omit_defaults=True, gc=False):
    """One attempt, and a request's line in the log.

    `attempt` 0 is an answer that needed none (a cache hit) or a request that was refused. Times are milliseconds,
    `ts` Unix seconds, `cost_nano` nano-USD (null: the model has no price). `budgets` names the accounts that the
    cost was charged to: `<budget>|<subject>`, with commas between. `features` is a `vector.Vector` as JSON, on the
    first row of a request; it stays the last field, for the log's line is the row up to there.
    """

    ts: float
    request_id: str
    attempt: int
    outcome: str
    surface: str
    requested_model: str
    tenant: str
    key_name: str
    model: str | None = None
    provider: str | None = None
    tier: str | None = None
    rule: str | None = None
    strategy: str | None = None
    stream: int = 0
    cache: str = "disabled"
    failure: str | None = None
    status: int | None = None
    finish_reason: str | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    estimated: int = 0
    cost_nano: int | None = None
    latency_ms: float = 0.0
    first_token_ms: float | None = None
    overhead_ms: float | None = None
    policy: str = ""
    budgets: str = ""
    features: Raw = NO_FEATURES


class Spent(Struct, frozen=True):
    """What was spent on one account of a budget within one minute: Unix minutes, nano-USD."""

    budget: str
    subject: str
    minute: int
    nano: int


class Ledger(Protocol):
    """A durable, append-only record of attempts. `add` never blocks."""

    @property
    def depth(self) -> int:
        """Rows waiting to be written."""

    @property
    def fault(self) -> str | None:
        """Why rows cannot be written, or would not survive a killed process, or None."""

    def add(self, row: Row, data: bytes | None = None) -> None:
        """Hand a row over: from here on it survives a killed process. `data` is its JSON, where that is at hand."""

    def begin(self, row: Row) -> None:
        """An attempt that is about to be sent, at the most it may cost: its row, should the process be killed before
        `add` is told of the same attempt."""

    async def spending(self, since: Mapping[str, float]) -> Sequence[Spent]:
        """What was charged to the accounts of these budgets, each from a Unix time on."""

    async def flush(self) -> None:
        """Wait until everything handed over is on disk."""

    async def summary(self, since: float) -> Mapping[str, Any]:
        """Totals and per-model figures since a time, or a little before it."""

    async def close(self) -> None:
        """Flush, then stop."""

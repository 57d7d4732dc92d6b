"""What the database tells the status page: every field is named and described here, and nothing in it is a secret."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

Unix = Annotated[float, Meta(description="Unix time in seconds.")]
Dollars = Annotated[str, Meta(description="US dollars as exact decimal text.", examples=["0.0375"])]
Estimate = Annotated[float | None, Meta(description="Milliseconds, from a histogram; null without attempts.")]


class SavedStatus(Struct, frozen=True):
    """What was saved against sending everything to the strongest model, by its base prices of today."""

    model: str
    saved_usd: Annotated[str, Meta(description="US dollars as exact decimal text; negative when it was dearer.")]
    share: Annotated[float | None, Meta(description="Saved by what it would have cost; null when that is nothing.")]


class WindowStatus(Struct, frozen=True):
    """Figures of a stretch of whole hours up to now."""

    since: Unix
    requests: int
    attempts: int
    failures: Annotated[int, Meta(description="Attempts that failed.")]
    repeated: Annotated[int, Meta(description="Attempts after a request's first: retries, fallbacks and hedges.")]
    cost_usd: Dollars
    latency_p50_ms: Estimate
    latency_p95_ms: Estimate
    latency_p99_ms: Estimate
    saved: SavedStatus | None


class DayCost(Struct, frozen=True):
    """What one model cost on one day (UTC)."""

    day: Unix
    model: str
    cost_usd: Dollars


class HourStatus(Struct, frozen=True):
    """One hour."""

    at: Unix
    requests: int
    failures: int
    latency_p50_ms: Estimate
    latency_p95_ms: Estimate


class NamedStatus(Struct, frozen=True):
    """The last 24 hours of one tier or tenant."""

    name: str
    requests: int
    cost_usd: Dollars


class HistoryStatus(Struct, frozen=True):
    """The roll-ups' figures."""

    day: WindowStatus
    week: WindowStatus
    costs: Annotated[list[DayCost], Meta(description="Of the last 14 days.")]
    hours: Annotated[list[HourStatus], Meta(description="Of the last 24 that had requests, the oldest first.")]
    tiers: list[NamedStatus]
    tenants: list[NamedStatus]


class GatewayKeyStatus(Struct, frozen=True):
    """One gateway key, never its text. `prefix` is what may be shown of it; keys in git are known by their hash."""

    name: str
    tenant: str
    prefix: str | None
    kept: Annotated[Literal["git", "database"], Meta(description="Where it is declared.")]
    state: Literal["active", "expired", "revoked"]
    expires: float | None


class ChangeStatus(Struct, frozen=True):
    """One line of the registry's changelog: what an update found and did. `old` and `new` are JSON."""

    at: Unix
    source: str
    model: str
    field: str
    old: str | None
    new: str | None
    action: str
    reason: str


class TryStatus(Struct, frozen=True):
    """One attempt of a request."""

    model: str
    provider: str
    outcome: str
    tokens: Annotated[int, Meta(description="Input and output.")]
    cost_usd: str | None
    latency_ms: float


class DecisionStatus(Struct, frozen=True):
    """One request: what was asked for, the way it went, and each attempt that followed. No prompt, no answer."""

    id: str
    at: Unix
    tenant: str
    requested: str
    tier: str | None
    rule: str | None
    strategy: str | None
    cache: str
    trace: Annotated[list[tuple[str, str]], Meta(description="Stage and outcome; empty when it is forgotten.")]
    dropped: Annotated[list[tuple[str, str]], Meta(description="Models and why not; of explained requests.")]
    attempts: list[TryStatus]


class RecordStatus(Struct, frozen=True):
    """What stands in the database."""

    history: HistoryStatus
    keys: list[GatewayKeyStatus]
    keys_omitted: int
    changes: Annotated[list[ChangeStatus], Meta(description="The newest first.")]
    decisions: Annotated[list[DecisionStatus], Meta(description="The newest first.")]

"""One request's mutable record: what stages read and write on their way, and the trace of that way."""

from collections.abc import Mapping
from typing import Any, Protocol

from msgspec import Struct, field

from .chat import ChatRequest, Failure, FailureKind, Problem, Usage
from .features import Features
from .identity.keys import digest
from .registry.index import Model
from .stores.base import Counter, Entry, Principal, Quota, State
from .telemetry.context import Context


class Plan(Struct, frozen=True):
    """How the chain is to be tried: seconds, and counts of tries beyond the first.

    `retry` are the failures after which the same model is tried again, `fall_back` those after which the next may be.
    `hedge` is when the next is asked as well; 0 means the model's own p95, None never.
    """

    retries: int = 1
    backoff_initial: float = 0.25
    backoff_max: float = 4.0
    connect: float = 5.0
    first_token: float = 60.0
    answer: float = 300.0
    idle: float = 60.0
    total: float = 600.0
    retry: frozenset[FailureKind] = frozenset()
    fall_back: frozenset[FailureKind] = frozenset()
    hedge: float | None = None


class Meter(Protocol):
    """Something that bounds the attempts of one call: a budget, a provider's quota. A stage puts it on the call; the
    engine asks it before every attempt, first tries, retries, fallbacks and hedges alike."""

    def enter(self, model: Model, attempt: int) -> Failure | None:
        """Take the most that this attempt may need; or say why it may not be sent, and take nothing."""

    def leave(self, attempt: int, usage: Usage | None, nano: int | None) -> None:
        """The attempt is over: keep what it really took and give back the rest. `nano` is what it cost, None
        for a model without a price; `usage` is None when the attempt was not sent after all, for another meter refused
        it. An attempt that never entered is none of its business."""


class Purse(Meter, Protocol):
    """The meter of a call that has budgets. It knows beforehand what they can pay for."""

    @property
    def accounts(self) -> str:
        """The accounts that the call is charged to, as the ledger names them."""

    def afford(self) -> Problem | None:
        """Take out of the call's chain what cannot be paid for, or say why nothing can be."""


class Call(Struct):
    """A request on its way through the graph. `now` is Unix time, read once: stages have no clock.

    `timeout` are the seconds its caller gives it. `charged` is what limits were taken: the counter, how much, and of
    what: `tokens` are corrected by what was used, `asked` counts once a provider was asked, `requests` whatever comes
    of them. `meters` are asked before every attempt, and `purse` is the one among them that pays. `context` is its
    place in a trace, None where nobody traces. `patterns` are regular expressions that were searched for, and whether
    they were found.
    """

    id: str
    chat: ChatRequest
    features: Features
    state: State
    now: float
    raw: bytes = b""
    model: str = ""
    ip: str = ""
    credential: str = ""
    digest: bytes = b""
    context: Context | None = None
    local: bool = False
    timeout: float | None = None
    principal: Principal | None = None
    tier: str = ""
    rule: str = ""
    patterns: dict[str, bool] | None = None
    strategy: str = ""
    chain: list[Model] = field(default_factory=list)
    plan: Plan = Plan()
    dropped: list[tuple[str, str]] = field(default_factory=list)
    refusal: Problem | None = None
    cache: str = "disabled"
    cache_key: bytes | None = None
    cache_ttl: float = 0.0
    hit: Entry | None = None
    quotas: dict[str, Quota] = field(default_factory=dict)
    charged: list[tuple[Counter, int, str]] = field(default_factory=list)
    meters: list[Meter] = field(default_factory=list)
    purse: Purse | None = None
    trace: list[tuple[str, str]] = field(default_factory=list)
    details: dict[str, Any] | None = None

    def key_digest(self) -> bytes:
        """The digest of the gateway key that was presented, made once; empty when there was none."""
        if not self.digest and self.credential:
            self.digest = digest(self.credential)
        return self.digest

    @property
    def explained(self) -> bool:
        """Whether the caller asked for an explanation and is one whom the policy knows, or let in."""
        return self.details is not None and (self.refusal is None or self.principal is not None)

    @property
    def headers(self) -> Mapping[str, str]:
        """The caller's headers, names in lower case."""
        return self.features.headers

    def note(self, node: str, detail: Any) -> None:
        """What `explain` shows for a node; nothing is kept when nobody asked."""
        if self.details is not None:
            self.details[node] = detail

"""One request's mutable record: what stages read and write on their way, and the trace of that way."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct, field

from .chat import ChatRequest, FailureKind, Problem
from .features import Features
from .identity.keys import digest
from .registry.index import Model
from .stores.base import Entry, Principal, Quota, State


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


class Call(Struct):
    """A request on its way through the graph. `now` is Unix time, read once: stages have no clock.

    `timeout` are the seconds its caller gives it. `charged` is what limits were taken: the counter, how much, and of
    what (requests or tokens).
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
    local: bool = False
    timeout: float | None = None
    principal: Principal | None = None
    tier: str = ""
    rule: str = ""
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
    charged: list[tuple[str, int, str]] = field(default_factory=list)
    trace: list[tuple[str, str]] = field(default_factory=list)
    details: dict[str, Any] | None = None

    def key_digest(self) -> bytes:
        """The digest of the gateway key that was presented, made once; empty when there was none."""
        if not self.digest and self.credential:
            self.digest = digest(self.credential)
        return self.digest

    @property
    def headers(self) -> Mapping[str, str]:
        """The caller's headers, names in lower case."""
        return self.features.headers

    def note(self, node: str, detail: Any) -> None:
        """What `explain` shows for a node; nothing is kept when nobody asked."""
        if self.details is not None:
            self.details[node] = detail

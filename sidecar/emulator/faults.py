"""What a user may script to go wrong: which requests fail, how, and how often. Reproducible: every draw is seeded."""

from typing import Annotated, Literal

from msgspec import Meta

from ..spec import Count, Duration, Ratio, Spec
from .draw import Draw
from .prompt import Prompt
from .script import Match

FaultName = Literal[
    "bad_request",
    "authentication",
    "permission",
    "not_found",
    "request_timeout",
    "too_large",
    "rate_limited",
    "quota",
    "server_error",
    "bad_gateway",
    "unavailable",
    "overloaded",
    "context_overflow",
    "content_filter",
    "stream_error",
    "malformed",
    "truncated",
    "reset",
    "first_token_timeout",
    "idle_timeout",
    "empty",
    "slow",
]

_INSIDE = frozenset({"stream_error", "malformed", "truncated", "reset", "idle_timeout"})
_WAITING = frozenset({"rate_limited", "overloaded", "unavailable"})
_WORDLESS = frozenset({"malformed", "truncated", "reset", "first_token_timeout", "idle_timeout", "empty", "slow"})
_FULL = 1 << 64


class Fault(Spec, frozen=True):
    """One way to fail. `probability` is drawn for every request that fits; it strikes at most `times` times.

    `after` is the number of content chunks a stream sends first; one longer than the answer strikes before its end.
    `retry_after` becomes the header of that name. `message` is the text of the provider's error, where it sends one.
    `delay` passes before the first byte.
    """

    fault: FaultName
    match: Match = Match()
    probability: Ratio = 1.0
    times: Annotated[int, Meta(ge=1)] | None = None
    after: Count | None = None
    retry_after: Duration | None = None
    message: Annotated[str, Meta(min_length=1)] | None = None
    delay: Duration | None = None

    def __post_init__(self) -> None:
        if self.after is not None and self.fault not in _INSIDE:
            raise ValueError(f"`after` is for {_listed(_INSIDE)}, not for `{self.fault}`")
        if self.retry_after is not None and self.fault not in _WAITING:
            raise ValueError(f"`retry_after` is for {_listed(_WAITING)}, not for `{self.fault}`")
        if self.message is not None and self.fault in _WORDLESS:
            raise ValueError(f"`{self.fault}` has no error text: leave out `message`")
        if (self.delay is not None) != (self.fault == "slow"):
            raise ValueError("`slow` needs a `delay`" if self.fault == "slow" else "`delay` is for `slow` alone")


class Faults(Spec, frozen=True, tag_field="kind", tag="faults"):
    """The faults of a provider. The first that fits a request and whose draw strikes applies to it."""

    seed: Count = 0
    faults: tuple[Fault, ...] = ()


class Strikes:
    """Chooses the fault for each request; remembers what `nth`, `times` and the draws depend on."""

    def __init__(self, faults: Faults) -> None:
        self.faults = faults
        self._met = [0] * len(faults.faults)
        self._struck = [0] * len(faults.faults)
        first = Draw(faults.seed)
        # Each fault has its own sequence, so that adding one at the end does not move the others.
        self._draws = [Draw(first.number()) for _ in faults.faults]

    def next(self, prompt: Prompt) -> Fault | None:
        """The fault that strikes this request, or None where it is to be answered."""
        chosen: int | None = None
        for place, fault in enumerate(self.faults.faults):
            if not fault.match.fits(prompt):
                continue
            # Counted and drawn even when an earlier fault strikes: what happens to a request must not depend on
            # what happened to others.
            self._met[place] += 1
            hit = self._draws[place].number() < fault.probability * _FULL
            due = fault.match.nth in (None, self._met[place])
            if chosen is None and hit and due and (fault.times is None or self._struck[place] < fault.times):
                chosen = place
        if chosen is None:
            return None
        self._struck[chosen] += 1
        return self.faults.faults[chosen]


def _listed(names: frozenset[str]) -> str:
    *most, last = (f"`{name}`" for name in sorted(names))
    return f"{', '.join(most)} and {last}"

"""What a user may script to go wrong: which requests fail, how, and how often. Reproducible: every draw is seeded."""

from typing import Annotated, Literal

from msgspec import Meta

from ..spec import Count, Duration, Ratio, Spec, seconds
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
    "total_timeout",
    "empty",
    "slow",
    "refused",
    "dns",
    "tls",
    "connect_timeout",
]

_INSIDE = frozenset({"stream_error", "malformed", "truncated", "reset", "idle_timeout"})
_WAITING = frozenset({"rate_limited", "overloaded", "unavailable"})
_PACED = frozenset({"slow", "total_timeout"})
BELOW = frozenset({"refused", "dns", "tls", "connect_timeout"})
"""They strike below HTTP, before a request is read: played by `doors.entrances`."""
SHUT = frozenset({"refused", "connect_timeout"})
"""Of those the ones that keep connections out, as long as the door is shut."""
_WORDLESS = BELOW | _PACED | {"malformed", "truncated", "reset", "first_token_timeout", "idle_timeout", "empty"}
_FULL = 1 << 64


class Fault(Spec, frozen=True):
    """One way to fail. `probability` is drawn for every request that fits; it strikes at most `times` times.

    `after` is the number of content chunks a stream sends first; one longer than the answer strikes before its end.
    `retry_after` becomes the header of that name. `message` is the text of the provider's error, where it sends one.
    `delay` passes before the first byte of `slow`, and between the pieces of `total_timeout`. `lasting` is how long
    connections are kept out by `refused` and `connect_timeout`.
    """

    fault: FaultName
    match: Match = Match()
    probability: Ratio = 1.0
    times: Annotated[int, Meta(ge=1)] | None = None
    after: Count | None = None
    retry_after: Duration | None = None
    message: Annotated[str, Meta(min_length=1)] | None = None
    delay: Duration | None = None
    lasting: Duration | None = None

    def __post_init__(self) -> None:
        if self.after is not None and self.fault not in _INSIDE:
            raise ValueError(f"`after` is for {_listed(_INSIDE)}, not for `{self.fault}`")
        if self.retry_after is not None and self.fault not in _WAITING:
            raise ValueError(f"`retry_after` is for {_listed(_WAITING)}, not for `{self.fault}`")
        if self.message is not None and self.fault in _WORDLESS:
            raise ValueError(f"`{self.fault}` has no error text: leave out `message`")
        if self.delay is not None and self.fault not in _PACED:
            raise ValueError(f"`delay` is for {_listed(_PACED)}, not for `{self.fault}`")
        if self.delay is None and self.fault == "slow":
            raise ValueError("`slow` needs a `delay`")
        if self.delay is not None and self.fault == "total_timeout" and not seconds(self.delay):
            raise ValueError("`delay` must be more than 0: it passes between the pieces of an answer without end")
        if self.lasting is not None and self.fault not in SHUT:
            raise ValueError(f"`lasting` is for {_listed(SHUT)}, not for `{self.fault}`")
        if self.fault in BELOW:
            self._below()

    def _below(self) -> None:
        """What can be asked of a fault that strikes before a request is read."""
        for name in ("model", "contains", "tools"):
            if getattr(self.match, name) is not None:
                raise ValueError(
                    f"`{self.fault}` strikes before a request is read, when its `{name}` is not known: `match` may "
                    "name `provider` and `nth`"
                )
        counted = self.match.nth is not None or self.times is not None or self.probability != 1
        if counted and self.fault == "dns":
            raise ValueError(
                "`dns` is for the whole run: who looks a name up does not ask the emulator, so `nth`, `times` and "
                "`probability` cannot be counted"
            )
        if counted and self.fault in SHUT and self.lasting is None:
            raise ValueError(
                f"`{self.fault}` with `nth`, `times` or `probability` needs `lasting`: a connection that is kept out "
                "leaves no trace to count, so say how long they all are"
            )


class Faults(Spec, frozen=True, tag_field="kind", tag="faults"):
    """The faults of a provider. The first that fits a request and whose draw strikes applies to it."""

    seed: Count = 0
    faults: tuple[Fault, ...] = ()


class Strikes:
    """Chooses the fault for each request; remembers what `nth`, `times` and the draws depend on.

    With `below` it chooses among the faults below HTTP, for each connection, else among all others.
    """

    def __init__(self, faults: Faults, *, below: bool = False) -> None:
        self.faults = faults
        self._below = below
        self._met = [0] * len(faults.faults)
        self._struck = [0] * len(faults.faults)
        first = Draw(faults.seed)
        # Each fault has its own sequence, so that adding one at the end does not move the others.
        self._draws = [Draw(first.number()) for _ in faults.faults]

    def next(self, prompt: Prompt) -> Fault | None:
        """The fault that strikes this request, or None where it is to be answered."""
        chosen: int | None = None
        for place, fault in enumerate(self.faults.faults):
            if (fault.fault in BELOW) != self._below or not fault.match.fits(prompt):
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

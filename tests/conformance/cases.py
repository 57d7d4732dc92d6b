"""What goes wrong: one line a case, and the faults file that makes the emulator play it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import msgspec

from sidecar.emulator import Match, Reply, Script
from sidecar.emulator.faults import Fault, FaultName, Faults

WIRES = ("openai", "anthropic", "google", "ollama")
FAULTY, WELL = "faulty", "well"
"""What the providers call the model that fails and the one that does not."""

TEXT = "One, two, three, four, five, six."
NEXT = "The next model is well."
CHUNKS = 6
PACE = "50ms"
"""Between the chunks of a stream: what was sent before the fault has arrived when it strikes."""


@dataclass(frozen=True)
class Case:
    """One way to fail. `fault` is the emulator's name for it.

    `after` is the number of content chunks that a stream sends first: 0 fails before the commit point.
    """

    name: str
    fault: FaultName
    after: int | None = None
    retry_after: str | None = None
    delay: str | None = None

    @property
    def network(self) -> bool:
        """Whether it strikes before a request is read: the emulator has a door for it."""
        return self.fault in NETWORK

    @property
    def late(self) -> bool:
        """Whether it strikes after the commit point."""
        return self.name.endswith(" later")

    @property
    def waits(self) -> bool:
        """Whether a time limit of the gateway has to end it."""
        return self.fault in WAITS

    @property
    def endless(self) -> bool:
        """Whether only the limit of the whole ends it."""
        return self.fault == "total_timeout"

    @property
    def mark(self) -> str:
        """What stands in the prompt of a request that is to meet it."""
        return f"[{self.name}]"

    def scripted(self) -> Fault:
        """The entry in the emulator's faults file."""
        match = Match(provider=self.name) if self.network else Match(model=FAULTY, contains=self.mark)
        return Fault(self.fault, match, after=self.after, retry_after=self.retry_after, delay=self.delay)


WAITS = ("connect_timeout", "first_token_timeout", "idle_timeout")
NETWORK: tuple[FaultName, ...] = ("refused", "dns", "tls", "connect_timeout")
REFUSALS: tuple[FaultName, ...] = (
    *("bad_request", "authentication", "permission", "not_found", "request_timeout", "too_large", "rate_limited"),
    *("quota", "server_error", "bad_gateway", "unavailable", "overloaded", "context_overflow"),
    *("content_filter", "empty", "first_token_timeout"),
)
BROKEN: tuple[FaultName, ...] = ("idle_timeout", "stream_error", "malformed", "truncated", "reset")

CASES = (
    *(Case(name, name) for name in NETWORK),
    *(Case(name, name) for name in REFUSALS),
    Case("rate_limited for a minute", "rate_limited", retry_after="60s"),
    *(Case(name, name, after=0) for name in BROKEN),
    Case("total_timeout", "total_timeout"),
    Case("slow", "slow", delay="100ms"),
    *(Case(f"{name} later", name, after=2) for name in BROKEN),
    Case("total_timeout later", "total_timeout"),
)


class Cell(NamedTuple):
    """One request: which case, over which wire, whether streamed, and whether another model may answer instead."""

    case: Case
    wire: str
    stream: bool
    chained: bool

    @property
    def key(self) -> str:
        """The end of the model's name where each cell has a model of its own: one that fails must not rest in
        another cell."""
        return f"{self.case.name.replace(' ', '-')}-{'stream' if self.stream else 'json'}"

    @property
    def prompt(self) -> str:
        """What is asked; the emulator finds the fault in it, the harness its own requests."""
        form, place = "stream" if self.stream else "json", "chained" if self.chained else "alone"
        return f"{self.case.mark} {self.wire} {form} {place}"


def cells(cases: Sequence[Case] = CASES, wires: tuple[str, ...] = WIRES) -> Iterator[Cell]:
    """All of them. What fails after the commit point is a stream, and may have a next model: it must not be asked. A
    stream without end has begun before it fails."""
    for case, wire, stream, chained in product(cases, wires, (False, True), (False, True)):
        if (stream and chained) if case.late else not (stream and case.endless):
            yield Cell(case, wire, stream, chained)


def script() -> Script:
    """What the models say when nothing is wrong."""
    well = Reply(match=Match(model=WELL), text=NEXT, chunks=3)
    return Script(replies=(well, Reply(text=TEXT, chunks=CHUNKS, chunk_delay=PACE)))


def faults(cases: Sequence[Case] = CASES) -> Faults:
    """The faults of the emulator."""
    return Faults(faults=tuple(map(Case.scripted, cases)))


def faults_yaml() -> str:
    """The same as a file for `sidecar emulate --faults`. JSON is YAML."""
    return msgspec.json.format(msgspec.json.encode(faults()), indent=2).decode()

"""Traces: a span of every request, and one of every attempt below it.

When a call is settled, what its spans will say is put aside. The exporter writes them out later, a few at a time
(`export.py`); while its collector does not answer that is never done.
"""

from collections.abc import Mapping, Sequence
from time import time_ns
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

from ..call import Call
from ..stores.ledger import Row
from ..telemetry.context import Context, begin, span_id
from .content import Said, answer, prompt

if TYPE_CHECKING:  # they import this file
    from .attempt import Attempt
    from .route import Route
    from .settle import Ending

_LONGEST = 128
"""Characters kept of a text from outside."""


class Tried(Struct, frozen=True, gc=False):
    """What is told of one attempt, beside its row. `started` is in perf_counter seconds."""

    row: Row
    span: str
    route: "Route"
    started: float
    response_id: str
    response_model: str


class Finished(Struct, frozen=True, gc=False):
    """What is told of one request, beside `row`, its last. Times are perf_counter seconds; `now` is Unix time in
    nanoseconds when it `ended`. `parameters` are what the caller set, in the order of `spans.PARAMETERS`, and `seed`,
    which is another each time. `input` and `output` are None unless content is asked for."""

    context: Context
    row: Row
    status: int
    now: int
    started: float
    ended: float
    conversation: str
    parameters: tuple[object, ...]
    seed: int | None
    tried: Sequence[Tried]
    input: list[Said] | None
    output: list[Said] | None

    @property
    def count(self) -> int:
        """How many spans it makes."""
        return 1 + len(self.tried)


class Sink(Protocol):
    """Where finished requests go. `put` never blocks and never fails."""

    def put(self, finished: Finished) -> None:
        """Take one, or drop it."""


class Tracing:
    """How the policy in use wants its requests traced. `share` of those without a caller's own decision are sampled
    (0 to 1); `content` adds redacted prompts and answers."""

    def __init__(self, sink: Sink, share: float, content: bool) -> None:
        self._sink = sink
        self._share = share
        self.content = content

    def begin(self, headers: Mapping[str, str]) -> Context:
        """The place in a trace of a request with these headers (names in lower case)."""
        return begin(headers, self._share)

    def settled(
        self, call: Call, rows: Sequence[Row], attempts: "Sequence[Attempt]", ending: "Ending", status: int
    ) -> None:
        """A call has ended, `status` being 499 when its caller hung up; `rows` are one of each attempt, or of none.
        Keeps nothing of the call itself."""
        context = call.context
        if context is None or not context.sampled:
            return
        chat, said = call.chat, None
        if self.content:
            body = ending.body if call.hit is None else call.hit.body
            said = None if body is None else answer(body, call.features.stream)
        self._sink.put(
            Finished(
                context, rows[-1], status, time_ns(), ending.started, ending.ended,
                call.features.conversation[:_LONGEST],
                (chat.output_limit, chat.temperature, chat.top_p, chat.n, chat.frequency_penalty,
                 chat.presence_penalty),
                chat.seed, list(map(_tried, attempts, rows)),
                prompt(chat) if self.content else None, said,
            )
        )  # fmt: skip


def _tried(attempt: "Attempt", row: Row) -> Tried:
    completion = attempt.completion
    return Tried(
        row, attempt.span or span_id(), attempt.route, attempt.started,
        completion.id[:_LONGEST] if completion is not None else "",
        completion.model[:_LONGEST] if completion is not None else "",
    )  # fmt: skip

"""Traces: a span of every request, and one of every attempt below it.

When a call is settled, what its spans will say is put aside. The exporter writes them out later, a few at a time
(`export.py`); while its collector does not answer that is never done.
"""

from collections.abc import Mapping, Sequence
from time import time_ns
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

from ..call import Call
from ..chat import FailureKind, Usage
from ..telemetry.context import Context, begin, span_id
from .content import Said, answer, prompt

if TYPE_CHECKING:  # they import this file
    from .attempt import Attempt
    from .route import Route
    from .settle import Ending

_LONGEST = 128
"""Characters kept of a text from outside."""


class Tried(Struct, frozen=True, gc=False):
    """What is told of one attempt. Times are perf_counter seconds."""

    span: str
    number: int
    route: "Route"
    started: float
    first_token: float | None
    ended: float
    failure: FailureKind | None
    status: int | None
    finish_reason: str | None
    usage: Usage | None
    nano: int | None
    response_id: str
    response_model: str


class Finished(Struct, frozen=True, gc=False):
    """What is told of one request. Times are perf_counter seconds; `now` is Unix time in nanoseconds when it `ended`.
    `parameters` are what the caller set, in the order of `spans._PARAMETERS`. `hit` is who had given an answer from the
    cache: model, provider. `input` and `output` are None unless content is asked for."""

    context: Context
    id: str
    policy: str
    now: int
    started: float
    ended: float
    status: int
    failure: str | None
    overhead_ms: float
    asked: str
    parameters: tuple[object, ...]
    stream: bool
    conversation: str
    tenant: str
    key: str
    tier: str
    rule: str
    strategy: str
    cache: str
    hit: tuple[str, str] | None
    tried: Sequence[Tried]
    input: list[Said] | None
    output: list[Said] | None

    @property
    def count(self) -> int:
        """How many spans it makes."""
        return 1 + len(self.tried)

    def wall(self, moment: float) -> int:
        """Unix time in nanoseconds."""
        return self.now - int((self.ended - moment) * 1e9)


class Sink(Protocol):
    """Where finished requests go. `put` never blocks and never fails."""

    def put(self, finished: Finished) -> None:
        """Take one, or drop it."""


class Tracing:
    """How the policy in use wants its requests traced. `share` of those without a caller's own decision are sampled
    (0 to 1); `content` adds redacted prompts and answers; `policy` is the graph's hash as it is shown."""

    def __init__(self, sink: Sink, share: float, content: bool, policy: str) -> None:
        self._sink = sink
        self._policy = policy
        self._share = share
        self.content = content

    def under(self, policy: str) -> "Tracing":
        """The same for requests that another policy decides."""
        return Tracing(self._sink, self._share, self.content, policy)

    def begin(self, headers: Mapping[str, str]) -> Context:
        """The place in a trace of a request with these headers (names in lower case)."""
        return begin(headers, self._share)

    def settled(
        self, call: Call, attempts: "Sequence[Attempt]", ending: "Ending", status: int, overhead_ms: float
    ) -> None:
        """A call has ended, `status` being 499 when its caller hung up. Keeps nothing of the call itself."""
        context = call.context
        if context is None or not context.sampled:
            return
        chat, features, hit, content = call.chat, call.features, call.hit, self.content
        body = ending.body if hit is None else hit.body
        last = attempts[-1].failure if attempts else None
        failure = last.kind.value if last is not None else call.refusal.code if call.refusal is not None else None
        self._sink.put(
            Finished(
                context, call.id, self._policy, time_ns(), ending.started, ending.ended, status, failure, overhead_ms,
                chat.model[:_LONGEST],
                (chat.output_limit, chat.temperature, chat.top_p, chat.seed, chat.n, chat.frequency_penalty,
                 chat.presence_penalty),
                features.stream, features.conversation[:_LONGEST], features.tenant, features.key,
                hit.tier if hit else call.tier, call.rule, call.strategy, call.cache,
                (hit.model, hit.provider) if hit else None, [_tried(attempt) for attempt in attempts],
                prompt(chat) if content else None,
                answer(body, features.stream) if content and body is not None else None,
            )
        )  # fmt: skip


def _tried(attempt: "Attempt") -> Tried:
    failure, completion = attempt.failure, attempt.completion
    return Tried(
        attempt.span or span_id(), attempt.number, attempt.route, attempt.started, attempt.first_token, attempt.ended,
        None if failure is None else failure.kind, attempt.status, attempt.finish_reason, attempt.usage, attempt.nano,
        completion.id[:_LONGEST] if completion is not None else "",
        completion.model[:_LONGEST] if completion is not None else "",
    )  # fmt: skip

"""Traces: a span of every request, and one of every attempt below it.

When a call is settled, what its spans will say is put aside. The exporter makes them of it later, a few at a time
(`spans.py`, `export.py`); while its collector does not answer they are never made.
"""

from collections.abc import Mapping, Sequence
from time import time_ns
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

from ..call import Call
from ..chat import ChatRequest, Usage
from ..telemetry.context import Context, begin, span_id
from .content import Said, answer, prompt

if TYPE_CHECKING:  # they import route.py, and that this file
    from .attempt import Attempt
    from .settle import Ending


class Tried(Struct, frozen=True):
    """What is told of one attempt. Times are nanoseconds of Unix time, `first_token` seconds after the start."""

    span: str
    number: int
    model: str
    upstream: str
    provider: str
    base_url: str
    start: int
    end: int
    failure: str | None
    status: int | None
    finish_reason: str | None
    usage: Usage | None
    nano: int | None
    first_token: float | None
    response_id: str
    response_model: str


class Finished(Struct, frozen=True):
    """What is told of one request; `output` and `input` are None unless content is asked for."""

    context: Context
    id: str
    policy: str
    start: int
    end: int
    status: int
    failure: str | None
    overhead_ms: float
    asked: str
    parameters: Sequence[object]
    stream: bool
    conversation: str
    tenant: str
    key: str
    tier: str
    rule: str
    strategy: str
    cache: str
    answered_by: tuple[str, str] | None
    tried: tuple[Tried, ...]
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
        now = time_ns()
        body = ending.body if call.hit is None else call.hit.body
        wanted = self.content
        features, hit = call.features, call.hit
        tried = tuple([_tried(attempt, now, ending.ended) for attempt in attempts])
        last = attempts[-1].failure if attempts else None
        failure = last.kind.value if last is not None else call.refusal.code if call.refusal is not None else None
        self._sink.put(
            Finished(
                context, call.id, self._policy, _wall(ending.started, now, ending.ended), now, status, failure,
                overhead_ms, call.chat.model[:128], _parameters(call.chat), features.stream,
                features.conversation[:128], features.tenant, features.key, hit.tier if hit else call.tier, call.rule,
                call.strategy, call.cache, (hit.model, hit.provider) if hit else None, tried,
                prompt(call.chat) if wanted else None,
                answer(body, features.stream) if wanted and body is not None else None,
            )
        )  # fmt: skip


def _tried(attempt: "Attempt", now: int, ended: float) -> Tried:
    failure, completion, route, first = attempt.failure, attempt.completion, attempt.route, attempt.first_token
    return Tried(
        attempt.span or span_id(), attempt.number, route.model.id, route.target.model, route.provider,
        route.target.base_url, _wall(attempt.started, now, ended), _wall(attempt.ended, now, ended),
        None if failure is None else failure.kind.value, attempt.status, attempt.finish_reason, attempt.usage,
        attempt.nano, None if first is None else first - attempt.started,
        completion.id[:128] if completion is not None else "", completion.model[:128] if completion is not None else "",
    )  # fmt: skip


def _wall(moment: float, now: int, ended: float) -> int:
    """Unix nanoseconds of a perf_counter time; `ended` is the one that belongs to `now`."""
    return now - int((ended - moment) * 1e9)


def _parameters(chat: ChatRequest) -> Sequence[object]:
    """What the caller set, in the order of `spans.PARAMETERS`."""
    return (
        chat.output_limit, chat.temperature, chat.top_p, chat.seed, chat.n, chat.frequency_penalty,
        chat.presence_penalty,
    )  # fmt: skip

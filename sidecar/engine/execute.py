"""Executes a call's plan: the chain of models, retries, and the commit rule, for whole answers and streams alike.

Before the first content token any failure may be retried or fall back; the caller has seen nothing. From that token
on the attempt is committed: what fails then ends the stream with an error event and is never tried again.
"""

import asyncio
from collections.abc import Sequence
from math import inf
from time import perf_counter

from msgspec import Struct
from tenacity import AsyncRetrying, RetryCallState, retry_if_result, stop_after_attempt, wait_random_exponential

from ..call import Call
from ..chat import ChatRequest, Completion, Delta, Failure, FailureKind, Usage, body_fields
from ..features import estimate
from ..providers.base import StreamReader
from .failures import FINAL, worth_retry
from .route import Live, Route
from .upstream import (
    FAULTS,
    MAX_ERROR_BODY,
    Answer,
    Upstream,
    arrived,
    chunk,
    headers_of,
    network_failure,
    read,
    sanitised,
)
from .watch import Watch

MAX_HELD = 4 * 1024 * 1024
"""Bytes of a stream read before its first content token; more is not a sane answer."""

_KNOWN = frozenset(ChatRequest.__struct_fields__)


class Attempt(Struct):
    """One try of one model: what it took and how it ended. Times are perf_counter seconds.

    `output_seen` are tokens, as far as can be told; of a stream that is passed on as it came the `passed` bytes are
    counted and the size of its first events is remembered: about a token each.
    """

    route: Route
    number: int
    started: float
    first_token: float | None = None
    ended: float = 0.0
    status: int | None = None
    failure: Failure | None = None
    usage: Usage | None = None
    finish_reason: str | None = None
    output_seen: int = 0
    passed: int = 0
    event_size: int = 0
    nano: int | None = 0
    billed: bool = False
    lost: tuple[str, ...] = ()

    @property
    def tokens_seen(self) -> int:
        """Output tokens that came, roughly: for when the provider did not say."""
        return self.output_seen + (self.passed // self.event_size if self.event_size else 0)


class Execution:
    """One call's attempts. After `commit` returned None there is a `completion`, or `pending` deltas and `more`."""

    __slots__ = (
        "_answer",
        "_protocol",
        "_reader",
        "_upstream",
        "_watch",
        "attempts",
        "call",
        "completion",
        "live",
        "pending",
    )

    def __init__(self, live: Live, call: Call, upstream: Upstream, protocol: str, watch: Watch) -> None:
        self._protocol = protocol
        self.live = live
        self.call = call
        self.attempts: list[Attempt] = []
        self.completion: Completion | None = None
        self.pending: Sequence[Delta] = ()
        self._upstream = upstream
        self._answer: Answer | None = None
        self._reader: StreamReader | None = None
        self._watch = watch

    async def commit(self) -> Failure | None:
        """Try the chain until an attempt may be shown to the caller; else the last failure."""
        failure = _NOBODY
        for model in self.call.chain:
            route = self.live.routes[model.id]
            tried = await self._attempt(route)
            if tried is not None and self.call.plan.retries and worth_retry(tried, self.call.plan):
                tried = await self._retry(route, tried)
            if tried is None:
                return None
            failure = tried
            if failure.kind in FINAL:
                break
        return failure

    async def more(self) -> Sequence[Delta] | None:
        """The next deltas of a committed stream; None after the last. A failure is the last delta's."""
        attempt, answer, reader, watch = self.attempts[-1], self._answer, self._reader, self._watch
        if answer is None or reader is None:
            return None
        idle = self.call.plan.idle
        while True:
            # Only waiting for the provider counts: the time that the caller takes to read is its own.
            watch.limit(idle)
            try:
                data = await chunk(answer)
            except asyncio.CancelledError:
                if not watch.ours():
                    raise
                deltas, data = _cut(reader, self._late(FailureKind.IDLE_TIMEOUT, idle)), b""
            except FAULTS as fault:
                deltas, data = _cut(reader, network_failure(fault)), b""
            else:
                deltas = reader.feed(data) if data else reader.end()
            watch.until = inf
            for delta in deltas:
                self._read(attempt, delta)
            if attempt.failure is not None:
                self.close()
            elif not data:
                attempt.ended = perf_counter()
                self._release(answer)
                return deltas or None
            if deltas:
                return deltas

    def close(self) -> None:
        """Stop the attempt that runs, if any: its connection ends at once."""
        if self._answer is not None:
            self._answer.close()
            self._answer = None
        if self.attempts and not self.attempts[-1].ended:
            self.attempts[-1].ended = perf_counter()

    async def _retry(self, route: Route, failed: Failure) -> Failure | None:
        """Further tries of one model, with full jitter. Built only now: the happy path pays nothing for it."""
        plan = self.call.plan
        jitter = wait_random_exponential(multiplier=plan.backoff_initial, max=plan.backoff_max)
        results: list[Failure | None] = [failed]

        async def again() -> Failure | None:
            return results.pop() if results else await self._attempt(route)

        def wait(state: RetryCallState) -> float:
            last = state.outcome.result() if state.outcome is not None else None
            return max(jitter(state), last.retry_after or 0.0) if last is not None else 0.0

        retrying = AsyncRetrying(
            stop=stop_after_attempt(plan.retries + 1),
            wait=wait,
            retry=retry_if_result(lambda failure: failure is not None and worth_retry(failure, plan)),
            retry_error_callback=lambda state: state.outcome.result() if state.outcome is not None else None,
        )
        result: Failure | None = await retrying(again)
        return result

    async def _attempt(self, route: Route) -> Failure | None:
        """One try, up to its commit point."""
        attempt = Attempt(route, len(self.attempts) + 1, perf_counter())
        self.attempts.append(attempt)
        call, watch = self.call, self._watch
        try:
            outgoing = route.adapter.request(call.chat, call.raw, route.target)
            attempt.lost = outgoing.lost + self._unknown_fields(route)
        except RecursionError:
            return self._failed(attempt, Failure(FailureKind.BAD_REQUEST, "the body is nested too deeply"))
        watch.begin(call.plan.total)
        watch.limit(call.plan.first_token)
        failure: Failure | None
        try:
            answer = self._answer = await self._upstream.post(outgoing, call.plan.connect)
            attempt.status = answer.status
            if not 200 <= answer.status < 300:
                failure = await self._refused(answer, route)
            elif call.chat.stream:
                failure = await self._first_tokens(attempt, answer)
            else:
                data = arrived(answer, self.live.answer_limit)
                failure = await self._whole(attempt, answer) if data is None else self._complete(attempt, data)
        except asyncio.CancelledError:
            if not watch.ours():
                raise
            failure = self._late(FailureKind.FIRST_TOKEN_TIMEOUT, call.plan.first_token)
        except FAULTS as fault:
            failure = network_failure(fault)
        watch.until = inf
        return None if failure is None else self._failed(attempt, failure)

    def _unknown_fields(self, route: Route) -> tuple[str, ...]:
        """Fields of the caller's body that only its own protocol would understand."""
        if route.adapter.protocol == self._protocol:
            return ()
        return tuple(name for name in body_fields(self.call.raw) if name not in _KNOWN)

    async def _refused(self, answer: Answer, route: Route) -> Failure:
        self._watch.limit(self.call.plan.idle)
        text: bytes | Failure = b""
        try:
            text = await read(answer, MAX_ERROR_BODY)
        except asyncio.CancelledError:
            if not self._watch.ours():
                raise
        except FAULTS:
            pass  # the status says enough
        return route.adapter.failure(answer.status, headers_of(answer), b"" if isinstance(text, Failure) else text)

    async def _whole(self, attempt: Attempt, answer: Answer) -> Failure | None:
        self._watch.limit(self.call.plan.total)
        data = await read(answer, self.live.answer_limit)
        return data if isinstance(data, Failure) else self._complete(attempt, data)

    def _complete(self, attempt: Attempt, data: bytes) -> Failure | None:
        completion = attempt.route.adapter.response(data)
        if isinstance(completion, Failure):
            return completion
        attempt.first_token = attempt.ended = perf_counter()
        attempt.usage, attempt.finish_reason = completion.usage, completion.finish_reason
        if completion.choices:
            attempt.finish_reason = completion.choices[0].finish_reason
        attempt.output_seen = len(data) // 4
        self.completion = completion
        if self._answer is not None:
            self._release(self._answer)
        return None

    async def _first_tokens(self, attempt: Attempt, answer: Answer) -> Failure | None:
        """Read until a token that the caller may see; what comes before is held back."""
        self._reader = reader = attempt.route.adapter.reader(self.call.chat)
        held: list[Delta] = []
        size = 0
        while True:
            data = await chunk(answer)
            size += len(data)
            committed = False
            for delta in reader.feed(data) if data else reader.end():
                if delta.failure is not None:
                    return delta.failure
                self._read(attempt, delta)
                held.append(delta)
                committed = committed or delta.content
            if committed or not data:
                break
            if size > MAX_HELD:
                return Failure(FailureKind.MALFORMED, "no content in the first 4 MiB of the stream")
        attempt.first_token = perf_counter()
        self.pending = held
        if not data:
            attempt.ended = attempt.first_token
            self._release(answer)
        return None

    def _read(self, attempt: Attempt, delta: Delta) -> None:
        if delta.wire is not None:
            if not attempt.event_size:
                attempt.event_size = max(1, len(delta.wire) // max(1, delta.wire.count(b"\n\n")))
            attempt.passed += len(delta.wire)
        elif delta.text:
            attempt.output_seen += estimate(delta.text)
        if delta.usage is not None:
            attempt.usage = delta.usage
        if delta.finish_reason is not None:
            attempt.finish_reason = delta.finish_reason
        if delta.failure is not None:
            attempt.failure = self._told(delta.failure, attempt.route)

    def _failed(self, attempt: Attempt, failure: Failure) -> Failure:
        attempt.failure = self._told(failure, attempt.route)
        self.close()
        return attempt.failure

    def _told(self, failure: Failure, route: Route) -> Failure:
        """The failure with texts that may leave the house."""
        texts = (failure.message, failure.param, failure.code)
        message, param, code = (t and sanitised(t, route.target.key, route.target.base_url) for t in texts)
        return Failure(failure.kind, message or "", failure.status, failure.retry_after, param, code)

    def _late(self, kind: FailureKind, seconds: float) -> Failure:
        """The watch's limit struck: the wait's own, or that of the whole answer."""
        total = self.call.plan.total
        if self._watch.over:
            kind, seconds = FailureKind.TOTAL_TIMEOUT, total
        return Failure(kind, f"no answer within {seconds:g} s")

    def _release(self, answer: Answer) -> None:
        """The answer was read to its end: its connection may serve again."""
        answer.release()
        self._answer = None


_NOBODY = Failure(FailureKind.NOT_FOUND, "the chain is empty")


def _cut(reader: StreamReader, failure: Failure) -> Sequence[Delta]:
    """What is left when the connection broke. If the answer was complete already, that is no failure."""
    deltas = list(reader.end())
    if deltas and deltas[-1].failure is not None:
        deltas[-1] = Delta(failure=failure)
    return deltas

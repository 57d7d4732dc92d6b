"""Executes a call's plan: the chain of models, retries, and the commit rule, for whole answers and streams alike.

Before the first content token any failure may be retried or fall back; the caller has seen nothing. From that token
on the attempt is committed: what fails then ends the stream with an error event and is never tried again.
"""

import asyncio
from collections.abc import Sequence
from time import perf_counter

from msgspec import Struct
from tenacity import AsyncRetrying, RetryCallState, retry_if_result, stop_after_attempt, wait_random_exponential

from ..call import Call
from ..chat import ChatRequest, Completion, Delta, Failure, FailureKind, Usage, body_fields
from ..features import estimate
from ..providers.base import StreamReader
from .failures import FINAL, worth_retry
from .route import Live, Route
from .upstream import FAULTS, MAX_ERROR_BODY, Answer, Upstream, network_failure, sanitised

MAX_HELD = 4 * 1024 * 1024
"""Bytes of a stream read before its first content token; more is not a sane answer."""

_KNOWN = frozenset(ChatRequest.__struct_fields__)


class Attempt(Struct):
    """One try of one model: what it took and how it ended. Times are perf_counter seconds."""

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
    nano: int | None = 0
    billed: bool = False
    lost: tuple[str, ...] = ()


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

    def __init__(self, live: Live, call: Call, upstream: Upstream, protocol: str) -> None:
        self._protocol = protocol
        self.live = live
        self.call = call
        self.attempts: list[Attempt] = []
        self.completion: Completion | None = None
        self.pending: Sequence[Delta] = ()
        self._upstream = upstream
        self._answer: Answer | None = None
        self._reader: StreamReader | None = None
        self._watch: Watchdog | None = None

    async def commit(self) -> Failure | None:
        """Try the chain until an attempt may be shown to the caller; else the last failure."""
        failure = Failure(FailureKind.NOT_FOUND, "the chain is empty")
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
        if answer is None or reader is None or watch is None:
            return None
        while True:
            watch.quiet = 0
            watch.waiting = True
            try:
                data = await answer.chunk()
                deltas = reader.feed(data) if data else reader.end()
            except FAULTS as fault:
                failure = self._timed_out(FailureKind.IDLE_TIMEOUT) or network_failure(fault)
                deltas, data = _cut(reader, failure), b""
            watch.waiting = False
            for delta in deltas:
                self._read(attempt, delta)
            if attempt.failure is not None:
                self.close()
            elif not data:
                attempt.ended = perf_counter()
                answer.release()
                self._answer = None
                watch.cancel()
                return deltas or None
            if deltas:
                return deltas

    def close(self) -> None:
        """Stop the attempt that runs, if any: its connection ends at once."""
        if self._watch is not None:
            self._watch.cancel()
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
        self._watch = None
        attempt = Attempt(route, len(self.attempts) + 1, perf_counter())
        self.attempts.append(attempt)
        chat, plan = self.call.chat, self.call.plan
        try:
            outgoing = route.adapter.request(chat, self.call.raw, route.target)
            attempt.lost = outgoing.lost + self._unknown_fields(route)
        except RecursionError:
            return self._failed(attempt, Failure(FailureKind.BAD_REQUEST, "the body is nested too deeply"))
        try:
            answer = await self._upstream.send(outgoing, plan.connect, plan.first_token)
            if isinstance(answer, Failure):
                return self._failed(attempt, answer)
            self._answer = answer
            attempt.status = answer.status
            if not 200 <= answer.status < 300:
                failure: Failure | None = await self._refused(answer, route)
            elif chat.stream:
                failure = await self._first_tokens(attempt, answer)
            else:
                failure = await self._whole(attempt, answer)
            return None if failure is None else self._failed(attempt, failure)
        finally:
            if not attempt.ended and attempt.first_token is None:
                self.close()  # cancelled: the caller went away

    def _unknown_fields(self, route: Route) -> tuple[str, ...]:
        """Fields of the caller's body that only its own protocol would understand."""
        if route.adapter.protocol == self._protocol:
            return ()
        return tuple(name for name in body_fields(self.call.raw) if name not in _KNOWN)

    async def _refused(self, answer: Answer, route: Route) -> Failure:
        self._watch = Watchdog(self._upstream.loop, answer, self.call.plan.idle)
        body = await answer.body(MAX_ERROR_BODY)
        return route.adapter.failure(answer.status, answer.headers, b"" if isinstance(body, Failure) else body)

    async def _whole(self, attempt: Attempt, answer: Answer) -> Failure | None:
        if not answer.complete:
            self._watch = Watchdog(self._upstream.loop, answer, self.call.plan.total)
        body = await answer.body(self.live.answer_limit)
        if isinstance(body, Failure):
            return self._timed_out(FailureKind.TOTAL_TIMEOUT) or body
        completion = attempt.route.adapter.response(body)
        if isinstance(completion, Failure):
            return completion
        attempt.first_token = attempt.ended = perf_counter()
        attempt.usage, attempt.finish_reason = completion.usage, completion.finish_reason
        if completion.choices:
            attempt.finish_reason = completion.choices[0].finish_reason
        attempt.output_seen = len(body) // 4
        self.completion = completion
        self._done(answer)
        return None

    async def _first_tokens(self, attempt: Attempt, answer: Answer) -> Failure | None:
        """Read until a token that the caller may see; what comes before is held back."""
        self._reader = reader = attempt.route.adapter.reader(self.call.chat)
        held: list[Delta] = []
        size = 0
        plan = self.call.plan
        spent = perf_counter() - attempt.started
        self._watch = watch = Watchdog(self._upstream.loop, answer, plan.total, max(plan.first_token - spent, 0.05))
        while True:
            try:
                data = await answer.chunk()
            except FAULTS as fault:
                return self._timed_out(FailureKind.FIRST_TOKEN_TIMEOUT) or network_failure(fault)
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
        if data:
            watch.pace(plan.idle)
        else:
            attempt.ended = attempt.first_token
            self._done(answer)
        return None

    def _read(self, attempt: Attempt, delta: Delta) -> None:
        if delta.wire is not None:
            attempt.output_seen += delta.wire.count(b"\n\n")
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

    def _timed_out(self, kind: FailureKind) -> Failure | None:
        watch = self._watch
        if watch is None or watch.fired is None:
            return None
        return Failure(FailureKind.TOTAL_TIMEOUT if watch.total else kind, f"no answer within {watch.fired:g} s")

    def _done(self, answer: Answer) -> None:
        if self._watch is not None:
            self._watch.cancel()
        answer.release()
        self._answer = None


def _cut(reader: StreamReader, failure: Failure) -> Sequence[Delta]:
    """What is left when the connection broke. If the answer was complete already, that is no failure."""
    deltas = list(reader.end())
    if deltas and deltas[-1].failure is not None:
        deltas[-1] = Delta(failure=failure)
    return deltas


class Watchdog:
    """Closes an answer that is late: when nothing came for `pace` seconds of waiting, or after `total` in all.

    It looks in a few times a pace instead of being set anew for every chunk, so a chunk costs two assignments
    (`quiet`, `waiting`) and a timeout comes at most a quarter late. Time the caller takes to read does not count.
    """

    LOOKS = 4

    __slots__ = ("_answer", "_end", "_handle", "_loop", "_pace", "fired", "quiet", "total", "waiting")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, answer: Answer, total: float, pace: float | None = None
    ) -> None:
        self._answer = answer
        self._loop = loop
        self._end = self._loop.time() + total
        self._pace = total if pace is None else min(pace, total)
        self.quiet = 0
        self.waiting = True
        self.fired: float | None = None
        self.total = False
        self._handle: asyncio.TimerHandle | None = self._loop.call_later(self._pace / self.LOOKS, self._look)

    def pace(self, seconds: float) -> None:
        """From now on, wait at most `seconds` for each chunk."""
        self.cancel()
        self._pace = seconds
        self.quiet = 0
        self.waiting = False
        self._handle = self._loop.call_later(seconds / self.LOOKS, self._look)

    def cancel(self) -> None:
        """No more waits will come."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _look(self) -> None:
        self.total = self._loop.time() >= self._end
        if self.waiting:
            self.quiet += 1
        if self.total or self.quiet >= self.LOOKS:
            self._handle = None
            self.fired = self._pace
            self._answer.close()
        else:
            self._handle = self._loop.call_later(self._pace / self.LOOKS, self._look)

"""One try of one model, up to the end of its answer: sent, read to its commit point, passed on.

Before the first content token a try may fail without anybody having seen anything of it. From that token on it is
committed: what fails then ends the caller's stream with an error event.
"""

import asyncio
from collections.abc import Sequence
from math import inf
from time import perf_counter, time

from msgspec import Struct

from ..call import Call
from ..chat import ChatRequest, Completion, Delta, Failure, FailureKind, Usage, body_fields
from ..features import estimate
from ..providers.base import StreamReader
from .failures import BLAMELESS, RESTS
from .keyring import FAULTS as KEYS
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
_UNFINISHED = frozenset({None, "stop"})


class Errand(Struct, frozen=True):
    """What all attempts of one call share. `protocol` is the caller's own."""

    live: Live
    call: Call
    upstream: Upstream
    protocol: str


class Attempt:
    """After `run` returned None there is a `completion`, or `pending` deltas and `more` of them.

    Times are perf_counter seconds. `output_seen` are tokens, as far as can be told; of a stream that is passed on as
    it came the `passed` bytes are counted, and the size of its first events is remembered: about a token each. `span`
    is its id in a trace, once it was sent.
    """

    __slots__ = (
        "_answer", "_errand", "_gate", "_reader", "_ticket", "billed", "completion", "empty", "ended", "event_size",
        "failure", "finish_reason", "first_token", "lost", "nano", "number", "output_seen", "passed", "pending",
        "route", "sent", "span", "started", "status", "usage", "watch",
    )  # fmt: skip

    def __init__(self, errand: Errand, route: Route, number: int, watch: Watch) -> None:
        self._errand = errand
        self._answer: Answer | None = None
        self._reader: StreamReader | None = None
        self._gate = route.gate
        self._ticket = errand.live.state.health.began(route.model.id)
        self.route = route
        self.number = number
        self.watch = watch
        self.span = ""
        self.started = perf_counter()
        self.first_token: float | None = None
        self.ended = 0.0
        self.status: int | None = None
        self.failure: Failure | None = None
        self.usage: Usage | None = None
        self.finish_reason: str | None = None
        self.output_seen = 0
        self.passed = 0
        self.event_size = 0
        self.nano: int | None = 0
        self.billed = False
        self.sent = False
        self.lost: tuple[str, ...] = ()
        self.empty = False
        self.completion: Completion | None = None
        self.pending: Sequence[Delta] = ()

    @property
    def tokens_seen(self) -> int:
        """Output tokens that came, roughly: for when the provider did not say."""
        return self.output_seen + (self.passed // self.event_size if self.event_size else 0)

    async def run(self) -> Failure | None:
        """Send, and read up to the commit point."""
        call, route, watch = self._errand.call, self.route, self.watch
        health = self._errand.live.state.health
        if call.meters and (refused := self._metered()) is not None:
            return self.fail(refused)
        try:
            outgoing = route.adapter.request(call.chat, call.raw, route.target)
            self.lost = outgoing.lost + self._unknown_fields()
        except RecursionError:
            return self.fail(Failure(FailureKind.BAD_REQUEST, "the body is nested too deeply"))
        if call.context is not None:
            self.span = call.context.descend(outgoing.headers)
        wait = call.plan.first_token if call.chat.stream else call.plan.answer
        watch.limit(wait)
        failure: Failure | None
        self.sent = True
        try:
            answer = self._answer = await self._errand.upstream.post(outgoing, call.plan.connect)
            self.status = answer.status
            if not 200 <= answer.status < 300:
                failure = await self._refused(answer)
            elif call.chat.stream:
                failure = await self._first_tokens(answer)
            else:
                data = arrived(answer, self._errand.live.answer_limit)
                failure = await self._whole(answer) if data is None else self._complete(data)
        except asyncio.CancelledError:
            if not watch.ours():
                raise
            failure = self._late(FailureKind.FIRST_TOKEN_TIMEOUT, wait)
        except FAULTS as fault:
            failure = network_failure(fault)
        watch.until = inf
        if failure is not None:
            return self.fail(failure)
        health.succeeded(route.model.id, time(), (self.first_token or 0.0) - self.started, self._ticket)
        return None

    async def more(self) -> Sequence[Delta] | None:
        """The next deltas of a committed stream; None after the last. A failure is the last delta's."""
        answer, reader, watch = self._answer, self._reader, self.watch
        if answer is None or reader is None:
            return None
        idle = self._errand.call.plan.idle
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
                self._read(delta)
            if self.failure is not None:
                self.fail(self.failure)
            elif not data:
                self.ended = perf_counter()
                self._release(answer)
                return deltas or None
            if deltas:
                return deltas

    def fail(self, failure: Failure) -> Failure:
        """End it with a failure, in words that may leave the house; the model's health learns of it."""
        texts = (failure.message, failure.param, failure.code)
        target = self.route.target
        message, param, code = (t and sanitised(t, target.key, target.base_url) for t in texts)
        told = Failure(failure.kind, message or "", failure.status, failure.retry_after, param, code)
        self.failure = told
        self.close()
        health, model = self._errand.live.state.health, self.route.model.id
        if told.kind in BLAMELESS or self._key_is_to_blame(told):
            health.released(model, self._ticket)
        else:
            pause = told.retry_after if told.kind in RESTS else None
            health.failed(model, f"{told.kind.value} at the last try", time(), pause, self._ticket)
        return told

    def _key_is_to_blame(self, failure: Failure) -> bool:
        """Whether a failure says something of one of several keys, and nothing of the model."""
        route = self.route
        if route.ring is None or failure.kind not in KEYS:
            return False
        if route.key is not None:
            route.ring.refused(route.key, route.model.id, failure, time())
        return True

    def _metered(self) -> Failure | None:
        """Enter every meter of the call, or none: those before the one that refuses are left again."""
        for place, meter in enumerate(self._errand.call.meters):
            refused = meter.enter(self.route.model, self.number)
            if refused is not None:
                for entered in self._errand.call.meters[:place]:
                    entered.leave(self.number, None, 0)
                return refused
        return None

    def full(self) -> None:
        """It got no place at its provider, and has none to give back."""
        self._gate = None

    def close(self) -> None:
        """Stop it, if it still runs: its connection ends at once."""
        if self._answer is not None:
            self._answer.close()
            self._answer = None
        if not self.ended:
            self.ended = perf_counter()
        self._leave()

    def _leave(self) -> None:
        if self._gate is not None:
            self._gate.leave()
            self._gate = None

    def _release(self, answer: Answer) -> None:
        """The answer was read to its end: its connection may serve again."""
        answer.release()
        self._answer = None
        self._leave()

    def _unknown_fields(self) -> tuple[str, ...]:
        """Fields of the caller's body that only its own protocol would understand."""
        if self.route.adapter.protocol == self._errand.protocol:
            return ()
        return tuple(name for name in body_fields(self._errand.call.raw) if name not in _KNOWN)

    async def _refused(self, answer: Answer) -> Failure:
        self.watch.limit(self._errand.call.plan.idle)
        text: bytes | Failure = b""
        try:
            text = await read(answer, MAX_ERROR_BODY)
        except asyncio.CancelledError:
            if not self.watch.ours():
                raise
        except FAULTS:
            pass  # the status says enough
        body = b"" if isinstance(text, Failure) else text
        return self.route.adapter.failure(answer.status, headers_of(answer), body)

    async def _whole(self, answer: Answer) -> Failure | None:
        data = await read(answer, self._errand.live.answer_limit)
        return data if isinstance(data, Failure) else self._complete(data)

    def _complete(self, data: bytes) -> Failure | None:
        completion = self.route.adapter.response(data)
        if isinstance(completion, Failure):
            return completion
        self.first_token = self.ended = perf_counter()
        self.usage, self.finish_reason = completion.usage, completion.finish_reason
        if completion.choices:
            self.finish_reason = completion.choices[0].finish_reason
        self.output_seen = len(data) // 4
        self.completion = completion
        if self._answer is not None:
            self._release(self._answer)
        return self._empty() if completion.empty else None

    async def _first_tokens(self, answer: Answer) -> Failure | None:
        """Read until a token that the caller may see; what comes before is held back."""
        self._reader = reader = self.route.adapter.reader(self._errand.call.chat)
        held: list[Delta] = []
        size = 0
        while True:
            data = await chunk(answer)
            size += len(data)
            committed = False
            for delta in reader.feed(data) if data else reader.end():
                if delta.failure is not None:
                    return delta.failure
                self._read(delta)
                held.append(delta)
                committed = committed or delta.content
            if committed or not data:
                break
            if size > MAX_HELD:
                return Failure(FailureKind.MALFORMED, "no content in the first 4 MiB of the stream")
        self.first_token = perf_counter()
        self.pending = held
        if not data:
            self.ended = self.first_token
            self._release(answer)
        return None if committed else self._empty()

    def _empty(self) -> Failure | None:
        """An answer without content. After a tool's result that is how a model says that there is no more to say."""
        call = self._errand.call
        if self.finish_reason == "content_filter":
            if FailureKind.CONTENT_FILTER in call.plan.fall_back:
                return Failure(FailureKind.CONTENT_FILTER, "the provider's content filter left nothing")
        elif self.finish_reason in _UNFINISHED and call.chat.messages[-1].role == "user":
            self.output_seen = self.passed = 0
            return Failure(FailureKind.EMPTY, "the answer is empty")
        return None

    def _read(self, delta: Delta) -> None:
        if delta.wire is not None:
            if not self.event_size:
                self.event_size = max(1, len(delta.wire) // max(1, delta.wire.count(b"\n\n")))
            self.passed += len(delta.wire)
        elif delta.text:
            self.output_seen += estimate(delta.text)
        if delta.usage is not None:
            self.usage = delta.usage
        if delta.finish_reason is not None:
            self.finish_reason = delta.finish_reason
        if delta.failure is not None:
            self.failure = delta.failure

    def _late(self, kind: FailureKind, seconds: float) -> Failure:
        """The watch's limit struck: the wait's own, or that of the whole call."""
        if self.watch.over:
            return Failure(FailureKind.TOTAL_TIMEOUT, f"no answer within {self.watch.total:g} s")
        return Failure(kind, f"no answer within {seconds:g} s")


def _cut(reader: StreamReader, failure: Failure) -> Sequence[Delta]:
    """What is left when the connection broke. If the answer was complete already, that is no failure."""
    deltas = list(reader.end())
    if deltas and deltas[-1].failure is not None:
        deltas[-1] = Delta(failure=failure)
    return deltas

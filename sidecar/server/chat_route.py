"""`POST /v1/chat/completions`: the hot route. A raw ASGI handler; the only catch-all is at its edge."""

import asyncio
import os
from collections.abc import Coroutine, Sequence
from itertools import count
from time import perf_counter, time
from typing import Any

from ..call import Call
from ..chat import Completion, Delta, Failure, FailureKind, Problem
from ..engine.deadline import Deadline
from ..engine.execute import Execution
from ..engine.failures import problem as failure_problem
from ..engine.holder import Holder
from ..engine.route import Live
from ..engine.settle import Ending, Settler, bill
from ..engine.upstream import Upstream
from ..engine.walk import walk
from ..features import extract
from ..surfaces.base import Invalid, Surface
from ..tokens import Tokens, near_limit
from .body import HungUpError, Receive, Scope, Send, client_ip, credential, is_loopback, read_body, read_headers
from .respond import JSON, SSE, Sent, attempt_headers, base_headers, call_headers

WATCH_AFTER = 0.05
"""Seconds before a caller's hanging up is watched for. Answers that are faster need no watcher; LLMs never are."""
MAX_CACHED_STREAM = 1024 * 1024
_ID = os.urandom(5).hex()
_number = count(1)


def next_request_id() -> str:
    """Unique: a random part of this process and a number."""
    return f"req_{_ID}{next(_number):08x}"


class ChatRoute:
    """Serves one surface. Shared by all requests; everything of one request is in locals and its Call."""

    def __init__(self, surface: Surface, holder: Holder, upstream: Upstream, settler: Settler) -> None:
        self._surface = surface
        self._holder = holder
        self._upstream = upstream
        self._settler = settler
        self._loop = upstream.loop
        self._tokens = Tokens()
        self.running = 0
        self.draining = False
        self._idle = asyncio.Event()

    async def idle(self) -> None:
        """Wait until no request runs. New ones must be refused by then (`draining`)."""
        while self.running:
            self._idle.clear()
            await self._idle.wait()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, from its first byte to its ledger row."""
        live = self._holder.current
        sent = Sent(send)
        request_id = next_request_id()
        self.running += 1
        try:
            await self._serve(scope, receive, sent, live, request_id)
        except HungUpError:
            if not sent.status:
                # Most are gone; who only ended its own half of the connection would be told 500 by the server.
                await sent.problem(self._surface, _CUT_OFF, base_headers(request_id, live))
        except Exception as fault:  # noqa: BLE001  the edge: a bug must not take the caller's connection silently
            self._holder.log_fault(request_id, fault)
            if not sent.status:
                trouble = Problem(500, "api_error", "The gateway failed on this request.", "internal_error")
                await sent.problem(self._surface, trouble, base_headers(request_id, live))
        finally:
            self.running -= 1
            if self.draining and not self.running:
                self._idle.set()

    async def _serve(self, scope: Scope, receive: Receive, sent: Sent, live: Live, request_id: str) -> None:
        started = perf_counter()
        call = await self._call(scope, receive, live, request_id)
        if isinstance(call, Problem):
            self._settler.metrics.answered(call.status, perf_counter() - started)
            await sent.problem(self._surface, call, base_headers(request_id, live))
            return
        self._settler.health.wake(call.now)
        end = walk(live.graph, call)
        if end == "execute":
            await self._execute(live, call, sent, receive, started)
            return
        headers = call_headers(call, live, perf_counter() - started)
        if end == "respond" and call.hit is not None:
            hit = call.hit
            headers += [
                (b"content-type", hit.content_type.encode()),
                (b"x-sidecar-model", hit.model.encode()),
                (b"x-sidecar-provider", hit.provider.encode()),
                (b"x-sidecar-cost-usd", b"0"),
                (b"x-sidecar-attempts", b"0"),
            ]
            await sent.whole(200, headers, hit.body)
        else:
            await sent.problem(self._surface, call.refusal or _NO_END, headers)
        self._settler.settle(live, call, (), Ending(sent.status, started, perf_counter()))

    async def _call(self, scope: Scope, receive: Receive, live: Live, request_id: str) -> Call | Problem:
        """The request as a Call, or what is wrong with it."""
        if scope["method"] != "POST":
            return Problem(405, "invalid_request_error", "Use POST here.", "method_not_allowed")
        if self.draining:
            return Problem(503, "api_error", "The gateway is shutting down.", "draining", retry_after=1.0)
        headers = read_headers(scope["headers"])
        if isinstance(headers, Problem):
            return headers
        body = await read_body(receive, headers, live.body_limit, Deadline(self._loop, live.body_timeout))
        if isinstance(body, Problem):
            return body
        chat = self._surface.parse(body)
        if isinstance(chat, Invalid):
            return Problem(400, "invalid_request_error", chat.message, chat.code, chat.param)
        features = extract(chat, headers)
        if near_limit(features.tokens, live.graph.contexts):
            await self._tokens.refine(chat, features)
        address = client_ip(scope)
        return Call(
            id=request_id,
            chat=chat,
            features=features,
            state=live.state,
            now=time(),
            raw=body,
            model=live.graph.aliases.get(chat.model, chat.model),
            ip=address,
            credential=credential(headers),
            local=is_loopback(address),
        )

    async def _execute(self, live: Live, call: Call, sent: Sent, receive: Receive, started: float) -> None:
        """Ask providers; whatever happens, settle once."""
        execution = Execution(live, call, self._upstream, self._surface.protocol)
        hang_up = HangUp(self._loop, receive)
        body: bytes | None = None
        try:
            failure = await execution.commit()
            overhead = perf_counter() - started - sum(a.ended - a.started for a in execution.attempts if a.ended)
            if failure is not None:
                trouble = failure_problem(failure, execution.attempts[-1].route.provider, failure.message)
                headers = call_headers(call, live, overhead) + attempt_headers(execution.attempts, None)
                await sent.problem(self._surface, trouble, headers)
            elif execution.completion is not None:
                body = await self._whole(execution, execution.completion, sent, overhead)
            else:
                body = await self._stream(execution, sent, started)
        except asyncio.CancelledError:
            _cancelled(execution)
            if not hang_up.happened:
                raise  # the gateway stops
            if (task := asyncio.current_task(self._loop)) is not None:
                task.uncancel()  # the cancelling was ours and is dealt with here
        finally:
            hang_up.stop()
            execution.close()
            content_type = "text/event-stream; charset=utf-8" if call.chat.stream else "application/json"
            cancelled = hang_up.happened
            bill(call, execution.attempts)
            ending = Ending(sent.status or 499, started, perf_counter(), cancelled, body, content_type)
            self._settler.settle(live, call, execution.attempts, ending)

    async def _whole(self, execution: Execution, completion: Completion, sent: Sent, overhead: float) -> bytes:
        call, attempts = execution.call, execution.attempts
        data = self._surface.complete(completion, attempts[-1].route.model.id, call.id, call.now)
        headers = call_headers(call, execution.live, overhead)
        headers += attempt_headers(attempts, bill(call, attempts).text)
        headers.append(JSON)
        await sent.whole(200, headers, data)
        return data

    async def _stream(self, execution: Execution, sent: Sent, started: float) -> bytes | None:
        """Deltas to the caller as they come. Returns all bytes when they are worth caching."""
        call, attempts = execution.call, execution.attempts
        attempt = attempts[-1]
        encoder = self._surface.encoder(call.chat, attempt.route.model.id, call.id, call.now)
        waited = (attempt.first_token or 0.0) - attempts[0].started
        headers = call_headers(call, execution.live, perf_counter() - started - waited)
        headers += [*attempt_headers(attempts, None), SSE]
        await sent.head(200, headers)
        kept: list[bytes] | None = [] if call.cache_key is not None else None
        send = sent.send  # a chunk passes here a thousand times: no layer more than it needs
        deltas: Sequence[Delta] | None = execution.pending
        while deltas is not None:
            data = encoder.encode(deltas)
            if data:
                await send({"type": "http.response.body", "body": data, "more_body": True})
                kept = _keep(kept, data)
            if attempt.failure is not None:
                trouble = failure_problem(attempt.failure, attempt.route.provider, attempt.failure.message)
                await sent.part(encoder.error(trouble), more=False)
                return None
            deltas = await execution.more()
        total = bill(call, attempts)
        last = encoder.done(total.usage, total.text)
        await sent.part(last, more=False)
        kept = _keep(kept, last)
        return None if kept is None else b"".join(kept)


class HangUp:
    """Cancels the task that serves a caller when the caller goes away, so that its upstream stops at once.

    Started by a timer: most of the work is done before a watcher would even have been made.
    """

    __slots__ = ("_handle", "_receive", "_task", "happened")

    def __init__(self, loop: asyncio.AbstractEventLoop, receive: Receive) -> None:
        self._receive = receive
        self._task = asyncio.current_task(loop)
        self.happened = False
        self._handle = loop.call_later(WATCH_AFTER, self._start)

    def stop(self) -> None:
        """The response is done; nobody is watched any more. The watcher ends by itself within milliseconds:
        Granian's `receive()` must not be cancelled, a thread of its runtime would wait for ever."""
        self._handle.cancel()
        self._task = None

    def _start(self) -> None:
        _keep_task(self._watch())

    async def _watch(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        if self._task is not None:
            self.happened = True
            self._task.cancel()


_tasks: set[asyncio.Task[None]] = set()
"""Tasks are kept while they run: the event loop itself would let them be collected."""


def _keep_task(work: Coroutine[Any, Any, None]) -> None:
    task = asyncio.get_running_loop().create_task(work)
    _tasks.add(task)
    task.add_done_callback(_tasks.discard)


_CUT_OFF = Problem(400, "invalid_request_error", "The body ended before it was complete.", "incomplete_body")
_NO_END = Problem(500, "api_error", "The policy refused this request without saying why.", "refused")


def _cancelled(execution: Execution) -> None:
    """The caller hung up, or the gateway stops: that is how the running attempt ended."""
    execution.close()
    if execution.attempts and execution.attempts[-1].failure is None:
        execution.attempts[-1].failure = Failure(FailureKind.CANCELLED, "broken off from this side")


def _keep(kept: list[bytes] | None, data: bytes) -> list[bytes] | None:
    """Collect a stream for the cache, until it is too long to be worth it."""
    if kept is None or sum(map(len, kept)) + len(data) > MAX_CACHED_STREAM:
        return None
    kept.append(data)
    return kept

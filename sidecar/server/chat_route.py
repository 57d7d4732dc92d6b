"""`POST /v1/chat/completions`: the hot route. A raw ASGI handler; the only catch-all is at its edge."""

import asyncio
import os
from collections.abc import Mapping, Sequence
from itertools import count
from math import inf
from time import perf_counter, time

from ..call import Call
from ..chat import Completion, Delta, Failure, FailureKind, Problem
from ..engine.attempt import Errand
from ..engine.execute import Execution
from ..engine.failures import problem as failure_problem
from ..engine.headers import header
from ..engine.holder import Holder
from ..engine.rollout import on_trial
from ..engine.route import Live
from ..engine.settle import Ending, Settler, bill
from ..engine.shadow import Shadows
from ..engine.upstream import Upstream
from ..engine.walk import walk
from ..engine.watch import Watches
from ..features import extract
from ..surfaces.base import Invalid, Surface
from ..tokens import Tokens, near_limit
from .body import (
    HungUpError,
    Receive,
    Scope,
    Send,
    client_ip,
    complete,
    credential,
    deadline,
    is_loopback,
    read_body,
    read_headers,
    too_slow,
    unreadable,
)
from .respond import JSON, SSE, Sent, attempt_headers, base_headers, call_headers

MAX_CACHED_STREAM = 1024 * 1024
BROKEN = Problem(500, "api_error", "The gateway failed on this request.", "internal_error")
"""What a caller is told of a bug of ours."""
_ID = os.urandom(5).hex()
_number = count(1)


def next_request_id() -> str:
    """Unique: a random part of this process and a number."""
    return f"req_{_ID}{next(_number):08x}"


class ChatRoute:
    """Serves one surface. Shared by all requests; everything of one request is in locals and its Call."""

    def __init__(
        self, surface: Surface, holder: Holder, upstream: Upstream, settler: Settler, shadows: Shadows
    ) -> None:
        self._surface = surface
        self._holder = holder
        self._upstream = upstream
        self._settler = settler
        self._shadows = shadows
        self._tokens = Tokens()
        self.watches = Watches(asyncio.get_running_loop())
        self.draining = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, from its first byte to its ledger row."""
        started, live = perf_counter(), self._holder.current
        sent, request_id = Sent(send), next_request_id()
        watch = self.watches.begin()
        try:
            headers = self._headers(scope, live)
            call: Call | Problem
            if isinstance(headers, Problem):
                call = headers
            else:
                watch.limit(live.body_timeout)
                message = await receive()
                body: bytes | Problem | None = complete(message, headers, live.body_limit)
                if body is None:
                    body = await read_body(message, receive, live.body_limit)
                watch.until = inf
                call = body if isinstance(body, Problem) else self._call(scope, headers, body, live)
            if isinstance(call, Problem):
                self._settler.records.turned_away(request_id, call, perf_counter() - started)
                await sent.problem(self._surface, call, base_headers(request_id, live))
                return
            call.id = request_id
            watch.callers = receive
            if near_limit(call.features.tokens, live.graph.contexts):
                await self._tokens.refine(call.chat, call.features)
            self._settler.health.wake(call.now)
            live, end = (live, walk(live.graph, call)) if live.rollout is None else on_trial(live, call, self._shadows)
            if end == "execute":
                execution = Execution(Errand(live, call, self._upstream, self._surface.protocol), watch)
                await self._execute(execution, sent, started)
            else:
                await self._answer(live, call, end, sent, started)
        except asyncio.CancelledError:
            if not watch.ours():
                raise
            slow = too_slow(live.body_timeout)
            self._settler.records.turned_away(request_id, slow, perf_counter() - started)
            await sent.problem(self._surface, slow, base_headers(request_id, live))
        except HungUpError:
            if not sent.status:
                # Most are gone; who only ended its own half of the connection would be told 500 by the server.
                await sent.problem(self._surface, _CUT_OFF, base_headers(request_id, live))
        except Exception as fault:  # noqa: BLE001  the edge: a bug must not take the caller's connection silently
            self._holder.log_fault(request_id, fault)
            if not sent.status:
                await sent.problem(self._surface, BROKEN, base_headers(request_id, live))
        finally:
            self.watches.end(watch)

    def _headers(self, scope: Scope, live: Live) -> dict[str, str] | Problem:
        """The request's headers, or why it is turned away unread."""
        if scope["method"] != "POST":
            return Problem(405, "invalid_request_error", "Use POST here.", "method_not_allowed")
        if self.draining:
            return Problem(503, "api_error", "The gateway is shutting down.", "draining", retry_after=1.0)
        if len(self.watches) > live.running_limit:
            message = "The gateway has as many requests as it may run at once."
            return Problem(503, "overloaded_error", message, "too_many_running", retry_after=1.0)
        headers = read_headers(scope["headers"])
        return headers if isinstance(headers, Problem) else unreadable(headers, live.body_limit) or headers

    def _call(self, scope: Scope, headers: Mapping[str, str], body: bytes, live: Live) -> Call | Problem:
        """The request as a Call, or what is wrong with it."""
        timeout = deadline(headers)
        if isinstance(timeout, Problem):
            return timeout
        chat = self._surface.parse(body)
        if isinstance(chat, Invalid):
            return Problem(400, "invalid_request_error", chat.message, chat.code, chat.param)
        address = client_ip(scope)
        return Call(
            id="",
            chat=chat,
            features=extract(chat, headers),
            state=live.state,
            now=time(),
            raw=body,
            model=live.graph.aliases.get(chat.model, chat.model),
            ip=address,
            credential=credential(headers),
            local=is_loopback(address),
            timeout=timeout,
            details={} if headers.get("x-sidecar-explain") == "1" else None,
            context=None if live.tracing is None else live.tracing.begin(headers),
        )

    async def _answer(self, live: Live, call: Call, end: str, sent: Sent, started: float) -> None:
        """What needs no provider: an answer from the cache, or a refusal."""
        headers = call_headers(call, live, perf_counter() - started)
        hit = call.hit
        if end == "respond" and hit is not None:
            headers += [
                header(b"content-type", hit.content_type),
                header(b"x-sidecar-model", hit.model),
                header(b"x-sidecar-provider", hit.provider),
                (b"x-sidecar-cost-usd", b"0"),
                (b"x-sidecar-attempts", b"0"),
            ]
            self._settler.settle(live, call, (), Ending(200, started, perf_counter()))
            await sent.whole(200, headers, hit.body)
        else:
            refusal = call.refusal or _NO_END
            self._settler.settle(live, call, (), Ending(refusal.status, started, perf_counter()))
            await sent.problem(self._surface, refusal, headers)

    async def _execute(self, execution: Execution, sent: Sent, started: float) -> None:
        """Ask providers; whatever happens, settle once, and before the last byte: who has an answer has its row."""
        live, call, attempts = execution.errand.live, execution.errand.call, execution.attempts
        try:
            failure = await execution.commit()
            overhead = perf_counter() - started
            for attempt in attempts:
                overhead -= (attempt.ended or attempt.first_token or 0.0) - attempt.started
            if failure is not None:
                trouble = failure_problem(failure, attempts[-1].route.provider, failure.message)
                headers = call_headers(call, live, overhead) + attempt_headers(attempts, None)
                self._settle(execution, trouble.status, started)
                await sent.problem(self._surface, trouble, headers)
            elif call.chat.stream:
                await self._stream(execution, sent, started, overhead)
            else:
                completion = execution.completion or Completion()
                body = self._surface.complete(completion, attempts[-1].route.model.id, call.id, call.now)
                headers = call_headers(call, live, overhead)
                headers += attempt_headers(attempts, bill(call, attempts).text)
                headers.append(JSON)
                self._settle(execution, 200, started, body)
                await sent.whole(200, headers, body)
        except asyncio.CancelledError:
            _cancelled(execution)
            if not execution.watch.left():
                raise  # the gateway stops
        finally:
            execution.close()
            self._settle(execution, sent.status or 499, started)

    def _settle(self, execution: Execution, status: int, started: float, body: bytes | None = None) -> None:
        if execution.settled:
            return
        execution.settled = True
        call, attempts = execution.errand.call, execution.attempts
        if not (attempts and attempts[-1].billed):
            bill(call, attempts)
        content_type = "text/event-stream; charset=utf-8" if call.chat.stream else "application/json"
        ending = Ending(status, started, perf_counter(), execution.watch.hung_up, body, content_type)
        self._settler.settle(execution.errand.live, call, attempts, ending)

    async def _stream(self, execution: Execution, sent: Sent, started: float, overhead: float) -> None:
        """Deltas to the caller as they come; all bytes are kept while they may be worth caching, or are traced."""
        call, attempts = execution.errand.call, execution.attempts
        attempt = attempts[-1]
        encoder = self._surface.encoder(call.chat, attempt.route.model.id, call.id, call.now)
        headers = call_headers(call, execution.errand.live, overhead)
        headers += [*attempt_headers(attempts, None), SSE]
        await sent.head(200, headers)
        tracing = execution.errand.live.tracing
        kept: list[bytes] | None = [] if call.cache_key is not None or (tracing and tracing.content) else None
        send = sent.send  # a chunk passes here a thousand times: no layer more than it needs
        deltas: Sequence[Delta] | None = attempt.pending
        while deltas is not None:
            data = encoder.encode(deltas)
            if data:
                await send({"type": "http.response.body", "body": data, "more_body": True})
                kept = _keep(kept, data)
            if attempt.failure is not None:
                trouble = failure_problem(attempt.failure, attempt.route.provider, attempt.failure.message)
                self._settle(execution, 200, started)
                await send({"type": "http.response.body", "body": encoder.error(trouble), "more_body": False})
                return
            deltas = await attempt.more()
        total = bill(call, attempts)
        last = encoder.done(total.usage, total.text)
        kept = _keep(kept, last)
        self._settle(execution, 200, started, None if kept is None else b"".join(kept))
        await send({"type": "http.response.body", "body": last, "more_body": False})


_CUT_OFF = Problem(400, "invalid_request_error", "The body ended before it was complete.", "incomplete_body")
_NO_END = Problem(500, "api_error", "The policy refused this request without saying why.", "refused")


def _cancelled(execution: Execution) -> None:
    """The caller hung up, or the gateway stops: that is how the running attempt ended."""
    for attempt in execution.attempts:
        if not attempt.ended:
            attempt.fail(Failure(FailureKind.CANCELLED, "broken off from this side"))


def _keep(kept: list[bytes] | None, data: bytes) -> list[bytes] | None:
    """Collect a stream for the cache, until it is too long to be worth it."""
    if kept is None or sum(map(len, kept)) + len(data) > MAX_CACHED_STREAM:
        return None
    kept.append(data)
    return kept

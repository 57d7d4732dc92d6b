"""Response headers, built once a response, and the few messages that ASGI wants."""

import re
from collections.abc import Coroutine, Sequence
from math import ceil
from typing import Any

from ..call import Call
from ..chat import Problem
from ..engine.attempt import Attempt
from ..engine.headers import Headers, decision_headers, header
from ..engine.route import Live
from ..surfaces.base import Surface
from .body import Send

JSON = (b"content-type", b"application/json")
SSE = (b"content-type", b"text/event-stream; charset=utf-8")
SECURITY_HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "cache-control": "no-store",
}
"""On every response that the framework sends."""
_SAFE = (b"x-content-type-options", b"nosniff")
_CLOSE = (b"connection", b"close")
_UNREAD = frozenset({408, 413})
"""Answers to a body that was not read to its end: what is left of it must not be taken for the next request."""
_NO_STORE = (b"cache-control", b"no-store")
MAX_WARNINGS = 2000
_UNFIT = re.compile("[^ -~]")


class Sent:
    """Sends one response and remembers its status."""

    __slots__ = ("send", "status")

    def __init__(self, send: Send) -> None:
        self.send = send
        self.status = 0

    async def head(self, status: int, headers: Headers) -> None:
        """The status line and headers."""
        self.status = status
        await self.send({"type": "http.response.start", "status": status, "headers": headers})

    async def whole(self, status: int, headers: Headers, data: bytes) -> None:
        """A response in one go."""
        headers.append((b"content-length", b"%d" % len(data)))
        self.status = status
        await self.send({"type": "http.response.start", "status": status, "headers": headers})
        await self.send({"type": "http.response.body", "body": data, "more_body": False})

    def problem(self, surface: Surface, problem: Problem, headers: Headers) -> Coroutine[Any, Any, None]:
        """An error in the surface's envelope."""
        headers.append(JSON)
        if problem.retry_after is not None:
            headers.append((b"retry-after", b"%d" % ceil(problem.retry_after)))
        if problem.status in _UNREAD:
            headers.append(_CLOSE)
        return self.whole(problem.status, headers, surface.problem(problem))


def base_headers(request_id: str, live: Live) -> Headers:
    """What is on every response."""
    return [(b"x-request-id", request_id.encode()), live.policy_header, _SAFE, _NO_STORE]


def call_headers(call: Call, live: Live, overhead: float) -> Headers:
    """What is known of a call once it has been through the graph. `overhead` is the seconds we took so far."""
    headers = base_headers(call.id, live)
    headers += decision_headers(call)
    headers.append((b"x-sidecar-overhead-ms", b"%.2f" % (overhead * 1000)))
    if call.details is not None and call.explained:
        headers.append((b"x-sidecar-decision", call.id.encode()))
    return headers


def attempt_headers(attempts: Sequence[Attempt], cost: str | None) -> Headers:
    """Who answered, after how many tries, at what cost (absent while a stream still runs), with what lost."""
    last = attempts[-1]
    headers = [
        header(b"x-sidecar-model", last.route.model.id),
        header(b"x-sidecar-provider", last.route.provider),
        (b"x-sidecar-attempts", b"%d" % len(attempts)),
    ]
    if cost is not None:
        headers.append((b"x-sidecar-cost-usd", cost.encode()))
    if last.lost:
        headers.append((b"x-sidecar-warnings", _header_text(", ".join(last.lost)[:MAX_WARNINGS])))
    return headers


def _header_text(text: str) -> bytes:
    """Text as a header value. What a translation lost is named by the caller, who may name it `a\\r\\nb`."""
    return _UNFIT.sub("?", text).encode()

"""One request's two ends, over ASGI: the body in, the answer out at its pace, and the caller hanging up."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, MutableMapping, Sequence
from types import TracebackType
from typing import Any

from .prompt import Refusal
from .record import Recorded

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = Sequence[tuple[str, str]]

MAX_BODY = 32 * 2**20
_LINGER = 1.0


class Disconnected(Exception):
    """The caller is gone."""


class Caller:
    """Watches for the caller hanging up while an answer takes its time. An async context manager: the watching
    task is its own and ends with it."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._watch: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "Caller":
        self._watch = asyncio.create_task(self._left())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._watch is None:
            return
        if kind is None:
            # Once the answer is out, `receive` reports the end by itself. Waiting for that, because cancelling a
            # pending `receive` costs Granian a thread that never ends.
            await asyncio.wait((self._watch,), timeout=_LINGER)
        if not self._watch.done():
            self._watch.cancel()
            await asyncio.wait((self._watch,))

    async def _left(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def sleep(self, delay: float) -> None:
        """Waits, or raises `Disconnected` the moment the caller leaves."""
        if self._watch is None:
            raise RuntimeError("not entered")
        if delay > 0:
            await asyncio.wait((self._watch,), timeout=delay)
        if self._watch.done():
            raise Disconnected


async def body(receive: Receive, declared: str | None) -> bytes:
    """The whole request body; above the limit it is refused, without reading on."""
    if declared is not None and declared.isdecimal() and int(declared) > MAX_BODY:
        raise Refusal(413)
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Disconnected
        part = message.get("body", b"")
        size += len(part)
        if size > MAX_BODY:
            raise Refusal(413)
        parts.append(part)
        if not message.get("more_body", False):
            return b"".join(parts) if len(parts) > 1 else parts[0]


async def whole(send: Send, status: int, headers: Headers, content: bytes) -> None:
    """An answer in one piece."""
    raw = [*_raw(headers), (b"content-length", str(len(content)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": raw})
    await send({"type": "http.response.body", "body": content})


async def stream(
    caller: Caller, send: Send, headers: Headers, chunks: Iterator[bytes], pace: float, entry: Recorded
) -> None:
    """A streamed answer, a chunk at a time. Everything a stream sends passes through `chunks`."""
    await send({"type": "http.response.start", "status": 200, "headers": _raw(headers)})
    for chunk in chunks:
        if entry.chunks:
            await caller.sleep(pace)
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
        entry.chunks += 1
    await send({"type": "http.response.body", "body": b""})


def _raw(headers: Iterable[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    return [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in headers]

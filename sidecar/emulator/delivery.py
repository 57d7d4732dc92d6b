"""One request's two ends, over ASGI: the body in, the answer out at its pace, and the caller hanging up."""

import asyncio
import os
import socket
import stat
from collections.abc import Awaitable, Callable, Iterator, MutableMapping, Sequence
from types import TracebackType
from typing import Any, Literal

from msgspec import Struct

from .prompt import Refusal
from .record import Recorded

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = Sequence[tuple[str, str]]

MAX_BODY = 32 * 2**20
_LINGER = 1.0

Ending = Literal["complete", "silence", "reset"]


class Disconnected(Exception):
    """The caller is gone."""


class Broken(Exception):
    """The answer ends here, unfinished: a server that is told so closes the connection."""


class Response(Struct):
    """What is to be sent: `content` whole, or `chunks` as a stream, and how it ends.

    `declared` is the length that is announced where less than that is sent. Of what is `held`, nothing is sent at
    all, not even the headers.
    """

    status: int
    headers: list[tuple[str, str]]
    content: bytes = b""
    chunks: Iterator[bytes] | None = None
    delay: float = 0.0
    pace: float = 0.0
    ending: Ending = "complete"
    declared: int | None = None
    held: bool = False


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

    async def sleep(self, delay: float | None) -> None:
        """Waits, without end for None, or raises `Disconnected` the moment the caller leaves."""
        if self._watch is None:
            raise RuntimeError("not entered")
        if delay is None or delay > 0:
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


async def whole(send: Send, response: Response) -> None:
    """An answer in one piece."""
    await _start(send, response)
    await send({"type": "http.response.body", "body": response.content})


async def paced(caller: Caller, send: Send, response: Response, entry: Recorded) -> None:
    """An answer that takes its time or breaks off: a stream chunk by chunk, or what there is of a whole one."""
    if not response.held:
        entry.status = response.status
        await _start(send, response)
        await _body(caller, send, response, entry)
    match response.ending:
        case "complete":
            await send({"type": "http.response.body", "body": b""})
        case "silence":
            await caller.sleep(None)
        case "reset":
            raise Broken


async def _start(send: Send, response: Response) -> None:
    headers = [(name.encode("latin-1"), value.encode("latin-1", "replace")) for name, value in response.headers]
    if response.chunks is None:
        size = len(response.content) if response.declared is None else response.declared
        headers.append((b"content-length", str(size).encode()))
    await send({"type": "http.response.start", "status": response.status, "headers": headers})


async def _body(caller: Caller, send: Send, response: Response, entry: Recorded) -> None:
    if response.chunks is None:
        await send({"type": "http.response.body", "body": response.content, "more_body": True})
        return
    if response.ending != "complete":
        # Headers go out with the first piece of the body, and there may be none.
        await send({"type": "http.response.body", "body": b"", "more_body": True})
    for chunk in response.chunks:
        if entry.chunks:
            await caller.sleep(response.pace)
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
        entry.chunks += 1


def hang_up(scope: Message) -> None:
    """Shuts the connection of a request down, found among this process's own sockets.

    A server breaks an answer off when the application fails in its middle; before its start it would send a 500
    instead, and ASGI has no word for closing.
    """
    ends = [(str(end[0]), int(end[1])) for end in (scope.get("client"), scope.get("server")) if end]
    for name in os.listdir("/dev/fd") if len(ends) == 2 else ():  # noqa: PTH208  # names only, of a kernel list
        try:
            if not stat.S_ISSOCK(os.fstat(int(name)).st_mode):
                continue
            with socket.socket(fileno=os.dup(int(name))) as found:
                if [found.getpeername()[:2], found.getsockname()[:2]] == ends:
                    found.shutdown(socket.SHUT_RDWR)
        except OSError:
            continue  # listening, or closed meanwhile

"""A provider that speaks OpenAI's protocol, whose behaviour is switched while it serves, and that counts.

Every answer is unlike any other (`name.number.place`), so that a mixed or repeated one shows.
"""

import asyncio
import json
import random
import socket
import struct
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from house import chunked, event

Behaviour = Callable[["Exchange"], Awaitable[None]]

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
_NO_LINGER = struct.pack("ii", 1, 0)


class Exchange:
    """One request on its connection."""

    def __init__(self, provider: "Provider", transport: asyncio.Transport, body: dict[str, Any], number: int) -> None:
        self.provider = provider
        self.transport = transport
        self.body = body
        self.number = number

    @property
    def stream(self) -> bool:
        return bool(self.body.get("stream"))

    def words(self, count: int) -> list[str]:
        """What this answer says, and no other."""
        return [f"{self.provider.name}.{self.number}.{place} " for place in range(count)]

    def send(self, *pieces: bytes) -> None:
        for piece in pieces:
            self.transport.write(piece)

    def reset(self) -> None:
        """End the connection the rude way: RST, not FIN."""
        self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
        self.transport.abort()


class Provider:
    """One upstream. `broken_off` counts the requests whose connection the gateway ended before they were answered,
    `did` what behaviours noted."""

    def __init__(self, name: str, behave: Behaviour) -> None:
        self.name = name
        self.behave = behave
        self.asked = 0
        self.running = 0
        self.peak = 0
        self.broken_off = 0
        self.did: Counter[str] = Counter()
        self.lines: set[_Line] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        # Bound and never listening: it keeps the port while the provider is away.
        self._place = _bound(0)
        self.port = int(self._place.getsockname()[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    async def listen(self) -> None:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _Line(self), sock=_bound(self.port), backlog=1024)

    def refuse(self) -> None:
        """Gone: open connections end, new ones are refused until it listens again."""
        if self._server is not None:
            self._server.close()
            self._server = None
        for line in list(self.lines):
            line.transport.abort()

    async def close(self) -> None:
        self.refuse()
        self._place.close()
        await asyncio.gather(*self.tasks, return_exceptions=True)

    async def serve(self, exchange: Exchange) -> None:
        """One request, from the time it is here until it is answered or its connection is gone."""
        self.running += 1
        self.peak = max(self.peak, self.running)
        try:
            await self.behave(exchange)
        except asyncio.CancelledError:
            self.broken_off += 1
        finally:
            self.running -= 1


class _Line(asyncio.Protocol):
    """One connection, kept alive; one request at a time."""

    transport: asyncio.Transport

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self._buffer = b""
        self._task: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._provider.lines.add(self)

    def connection_lost(self, fault: Exception | None) -> None:
        self._provider.lines.discard(self)
        if self._task is not None:
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, mark, rest = self._buffer.partition(b"\r\n\r\n")
        if not mark:
            return
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        if len(rest) < length:
            return
        self._buffer = rest[length:]
        provider = self._provider
        provider.asked += 1
        exchange = Exchange(provider, self.transport, json.loads(rest[:length]), provider.asked)
        task = self._task = asyncio.get_running_loop().create_task(provider.serve(exchange))
        provider.tasks.add(task)
        task.add_done_callback(provider.tasks.discard)


@asynccontextmanager
async def providers(**behaviours: Behaviour) -> AsyncIterator[list[Provider]]:
    """Providers by name, each on a port of its own."""
    opened = [Provider(name, behave) for name, behave in behaviours.items()]
    try:
        for provider in opened:
            await provider.listen()
        yield opened
    finally:
        for provider in opened:
            await provider.close()


def _bound(port: int) -> socket.socket:
    # The protocol is named, for asyncio sends without delay only where it is.
    place = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    place.bind(("127.0.0.1", port))
    return place


# --- what a provider may do --------------------------------------------------------------------------------------


def answers(words: int = 3, first: float = 0.0, pause: float = 0.0) -> Behaviour:
    """So many words: whole, or one chunk each. `first` seconds pass before the first, `pause` before each other."""

    async def behave(exchange: Exchange) -> None:
        if first:
            await asyncio.sleep(first)
        said = exchange.words(words)
        if not exchange.stream:
            exchange.send(_json(200, _whole("".join(said))))
            return
        exchange.send(HEAD)
        for place, word in enumerate(said):
            if place and pause:
                await asyncio.sleep(pause)
            exchange.send(chunked(event(word)))
        _end(exchange, words)

    return behave


def waits(gate: asyncio.Event, before: int = 0) -> Behaviour:
    """Answers when `gate` opens; a stream's first `before` words come at once."""

    async def behave(exchange: Exchange) -> None:
        said = exchange.words(3)
        if exchange.stream and before:
            exchange.send(HEAD, *(chunked(event(word)) for word in said[:before]))
        await gate.wait()
        if not exchange.stream:
            exchange.send(_json(200, _whole("".join(said))))
            return
        exchange.send(*([] if before else [HEAD]), *(chunked(event(word)) for word in said[before:]))
        _end(exchange, len(said))

    return behave


def fails(status: int = 500, *headers: str) -> Behaviour:
    """The provider's own error."""

    async def behave(exchange: Exchange) -> None:
        exchange.provider.did["server_error" if status == 500 else str(status)] += 1
        exchange.send(_json(status, {"error": {"message": "no", "type": "error", "code": None}}, *headers))

    return behave


async def resets(exchange: Exchange) -> None:
    """RST instead of an answer."""
    exchange.provider.did["reset"] += 1
    exchange.reset()


async def errs_in_stream(exchange: Exchange) -> None:
    """200, and then an error where the first token should be; without a stream in the body."""
    error = b'{"error":{"message":"no","type":"server_error"}}'
    if exchange.stream:
        exchange.provider.did["stream_error"] += 1
        exchange.send(HEAD, chunked(event(None)), chunked(b"data: " + error + b"\n\n"), b"0\r\n\r\n")
    else:
        exchange.provider.did["server_error"] += 1
        exchange.send(_json(200, json.loads(error)))


def stalls(before: int = 0) -> Behaviour:
    """Nothing more after `before` words, until the gateway leaves."""
    return waits(asyncio.Event(), before)


def sometimes(seed: int, share: float, *behaviours: Behaviour) -> Behaviour:
    """One of `behaviours` for this share of the requests, an answer for the others."""
    draw, well = random.Random(seed), answers()

    async def behave(exchange: Exchange) -> None:
        await (draw.choice(behaviours) if draw.random() < share else well)(exchange)

    return behave


def in_turn(*behaviours: Behaviour) -> Behaviour:
    """One after the other; the last for ever."""
    waiting: Sequence[Behaviour] = list(behaviours)

    async def behave(exchange: Exchange) -> None:
        nonlocal waiting
        now, waiting = waiting[0], waiting[1:] or waiting
        await now(exchange)

    return behave


def _end(exchange: Exchange, words: int) -> None:
    end = event(None, finish="stop") + event(None, usage=(3, words)) + b"data: [DONE]\n\n"
    exchange.send(chunked(end), b"0\r\n\r\n")


def _whole(text: str) -> dict[str, Any]:
    message = {"role": "assistant", "content": text}
    usage = {"prompt_tokens": 3, "completion_tokens": 3, "total_tokens": 6}
    choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
    return {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": choices, "usage": usage}


def _json(status: int, body: dict[str, Any], *headers: str) -> bytes:
    data = json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} x", "content-type: application/json", f"content-length: {len(data)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + data

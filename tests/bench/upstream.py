"""The fake provider: a raw protocol server that hands out ready-made bytes, as cheap as Python can be.

`python -m tests.bench.upstream PORT` serves 127.0.0.1:PORT until it is told to stop. A stream's chunks leave in
separate writes, one for each turn of the event loop, never glued together by the server. `GET /count` tells how many
requests of each sort were answered: the harness uses it to see that a proxy really asked, and that a cache really
did not.
"""

import asyncio
import json
import re
import sys

import uvloop

from tests.bench import wire

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)
_STREAM = re.compile(rb'"stream": ?true')
_SPANS = b"POST /v1/traces "
_TAKEN = b"HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\ncontent-length: 0\r\n\r\n"
_USAGE = re.compile(rb'"include_usage": ?true')


class Player:
    """Plays all running streams side by side, one chunk of each a turn."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._running: list[tuple[Connection, list[bytes]]] = []
        self._step: list[int] = []
        self.counts = {"json": 0, "stream": 0}

    def play(self, connection: "Connection", writes: list[bytes]) -> None:
        if not self._running:
            self._loop.call_soon(self._turn)
        self._running.append((connection, writes))
        self._step.append(0)

    def _turn(self) -> None:
        running, step = self._running, self._step
        self._running, self._step = [], []
        for (connection, writes), i in zip(running, step, strict=True):
            if connection.transport.is_closing():
                continue
            connection.transport.write(writes[i])
            if i + 1 < len(writes):
                self._running.append((connection, writes))
                self._step.append(i + 1)
            else:
                connection.finished()
        if self._running:
            self._loop.call_soon(self._turn)


class Connection(asyncio.Protocol):
    """One caller: keep-alive, one answer at a time, pipelined requests wait their turn."""

    transport: asyncio.Transport
    json = wire.json_answer()
    stream = wire.stream_writes(usage=False)
    stream_usage = wire.stream_writes(usage=True)

    def __init__(self, player: Player) -> None:
        self._player = player
        self._buffer = b""
        self._unread = 0
        self._busy = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        if self._unread:
            swallowed = min(self._unread, len(data))
            self._unread, data = self._unread - swallowed, data[swallowed:]
        self._buffer = self._buffer + data if self._buffer else data
        self._serve()

    def finished(self) -> None:
        self._busy = False
        if self._buffer:
            self._serve()

    def _serve(self) -> None:
        while not self._busy and self._buffer:
            if self._buffer.startswith(_SPANS):
                if not self._took_spans():
                    return
                continue
            end = _message_end(self._buffer)
            if end < 0:
                return
            message, self._buffer = self._buffer[:end], self._buffer[end:]
            self._answer(message)

    def _took_spans(self) -> bool:
        """Be the collector of spans as well, one that costs next to nothing: it answers to the headers, and passes the
        body over unread. False while the headers are not all here."""
        head = self._buffer.find(b"\r\n\r\n") + 4
        length = _LENGTH.search(self._buffer, 0, head) if head > 3 else None
        if length is None:
            return False
        end = head + int(length[1])
        self._unread, self._buffer = max(0, end - len(self._buffer)), self._buffer[end:]
        self.transport.write(_TAKEN)
        return True

    def _answer(self, message: bytes) -> None:
        counts = self._player.counts
        if message.startswith(b"GET"):
            body = json.dumps(counts).encode()
            self.transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%s" % (len(body), body))
        elif _STREAM.search(message):
            counts["stream"] += 1
            self._busy = True
            self._player.play(self, self.stream_usage if _USAGE.search(message) else self.stream)
        else:
            counts["json"] += 1
            self.transport.write(self.json)


def _message_end(buffer: bytes) -> int:
    """Where the first request in the buffer ends, or -1 when it is not all here."""
    head = buffer.find(b"\r\n\r\n")
    if head < 0:
        return -1
    length = _LENGTH.search(buffer, 0, head + 2)
    if length:
        end = head + 4 + int(length[1])
        return end if len(buffer) >= end else -1
    if _CHUNKED.search(buffer, 0, head + 2):
        last = buffer.find(b"0\r\n\r\n", head + 4)
        return last + 5 if last >= 0 else -1
    return head + 4


async def _main(port: int) -> None:
    loop = asyncio.get_running_loop()
    player = Player(loop)
    server = await loop.create_server(lambda: Connection(player), "127.0.0.1", port, backlog=1024)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(_main(int(sys.argv[1])))

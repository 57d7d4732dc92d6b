"""The built-in load generator, for machines without wrk: raw sockets, uvloop, a closed loop.

`python -m tests.bench.generator` reads one job (JSON) from stdin and prints one line of figures. It is slower than
wrk and takes more of the core that it shares with the upstream, so that fast servers look slower with it.
"""

import asyncio
import json
import re
import sys
import time
from typing import Any

import uvloop

from tests.bench import wire

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked", re.IGNORECASE)
_LAST_CHUNK = b"\r\n0\r\n\r\n"


class Run:
    """What all connections have seen together."""

    def __init__(self, request: bytes, seconds: float) -> None:
        self.request = request
        self.until = time.perf_counter() + seconds
        self.latencies: list[float] = []
        self.bytes = 0
        self.errors = 0


class Caller(asyncio.Protocol):
    """One connection: asks, takes the whole answer, asks again."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._sent = 0.0
        self._need: int | None = 0  # bytes of the answer; None for a chunked one, 0 while its head is not complete
        self._buffer = b""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport
        self._ask()

    def connection_lost(self, exc: Exception | None) -> None:
        if time.perf_counter() < self._run.until:
            self._run.errors += 1

    def data_received(self, data: bytes) -> None:
        self._run.bytes += len(data)
        self._buffer += data
        if self._need == 0:
            self._read_head()
        if self._need is None:
            whole = self._buffer.endswith(_LAST_CHUNK)
        else:
            whole = 0 < self._need <= len(self._buffer)
        if whole:
            self._finish()

    def _ask(self) -> None:
        self._need, self._buffer = 0, b""
        self._sent = time.perf_counter()
        self.transport.write(self._run.request)

    def _read_head(self) -> None:
        end = self._buffer.find(b"\r\n\r\n")
        if end < 0:
            return
        head = self._buffer[: end + 2]
        length = _LENGTH.search(head)
        if length:
            self._need = end + 4 + int(length[1])
        elif _CHUNKED.search(head):
            self._need = None
        else:
            self._run.errors += 1
            self.transport.close()

    def _finish(self) -> None:
        now = time.perf_counter()
        if self._buffer[9:12] != b"200":
            self._run.errors += 1
        if now >= self._run.until:
            return
        self._run.latencies.append(now - self._sent)
        self._ask()


async def _main(job: dict[str, Any]) -> dict[str, float]:
    loop = asyncio.get_running_loop()
    body = job["body"].encode()
    head = "".join(f"{name}: {value}\r\n" for name, value in job["headers"].items())
    request = f"POST {wire.PATH} HTTP/1.1\r\n{head}content-length: {len(body)}\r\n\r\n".encode() + body
    run = Run(request, job["seconds"])
    started = time.perf_counter()
    made = [
        await loop.create_connection(lambda: Caller(run), "127.0.0.1", job["port"]) for _ in range(job["connections"])
    ]
    await asyncio.sleep(max(0.0, run.until - time.perf_counter()))
    seconds = time.perf_counter() - started
    for transport, _ in made:
        transport.abort()
    ordered = sorted(run.latencies) or [0.0]
    return {
        "complete": len(run.latencies),
        "bytes": run.bytes,
        "seconds": seconds,
        "p50": 1e3 * ordered[len(ordered) // 2],
        "p99": 1e3 * ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)],
        "errors": run.errors,
    }


if __name__ == "__main__":
    print(json.dumps(uvloop.run(_main(json.load(sys.stdin)))))

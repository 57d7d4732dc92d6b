"""Logs: one JSON line an event, written off the event loop in batches. No content, no secret."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, BinaryIO

import msgspec

FLUSH = 0.1
"""Seconds lines may wait for company."""
MAX_WAITING = 50_000
"""Lines kept for a reader that does not read; then lines are dropped and counted."""


class Log:
    """Collects lines and hands them to a thread. Use on one event loop."""

    def __init__(self, sink: BinaryIO, clock: Callable[[], float]) -> None:
        self._sink = sink
        self._clock = clock
        self._lines: list[bytes] = []
        self._writer: asyncio.Task[None] | None = None
        self._encode = msgspec.json.Encoder().encode
        self._second = 0
        self._shown = ""
        self.dropped = 0

    def write(self, level: str, event: str, fields: dict[str, Any]) -> None:
        """Queue one line. Fields that are None are left out."""
        self.put(level, event, self._encode({name: value for name, value in fields.items() if value is not None}))

    def put(self, level: str, event: str, fields: bytes) -> None:
        """The same for fields that are a JSON object already."""
        if len(self._lines) >= MAX_WAITING:
            self.dropped += 1
            return
        now = self._clock()
        if int(now) != self._second:
            self._second = int(now)
            self._shown = datetime.fromtimestamp(self._second, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        head = f'{{"time":"{self._shown}.{int(now * 1000) % 1000:03d}Z","level":"{level}","event":"{event}",'
        self._lines.append(head.encode() + fields[1:])
        if self._writer is None:
            self._writer = asyncio.get_running_loop().create_task(self._drain())

    async def close(self) -> None:
        """Write what is left."""
        if self._writer is not None:
            await self._writer

    async def _drain(self) -> None:
        await asyncio.sleep(FLUSH)
        while self._lines:
            lines, self._lines = self._lines, []
            await asyncio.to_thread(self._put, b"\n".join(lines) + b"\n")
        self._writer = None

    def _put(self, data: bytes) -> None:
        try:
            self._sink.write(data)
            self._sink.flush()
        except (OSError, ValueError):
            self.dropped += data.count(b"\n")

"""Logs: one line an event, written off the event loop in batches. No content, no secret.

Lines are made as JSON. For people they are made into text by the thread that writes them.
"""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, BinaryIO, Literal

import msgspec
from msgspec import Struct

from .log_text import text_line

FLUSH = 0.1
"""Seconds lines may wait for company."""
MAX_WAITING = 50_000
"""Lines kept for a reader that does not read; then lines are dropped and counted."""
LEVELS = ("debug", "info", "warning", "error")
Level = Literal["debug", "info", "warning", "error"]


class Style(Struct, frozen=True):
    """How lines are written: as text or as JSON, from which level on, text in colour. Of `sample` decisions one is
    told of at level debug."""

    text: bool = False
    level: Level = "info"
    colored: bool = False
    sample: int = 10


class Log:
    """Collects lines and hands them to a thread. Use on one event loop."""

    def __init__(self, sink: BinaryIO, clock: Callable[[], float], style: Style | None = None) -> None:
        self._sink = sink
        self._clock = clock
        self.style = style = style or Style()
        self._levels = frozenset(LEVELS[LEVELS.index(style.level) :])
        self._lines: list[bytes] = []
        self._writer: asyncio.Task[None] | None = None
        self._encode = msgspec.json.Encoder().encode
        self.dropped = 0

    def write(self, level: str, event: str, fields: dict[str, Any]) -> None:
        """Queue one line. Fields that are None are left out."""
        if start := self.start(level, event):
            told = self._encode({name: value for name, value in fields.items() if value is not None})
            self.keep([start + told[1:]])

    def start(self, level: str, event: str) -> bytes:
        """What a line of now begins with, up to the first of its fields; empty if such lines are not written."""
        if level not in self._levels:
            return b""
        now = int(self._clock() * 1000)
        shown = datetime.fromtimestamp(now // 1000, UTC).strftime("%Y-%m-%dT%H:%M:%S")
        return f'{{"time":"{shown}.{now % 1000:03d}Z","level":"{level}","event":"{event}",'.encode()

    def keep(self, lines: list[bytes]) -> None:
        """Queue lines: what they `start` with, and fields."""
        room = MAX_WAITING - len(self._lines)
        self.dropped += max(0, len(lines) - room)
        self._lines += lines[:room]
        if self._writer is None and lines:
            self._writer = asyncio.get_running_loop().create_task(self._drain())

    async def close(self) -> None:
        """Write what is left."""
        if self._writer is not None:
            await self._writer

    async def _drain(self) -> None:
        await asyncio.sleep(FLUSH)
        while self._lines:
            lines, self._lines = self._lines, []
            await asyncio.to_thread(self._put, lines)
        self._writer = None

    def _put(self, lines: list[bytes]) -> None:
        if self.style.text:
            data = "".join(text_line(line, colored=self.style.colored) for line in lines).encode()
        else:
            data = b"\n".join((*lines, b""))
        try:
            self._sink.write(data)
            self._sink.flush()
        except (OSError, ValueError):
            self.dropped += len(lines)

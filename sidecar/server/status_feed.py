"""`/status/events`: the panels that changed, to whoever watches, as server-sent events.

All who watch are served from one drawing, made at most every PAUSE seconds and only while somebody watches. Nothing
queues for a slow reader: each is sent what is new since its own last look.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from time import monotonic

import msgspec

PAUSE = 2.0
"""Seconds between two looks."""
MAX_WATCHERS = 32
_TICK = 0.25
"""Seconds within which a watcher hears that it is over."""
_QUIET = 15.0
"""Seconds after which a watcher that has nothing to hear is sent a sign of life, so that a dead one is noticed."""
_RETRY = b"retry: 3000\n\n"

Draw = Callable[[], Awaitable[Mapping[str, str]]]


class Feed:
    """Shared by all who watch. Use on one event loop."""

    def __init__(self, draw: Draw) -> None:
        self._draw = draw
        self._turn = asyncio.Lock()
        self._drawn = -PAUSE
        self._panels: Mapping[str, str] = {}
        self.watchers = 0

    @property
    def full(self) -> bool:
        """Whether there are as many watchers as there may be."""
        return self.watchers >= MAX_WATCHERS

    async def watch(self, over: Callable[[], bool]) -> AsyncIterator[bytes]:
        """Events, until it is `over`: for all, or for this one who may not look any more."""
        if self.full:
            return
        self.watchers += 1
        try:
            yield _RETRY
            seen: Mapping[str, str] = {}
            heard = monotonic()
            while not over():
                panels = await self._latest()
                fresh = {ident: html for ident, html in panels.items() if seen.get(ident) != html}
                seen = panels
                if fresh or monotonic() - heard > _QUIET:
                    yield b"event: panels\ndata: " + msgspec.json.encode(fresh) + b"\n\n" if fresh else b":\n\n"
                    heard = monotonic()
                await self._rest(over)
        finally:
            self.watchers -= 1

    async def _latest(self) -> Mapping[str, str]:
        async with self._turn:
            if monotonic() - self._drawn >= PAUSE:
                self._panels = await self._draw()
                self._drawn = monotonic()
        return self._panels

    async def _rest(self, over: Callable[[], bool]) -> None:
        end = monotonic() + PAUSE
        while monotonic() < end and not over():  # noqa: ASYNC110  an admin's key ends without telling anybody
            await asyncio.sleep(_TICK)

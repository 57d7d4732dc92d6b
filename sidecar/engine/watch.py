"""Time limits and hang-ups of running requests: one record a request, one timer for all of them.

A timer for each wait, and a watcher for each caller, cost a request a tenth of its time and are hardly ever needed.
So running requests stand in one set, and while there are any a tick looks through them. A limit is therefore never
early and at most two ticks late.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from math import inf
from typing import Any

TICK = 0.05
"""Seconds between looks. A caller's hanging up is watched for from the second look on: most are answered by then."""


class Watch:
    """One running request. `until` is when the await it is in must have ended, in the loop's time."""

    __slots__ = ("_clock", "_end", "_task", "callers", "expired", "hung_up", "seen", "total", "until")

    def __init__(self, clock: "Watches", task: asyncio.Task[Any] | None) -> None:
        self._clock = clock
        self._task = task
        self._end = inf
        self.total = inf
        self.until = inf
        self.expired = False
        self.hung_up = False
        self.seen = False
        self.callers: Callable[[], Awaitable[Mapping[str, Any]]] | None = None
        """The caller's messages, once the body was read: the next one says that it went away."""

    def begin(self, total: float) -> None:
        """All further waits together may take `total` seconds."""
        self.total = total
        self._end = self._clock.now + TICK + total

    def another(self) -> "Watch":
        """A watch for the current task, which works for the same request: with the same end."""
        watch = self._clock.begin()
        watch.total, watch._end = self.total, self._end
        return watch

    def end(self) -> None:
        """The request, or this part of it, is done."""
        self._clock.end(self)

    def limit(self, seconds: float) -> None:
        """From now on, wait at most so long; then the task is cancelled and `expired` is set."""
        until = self._clock.now + TICK + seconds
        self.until = until if until < self._end else self._end

    @property
    def now(self) -> float:
        """The time, a tick old at most."""
        return self._clock.now

    @property
    def remaining(self) -> float:
        """Seconds that are left for all further waits."""
        return self._end - self._clock.now

    @property
    def over(self) -> bool:
        """Whether all waits together have taken what they may."""
        return self._clock.now >= self._end

    def ours(self) -> bool:
        """Whether the cancellation just caught was the limit's; it is dealt with then, and the watch is as new."""
        if not self.expired:
            return False
        self.expired = False
        self.until = inf
        return self._task is not None and self._task.uncancel() == 0

    def left(self) -> bool:
        """Whether the cancellation just caught says that the caller went away; it is dealt with then."""
        if self.hung_up and self._task is not None:
            self._task.uncancel()
        return self.hung_up

    def expire(self) -> None:
        """The time is up."""
        self.until = inf
        self.expired = True
        self.cancel()

    def cancel(self) -> None:
        """End the request's task."""
        if self._task is not None:
            self._task.cancel()

    async def hang_up(self) -> None:
        """Waits for the caller to go away. Once the request is done this ends by itself within milliseconds:
        Granian's `receive()` must not be cancelled, a thread of its runtime would wait for ever."""
        receive, self.callers = self.callers, None
        if receive is None:
            return
        while (await receive())["type"] != "http.disconnect":
            pass
        if self in self._clock:
            self.hung_up = True
            self.cancel()


class Watches:
    """All running requests of one event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._running: set[Watch] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._idle = asyncio.Event()
        self.now = 0.0
        """The loop's time at the last tick."""

    def __len__(self) -> int:
        return len(self._running)

    def __contains__(self, watch: object) -> bool:
        return watch in self._running

    def begin(self) -> Watch:
        """Watch the current task."""
        # The loop is handed down: asking for it makes a system call (getpid, before Python 3.12).
        watch = Watch(self, asyncio.current_task(self._loop))
        self._running.add(watch)
        if self._timer is None:
            self.now = self._loop.time()
            self._timer = self._loop.call_later(TICK, self._tick)
        return watch

    def end(self, watch: Watch) -> None:
        """The request is done."""
        self._running.discard(watch)
        if not self._running:
            self._idle.set()

    async def idle(self) -> None:
        """Wait until no request runs. New ones must be refused by then."""
        while self._running:
            self._idle.clear()
            await self._idle.wait()

    def cancel(self) -> None:
        """End every request that still runs."""
        for watch in list(self._running):
            watch.cancel()

    def _tick(self) -> None:
        self._timer = self._loop.call_later(TICK, self._tick) if self._running else None
        now = self.now = self._loop.time()
        for watch in list(self._running):
            if watch.until <= now:
                watch.expire()
            elif not watch.seen:
                watch.seen = True
            elif watch.callers is not None:
                # Tasks are kept while they run: the event loop itself would let them be collected.
                task = self._loop.create_task(watch.hang_up())
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

"""A timeout for one await: what `asyncio.timeout` does, at a third of its cost on the hot path.

It is handed the event loop: asking for the running loop makes a system call (getpid, before Python 3.12) each time, and
seven of them were a tenth of a request.
"""

import asyncio
from types import TracebackType


class Deadline:
    """Cancels the current task after `seconds` and turns that cancellation into TimeoutError. Not reentrant."""

    __slots__ = ("_expired", "_handle", "_loop", "_task", "seconds")

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        self._loop = loop
        self.seconds = seconds
        self._expired = False
        self._task: asyncio.Task[object] | None = None

    def __enter__(self) -> None:
        self._task = asyncio.current_task(self._loop)
        self._handle = self._loop.call_later(self.seconds, self._expire)

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._handle.cancel()
        if not self._expired or self._task is None:
            return
        # Somebody else may have cancelled too: then the cancellation is theirs and goes on.
        if self._task.uncancel() == 0 and kind is asyncio.CancelledError:
            raise TimeoutError from fault

    def _expire(self) -> None:
        self._expired = True
        if self._task is not None:
            self._task.cancel()

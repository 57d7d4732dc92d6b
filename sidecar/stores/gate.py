"""How many calls of one provider may run at once, and who waits for a place: first come, first served."""

import asyncio
from collections import OrderedDict


class Gate:
    """Places of one provider, on one event loop. Who entered must leave; `limit` None lets everybody in."""

    __slots__ = ("_limit", "_queue", "_running", "_turns")

    def __init__(self, limit: int | None, queue: int) -> None:
        self._limit = limit
        self._queue = queue
        self._running = 0
        # In the order of coming. A dict, because who gives up leaves from the middle.
        self._turns: OrderedDict[asyncio.Future[bool], None] = OrderedDict()

    @property
    def running(self) -> int:
        """Calls inside, with those who were just given a place."""
        return self._running

    @property
    def waiting(self) -> int:
        """Calls in the queue."""
        return len(self._turns)

    def enter_now(self) -> bool:
        """Take a place if one is free. While somebody waits none is."""
        if not self._free():
            return False
        self._running += 1
        return True

    async def enter(self, seconds: float) -> bool:
        """Take a place, or wait so long for one. False when the queue is full or the wait is over."""
        if self.enter_now():
            return True
        if len(self._turns) >= self._queue:
            return False
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[bool] = loop.create_future()
        self._turns[turn] = None
        timer = loop.call_later(seconds, _give_up, turn)
        entered = False
        try:
            entered = await turn
        finally:
            timer.cancel()
            if not entered:
                self._turns.pop(turn, None)
                if turn.done() and not turn.cancelled() and turn.result():
                    self.leave()  # it was given a place and cancelled in the same breath: the next one's now
        return entered

    def leave(self) -> None:
        """Give a place back: the first in the queue has it now."""
        if not self._running:
            raise RuntimeError("nobody is inside who could leave")
        self._running -= 1
        self._admit()

    def resize(self, limit: int | None, queue: int) -> None:
        """New bounds. Who is inside, or in the queue already, stays there."""
        self._limit = limit
        self._queue = queue
        self._admit()

    def _free(self) -> bool:
        return self._limit is None or self._running < self._limit

    def _admit(self) -> None:
        while self._turns and self._free():
            turn, _ = self._turns.popitem(last=False)
            if not turn.done():  # else its caller gave up, and has not got round to leaving the queue
                self._running += 1
                turn.set_result(True)


def _give_up(turn: asyncio.Future[bool]) -> None:
    """The wait is over, unless a place was given in the same breath."""
    if not turn.done():
        turn.set_result(False)

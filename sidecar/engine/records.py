"""What is kept of every request: one row, from which the ledger, the metrics and the log line are all made.

The ledger gets its row at once: who was sent an answer has it (docs/stream-contract.md). For metrics and log, rows
gather for some milliseconds and are worked off together: done one by one between two requests, the same work costs
three times as much, because its code and data are out of the processor's caches each time. Nothing is shown late:
whoever asks for figures has what gathered worked off first.
"""

import asyncio
from collections.abc import Callable

import msgspec

from ..chat import Problem
from ..stores.decisions import Decisions
from ..stores.ledger import Ledger, Row
from .log import Log
from .metrics import Metrics
from .walks import Trace, Walks

PAUSE = 0.05
"""Seconds rows gather."""


class Records:
    """Hands rows to where they go. Use on one event loop."""

    def __init__(
        self,
        ledger: Ledger,
        decisions: Decisions,
        metrics: Metrics,
        log: Log | None,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.ledger = ledger
        self.decisions = decisions
        self.metrics = metrics
        self._log = log
        self._loop = loop
        self.walks = Walks()
        self._walked: list[tuple[str, Trace]] = []
        self._waiting: list[tuple[int, Row, bytes, bool]] = []
        self._timer: asyncio.TimerHandle | None = None

    def add(self, status: int, row: Row, last: bool) -> None:
        """Keep a row. `status` is what the caller was told; the `last` row of a request stands for it in the log."""
        data = _encode(row)
        if row.outcome != "refused":  # only the log has those: a flood of them must not fill the disk
            self.ledger.add(row, data)
        self._waiting.append((status, row, data, last))
        if self._timer is None:
            self._timer = self._loop.call_later(PAUSE, self.work_off)

    def walked(self, request_id: str, trace: Trace) -> None:
        """Keep the way a request went. Its rows follow, and with them it is worked off."""
        self._walked.append((request_id, trace))

    def turned_away(self, request_id: str, problem: Problem, seconds: float) -> None:
        """A request that could not be read was answered, after so many seconds. There is no row of it."""
        self.metrics.turned_away(problem.status, seconds)
        if self._log is not None:
            fields = {"request_id": request_id, "outcome": "turned_away", "failure": problem.code}
            self._log.write("info", "request", {**fields, "http_status": problem.status})

    def work_off(self) -> None:
        """Hand on what gathered."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting, self._waiting = self._waiting, []
        walked, self._walked = self._walked, []
        self.walks.add(walked)
        if not waiting:
            return
        self.metrics.tried([row for _, row, _, _ in waiting])
        self.metrics.answered([(status, row) for status, row, _, last in waiting if last])
        if self._log is not None:
            told, warned = self._log.start("info", "request"), self._log.start("warning", "request")
            self._log.keep([
                b'%b%b,"http_status":%d}' % (start, data[1 : data.find(_FEATURES)], status)
                for status, _, data, last in waiting
                if last and (start := warned if status >= 500 else told)
            ])  # fmt: skip

    async def flush(self) -> None:
        """Wait until everything kept so far is on disk."""
        self.work_off()
        await self.decisions.flush()
        await self.ledger.flush()


_FEATURES = b',"features":'
"""Comes last in a row, and is not logged. In a text this would have other quotes around it."""
_encode: Callable[[Row], bytes] = msgspec.json.Encoder().encode

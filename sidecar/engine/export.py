"""Sends spans to a collector by OTLP/HTTP, beside the traffic. Nothing here can block a request or fail one.

What finished waits in a bounded line and is written as spans a few at a time, between requests. A collector
that does not answer costs nothing more: the line is full, and what comes is counted as dropped.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress

from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception_type,
    stop_after_attempt,
    stop_when_event_set,
    wait_random_exponential,
)

from .. import __version__
from ..chat import Failure, Outgoing
from ..telemetry.otlp import rejected, request
from .collector import Collector
from .spans import written
from .traces import Finished
from .upstream import FAULTS, Upstream, read

Report = Callable[[str, str, dict[str, object]], None]
"""Writes one line to the log: level, event, fields."""

MAX_WAITING = 4096
"""Requests whose spans wait."""
PAUSE = 0.2
"""Seconds they wait for company."""
BATCH = 256
"""Requests of one export. Two spans each make the 512 of OpenTelemetry's own exporters."""
MAX_BYTES = 4 * 1024 * 1024
"""Bytes of one export, or little more."""
SLICE = 64
"""Requests written out in one go, unless they have content: a fraction of a millisecond."""
TIMEOUT = 10.0
CONNECT = 5.0
TRIES = 5
LONGEST = 30.0
"""Seconds between two tries."""
LAST = 3.0
"""Seconds for what is left when the gateway stops."""
_MAX_ANSWER = 64 * 1024
_AGAIN = frozenset({429, 502, 503, 504})
_HEADERS = {"content-type": "application/x-protobuf", "user-agent": f"sidecar/{__version__}"}


class _FailedError(Exception):
    """An export did not succeed; the text says why."""


class _BusyError(_FailedError):
    """It may succeed later, in `pause` seconds if the collector says so."""

    def __init__(self, text: str, pause: float = 0.0) -> None:
        super().__init__(text)
        self.pause = pause


class Exporter:
    """Takes what finished and sends it, for as long as `run` runs. Use on one event loop; it outlives graphs.

    `outcomes` counts spans: exported, dropped because too many waited, failed to be sent.
    """

    def __init__(self) -> None:
        self.outcomes = {"exported": 0, "dropped": 0, "failed": 0}
        self._collector: Collector | None = None
        self._waiting: deque[Finished] = deque()
        self._some = asyncio.Event()
        self._enough = asyncio.Event()
        self._stop = asyncio.Event()
        self._said: str | None = None

    def use(self, collector: Collector | None) -> None:
        """Send to this collector from now on, what waits included; None sends nothing."""
        self._collector = collector

    def put(self, finished: Finished) -> None:
        """Take a request's spans, or drop them."""
        if len(self._waiting) >= MAX_WAITING:
            self.outcomes["dropped"] += finished.count
            return
        self._waiting.append(finished)
        if len(self._waiting) == 1:
            self._some.set()
        elif len(self._waiting) == BATCH:
            self._enough.set()

    async def run(self, upstream: Upstream, report: Report) -> None:
        """Send until `stop`, and then what is left. `upstream` must stay open as long."""
        while not self._stop.is_set():
            await self._some.wait()
            await _happens(self._enough, PAUSE)
            if self._waiting:
                # Once: what came meanwhile waits for company again, for an export costs more than what is in it.
                await self._send(upstream, report)
            if not self._waiting:
                self._some.clear()
            if len(self._waiting) < BATCH:
                self._enough.clear()
        while self._waiting:
            await self._send(upstream, report)

    async def stop(self, running: "asyncio.Task[None]") -> None:
        """Send what is left, within `LAST` seconds, and end `run`."""
        for event in (self._stop, self._some, self._enough):
            event.set()
        await asyncio.wait({running}, timeout=LAST)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    async def _send(self, upstream: Upstream, report: Report) -> None:
        """One export. What came of it is counted; a collector that stops to answer, or begins to, is told once."""
        spans = await self._gathered()
        collector, count = self._collector, len(spans)
        if collector is None:
            self.outcomes["dropped"] += count
            return
        problem = None
        try:
            lost = min(count, await self._deliver(upstream, collector, request(collector.resource, _SCOPE, spans)))
            if lost:
                problem = f"it rejected {lost} spans"
        except _FailedError as fault:
            lost, problem = count, str(fault)
        self.outcomes["failed"] += lost
        self.outcomes["exported"] += count - lost
        if problem != self._said:
            report("info" if problem is None else "warning", "traces", {"problem": problem or "mended"})
            self._said = problem

    async def _gathered(self) -> list[bytes]:
        """The spans of the next export."""
        found: list[bytes] = []
        size = requests = 0
        while self._waiting and requests < BATCH and size < MAX_BYTES:
            finished = self._waiting.popleft()
            spans = written(finished)
            found += spans
            size += sum(map(len, spans))
            requests += 1
            if requests % SLICE == 0 or finished.input is not None:  # content takes as long as it is
                await asyncio.sleep(0)
        return found

    async def _deliver(self, upstream: Upstream, collector: Collector, body: bytes) -> int:
        """Post it, several times if need be; how many spans were rejected. Raises _FailedError."""
        headers = _HEADERS | {name: secret.reveal() for name, secret in collector.headers.items()}
        outgoing = Outgoing(collector.url, headers, body)
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(_BusyError),
            stop=stop_after_attempt(TRIES) | stop_when_event_set(self._stop),  # type: ignore[arg-type]
            wait=_wait,
            sleep=self._rest,
            reraise=True,
        )
        return await retrying(_post, upstream, outgoing)

    async def _rest(self, seconds: float) -> None:
        """Wait, unless the gateway stops."""
        await _happens(self._stop, seconds)


async def _happens(event: asyncio.Event, seconds: float) -> None:
    """Wait for an event, so long at most."""
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


async def _post(upstream: Upstream, outgoing: Outgoing) -> int:
    """Send one export; how many of its spans were rejected. Raises _FailedError."""
    try:
        async with asyncio.timeout(TIMEOUT):
            answer = await upstream.post(outgoing, CONNECT)
            try:
                body = await read(answer, _MAX_ANSWER)
            finally:
                answer.release()
    except FAULTS as fault:  # a TimeoutError is an OSError
        raise _BusyError(f"the collector cannot be reached: {type(fault).__name__}") from None
    if answer.status in _AGAIN:
        after = answer.headers.get("retry-after", "")
        pause = min(float(after), LONGEST) if after.isascii() and after.isdecimal() else 0.0
        raise _BusyError(f"the collector answered {answer.status}", pause)
    if not 200 <= answer.status < 300:
        raise _FailedError(f"the collector answered {answer.status}")
    return 0 if isinstance(body, Failure) else rejected(body)


def _wait(state: RetryCallState) -> float:
    fault = state.outcome.exception() if state.outcome is not None else None
    return max(_jitter(state), fault.pause if isinstance(fault, _BusyError) else 0.0)


_SCOPE = ("sidecar", __version__)
_jitter = wait_random_exponential(multiplier=1, max=LONGEST)

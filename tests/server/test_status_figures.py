"""The ledger's figures: one query for all who ask, none too often, and a slow or broken ledger holds nobody up."""

import asyncio
import sqlite3
from typing import Any

import pytest

from sidecar.server import status_figures
from sidecar.server.status_figures import DAY, FRESH, Figures

EMPTY: dict[str, Any] = {
    "requests": 0,
    "cost_nano": 0,
    "input_tokens": 0,
    "output_tokens": 0,
    "hits": 0,
    "cacheable": 0,
    "failed_attempts": None,
    "models": [],
}


class Ledger:
    """Counts how often it is asked; answers when `gate` is open."""

    depth = 0
    fault = None

    def __init__(self) -> None:
        self.asked: list[float] = []
        self.answer: dict[str, Any] | Exception = EMPTY
        self.gate = asyncio.Event()
        self.gate.set()

    async def summary(self, since: float) -> dict[str, Any]:
        self.asked.append(since)
        await self.gate.wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class Clock:
    now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def made() -> tuple[Ledger, Clock, Figures]:
    ledger, clock = Ledger(), Clock()
    return ledger, clock, Figures(ledger, clock)  # type: ignore[arg-type]


def test_a_reload_storm_is_one_query() -> None:
    async def main() -> None:
        ledger, clock, figures = made()
        readings = await asyncio.gather(*(figures.read() for _ in range(200)))
        assert len({id(reading) for reading in readings}) == 1
        assert ledger.asked == [(clock.now - DAY) // 3600 * 3600]
        clock.now += FRESH - 0.1
        await figures.read()
        assert len(ledger.asked) == 1
        clock.now += 0.2
        await figures.read()
        assert len(ledger.asked) == 2

    asyncio.run(main())


def test_a_slow_ledger_holds_nobody_up_and_is_left_alone_for_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status_figures, "PATIENCE", 0.02)

    async def main() -> None:
        ledger, clock, figures = made()
        ledger.gate.clear()
        first = await figures.read()
        assert first.traffic is None
        assert first.problem == "still counting"
        await figures.read()
        clock.now += 30
        ledger.gate.set()
        assert (await figures.read()).traffic is not None
        assert len(ledger.asked) == 1
        clock.now += 299
        await figures.read()
        assert len(ledger.asked) == 1
        clock.now += 2
        await figures.read()
        assert len(ledger.asked) == 2

    asyncio.run(main())


def test_a_caller_who_hangs_up_does_not_end_the_query_of_others() -> None:
    async def main() -> None:
        ledger, _, figures = made()
        ledger.gate.clear()
        leaver, stayer = asyncio.create_task(figures.read()), asyncio.create_task(figures.read())
        await asyncio.sleep(0)
        leaver.cancel()
        await asyncio.sleep(0)
        ledger.gate.set()
        assert (await stayer).traffic is not None
        assert len(ledger.asked) == 1

    asyncio.run(main())


@pytest.mark.parametrize("fault", [sqlite3.OperationalError("disk I/O error"), OSError("gone")])
def test_a_broken_ledger_keeps_the_figures_before_and_says_why(fault: Exception) -> None:
    async def main() -> None:
        ledger, clock, figures = made()
        before = (await figures.read()).traffic
        ledger.answer = fault
        clock.now += FRESH + 1
        after = await figures.read()
        assert after.traffic == before
        assert str(fault) in str(after.problem)
        ledger.answer = EMPTY
        clock.now += FRESH + 1
        assert (await figures.read()).problem is None

    asyncio.run(main())


def test_averages_over_models_are_weighted() -> None:
    async def main() -> None:
        ledger, _, figures = made()
        row = {"provider": "p", "cost_nano": 0, "first_token_ms": None}
        ledger.answer = {
            **EMPTY,
            "models": [
                {**row, "model": "a", "attempts": 3, "failures": 0, "latency_ms": 100.0, "first_token_ms": 10.0},
                {**row, "model": "b", "attempts": 1, "failures": 1, "latency_ms": 500.0},
            ],
        }
        traffic = (await figures.read()).traffic
        assert traffic is not None
        assert traffic.latency_ms == 200.0
        assert traffic.first_token_ms == 10.0

    asyncio.run(main())

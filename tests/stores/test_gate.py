"""Places of a provider: never more inside than may be, first come first served, nobody forgotten."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
from house import looped
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from sidecar.stores.gate import Gate

LONG = 100.0


async def settle() -> None:
    """Let every task come to its next wait."""
    for _ in range(5):
        await asyncio.sleep(0)


async def queued(gate: Gate, count: int, seconds: float = LONG) -> list[asyncio.Task[bool]]:
    tasks = [asyncio.create_task(gate.enter(seconds)) for _ in range(count)]
    await settle()
    return tasks


def full(limit: int = 1, queue: int = 10) -> Gate:
    gate = Gate(limit, queue)
    while gate.enter_now():
        pass
    assert (gate.running, gate.waiting) == (limit, 0)
    return gate


def test_as_many_enter_as_there_are_places() -> None:
    gate = Gate(2, 10)
    assert [gate.enter_now() for _ in range(4)] == [True, True, False, False]
    gate.leave()
    assert gate.running == 1
    assert gate.enter_now()


def test_without_a_limit_everybody_enters() -> None:
    gate = Gate(None, 0)
    assert all(gate.enter_now() for _ in range(1000))
    assert gate.running == 1000


def test_nobody_leaves_who_did_not_enter() -> None:
    gate = Gate(1, 0)
    with pytest.raises(RuntimeError):
        gate.leave()
    assert gate.enter_now()


@looped
async def test_who_waits_enters_in_the_order_of_coming() -> None:
    gate = full()
    first, second, third = await queued(gate, 3)
    assert gate.waiting == 3
    for entering, later in ((first, second), (second, third)):
        gate.leave()
        assert gate.running == 1
        assert not gate.enter_now()
        await settle()
        assert entering.result() is True
        assert not later.done()


@looped
async def test_nobody_overtakes_the_queue() -> None:
    gate = full()
    (waiting,) = await queued(gate, 1)
    gate.leave()
    late = asyncio.create_task(gate.enter(LONG))  # the place was given away, though nobody has taken it yet
    await settle()
    assert waiting.result() is True
    assert not late.done()


@looped
async def test_a_full_queue_is_told_at_once() -> None:
    gate = full(queue=2)
    await queued(gate, 2)
    assert await gate.enter(LONG) is False
    assert await full(queue=0).enter(LONG) is False
    assert await full(queue=5).enter(0) is False


@looped
async def test_a_wait_ends() -> None:
    gate = full()
    patient = (await queued(gate, 1))[0]
    started = asyncio.get_running_loop().time()
    assert await gate.enter(0.05) is False
    assert asyncio.get_running_loop().time() - started >= 0.045
    assert gate.waiting == 1
    gate.leave()
    assert await patient is True


@looped
async def test_a_place_given_to_a_cancelled_caller_goes_to_the_next() -> None:
    gate = full()
    first, second = await queued(gate, 2)
    gate.leave()
    first.cancel()
    await settle()
    assert first.cancelled()
    assert second.result() is True
    assert (gate.running, gate.waiting) == (1, 0)


@looped
async def test_who_is_cancelled_first_is_given_nothing() -> None:
    gate = full()
    first, second = await queued(gate, 2)
    first.cancel()
    gate.leave()
    await settle()
    assert second.result() is True
    assert (gate.running, gate.waiting) == (1, 0)


@looped
async def test_a_coroutine_thrown_away_leaves_the_queue() -> None:
    gate = full()
    for given in (False, True):
        coroutine: Coroutine[Any, Any, bool] = gate.enter(LONG)
        coroutine.send(None)
        assert gate.waiting == 1
        if given:
            gate.leave()
        coroutine.close()
        assert (gate.running, gate.waiting) == (0 if given else 1, 0)


@looped
async def test_a_higher_limit_lets_in_who_waits() -> None:
    gate = full(limit=2)
    tasks = await queued(gate, 5)
    gate.resize(4, 10)
    await settle()
    assert [task.done() for task in tasks] == [True, True, False, False, False]
    gate.resize(None, 10)
    await settle()
    assert all(task.result() for task in tasks)
    assert gate.running == 7


@looped
async def test_a_lower_limit_throws_nobody_out() -> None:
    gate = full(limit=3)
    tasks = await queued(gate, 2)
    gate.resize(1, 0)
    assert (gate.running, gate.waiting) == (3, 2)
    assert await gate.enter(LONG) is False
    for inside in (2, 1, 1):
        gate.leave()
        assert gate.running == inside
    await settle()
    assert [task.done() for task in tasks] == [True, False]


class Loop(asyncio.SelectorEventLoop):
    """An event loop whose time is told."""

    now = 0.0

    def time(self) -> float:
        return self.now


class Crowd(RuleBasedStateMachine):
    """Callers that come, wait, are cancelled and go, in any order, with or without the loop running in between.

    `inside` are those who know that they entered; a place may be somebody's who does not know it yet.
    """

    def __init__(self) -> None:
        super().__init__()
        self.loop = Loop()
        self.limit: int | None = 1
        self.gate = Gate(1, 0)
        self.came = 0
        self.waiting: dict[int, tuple[asyncio.Task[None], float]] = {}
        self.inside: list[int] = []
        self.entered: list[int] = []

    @initialize(limit=st.integers(1, 4), queue=st.integers(0, 5))
    def open(self, limit: int, queue: int) -> None:
        self.limit = limit
        self.gate.resize(limit, queue)

    async def call(self, number: int, seconds: float) -> None:
        entered = await self.gate.enter(seconds)
        del self.waiting[number]
        if entered:
            self.inside.append(number)
            self.entered.append(number)

    def run(self) -> None:
        self.loop.run_until_complete(settle())

    @rule(seconds=st.sampled_from([1.0, 5.0, 1000.0]), count=st.integers(1, 4))
    def come(self, seconds: float, count: int) -> None:
        for _ in range(count):
            task = self.loop.create_task(self.call(self.came, seconds))
            self.waiting[self.came] = (task, self.loop.now + seconds)
            self.came += 1
            self.run()

    @rule()
    def come_and_not_wait(self) -> None:
        running, waiting = self.gate.running, self.gate.waiting
        entered = self.gate.enter_now()
        assert entered == (not waiting and (self.limit is None or running < self.limit))
        if entered:
            self.inside.append(self.came)
            self.came += 1

    @precondition(lambda self: self.inside)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        self.inside.remove(data.draw(st.sampled_from(self.inside)))
        self.gate.leave()

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        task, _ = self.waiting.pop(data.draw(st.sampled_from(sorted(self.waiting))))
        task.cancel()

    @rule(limit=st.none() | st.integers(1, 4), queue=st.integers(0, 5))
    def resize(self, limit: int | None, queue: int) -> None:
        self.limit = limit
        self.gate.resize(limit, queue)

    @rule(seconds=st.sampled_from([0.5, 2.0, 10.0]))
    def time_passes(self, seconds: float) -> None:
        self.loop.now += seconds

    @rule()
    def everything_settles(self) -> None:
        self.run()
        assert self.gate.running == len(self.inside)
        assert self.gate.waiting == len(self.waiting)
        if self.waiting:
            assert self.limit is not None
            assert len(self.inside) >= self.limit, "a place is free and somebody waits"
        assert all(until > self.loop.now for _, until in self.waiting.values())

    @invariant()
    def first_come_first_served(self) -> None:
        assert self.entered == sorted(self.entered)

    def teardown(self) -> None:
        self.gate.resize(None, 0)
        self.run()
        assert not self.waiting
        for _ in self.inside:
            self.gate.leave()
        assert (self.gate.running, self.gate.waiting) == (0, 0)
        self.loop.close()


class NeverMore(Crowd):
    """The limit stays: then there are never more inside."""

    @rule(limit=st.none(), queue=st.integers(0, 5))
    def resize(self, limit: int | None, queue: int) -> None:
        self.gate.resize(self.limit, queue)

    @invariant()
    def never_more_than_the_limit(self) -> None:
        assert len(self.inside) <= self.gate.running <= (self.limit or 0)
        assert self.gate.waiting <= 5


STEPS = settings(max_examples=150, stateful_step_count=50, deadline=None)
TestCrowd = Crowd.TestCase
TestCrowd.settings = STEPS
TestNeverMore = NeverMore.TestCase
TestNeverMore.settings = STEPS

"""Sliding windows against an oracle that keeps every take and counts by brute force."""

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.stores.memory import SLOTS, MemoryCounters

K = ("limit", "k")
PERIODS = st.sampled_from([1.0, 60.0, 3600.0, 86400.0])
LIMITS = st.integers(1, 30)
STEPS = st.lists(
    st.tuples(
        st.sampled_from([0.0, 0.01, 0.1, 0.5, 0.9, 0.95, 0.99, 1.0]) | st.floats(0, 1.2),
        st.integers(1, 12),
        st.none() | st.integers(-15, 15),
    ),
    min_size=1,
    max_size=60,
)
"""How far to go on (as a share of the period), how much to take, and by how much it was wrong."""


@dataclass
class Oracle:
    """Every amount with its time; what a period holds is counted anew each time."""

    period: float
    amounts: list[tuple[float, int]] = field(default_factory=list)

    def held(self, now: float) -> int:
        return sum(amount for at, amount in self.amounts if now - self.period < at <= now)


@given(period=PERIODS, limit=LIMITS, steps=STEPS, start=st.floats(0, 2e9))
@settings(max_examples=300, deadline=None)
def test_no_period_ever_holds_more_than_the_limit(
    period: float, limit: int, steps: list[tuple[float, int, int | None]], start: float
) -> None:
    counters, oracle, now = MemoryCounters(), Oracle(period), start
    for share, amount, _ in steps:
        now += share * period
        quota = counters.take(K, limit, period, amount, now)
        assert quota.limit == limit
        assert 0 <= quota.remaining <= limit
        if quota.wait:
            assert amount > limit or _crowded(oracle, now, amount, limit)
            continue
        oracle.amounts.append((now, amount))
        assert oracle.held(now) <= limit


def _crowded(oracle: Oracle, now: float, amount: int, limit: int) -> bool:
    """Whether `amount` would not fit where a take counts for up to two steps longer than the period."""
    longer = oracle.period * (1 + 2 / SLOTS)
    return sum(a for at, a in oracle.amounts if now - longer < at <= now) + amount > limit


@given(period=PERIODS, limit=LIMITS, steps=STEPS, start=st.floats(0, 2e9))
@settings(max_examples=300, deadline=None)
def test_corrections_keep_the_bound(
    period: float, limit: int, steps: list[tuple[float, int, int | None]], start: float
) -> None:
    """A take is corrected a little later, as usage is: what was taken too much leaves the window it was taken in."""
    counters, oracle, now = MemoryCounters(), Oracle(period), start
    pending: tuple[float, int, int] | None = None
    for share, amount, wrong in steps:
        now += share * period
        if pending is not None:
            at, taken, correction = pending
            correction = max(correction, -taken)
            counters.adjust(K, correction, at)
            if correction < 0:
                oracle.amounts[oracle.amounts.index((at, taken))] = (at, taken + correction)
            else:
                oracle.amounts.append((now - share * period, correction))
            pending = None
        quota = counters.take(K, limit, period, amount, now)
        if not quota.wait:
            assert oracle.held(now) + amount <= limit
            oracle.amounts.append((now, amount))
            pending = None if wrong is None else (now, amount, wrong)


@given(
    period=PERIODS, limit=LIMITS, amounts=st.lists(st.integers(1, 10), min_size=1, max_size=40), start=st.floats(0, 2e9)
)
@settings(max_examples=200, deadline=None)
def test_who_waits_as_long_as_told_is_let_in(period: float, limit: int, amounts: list[int], start: float) -> None:
    counters, now = MemoryCounters(), start
    for amount in amounts:
        quota = counters.take(K, limit, period, amount, now)
        if not quota.wait:
            continue
        assert quota.wait <= period * (1 + 2 / SLOTS)
        if amount <= limit:
            now += quota.wait * (1 + 1e-9) + period * 1e-9 + 1e-6
            assert not counters.take(K, limit, period, amount, now).wait


@given(limit=LIMITS, amount=st.integers(1, 60), start=st.floats(0, 2e9))
@settings(deadline=None)
def test_a_refused_take_takes_nothing(limit: int, amount: int, start: float) -> None:
    counters = MemoryCounters()
    first = counters.take(K, limit, 60, 1, start)
    refused = counters.take(K, limit, 60, limit, start)
    assert refused.wait > 0
    assert refused.remaining == first.remaining
    if amount <= limit - 1:
        assert counters.take(K, limit, 60, amount, start).remaining == limit - 1 - amount


def test_a_take_counts_for_the_whole_period_and_two_steps_more_at_most() -> None:
    for since in (0.5, 0.9, 0.93, 0.96, 0.99, 1.0):
        counters = MemoryCounters()
        counters.take(K, 10, 60, 10, 1000.3)
        assert counters.take(K, 10, 60, 1, 1000.3 + 60 * since).wait > 0
    assert not counters.take(K, 10, 60, 10, 1000.3 + 62).wait


def test_giving_back_makes_room_at_once() -> None:
    counters = MemoryCounters()
    assert counters.take(K, 10, 60, 10, 100.0).remaining == 0
    counters.adjust(K, -10, 100.0)
    assert counters.take(K, 10, 60, 10, 100.5).remaining == 0


def test_a_late_correction_does_not_shorten_what_others_took() -> None:
    """Taken at 0 and at 50; the first is given back at 51. At 61 the second still counts."""
    counters = MemoryCounters()
    counters.take(K, 20, 60, 10, 0.0)
    counters.take(K, 20, 60, 10, 50.0)
    counters.adjust(K, -10, 0.0)
    assert counters.take(K, 20, 60, 11, 61.5).wait > 0
    assert counters.take(K, 20, 60, 10, 61.5).remaining == 0


def test_a_correction_of_what_no_longer_counts_gives_nothing_back() -> None:
    counters = MemoryCounters()
    counters.take(K, 20, 60, 10, 0.0)
    counters.take(K, 20, 60, 10, 100.0)
    counters.adjust(K, -10, 0.0)
    assert counters.take(K, 20, 60, 11, 100.0).wait > 0


def test_keys_and_periods_are_counted_apart_and_bounded_in_number() -> None:
    counters = MemoryCounters(max_keys=100)
    for number in range(1000):
        assert not counters.take(("limit", f"k{number}"), 1, 60, 1, 0.0).wait
    assert counters.take(("limit", "k999"), 1, 60, 1, 0.0).wait
    assert not counters.take(("limit", "k0"), 1, 60, 1, 0.0).wait  # forgotten: one of the first of a thousand


def test_a_clock_that_goes_back_never_lets_more_in() -> None:
    counters = MemoryCounters()
    assert not counters.take(K, 2, 60, 2, 1000.0).wait
    assert counters.take(K, 2, 60, 1, 500.0).wait
    counters.adjust(K, -5, 400.0)
    assert counters.take(K, 2, 60, 3, 1000.0).wait


def test_correcting_what_was_never_taken_is_nothing() -> None:
    counters = MemoryCounters()
    counters.adjust(K, -5, 0.0)
    counters.adjust(K, 5, 0.0)
    assert counters.take(K, 5, 60, 5, 0.0).remaining == 0


def test_the_keys_of_one_limit_push_out_none_of_another() -> None:
    counters = MemoryCounters(max_keys=10)
    assert not counters.take(("quota", "acme"), 1, 86400, 1, 0.0).wait
    for number in range(1000):
        counters.take(("door", f"made-up-{number}"), 1, 60, 1, 0.0)
    assert counters.take(("quota", "acme"), 1, 86400, 1, 0.0).wait


@given(period=PERIODS, limit=LIMITS, steps=STEPS, start=st.floats(0, 2e9))
@settings(max_examples=100, deadline=None)
def test_looking_says_what_taking_would_and_takes_nothing(
    period: float, limit: int, steps: list[tuple[float, int, int | None]], start: float
) -> None:
    counters, now = MemoryCounters(), start
    for share, amount, _ in steps:
        now += share * period
        seen = counters.peek(K, limit, period, amount, now)
        assert counters.peek(K, limit, period, amount, now) == seen
        assert counters.take(K, limit, period, amount, now) == seen

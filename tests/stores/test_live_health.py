"""What is known of models: when one rests and for how long, how it is tried again, what is learned of its speed."""

from collections.abc import Callable
from dataclasses import dataclass
from math import exp, inf, nan
from random import Random

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from sidecar.stores.health import LONGEST, SHORTEST, BreakerPlan, LiveHealth

PLAN = BreakerPlan()
WAIT = 0.5


def fail(health: LiveHealth, times: int, now: float = 0.0) -> None:
    for _ in range(times):
        health.failed("m", "no", now, None, health.began("m"))


def answer(health: LiveHealth, times: int, now: float, first_token: float = WAIT) -> None:
    for _ in range(times):
        health.succeeded("m", now, first_token, health.began("m"))


def opened() -> LiveHealth:
    """With a model that was sent to rest at 0, for PLAN.cooldown."""
    health = LiveHealth()
    fail(health, PLAN.failures)
    assert health.breakers() == {"m": "open"}
    assert health.down == {"m": "no"}
    return health


def half_open() -> LiveHealth:
    health = opened()
    health.wake(PLAN.cooldown)
    assert health.breakers() == {"m": "half-open"}
    assert health.down == {}
    return health


def probing() -> tuple[LiveHealth, int]:
    health = half_open()
    ticket = health.began("m")
    assert health.breakers() == {"m": "half-open"}
    assert health.down == {"m": "being probed"}
    return health, ticket


def rests(health: LiveHealth, since: float, seconds: float) -> None:
    """Assert that the model rests for just so long; it is half-open then."""
    health.wake(since + seconds - 0.01)
    assert health.breakers() == {"m": "open"}
    assert "m" in health.down
    health.wake(since + seconds)
    assert health.breakers() == {"m": "half-open"}
    assert health.down == {}


def test_a_model_rests_after_failing_often_enough_in_a_row() -> None:
    health = LiveHealth()
    fail(health, PLAN.failures - 1)
    answer(health, 1, 0.0)
    fail(health, PLAN.failures - 1)
    assert health.down == {}
    fail(health, 1)
    assert health.down == {"m": "no"}
    rests(health, 0.0, PLAN.cooldown)


@pytest.mark.parametrize(
    ("outcomes", "seconds", "state"),
    [
        ("+-" * 9, 0.0, "closed"),  # too few to say anything
        ("+-" * 10, 0.0, "open"),
        ("+-" * 10, 1.4, "open"),
        ("++-" * 20, 0.0, "closed"),  # a third
        ("+-" * 200, 5.0, "closed"),  # too few in any window
        ("+" * 19 + "----" + "+----" * 5, 0.0, "open"),
        ("+" * 20 + "-" * 4, 0.0, "closed"),
    ],
)
def test_a_model_rests_when_it_fails_too_large_a_share(outcomes: str, seconds: float, state: str) -> None:
    health = LiveHealth()
    for number, outcome in enumerate(outcomes):
        (answer if outcome == "+" else fail)(health, 1, number * seconds)
        if health.down:
            break
    assert health.breakers() == {"m": state}


def test_failures_older_than_the_window_are_not_counted() -> None:
    for gap, state in ((PLAN.window / 2, "open"), (PLAN.window + 1, "closed"), (PLAN.window * 100, "closed")):
        health = LiveHealth()
        for _ in range(3):
            fail(health, 4, 100.0)
            answer(health, 1, 100.0)
        for _ in range(2):
            fail(health, 2, 100.0 + gap)
            answer(health, 1, 100.0 + gap)
        assert health.breakers() == {"m": state}, gap


def test_the_first_call_to_a_half_open_model_is_its_only_probe() -> None:
    health, ticket = probing()
    others = [health.began("m") for _ in range(3)]
    assert ticket not in others
    for other in others:
        health.succeeded("m", 16.0, WAIT, other)
        health.failed("m", "worse", 16.0, None, other)
        health.failed("m", "worse", 16.0, 60.0, other)
        health.released("m", other)
        assert health.down == {"m": "being probed"}
    health.succeeded("m", 17.0, WAIT, ticket)
    assert health.down == {}
    assert health.breakers() == {"m": "closed"}
    fail(health, PLAN.failures - 1, 18.0)
    assert health.down == {}


def test_a_released_probe_makes_room_for_the_next() -> None:
    health, first = probing()
    health.released("m", first)
    assert health.down == {}
    assert health.breakers() == {"m": "half-open"}
    second = health.began("m")
    assert health.down == {"m": "being probed"}
    health.released("m", first)
    health.failed("m", "late", 16.0, None, first)
    assert health.down == {"m": "being probed"}
    health.succeeded("m", 16.0, WAIT, second)
    assert health.breakers() == {"m": "closed"}


def test_a_probe_that_is_never_heard_of_is_not_waited_for_for_ever() -> None:
    health, lost = probing()
    health.wake(PLAN.cooldown + PLAN.max_cooldown - 0.1)
    assert health.down == {"m": "being probed"}
    health.wake(PLAN.cooldown + PLAN.max_cooldown)
    assert health.down == {}
    health.began("m")
    assert health.down == {"m": "being probed"}
    health.released("m", lost)
    assert health.down == {"m": "being probed"}
    health.succeeded("m", 400.0, WAIT, lost)  # so it does answer
    assert health.breakers() == {"m": "closed"}


@pytest.mark.parametrize("state", [opened, half_open, lambda: probing()[0]])
def test_a_late_answer_from_before_the_rest_decides_nothing(state: Callable[[], LiveHealth]) -> None:
    late = LiveHealth().began("m")
    health = state()
    before = (health.breakers(), dict(health.down))
    health.succeeded("m", 15.0, WAIT, late)
    health.failed("m", "late", 15.0, None, late)
    health.released("m", late)
    assert (health.breakers(), health.down) == before


def test_late_failures_do_not_open_what_was_closed_again() -> None:
    health, ticket = probing()
    health.succeeded("m", 16.0, WAIT, ticket)
    late = LiveHealth().began("m")
    for _ in range(100):
        health.failed("m", "late", 17.0, None, late)
        health.failed("m", "late", 17.0, 60.0, late)
    assert health.down == {}


def test_an_ending_without_a_ticket_is_the_running_call_s() -> None:
    health, _ = probing()
    health.succeeded("m", 16.0, WAIT)
    assert health.breakers() == {"m": "closed"}
    for state in (opened, half_open):
        health = state()
        health.succeeded("m", 15.0, WAIT)
        health.released("m")
        assert health.breakers() == state().breakers()


def test_a_call_that_ends_twice_does_not_end_the_rest_it_began() -> None:
    health, ticket = probing()
    health.failed("m", "worse", 16.0, None, ticket)
    health.released("m", ticket)
    health.succeeded("m", 16.0, WAIT, ticket)
    assert health.down == {"m": "worse"}


def test_what_came_before_a_rest_is_not_held_against_the_model() -> None:
    health = LiveHealth()
    for _ in range(10):
        answer(health, 1, 100.0)
        fail(health, 1, 100.0)
    health.wake(114.0 + SHORTEST)
    answer(health, 1, 115.0)
    fail(health, 2, 116.0)
    assert health.breakers() == {"m": "closed"}


def test_rests_double_while_probes_fail_up_to_a_bound() -> None:
    health, now = opened(), 0.0
    for seconds in (15, 30, 60, 120, 240, 300, 300):
        rests(health, now, seconds)
        now += seconds
        fail(health, 1, now)
        assert health.down == {"m": "no"}


@pytest.mark.parametrize(
    ("healthy", "cooldown"),
    [((), 30), ((1.0,), 30), ((14.0,), 30), ((1.0, 14.9), 30), ((15.0,), 15), ((1.0, 500.0), 15)],
)
def test_a_doubled_rest_is_forgotten_once_the_model_was_healthy_for_as_long(
    healthy: tuple[float, ...], cooldown: float
) -> None:
    health, ticket = probing()
    health.succeeded("m", 20.0, WAIT, ticket)
    for since in healthy:
        answer(health, 1, 20.0 + since)
    fail(health, PLAN.failures, 1000.0)
    rests(health, 1000.0, cooldown)


@pytest.mark.parametrize(
    ("pause", "seconds"),
    [(7.0, 7.0), (0.0, SHORTEST), (-5.0, SHORTEST), (nan, SHORTEST), (1e12, LONGEST), (inf, LONGEST), (1800.0, 1800.0)],
)
def test_a_provider_says_how_long_within_reason(pause: float, seconds: float) -> None:
    health = LiveHealth()
    health.failed("m", "busy", 0.0, pause)
    assert health.down == {"m": "busy"}
    rests(health, 0.0, seconds)


def test_a_provider_s_word_is_not_taken_alone_when_the_probe_fails() -> None:
    for pause, seconds in ((1.0, 2 * PLAN.cooldown), (100.0, 100.0)):
        health, ticket = probing()
        health.failed("m", "busy", 20.0, pause, ticket)
        rests(health, 20.0, seconds)


def test_a_provider_may_lengthen_a_rest_but_not_shorten_it() -> None:
    health = opened()
    health.failed("m", "busy", 1.0, 3.0)
    assert health.down == {"m": "no"}
    health.failed("m", "busy", 1.0, 60.0)
    assert health.down == {"m": "busy"}
    health.failed("m", "worse", 2.0)
    rests(health, 1.0, 60.0)


def test_reasons_of_providers_are_replaced_and_models_kept() -> None:
    health = opened()
    health.providers({"p": "no key"})
    assert health.down == {"m": "no", "p": "no key"}
    health.providers({})
    assert health.down == {"m": "no"}
    health.wake(1e9)
    health.providers({"p": "no key"})
    health.began("m")
    health.providers({"q": "no key"})
    assert health.down == {"m": "being probed", "q": "no key"}
    health.wake(2e9)
    assert health.down == {"q": "no key"}


def test_models_are_judged_apart_and_each_wakes_in_its_time() -> None:
    health = LiveHealth()
    for number in range(1, 6):
        health.failed(f"m{number}", "busy", 0.0, number * 10.0)
    for number in range(1, 6):
        health.wake(number * 10.0)
        assert len(health.down) == 5 - number
    assert set(health.breakers().values()) == {"half-open"}


def test_settings_are_taken_over_while_it_runs() -> None:
    health = LiveHealth()
    fail(health, 2)
    health.plan = BreakerPlan(failures=3, cooldown=2.0)
    fail(health, 1)
    rests(health, 0.0, 2.0)


def test_models_remembered_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidecar.stores.health.MAX_MODELS", 10)
    health = LiveHealth()
    for number in range(100):
        health.failed(f"m{number}", "busy", 0.0, 60.0)
        health.learned(f"m{number}", 10.0)
    assert list(health.breakers()) == list(health.down) == [f"m{number}" for number in range(90, 100)]
    assert health.speed("m0") is None


def lived(usual: float, plan: BreakerPlan = PLAN, until: int = 300) -> LiveHealth:
    """A model that answered once a second, from 0 on."""
    health = LiveHealth(plan)
    for now in range(until):
        answer(health, 1, float(now), usual)
    return health


@pytest.mark.parametrize(
    ("usual", "lately", "answers", "more", "state"),
    [
        (0.5, 10.0, 20, {}, "open"),
        (0.5, 10.0, 19, {}, "closed"),
        (0.5, 2.4, 100, {}, "closed"),  # not five times what is usual
        (0.1, 1.9, 100, {}, "closed"),  # below the floor
        (0.1, 1.9, 100, {"slow_floor": 1.0}, "open"),
        (4.0, 16.0, 100, {}, "closed"),
        (4.0, 24.0, 100, {}, "open"),
        (0.5, 60.0, 100, {"slow_factor": 0.0}, "closed"),
    ],
)
def test_a_model_rests_when_it_is_much_slower_than_usual(
    usual: float, lately: float, answers: int, more: dict[str, float], state: str
) -> None:
    health = lived(usual, BreakerPlan(**more))  # type: ignore[arg-type]
    answer(health, answers, 400.0, lately)
    assert health.breakers() == {"m": state}
    if state == "open":
        assert health.down == {"m": f"slow: {lately:.1f} s to the first token, {usual:.1f} s is usual"}


def test_a_new_model_has_no_usual_to_be_slower_than() -> None:
    for known, state in ((19, "closed"), (20, "open")):
        health = LiveHealth()
        answer(health, known, 0.0, 0.1)
        answer(health, 100, 40.0, 30.0)
        assert health.breakers() == {"m": state}


@pytest.mark.parametrize(("usual", "most", "some"), [(0.5, 0.5, 15.0), (0.1, 1.0, 4.0)])
def test_some_slow_answers_among_many_are_nothing(usual: float, most: float, some: float) -> None:
    health = lived(usual)
    for _ in range(30):
        answer(health, 19, 400.0, most)
        answer(health, 1, 400.0, some)
    assert health.down == {}


def test_what_is_judged_is_not_part_of_what_is_usual() -> None:
    health = lived(0.5)
    answer(health, 10, 331.0, 10.0)
    answer(health, 10, 346.0, 10.0)
    assert health.down == {"m": "slow: 10.0 s to the first token, 0.5 s is usual"}


def test_a_slow_model_is_closed_by_a_quick_probe_only() -> None:
    health = lived(0.5)
    answer(health, 20, 400.0, 10.0)
    rests(health, 400.0, 15.0)
    answer(health, 1, 415.0, 10.0)
    assert health.down["m"].startswith("slow: 10.0 s")
    rests(health, 415.0, 30.0)
    answer(health, 1, 445.0)
    assert health.breakers() == {"m": "closed"}


def test_a_model_that_is_slow_for_good_is_slow_as_usual_some_day() -> None:
    health, now = lived(0.5, until=10_000), 10_100.0
    answer(health, 20, now, 8.0)
    while health.breakers() != {"m": "closed"} and now < 20_000:
        now += 1.0
        health.wake(now)
        if not health.down:
            answer(health, 1, now, 8.0)
    assert 60 < now - 10_100 < 3600


def test_a_slow_model_that_fails_its_probe_is_slow_still() -> None:
    health = lived(0.5)
    answer(health, 20, 400.0, 10.0)
    health.wake(415.0)
    fail(health, 1, 415.0)
    health.wake(445.0)
    answer(health, 1, 445.0, 10.0)
    assert health.down["m"].startswith("slow: 10.0 s")


def test_a_slow_answer_closes_what_rested_for_failing() -> None:
    health = lived(0.5)
    fail(health, 5, 400.0)
    health.wake(415.0)
    answer(health, 1, 415.0, 30.0)
    assert health.breakers() == {"m": "closed"}


DAY = 3 * 3600
FLAPPING: dict[str, Callable[[float, Random], bool]] = {
    "up and down by turns": lambda now, _: now % 10 < 5,
    "up for long enough to be closed": lambda now, _: now % 40 < 10,
    "mostly failing": lambda now, random: random.random() < 0.3,
    "one answer a minute": lambda now, _: now % 60 < 0.15,
    "never": lambda now, _: False,
}


@pytest.mark.parametrize("case", FLAPPING)
def test_a_flapping_model_is_left_alone_for_longer_and_longer(case: str) -> None:
    """Ten requests a second for three hours, each to whoever is not down."""
    health, random, asked, openings = LiveHealth(), Random(7), 0, [0.0]
    for tick in range(DAY * 10):
        now = 1e6 + tick / 10
        health.wake(now)
        if "m" in health.down:
            continue
        asked += 1
        ticket = health.began("m")
        if FLAPPING[case](now, random):
            health.succeeded("m", now, WAIT, ticket)
            continue
        health.failed("m", "no", now, None, ticket)
        if "m" in health.down:
            openings.append(now)
    assert asked / (DAY * 10) < 0.05
    assert 30 < len(openings) < 60
    assert openings[-1] - openings[-2] >= PLAN.max_cooldown


def test_a_model_that_recovers_is_asked_again_for_good() -> None:
    health = LiveHealth()
    for tick in range(20_000):
        now = tick / 10
        health.wake(now)
        if not health.down:
            (fail if now < 100 else answer)(health, 1, now)
    assert health.breakers() == {"m": "closed"}
    fail(health, 5, 2000.0)
    rests(health, 2000.0, PLAN.cooldown)


def test_speed_is_smoothed_and_small_changes_make_no_new_version() -> None:
    health = LiveHealth()
    assert health.speed("m") is None
    health.learned("m", 100.0)
    version = health.version
    health.learned("m", 101.0)
    assert 100.0 < (health.speed("m") or 0) < 101.0
    assert health.version == version
    for _ in range(20):
        health.learned("m", 300.0)
    assert version + 3 < health.version < version + 12
    health.learned("m", 0.0)
    health.learned("m", -1.0)
    assert 290 < (health.speed("m") or 0) <= 300


def test_the_95th_percentile_of_first_tokens_is_within_a_tenth() -> None:
    random = Random(1)
    for middle, spread in ((0.3, 0.2), (1.0, 0.8), (20.0, 0.5), (0.02, 1.5)):
        health = LiveHealth()
        waits = [middle * exp(random.gauss(0, spread)) for _ in range(900)]
        for number, wait in enumerate(waits):
            assert (health.first_token_p95("m") is None) == (number < 20)
            answer(health, 1, 0.0, wait)
        exact = sorted(waits)[int(len(waits) * 0.95)]
        assert exact * 0.9 < (health.first_token_p95("m") or 0) < exact * 1.25


def test_the_percentile_follows_what_changes_and_bears_any_figure() -> None:
    health = LiveHealth()
    answer(health, 10_000, 0.0, 8.0)
    assert 7.2 < (health.first_token_p95("m") or 0) < 8.9
    answer(health, 4_000, 0.0, 0.5)
    assert 0.45 < (health.first_token_p95("m") or 0) < 0.56
    for wait in (-1.0, 0.0, 1e9):
        health = LiveHealth()
        answer(health, 40, 0.0, wait)
        assert 0 < (health.first_token_p95("m") or 0) < 400


@dataclass(eq=False)
class Sent:
    """A call that runs: its ticket, how often the model had been opened, and what it was when it began."""

    ticket: int
    opening: int
    was: str


class Calls(RuleBasedStateMachine):
    """Calls that begin and end in any order, the model's state watched from outside."""

    PLAN = BreakerPlan(
        failures=3, requests=6, window=10.0, cooldown=4.0, max_cooldown=20.0, slow_factor=3.0, slow_floor=1.0
    )

    def __init__(self) -> None:
        super().__init__()
        self.health = LiveHealth(self.PLAN)
        self.now = 1000.0
        self.health.wake(self.now)
        self.running: list[Sent] = []
        self.openings = 0
        self.until = 0.0
        self.why = ""
        self.probe: Sent | None = None

    @property
    def state(self) -> str:
        return self.health.breakers().get("m", "closed")

    @rule()
    def begin(self) -> None:
        was, down = self.state, "m" in self.health.down
        call = Sent(self.health.began("m"), self.openings, "last resort" if down else was)
        assert self.state == was
        if call.was == "half-open":
            assert self.probe is None
            self.probe, self.until = call, self.now + self.PLAN.max_cooldown
        self.running.append(call)

    def end(self, data: st.DataObject, finish: Callable[[Sent], None]) -> tuple[str, bool]:
        """End a call; the state before, and whether it was the probe. Only a call which can tell changes the state."""
        call = data.draw(st.sampled_from(self.running))
        self.running.remove(call)
        before, tells = self.state, call.opening == self.openings and call.was != "last resort"
        finish(call)
        if not tells:
            assert self.state == before, call
        if before == "open":
            assert self.state == "open"
        if self.state == "open" and before != "open":
            self.openings += 1
        mine = call is self.probe
        if mine or self.state != "half-open":
            self.probe = None
        return before, mine

    @precondition(lambda self: self.running)
    @rule(data=st.data(), wait=st.sampled_from([0.1, 0.2, 30.0]))
    def succeed(self, data: st.DataObject, wait: float) -> None:
        slow = "slow" in self.why
        _, mine = self.end(data, lambda call: self.health.succeeded("m", self.now, wait, call.ticket))
        if mine:
            assert self.state == "closed" or (slow and wait == 30.0)

    @precondition(lambda self: self.running)
    @rule(data=st.data(), pause=st.sampled_from([None, None, None, 0.0, 5.0, 1e9]))
    def fail(self, data: st.DataObject, pause: float | None) -> None:
        before, mine = self.end(data, lambda call: self.health.failed("m", "no", self.now, pause, call.ticket))
        if mine:
            assert self.state == "open"
        if before != "open" and self.state == "open":
            assert self.health.down == {"m": "no"}

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        before, _ = self.end(data, lambda call: self.health.released("m", call.ticket))
        assert self.state == before

    @rule(seconds=st.sampled_from([0.0, 0.5, 3.0, 4.0, 8.0, 30.0, 4000.0]))
    def wait(self, seconds: float) -> None:
        before = self.state
        self.now += seconds
        self.health.wake(self.now)
        if self.probe is not None and self.now >= self.until:
            self.probe = None  # no longer waited for
        if before == "closed":
            assert self.state == "closed"
        elif seconds > LONGEST:
            assert self.state == "half-open"

    @invariant()
    def it_is_down_while_it_rests_or_is_probed(self) -> None:
        assert ("m" in self.health.down) == (self.state == "open" or self.probe is not None)
        if self.probe is not None:
            assert self.health.down == {"m": "being probed"}
        elif self.state == "open":
            self.why = self.health.down["m"]

    def teardown(self) -> None:
        """However it was left: it can be tried, and an answer brings it back."""
        self.health.wake(self.now + LONGEST + self.PLAN.max_cooldown)
        assert self.health.down == {}
        for wait in (0.01, 0.01):
            ticket = self.health.began("m")
            assert ticket
            self.health.succeeded("m", self.now + 2 * LONGEST, wait, ticket)
        assert self.state == "closed"


TestCalls = Calls.TestCase
TestCalls.settings = settings(max_examples=200, stateful_step_count=60, deadline=None)

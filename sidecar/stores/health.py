"""What is known of models right now: which of them rest and why, how fast they answer, how long they let one wait.

Every model has a circuit breaker. Closed, it is asked like any other. Open, it rests. Half-open, one call at a time
tries it: the probe. All of it happens on one event loop and without a clock: `now` is Unix seconds, handed in.
"""

from bisect import bisect_left
from collections.abc import Mapping
from math import inf
from typing import Literal

from msgspec import Struct

BreakerState = Literal["closed", "open", "half-open"]

LONGEST = 3600.0
"""Seconds that a provider's own word lets a model rest at most."""
SHORTEST = 1.0
"""And at least: a `retry-after` of nothing would open and try the model again with every request."""
MAX_MODELS = 10_000
"""Models remembered. They come from registries: only many reloads get there."""

_LAST_RESORT = 0
"""The ticket of a call to a model that rests: what comes of it decides nothing."""
_SMOOTH = 0.2
_NOTABLE = 1.15


class BreakerPlan(Struct, frozen=True):
    """When a model is sent to rest, and for how long. Times are seconds."""

    failures: int = 5
    """In a row."""
    error_rate: float = 0.5
    """Share of failures in the window."""
    requests: int = 20
    """The least there must have been for the rate, or slowness, to say anything."""
    window: float = 30.0
    cooldown: float = 15.0
    """The first rest. It doubles with each probe that fails, and when the model comes back only to fail again."""
    max_cooldown: float = 300.0
    """The longest rest, and how long a probe is waited for."""
    slow_factor: float = 5.0
    """How many times its usual wait for the first token is too slow; 0 never is."""
    slow_floor: float = 2.0
    """Seconds to the first token that are never too slow."""


class _Waits:
    """Seconds to the first token: a histogram in steps of a tenth, in which old answers count less and less."""

    __slots__ = ("_counts", "_fresh", "p95")

    ENOUGH = 20
    MANY = 1000
    BOUNDS = tuple(0.005 * 1.1**step for step in range(116))
    """From 5 ms to 5 minutes."""

    def __init__(self) -> None:
        self._counts = [0.0] * (len(self.BOUNDS) + 1)
        self._fresh = 0
        self.p95: float | None = None

    def add(self, seconds: float) -> None:
        self._counts[bisect_left(self.BOUNDS, seconds)] += 1.0
        self._fresh += 1
        if self._fresh == self.ENOUGH:
            self._look()

    def _look(self) -> None:
        self._fresh = 0
        total = sum(self._counts)
        step, above = len(self._counts), 0.0
        while above <= total * 0.05:
            step -= 1
            above += self._counts[step]
        self.p95 = self.BOUNDS[min(step, len(self.BOUNDS) - 1)]
        if total >= self.MANY:
            self._counts = [count / 2 for count in self._counts]


class _Tally:
    """What came of a model's calls in half a window; `waited` sums the seconds to their first tokens."""

    __slots__ = ("answered", "failed", "waited")

    def __init__(self) -> None:
        self.answered = 0
        self.failed = 0
        self.waited = 0.0


class _Breaker:
    """One model's breaker, what it is judged by, and how fast the model is.

    A call's ticket is the epoch it began in; every probe begins one. Tickets up to `spent` are from before the model
    was last sent to rest: they say how it was, not how it is.
    """

    __slots__ = (
        "closed_at", "cooldown", "epoch", "half_ends", "half_now", "half_past", "in_a_row", "noted", "probing", "slow",
        "speed", "spent", "state", "until", "usual", "usual_of", "usual_tallies", "waits",
    )  # fmt: skip

    MAX_TALLIES = 50

    def __init__(self) -> None:
        self.state: BreakerState = "closed"
        self.epoch = 1
        self.spent = 0
        self.probing = False
        self.slow = False
        self.until = 0.0
        self.closed_at = 0.0
        self.cooldown = 0.0
        """The last rest of our own choosing; 0 once it is forgotten."""
        self.in_a_row = 0
        self.half_ends = 0.0
        self.half_now = _Tally()
        self.half_past = _Tally()
        self.usual = 0.0
        self.usual_of = 0
        self.usual_tallies = 0
        self.waits = _Waits()
        self.speed: float | None = None
        self.noted = 0.0
        """The speed at the last change of version."""

    def turn(self, now: float, half: float) -> None:
        """Half a window is over. Only what leaves the window becomes usual: nothing is measured against itself."""
        self.learn(self.half_past.waited, self.half_past.answered)
        if now < self.half_ends + half:
            self.half_past = self.half_now
            self.half_ends += half
        else:
            self.learn(self.half_now.waited, self.half_now.answered)
            self.half_past = _Tally()
            self.half_ends = now + half
        self.half_now = _Tally()

    def learn(self, waited: float, answers: int) -> None:
        """Move what is usual. Tallies weigh the same, so heavy traffic forgets no faster than light traffic."""
        if answers:
            self.usual_of += answers
            self.usual_tallies = min(self.usual_tallies + 1, self.MAX_TALLIES)
            self.usual += (waited / answers - self.usual) / self.usual_tallies

    def recent_wait(self, least: int) -> float:
        """The window's mean of seconds to the first token; 0 before there are enough of them."""
        answers = self.half_now.answered + self.half_past.answered
        return (self.half_now.waited + self.half_past.waited) / answers if answers >= least else 0.0

    def fails_too_often(self, plan: BreakerPlan) -> bool:
        """Whether it failed too often in a row, or too large a share of the window."""
        if self.in_a_row >= plan.failures:
            return True
        failed = self.half_now.failed + self.half_past.failed
        total = failed + self.half_now.answered + self.half_past.answered
        return total >= plan.requests and failed >= plan.error_rate * total

    def too_slow(self, wait: float, plan: BreakerPlan) -> bool:
        """Whether a wait is far above both the floor and what is usual."""
        if not plan.slow_factor or self.usual_of < plan.requests:
            return False
        return wait > max(plan.slow_floor, plan.slow_factor * self.usual)

    def lengthen(self, plan: BreakerPlan) -> None:
        """The next cooldown: the first, or twice the last."""
        self.cooldown = min(max(plan.cooldown, 2 * self.cooldown), plan.max_cooldown)

    def close(self, now: float) -> None:
        """The probe was answered. What came before the rest is not held against the model again."""
        self.state = "closed"
        self.probing = self.slow = False
        self.closed_at = now
        self.in_a_row = 0
        self.half_now, self.half_past = _Tally(), _Tally()


class LiveHealth:
    """Breakers and learned speeds of models, and which providers cannot be used.

    `began` gives a ticket that the call's ending hands back, so that a late answer is not taken for the probe's. An
    ending without one is taken to belong to a call begun just now.
    """

    def __init__(self, plan: BreakerPlan | None = None) -> None:
        self.plan = plan or BreakerPlan()
        self.down: dict[str, str] = {}
        self.version = 0
        self._breakers: dict[str, _Breaker] = {}
        self._resting: dict[str, _Breaker] = {}
        """Those in `down`: open, or being probed."""
        self._next = inf
        self._now = 0.0

    def speed(self, model: str) -> float | None:
        """Learned output tokens a second."""
        breaker = self._breakers.get(model)
        return None if breaker is None else breaker.speed

    def first_token_p95(self, model: str) -> float | None:
        """Seconds within which 19 of 20 first tokens came lately, or None before there were enough to say."""
        breaker = self._breakers.get(model)
        return None if breaker is None else breaker.waits.p95

    def breakers(self) -> dict[str, BreakerState]:
        """The state of every model that was ever asked."""
        return {model: breaker.state for model, breaker in self._breakers.items()}

    def providers(self, reasons: Mapping[str, str]) -> None:
        """Replace what is known of whole providers (a missing key); models' own state stays."""
        self.down = {**{name: why for name, why in self.down.items() if name in self._resting}, **reasons}

    def wake(self, now: float) -> None:
        """Let models whose rest is over be tried again."""
        self._now = now
        if now >= self._next:
            for model, breaker in list(self._resting.items()):
                if breaker.until <= now:
                    breaker.state, breaker.probing = "half-open", False
                    self._lift(model)
            self._next = min((breaker.until for breaker in self._resting.values()), default=inf)

    def began(self, model: str) -> int:
        """A call is about to be sent. The first to a half-open model is its probe; the rest go elsewhere meanwhile."""
        breaker = self._breakers.get(model) or self._meet(model)
        if breaker.state == "closed":
            return breaker.epoch
        if breaker.state == "open" or breaker.probing:
            return _LAST_RESORT
        breaker.probing = True
        breaker.epoch += 1
        # A probe of which nothing is heard must not keep the model out for ever.
        self._rest(model, breaker, "being probed", self._now + self.plan.max_cooldown)
        return breaker.epoch

    def succeeded(self, model: str, now: float, first_token: float, ticket: int | None = None) -> None:
        """The first token came, so many seconds after the call began."""
        breaker = self._breakers.get(model) or self._meet(model)
        breaker.waits.add(first_token)
        if (breaker.epoch if ticket is None else ticket) <= breaker.spent:
            return
        if breaker.state != "closed":
            self._probe_answered(model, breaker, now, first_token)
            return
        if now >= breaker.half_ends:
            breaker.turn(now, self.plan.window / 2)
        tally = breaker.half_now
        tally.answered += 1
        tally.waited += first_token
        breaker.in_a_row = 0
        if breaker.cooldown and now - breaker.closed_at >= breaker.cooldown:
            breaker.cooldown = 0.0
        if first_token > self.plan.slow_floor:
            wait = breaker.recent_wait(self.plan.requests)
            if breaker.too_slow(wait, self.plan):
                self._open_slow(model, breaker, wait, now)

    def learned(self, model: str, tokens_per_second: float) -> None:
        """An answer's speed. The version changes only when the learned one moved by about 15 %."""
        if tokens_per_second <= 0:
            return
        breaker = self._breakers.get(model) or self._meet(model)
        old = breaker.speed
        new = breaker.speed = tokens_per_second if old is None else old + _SMOOTH * (tokens_per_second - old)
        if not breaker.noted / _NOTABLE < new < breaker.noted * _NOTABLE:
            breaker.noted = new
            self.version += 1

    def failed(
        self, model: str, reason: str, now: float, pause: float | None = None, ticket: int | None = None
    ) -> None:
        """A call failed through the model's or its provider's fault. `pause` is how long the provider itself says
        that the model should be left alone: it rests at once, for an hour at most."""
        breaker = self._breakers.get(model) or self._meet(model)
        told = None if pause is None else max(SHORTEST, min(pause, LONGEST))
        if breaker.state == "open":
            if told is not None and now + told > breaker.until:
                self._rest(model, breaker, reason, now + told)
            return
        if (breaker.epoch if ticket is None else ticket) <= breaker.spent:
            return
        if breaker.state == "half-open":
            # Its word was not good enough the last time, so our own patience counts as well.
            breaker.lengthen(self.plan)
            self._open(model, breaker, reason, now + max(breaker.cooldown, told or 0.0))
            return
        if now >= breaker.half_ends:
            breaker.turn(now, self.plan.window / 2)
        breaker.half_now.failed += 1
        breaker.in_a_row += 1
        if told is not None:
            self._open(model, breaker, reason, now + told)
        elif breaker.fails_too_often(self.plan):
            breaker.lengthen(self.plan)
            self._open(model, breaker, reason, now + breaker.cooldown)

    def released(self, model: str, ticket: int | None = None) -> None:
        """A call ended and says nothing of the model. If it was the probe, the next one may be."""
        breaker = self._breakers.get(model)
        if breaker is not None and breaker.probing and ticket in (None, breaker.epoch):
            breaker.probing = False
            breaker.spent = breaker.epoch
            self._lift(model)

    def _probe_answered(self, model: str, breaker: _Breaker, now: float, first_token: float) -> None:
        if breaker.slow and breaker.too_slow(first_token, self.plan):
            # Learned all the same: a model that is slow for good is slow as usual some probes later.
            self._open_slow(model, breaker, first_token, now)
            breaker.learn(first_token, 1)
            return
        breaker.close(now)
        self._lift(model)

    def _open_slow(self, model: str, breaker: _Breaker, wait: float, now: float) -> None:
        breaker.lengthen(self.plan)
        reason = f"slow: {wait:.1f} s to the first token, {breaker.usual:.1f} s is usual"
        self._open(model, breaker, reason, now + breaker.cooldown)
        breaker.slow = True

    def _open(self, model: str, breaker: _Breaker, reason: str, until: float) -> None:
        breaker.state = "open"
        breaker.probing = False
        breaker.spent = breaker.epoch
        self._rest(model, breaker, reason, until)

    def _rest(self, model: str, breaker: _Breaker, reason: str, until: float) -> None:
        breaker.until = until
        self._resting[model] = breaker
        self.down[model] = reason
        self._next = min(self._next, until)

    def _lift(self, model: str) -> None:
        self._resting.pop(model, None)
        self.down.pop(model, None)

    def _meet(self, model: str) -> _Breaker:
        """A model asked for the first time; past MAX_MODELS the one met first is forgotten."""
        if len(self._breakers) >= MAX_MODELS:
            first = next(iter(self._breakers))
            del self._breakers[first]
            self._lift(first)
        breaker = self._breakers[model] = _Breaker()
        return breaker

"""The comparison: each past request beside what the candidate makes of it, summed up."""

import gc
from collections import Counter, OrderedDict
from collections.abc import Iterable, Sequence
from heapq import heappush, heappushpop

from msgspec import Struct, field

from ..chat import Usage
from ..registry.index import Model, Registry
from ..stores.vector import Vector
from .candidate import Candidate, Decision
from .forecast import Forecast, Range, exactly
from .history import Past

WORST = 5
"""Movers that are named."""


class Move(Struct):
    """Requests that went to one model, or to the cache, and would go to another, be refused, or be cached."""

    before: str
    after: str
    requests: int = 0
    was_nano: int = 0
    cost: Range = Range()


class Mover(Struct, frozen=True):
    """One request that moved. `quality` is the difference of the registry's figures, null where one is not known."""

    request: str
    before: str
    after: str
    was_nano: int
    cost: Range
    quality: float | None


class Mean(Struct):
    """A mean of what is known."""

    sum: float = 0.0
    count: int = 0

    def add(self, value: float) -> None:
        """One value more."""
        self.sum += value
        self.count += 1

    @property
    def value(self) -> float | None:
        """The mean, or None of nothing."""
        return self.sum / self.count if self.count else None


class Comparison(Struct):
    """What a replay found. Money is nano-USD of requests whose models have a price, before and after; `unpriced` are
    the others. `was_nano` is what the ledger says; `now` what the candidate would cost: `unchanged_nano` of it for
    requests that stay with their model, exactly.

    `skipped` requests have no features, so nothing is said of them. `uncertain` ones hang on words that were not kept:
    they are in all figures as if those were not there, and `doubt` is what they cost at the least and at the most,
    whatever the words. `baselines` are what all answers would have cost at one model.
    """

    policy: str
    since: float = 0.0
    until: float = 0.0
    rows: int = 0
    requests: int = 0
    skipped: int = 0
    moved: int = 0
    uncertain: int = 0
    failed: int = 0
    unpriced: int = 0
    hits_before: int = 0
    hits_after: int = 0
    was_nano: int = 0
    unchanged_nano: int = 0
    now: Range = Range()
    doubt: Range = Range()
    latency_before: Mean = field(default_factory=Mean)
    latency_after: Mean = field(default_factory=Mean)
    quality_before: Mean = field(default_factory=Mean)
    quality_after: Mean = field(default_factory=Mean)
    recorded: Counter[str] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)
    baselines: dict[str, Range] = {}
    moves: list[Move] = []
    dearer: list[Mover] = []
    worse: list[Mover] = []
    edges: Counter[tuple[str, str]] = field(default_factory=Counter)


class Forecasted(Struct, frozen=True):
    """One request's verdict: where it was and would be, and what that cost and would cost. `alone` is the range for
    this request by itself, None where a model has no price."""

    past: Past
    decision: Decision
    before: str
    after: str
    alone: Range | None
    share: Range | None


class Replay:
    """Takes requests, one after another, in the order of their time."""

    def __init__(self, candidate: Candidate, forecast: Forecast, baselines: Sequence[Model] = ()) -> None:
        self.found = Comparison(candidate.graph.short_hash, baselines={model.id: Range() for model in baselines})
        self._candidate = candidate
        self._registry: Registry = candidate.graph.registry
        self._forecast = forecast
        self._baselines = baselines
        self._moves: dict[tuple[str, str], Move] = {}
        self._dearer: list[tuple[float, int, Mover]] = []
        self._worse: list[tuple[float, int, Mover]] = []
        self._answers: OrderedDict[bytes, tuple[str | None, Usage]] = OrderedDict()
        self._ways: Counter[tuple[tuple[str, str], ...]] = Counter()
        self._low = self._mid = self._high = 0

    def run(self, requests: Iterable[Past]) -> Comparison:
        """Everything; the comparison is whole afterwards."""
        before = gc.get_threshold()
        gc.set_threshold(_RARELY)  # a tenth of the time goes to looking for cycles, of which there are few
        try:
            for past in requests:
                self.take(past)
        finally:
            gc.set_threshold(*before)
        found = self.found
        found.now = Range(self._low, self._mid, self._high)
        found.edges = Counter()
        for way, number in self._ways.items():
            for edge in way:
                found.edges[edge] += number
        found.moves = sorted(self._moves.values(), key=lambda move: -move.requests)
        found.dearer = [mover for _, _, mover in sorted(self._dearer, key=lambda row: -row[0])]
        found.worse = [mover for _, _, mover in sorted(self._worse, key=lambda row: -row[0])]
        return found

    def take(self, past: Past) -> Forecasted | None:
        """One request; None when nothing can be said of it."""
        found, vector, row = self.found, past.vector, past.last
        found.rows += len(past.rows)
        found.requests += 1
        found.since = found.since or past.first.ts
        found.until = past.first.ts
        found.recorded[past.first.policy] += 1
        if vector is None:
            found.skipped += 1
            return None
        decision = self._candidate.decide(past, vector)
        self._ways[tuple(decision.call.trace)] += 1
        before = "cache" if past.hit else row.model or "?"
        after = _where(decision)
        if decision.end == "refuse":
            refusal = decision.call.refusal
            found.refusals[refusal.code or "refused" if refusal is not None else "refused"] += 1
        found.hits_before += past.hit
        found.hits_after += decision.end == "respond"
        found.failed += row.failure is not None
        cost = self._cost(past, vector, decision.end, decision.model)
        verdict = Forecasted(past, decision, before, after, *(cost or (None, None)))
        self._count(verdict, vector)
        return verdict

    def _cost(self, past: Past, vector: Vector, end: str, name: str | None) -> tuple[Range, Range] | None:
        """What it would cost: alone, and in a sum."""
        if end != "execute":
            return _NOTHING
        model, row = self._registry.find(name or ""), past.last
        if model is None:
            return None
        if not past.hit and row.model == model.id:
            return self._stays(past)
        was = self._registry.find(row.model or "")
        usage = row.usage
        if past.hit:
            source = self._answers.get(vector.fingerprint)
            usage = source[1] if source is not None else self._forecast.usual(model, vector.tokens)
            if source is not None and source[0] == model.id:
                was = model
        elif row.failure is not None and not row.input_tokens:
            return _NOTHING  # it failed without being billed, and is taken to fail again
        return self._forecast.cost(model, usage, was, vector.max_tokens * vector.choices)

    def _stays(self, past: Past) -> tuple[Range, Range] | None:
        """The same model answers: the same tokens, at the candidate's prices."""
        total = 0
        for row in past.rows:
            if row.input_tokens or row.output_tokens:
                model = self._registry.find(row.model or "")
                if model is None or model.price is None:
                    return None
                total += model.price.cost(row.usage)
        return exactly(total), exactly(total)

    def _count(self, verdict: Forecasted, vector: Vector) -> None:
        found, past, decision = self.found, verdict.past, verdict.decision
        was, share = 0, verdict.share
        for row in past.rows:
            if row.cost_nano is not None:
                was += row.cost_nano
            elif row.failure is None:
                share = None
        moved = verdict.before != verdict.after
        if share is not None:
            found.was_nano += was
            self._low += share.low
            self._mid += share.mid
            self._high += share.high
            found.unchanged_nano += 0 if moved else share.mid
        else:
            found.unpriced += 1
        if decision.others or decision.unsure:
            self._doubt(verdict, vector)
        self._qualities(verdict)
        row = past.last
        if not past.hit and row.failure is None:
            self._answers[vector.fingerprint] = row.model, row.usage
            if len(self._answers) > _ANSWERS:
                self._answers.popitem(last=False)
            for model in self._baselines:
                known = self._registry.find(row.model or "")
                cost = self._forecast.cost(model, row.usage, known, vector.max_tokens * vector.choices)
                same = model.id == row.model
                found.baselines[model.id] += exactly(was) if same else cost[1] if cost is not None else Range()
        if moved:
            self._move(verdict, was)

    def _doubt(self, verdict: Forecasted, vector: Vector) -> None:
        self.found.uncertain += 1
        costs = [verdict.alone]
        for end, model in verdict.decision.others:
            cost = self._cost(verdict.past, vector, end, model)
            costs.append(None if cost is None else cost[0])
        known = [cost for cost in costs if cost is not None]
        if known:
            mid = known[0].mid
            self.found.doubt += Range(min(c.low for c in known), mid, max(c.high for c in known))

    def _qualities(self, verdict: Forecasted) -> None:
        found, row = self.found, verdict.past.last
        if verdict.past.hit or verdict.decision.end != "execute" or row.failure is not None:
            return
        after = self._registry.find(verdict.after)
        before = after if verdict.before == verdict.after else self._registry.find(verdict.before)
        if before is not None and after is not None and before.quality is not None and after.quality is not None:
            found.quality_before.add(before.quality)
            found.quality_after.add(after.quality)
        if after is not None:
            latency = row.latency_ms if before is after else self._forecast.latency(after, row.output_tokens)
            if latency is not None:
                found.latency_before.add(row.latency_ms)
                found.latency_after.add(latency)

    def _move(self, verdict: Forecasted, was: int) -> None:
        found, past = self.found, verdict.past
        found.moved += 1
        key = verdict.before, verdict.after
        move = self._moves.get(key)
        if move is None:
            move = self._moves[key] = Move(*key)
        move.requests += 1
        move.was_nano += was
        if verdict.share is not None:
            move.cost += verdict.share
        before, after = self._registry.find(verdict.before), self._registry.find(verdict.after)
        known = before is not None and after is not None and before.quality is not None and after.quality is not None
        quality = after.quality - before.quality if known else None  # type: ignore[union-attr, operator]
        mover = Mover(past.first.request_id, *key, was, verdict.alone or Range(), quality)
        if verdict.alone is not None and verdict.alone.mid > was:
            _keep(self._dearer, (verdict.alone.mid - was, found.moved, mover))
        if quality is not None and quality < 0:
            _keep(self._worse, (-quality, found.moved, mover))


def _keep(worst: list[tuple[float, int, Mover]], row: tuple[float, int, Mover]) -> None:
    if len(worst) < WORST:
        heappush(worst, row)
    else:
        heappushpop(worst, row)


def _where(decision: Decision) -> str:
    if decision.end == "execute":
        return decision.model or "?"
    return "cache" if decision.end == "respond" else "refused"


_RARELY = 200_000
"""Objects made between two looks."""
_NOTHING = (exactly(0), exactly(0))
_ANSWERS = 50_000
"""Answers remembered, for what a hit would have counted."""

"""Ranking candidates by cost, quality and speed: the arithmetic behind `kind: score`.

Each term is brought to 0..1 over the candidates: cost and speed on a logarithmic scale (ten times as dear is one
step, whatever the level), quality on a linear one. What a request costs depends on its share of output, so cost
terms are computed for a few shares beforehand and one sort is remembered for each; a decision is a look-up.
"""

from itertools import pairwise
from math import inf, log

from msgspec import Struct

from ..registry.index import Model
from ..stores.base import Health

SHARES = 8
"""Steps into which the output's share of a request's tokens is cut."""

_FREE = 1.0
_UNKNOWN = 0.0


class Weights(Struct, frozen=True):
    """What matters how much; only the proportions count."""

    cost: float
    quality: float
    speed: float


class Terms(Struct, frozen=True):
    """One candidate's score and what it is made of, each 0..1."""

    model: str
    score: float
    cost: float
    quality: float
    speed: float
    usd_per_million: float | None
    tokens_per_second: float | None


class Ranking:
    """An ordered view of fixed candidates. Sorted again only when weights, share or learned speeds are new; where speed
    has no weight and breaks no tie, once for all."""

    __slots__ = ("_cost", "_lasting", "_orders", "_price", "_quality", "_version", "models")

    def __init__(self, models: tuple[Model, ...]) -> None:
        self.models = models
        self._price = [[_blended(m, share) for m in models] for share in range(SHARES)]
        self._cost = [_log_terms(row, cheap_is_good=True) for row in self._price]
        self._quality = _linear_terms([m.quality for m in models])
        self._orders: dict[tuple[Weights, int], list[Model]] = {}
        self._lasting: dict[tuple[Weights, int], list[Model]] = {}
        self._version = -1

    def order(self, weights: Weights, share: int, health: Health) -> list[Model]:
        """Candidates, best first; ties go to the better, the cheaper, the faster, then the first by name."""
        if health.version != self._version:
            self._orders = dict(self._lasting)
            self._version = health.version
        known = self._orders.get((weights, share))
        if known is None:
            known = self._orders[weights, share] = self._sort(weights, share, health)
        return known

    def explain(self, weights: Weights, share: int, health: Health) -> list[Terms]:
        """Every candidate's terms, in the order of `order`."""
        speeds, speed = self._speeds(health)
        price, cost = self._price[share], self._cost[share]
        place = {m.id: i for i, m in enumerate(self.order(weights, share, health))}
        rows = [
            Terms(
                m.id, round(_score(weights, cost[i], self._quality[i], speed[i]), 4),
                round(cost[i], 4), round(self._quality[i], 4), round(speed[i], 4), price[i], speeds[i],
            )
            for i, m in enumerate(self.models)
        ]  # fmt: skip
        return sorted(rows, key=lambda row: place[row.model])

    def _speeds(self, health: Health) -> tuple[list[float | None], list[float]]:
        speeds = [health.speed(m.id) or m.speed for m in self.models]
        return speeds, _log_terms(speeds, cheap_is_good=False)

    def _sort(self, weights: Weights, share: int, health: Health) -> list[Model]:
        cost, quality = self._cost[share], self._quality
        # By price, not by its term: a free model and the cheapest priced one have the same term.
        price = [inf if usd is None else usd for usd in self._price[share]]
        _, speed = self._speeds(health)
        rows = [
            (-_score(weights, cost[i], quality[i], speed[i]), -quality[i], price[i], -speed[i], m.id, i)
            for i, m in enumerate(self.models)
        ]
        rows.sort()
        order = [self.models[row[5]] for row in rows]
        if not weights.speed and all(a[:3] != b[:3] for a, b in pairwise(rows)):
            self._lasting[weights, share] = order
        return order


def output_share(input_tokens: int, output_tokens: int) -> int:
    """The step of SHARES that a request's share of output falls into."""
    total = input_tokens + output_tokens
    return min(SHARES - 1, output_tokens * SHARES // total) if total else 0


def _score(weights: Weights, cost: float, quality: float, speed: float) -> float:
    total = weights.cost + weights.quality + weights.speed
    return (weights.cost * cost + weights.quality * quality + weights.speed * speed) / total


def _blended(model: Model, share: int) -> float | None:
    """USD per million tokens at the middle of a share; None without a price."""
    if model.price is None:
        return None
    part = (share + 0.5) / SHARES
    return (model.price.input * (1 - part) + model.price.output * part) / 1e9


def _log_terms(values: list[float | None], *, cheap_is_good: bool) -> list[float]:
    known = [v for v in values if v]
    if not known:
        return [_FREE if v == 0 and cheap_is_good else _UNKNOWN for v in values]
    low, span = log(min(known)), log(max(known)) - log(min(known))

    def term(value: float | None) -> float:
        if value is None:
            # Not known: as dear as the dearest, as slow as the middle.
            return _UNKNOWN if cheap_is_good else 0.5
        if value == 0:
            return _FREE if cheap_is_good else _UNKNOWN
        place = (log(value) - low) / span if span else 0.5
        return 1 - place if cheap_is_good else place

    return [term(v) for v in values]


def _linear_terms(values: list[float | None]) -> list[float]:
    known = [v for v in values if v is not None]
    low, span = (min(known), max(known) - min(known)) if known else (0.0, 0.0)
    return [_UNKNOWN if v is None else (v - low) / span if span else 0.5 for v in values]

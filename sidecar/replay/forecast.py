"""What an answer of another model would have cost: prices are exact, token counts are ranges.

Output is the great unknown: half to twice what was counted, and no narrower than what 38 of 40 answers of that model in
the same ledger lie between. Input is counted by another provider's tokenizer: 0.7 to 1.4 times as much; the same
provider counts the same. What it would have found in its own prompt cache nobody knows: all that was cached, to
nothing.
"""

from collections.abc import Iterable
from itertools import accumulate

from msgspec import Struct

from ..chat import Usage
from ..registry.index import Model

FEWEST = 40
"""Answers of a model that tell how long its answers are."""
_LOW, _HIGH = 0.025, 0.975
_TWICE = 2.0
_INPUT = (0.7, 1.4)


class Range(Struct, frozen=True, gc=False):
    """Nano-USD: the least, the most likely and the most."""

    low: int = 0
    mid: int = 0
    high: int = 0

    def __add__(self, other: "Range") -> "Range":
        return Range(self.low + other.low, self.mid + other.mid, self.high + other.high)

    @property
    def exact(self) -> bool:
        """Whether there is nothing to guess."""
        return self.low == self.high


def exactly(nano: int) -> Range:
    """An amount that is known."""
    return Range(nano, nano, nano)


class _Known(Struct, frozen=True):
    answers: int
    low: int
    median: int
    high: int
    latency: float


class Forecast:
    """What the ledger's own answers tell of its models."""

    def __init__(self, answers: Iterable[tuple[str, int, int, float]]) -> None:
        """`answers` are model, output tokens, how many had so many, and their milliseconds together; in order."""
        found: dict[str, list[tuple[int, int, float]]] = {}
        for model, tokens, number, milliseconds in answers:
            found.setdefault(model, []).append((tokens, number, milliseconds))
        self._models = {model: _known(rows) for model, rows in found.items()}

    def latency(self, model: Model, output: int) -> float | None:
        """Milliseconds of one answer: the mean of this ledger, else what the registry says of the model's speed."""
        known = self._models.get(model.id)
        if known is not None:
            return known.latency
        if model.speed is None:
            return None
        return (model.ttft or 0.0) + output * 1000 / model.speed

    def cost(self, model: Model, usage: Usage, was: Model | None, limit: int) -> tuple[Range, Range] | None:
        """What one answer would cost: the range for it alone, and its share of a sum, in which single answers even
        out. `usage` is what another model, `was`, counted; `limit` is the most output that was asked for, 0 for none.
        None without a price."""
        if model.price is None:
            return None
        known, out = self._models.get(model.id), usage.output_tokens
        low, high = out / _TWICE, out * _TWICE
        alone_low, alone_high = low, high
        if known is not None and known.answers >= FEWEST:
            alone_low, alone_high = min(low, known.low), max(high, known.high)
        same = was is not None and was.provider == model.provider
        less, more = (1.0, 1.0) if same else _INPUT
        price, size = model.price, usage.input_tokens

        def at(share: float, output: float, cached: int, written: int) -> int:
            tokens = round(output) if not limit else min(round(output), limit)
            return price.cost(
                Usage(round(size * share), tokens, int(cached * share), cache_write_5m_tokens=int(written * share))
            )

        least = least_alone = at(less, low, usage.cached_tokens, 0)
        most = most_alone = at(more, high, 0, usage.cache_write_5m_tokens)
        if alone_low < low:
            least_alone = min(least, at(less, alone_low, usage.cached_tokens, 0))
        if alone_high > high:
            most_alone = max(most, at(more, alone_high, 0, usage.cache_write_5m_tokens))
        mid = at(1.0, out, 0, 0)
        return Range(least_alone, mid, most_alone), Range(least, mid, most)

    def usual(self, model: Model, tokens: int) -> Usage:
        """What an answer of this model usually counts, for a request of which nothing was: input by estimate."""
        known = self._models.get(model.id)
        return Usage(tokens, known.median if known is not None else _GUESS)


_GUESS = 256


def _known(rows: list[tuple[int, int, float]]) -> _Known:
    total = sum(number for _, number, _ in rows)
    sums = list(accumulate(number for _, number, _ in rows))

    def at(share: float) -> int:
        return next(rows[place][0] for place, passed in enumerate(sums) if passed >= share * total)

    return _Known(total, at(_LOW), at(0.5), at(_HIGH), sum(ms for _, _, ms in rows) / total)

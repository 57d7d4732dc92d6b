"""What a change does: every request of a corpus walked under both policies, where it moves, what that costs."""

from msgspec import Struct

from ..call import Call
from ..chat import Usage
from ..graph import Graph
from ..stages.base import EXECUTE, REFUSE
from ..stages.score import Score, TierSpec
from .corpus import Corpus


class Fate(Struct, frozen=True):
    """Where a request ends: `end` is execute, respond or refuse. Of one that is refused `code` says why."""

    end: str
    tier: str = ""
    model: str = ""
    code: str = ""

    def __str__(self) -> str:
        if self.end == REFUSE:
            return f"refused: {self.code}"
        return f"{self.tier or 'pinned'}: {self.model}" if self.end == EXECUTE else "answered from the cache"


class Move(Struct, frozen=True):
    """Requests that went one way and now go another; `example` names one of them."""

    old: Fate
    new: Fate
    count: int
    example: str


class Spread(Struct, frozen=True):
    """Nano-USD: with the output that is expected, with half of it, and with twice as much (or the caller's bound)."""

    low: int
    expected: int
    high: int


class Cost(Struct, frozen=True):
    """What the same requests with the same answers cost under both policies. Only those that both serve are counted;
    `unpriced` are those of them that have no price on one side, and are left out."""

    requests: int
    unpriced: int
    old: Spread
    new: Spread

    @property
    def change(self) -> Spread:
        """The difference at each amount of output."""
        pairs = zip(_figures(self.new), _figures(self.old), strict=True)
        return Spread(*(new - old for new, old in pairs))


class Effect(Struct, frozen=True):
    """All of a corpus. `rerouted` counts requests that go where they went, with other models to fall back on.
    `uncertain` ones hang on words that were not kept, and count as if those were not there; of `skipped` ones nothing
    was kept, and they are in no other figure."""

    corpus: str
    requests: int
    moves: list[Move]
    rerouted: int
    refused: int
    admitted: int
    uncertain: int
    skipped: int
    cost: Cost | None

    @property
    def moved(self) -> int:
        """Requests that end elsewhere."""
        return sum(move.count for move in self.moves)


def effect(old: Graph, corpus: Corpus) -> Effect:
    """All of it. `old` says how long answers are expected to be."""
    moves: dict[tuple[Fate, Fate], tuple[int, str]] = {}
    bill = _Bill(old)
    requests = rerouted = refused = admitted = uncertain = skipped = 0
    for walked in corpus.walks:
        if walked is None:
            skipped += 1
            continue
        requests += 1
        uncertain += walked.uncertain
        (before, was), (after, now) = walked.old, walked.new
        fates = _fate(before, was), _fate(after, now)
        if fates[0] != fates[1]:
            count, example = moves.get(fates, (0, walked.name))
            moves[fates] = count + 1, example
            refused += now == REFUSE != was
            admitted += was == REFUSE != now
        elif now == EXECUTE and [m.id for m in before.chain] != [m.id for m in after.chain]:
            rerouted += 1
        if was == now == EXECUTE:
            bill.add(before, after, walked.counted)
    rows = [Move(*fates, count, example) for fates, (count, example) in moves.items()]
    rows.sort(key=lambda move: (-move.count, str(move.old), str(move.new)))
    cost = bill.cost() if corpus.priced and bill.any else None
    return Effect(corpus.name, requests, rows, rerouted, refused, admitted, uncertain, skipped, cost)


def _fate(call: Call, end: str) -> Fate:
    if end == REFUSE:
        return Fate(end, code=(call.refusal.code or "") if call.refusal is not None else "nothing follows")
    return Fate(end, call.tier, call.chain[0].id) if end == EXECUTE else Fate(end)


class _Bill:
    """What requests that both serve cost. The same output on both sides, as it was counted, or what the old policy
    expects of it: another model is no reason to say more."""

    def __init__(self, old: Graph) -> None:
        self._graph = old
        self._totals = [[0, 0, 0], [0, 0, 0]]
        self._requests = self._unpriced = 0

    @property
    def any(self) -> bool:
        """Whether both policies serve anything."""
        return self._requests + self._unpriced > 0

    def add(self, before: Call, after: Call, counted: Usage | None) -> None:
        """One request."""
        old, new = before.chain[0].price, after.chain[0].price
        if old is None or new is None:
            self._unpriced += 1
            return
        self._requests += 1
        choices, bound = before.features.choices, before.features.max_tokens
        if counted is None:
            size, outputs = before.features.tokens, _outputs(_tier(self._graph, before).output_tokens, bound, choices)
        else:
            output = counted.output_tokens
            most = max(output, min(2 * output, bound * choices)) if bound else 2 * output
            size, outputs = counted.input_tokens, (output // 2, output, most)
        for total, price in zip(self._totals, (old, new), strict=True):
            for place, output in enumerate(outputs):
                total[place] += price.cost(Usage(input_tokens=size, output_tokens=output))

    def cost(self) -> Cost:
        """All of them."""
        return Cost(self._requests, self._unpriced, *(Spread(*total) for total in self._totals))


def _outputs(expected: int, bound: int, choices: int) -> tuple[int, int, int]:
    """Output tokens: half of what is expected of one choice, that, and twice that, times the choices; the caller's
    bound is the most there can be."""
    middle = min(expected, bound) if bound else expected
    return middle // 2 * choices, middle * choices, (bound or 2 * middle) * choices


def _tier(graph: Graph, call: Call) -> TierSpec:
    visited = {node for node, _ in call.trace}
    scores = [spec for spec in graph.stages if isinstance(spec, Score) and spec.node in visited]
    return scores[-1].tiers.get(call.tier, scores[-1].default) if scores and call.tier else TierSpec()


def _figures(spread: Spread) -> tuple[int, int, int]:
    return spread.low, spread.expected, spread.high

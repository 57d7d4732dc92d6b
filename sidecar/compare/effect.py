"""What a change does: every request of a corpus walked under both policies, where it moves, what that costs."""

from collections.abc import Iterable

from msgspec import Struct

from ..call import Call
from ..chat import Usage
from ..engine.trial import walk_once
from ..graph import Graph
from ..registry.price import PriceList
from ..stages.base import EXECUTE, REFUSE
from ..stages.score import Score, TierSpec
from .corpus import Corpus
from .side import Side


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
    """All of a corpus. `rerouted` counts requests that go where they went, with other models to fall back on."""

    corpus: str
    requests: int
    moves: list[Move]
    rerouted: int
    refused: int
    admitted: int
    cost: Cost | None

    @property
    def moved(self) -> int:
        """Requests that end elsewhere."""
        return sum(move.count for move in self.moves)


def effect(old: Side, new: Side, corpus: Corpus) -> Effect:
    """Walk all of it, twice."""
    moves: dict[tuple[Fate, Fate], list[str]] = {}
    pairs: list[tuple[Call, Call]] = []
    rerouted = refused = admitted = 0
    for item in corpus.items:
        before, was = walk_once(old.graph, item.asked, item.old)
        after, now = walk_once(new.graph, item.asked, item.new)
        fates = _fate(before, was), _fate(after, now)
        if fates[0] != fates[1]:
            moves.setdefault(fates, []).append(item.name)
            refused += now == REFUSE != was
            admitted += was == REFUSE != now
        elif now == EXECUTE and [m.id for m in before.chain] != [m.id for m in after.chain]:
            rerouted += 1
        if was == now == EXECUTE:
            pairs.append((before, after))
    rows = [Move(*fates, len(names), names[0]) for fates, names in moves.items()]
    rows.sort(key=lambda move: (-move.count, str(move.old), str(move.new)))
    cost = _cost(old.graph, pairs) if corpus.priced and pairs else None
    return Effect(corpus.name, len(corpus.items), rows, rerouted, refused, admitted, cost)


def _fate(call: Call, end: str) -> Fate:
    if end == REFUSE:
        return Fate(end, code=(call.refusal.code or "") if call.refusal is not None else "nothing follows")
    return Fate(end, call.tier, call.chain[0].id) if end == EXECUTE else Fate(end)


def _cost(graph: Graph, pairs: Iterable[tuple[Call, Call]]) -> Cost:
    """The same output on both sides, what the old policy expects of it: another model is no reason to say more."""
    totals, requests, unpriced = [[0, 0, 0], [0, 0, 0]], 0, 0
    for before, after in pairs:
        old, new = before.chain[0].price, after.chain[0].price
        if old is None or new is None:
            unpriced += 1
            continue
        requests += 1
        outputs = _outputs(graph, before)
        for total, price in zip(totals, (old, new), strict=True):
            for place, output in enumerate(outputs):
                total[place] += _bill(price, before, output)
    return Cost(requests, unpriced, Spread(*totals[0]), Spread(*totals[1]))


def _bill(price: PriceList, call: Call, output: int) -> int:
    usage = Usage(input_tokens=call.features.tokens, output_tokens=output * call.features.choices)
    return price.cost(usage)


def _outputs(graph: Graph, call: Call) -> tuple[int, int, int]:
    """Output tokens of one choice: half of what is expected of the tier, that, and twice that; the caller's bound is
    the most there can be."""
    expected, bound = _tier(graph, call).output_tokens, call.features.max_tokens
    middle = min(expected, bound) if bound else expected
    return middle // 2, middle, bound or 2 * middle


def _tier(graph: Graph, call: Call) -> TierSpec:
    visited = {node for node, _ in call.trace}
    scores = [spec for spec in graph.stages if isinstance(spec, Score) and spec.node in visited]
    return scores[-1].tiers.get(call.tier, scores[-1].default) if scores and call.tier else TierSpec()


def _figures(spread: Spread) -> tuple[int, int, int]:
    return spread.low, spread.expected, spread.high

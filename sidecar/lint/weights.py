"""Weights that decide nothing: the same model is chosen without them, and when they count twice."""

from collections.abc import Iterator
from typing import Any

from msgspec.structs import replace

from ..config.codes import Code
from ..config.diagnostic import Diagnostic
from ..link import Linked
from ..registry.index import Model
from ..stages.ranking import SHARES, Ranking, Weights
from ..stages.score import Score, WeightSpec, candidates
from .context import LintContext, warning

_FIELDS = ("cost", "quality", "speed")


def weights(context: LintContext) -> Iterator[Diagnostic]:
    """Each weight that is written, over the candidates of all tiers and all shares of output."""
    for linked in context.of(Score):
        spec = linked.spec
        chosen = {candidates(tier, context.scope.registry) for tier in (*spec.tiers.values(), spec.default)}
        sets: list[tuple[tuple[str, ...], WeightSpec]] = [(("weights",), spec.weights)]
        sets += [(("strategies", name), own) for name, own in spec.strategies.items()]
        written = [(path, own) for path, own in sets if _is_written(linked, path)]
        rankings = [Ranking(models) for models in chosen if len(models) > 1] if written else []
        for path, own in written if rankings else ():
            for field in _FIELDS:
                if _is_written(linked, (*path, field)) and _is_idle(field, own, rankings):
                    message = (
                        f"`{field}` changes no choice: without it, or twice as large, each tier has the same model"
                    )
                    help_ = "give it more weight, or set it to 0; `sidecar explain` shows each candidate's terms"
                    yield warning(linked, (*path, field), Code.IDLE_WEIGHT, message, help_)


def _is_written(linked: Linked[Any], path: tuple[str, ...]) -> bool:
    return linked.document is not None and linked.document.node(path) is not None


def _is_idle(field: str, own: WeightSpec, rankings: list[Ranking]) -> bool:
    weights = Weights(own.cost, own.quality, own.speed)
    value = getattr(weights, field)
    if not value or sum(getattr(weights, name) for name in _FIELDS) == value:
        return False  # it is off, or there is nothing to weigh it against
    others = [replace(weights, **{field: factor * value}) for factor in (0, 2)]
    return all(
        best == _best(ranking, other, share)
        for ranking in rankings
        for share in range(SHARES)
        for best in [_best(ranking, weights, share)]
        for other in others
    )


def _best(ranking: Ranking, weights: Weights, share: int) -> Model:
    return ranking.order(weights, share, _UNTRIED)[0]


class _Untried:
    """What is known of models before the first call: the registry's speeds hold."""

    version = 0

    def speed(self, model: str) -> float | None:
        return None


_UNTRIED: Any = _Untried()

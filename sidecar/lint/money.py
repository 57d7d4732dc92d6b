"""Budgets that one request can be too dear for."""

from collections.abc import Iterator

from ..config.codes import Code
from ..config.diagnostic import Diagnostic
from ..registry.price import nano, usd
from ..stages.budget import Budget
from ..stages.score import Score, candidates
from .context import LintContext, warning


def low_budgets(context: LintContext) -> Iterator[Diagnostic]:
    """Hard budgets that are smaller than the longest answer at the candidate where it costs least: its caller's input
    comes on top."""
    tiers = [tier for linked in context.of(Score) for tier in (*linked.spec.tiers.values(), linked.spec.default)]
    models = {model for tier in tiers for model in candidates(tier, context.scope.registry)}
    worst = [(model.price.worst_case(0, model.max_output), model.id) for model in models if model.price is not None]
    if not worst:
        return
    cost, name = min(worst)
    for linked in context.of(Budget):
        for place, budget in enumerate(linked.spec.budgets):
            if budget.mode == "hard" and nano(budget.limit) < cost:
                message = (
                    f"budget `{budget.name}` is below one request: the longest answer of `{name}`, where that costs "
                    f"least, may cost {usd(cost)} USD; who asks for it is refused even when nothing is spent"
                )
                help_ = "make it larger, or `mode: soft`"
                yield warning(linked, ("budgets", place, "limit"), Code.LOW_BUDGET, message, help_)

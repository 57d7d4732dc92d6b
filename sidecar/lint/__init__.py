"""Lints: what is allowed and hardly meant. Each check is a function from the whole policy to warnings.

They run after the graph compiled, so that `validate`, `run` and a reload all show them. They read no clock, no network,
and are bounded: a policy may be large, and a reload must not wait.
"""

from collections.abc import Callable, Iterator

from ..config.diagnostic import Diagnostic
from .chains import chains, deadlines
from .context import LintContext
from .models import named_models, tiers_without_a_way_out
from .money import low_budgets
from .patterns import slow_patterns
from .rules import rules
from .tenants import shared_caches
from .weights import weights

CHECKS: tuple[Callable[[LintContext], Iterator[Diagnostic]], ...] = (
    rules,
    slow_patterns,
    tiers_without_a_way_out,
    weights,
    named_models,
    chains,
    deadlines,
    low_budgets,
    shared_caches,
)


def lint(context: LintContext) -> list[Diagnostic]:
    """The warnings of all checks."""
    return [finding for check in CHECKS for finding in check(context)]

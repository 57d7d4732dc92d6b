"""Patterns that a caller's text can make search for ever."""

from collections.abc import Iterator

from ..config.codes import Code
from ..config.diagnostic import Diagnostic
from ..stages.classify import Classify
from .ambiguity import is_exponential
from .context import LintContext, warning


def slow_patterns(context: LintContext) -> Iterator[Diagnostic]:
    """Named patterns of classify stages. Those of CEL's `matches` cannot be slow: its engine does not go back."""
    for linked in context.of(Classify):
        for name, source in linked.spec.patterns.items():
            if is_exponential(source):
                message = f"pattern `{name}` can take exponentially long: it can read one text in very many ways"
                help_ = "inside what repeats, let each character be read in one way: `(a+)+` is `a+`"
                yield warning(linked, ("patterns", name), Code.SLOW_PATTERN, message, help_)

"""Fallback chains that do not hold what they promise, and time that does not suffice for them."""

from collections.abc import Iterator

from ..config.codes import Code
from ..config.diagnostic import Diagnostic
from ..link import Linked
from ..registry.index import Model
from ..spec import seconds
from ..stages.fallback import Fallback
from ..stages.score import Score, candidates
from .context import LintContext, warning

CAPABILITIES = ("tools", "vision", "json_schema")
"""What a request may need so that a model without it cannot answer."""
_ENOUGH = 0.9
"""A window may be a tenth smaller without a word: providers count tokens differently by as much."""

_LOST = "take it out of this chain, or put a model there that can; `sidecar models` shows what each can"


def chains(context: LintContext) -> Iterator[Diagnostic]:
    """Chains that lose capabilities or context on the way, or stay with the provider that fails."""
    registry = context.scope.registry
    for linked in context.of(Fallback):
        for start, names in linked.spec.chains.items():
            first, models = registry.find(start), [registry.find(name) for name in names]
            if first is None:
                continue
            for place, model in enumerate(models):
                if model is not None and model.provider in context.scope.providers:
                    yield from _losses(linked, ("chains", start, place), first, model)
            providers = {first.provider, *(model.provider for model in models if model is not None)}
            if models and len(providers) == 1:
                message = (
                    f"the whole chain of `{start}` is served by provider `{first.provider}`: its outage is the end"
                )
                help_ = "add a model of another provider"
                yield warning(linked, ("chains", start), Code.SAME_PROVIDER, message, help_)


def _losses(linked: Linked[Fallback], path: tuple[str | int, ...], first: Model, model: Model) -> Iterator[Diagnostic]:
    lost = [name for name in CAPABILITIES if name in first.capabilities - model.capabilities]
    if lost:
        message = f"`{model.id}` lacks {', '.join(lost)}, which `{first.id}` has: it cannot stand in for such requests"
        yield warning(linked, path, Code.LOST_CAPABILITY, message, _LOST)
    if model.context < first.context * _ENOUGH:
        message = (
            f"`{model.id}` has a context of {model.context:,} tokens, `{first.id}` of {first.context:,}: "
            "it cannot stand in for long requests"
        )
        yield warning(linked, path, Code.SMALLER_CONTEXT, message, "put a model with as large a window there")


def deadlines(context: LintContext) -> Iterator[Diagnostic]:
    """Models of a chain that are never asked when those before them hang: `timeouts.total` is over by then."""
    for linked in context.of(Fallback):
        spec = linked.spec
        longest = max([len(chain) for chain in spec.chains.values()], default=0)
        behind = max(longest, min(spec.alternatives, _most_candidates(context) - 1))
        tries = 1 + (spec.retries if spec.failures.first_token_timeout == "retry" else 0)
        total = seconds(spec.timeouts.total)
        waits = [("first_token", spec.timeouts.first_token)]
        if spec.timeouts.answer is not None:
            waits.append(("answer", spec.timeouts.answer))
        for field, text in waits:
            wait = seconds(text) * tries
            asked = next((n for n in range(1, behind + 1) if n * wait >= total), behind + 1)
            if asked > behind:
                continue
            each = text if tries == 1 else f"{tries} x {text}"
            message = (
                f"{behind + 1} models are to be tried, each for up to {each} (`{field}`), in {spec.timeouts.total} "
                f"(`total`): when {asked} {'hangs' if asked == 1 else 'hang'}, no other is asked"
            )
            help_ = f"make `{field}` shorter, `total` longer, or the chain shorter"
            shown = field if linked.document is not None and linked.document.node(("timeouts", field)) else "total"
            yield warning(linked, ("timeouts", shown), Code.SLOW_CHAIN, message, help_)


def _most_candidates(context: LintContext) -> int:
    """How many models a call can have to choose from."""
    tiers = [tier for linked in context.of(Score) for tier in (*linked.spec.tiers.values(), linked.spec.default)]
    return max([len(candidates(tier, context.scope.registry)) for tier in tiers], default=1)

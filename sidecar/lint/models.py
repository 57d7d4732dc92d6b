"""Models that are named and cannot be used as one would think, and tiers that cannot serve what others could."""

from collections.abc import Iterator
from typing import Any

from ..config.codes import Code
from ..config.diagnostic import Diagnostic
from ..link import Linked
from ..registry.index import gone
from ..stages.fallback import Fallback
from ..stages.score import Score, candidates
from .chains import CAPABILITIES
from .context import LintContext, warning

_Named = tuple[Linked[Any], tuple[str | int, ...], str]


def named_models(context: LintContext) -> Iterator[Diagnostic]:
    """Models named one by one that are retired, or have no price."""
    registry = context.scope.registry
    unpriced: set[str] = set()
    for linked, path, name in _named(context):
        model = registry.find(name)
        if model is None or model.provider not in context.scope.providers:
            continue  # what cannot be asked anyway is told of elsewhere
        if gone(model, registry.day):
            if path[0] == "models":
                continue  # `status: retired` is how one takes a model out of use
            since = "" if model.retires is None else f" since {model.retires}"
            message = f"`{model.id}` is retired{since}: its provider no longer serves it"
            yield warning(linked, path, Code.RETIRED_MODEL, message, "`sidecar models` lists its successors")
        elif model.price is None and model.id not in unpriced:
            unpriced.add(model.id)
            message = f"`{model.id}` has no price: what it costs is not known, and it ranks as the dearest"
            help_ = "give it a `price` under `models` in gateway.yaml; `{input: 0, output: 0}` if it costs nothing"
            yield warning(linked, path, Code.UNPRICED_MODEL, message, help_)


def _named(context: LintContext) -> Iterator[_Named]:
    """Every place where a policy names a model; the one where a price would be written comes first."""
    gateway = context.gateway
    yield from ((gateway, ("models", name), name) for name in gateway.spec.models)
    yield from ((gateway, ("aliases", alias), name) for alias, name in gateway.spec.aliases.items())
    for score in context.of(Score):
        for tier, spec in score.spec.tiers.items():
            yield from ((score, ("tiers", tier, "models", place), name) for place, name in enumerate(spec.models))
        yield from ((score, ("default", "models", place), name) for place, name in enumerate(score.spec.default.models))
    for fallback in context.of(Fallback):
        for start, chain in fallback.spec.chains.items():
            yield fallback, ("chains", start), start
            yield from ((fallback, ("chains", start, place), name) for place, name in enumerate(chain))


def tiers_without_a_way_out(context: LintContext) -> Iterator[Diagnostic]:
    """Tiers none of whose candidates can do what models of the default can, with nothing to stand in."""
    registry = context.scope.registry
    for linked in context.of(Score):
        if "none" in linked.spec.on:
            continue
        able = {name for model in candidates(linked.spec.default, registry) for name in model.capabilities}
        for name, tier in linked.spec.tiers.items():
            chosen = candidates(tier, registry)
            can = {capability for model in chosen for capability in model.capabilities}
            lost = [capability for capability in CAPABILITIES if capability in able - can]
            if chosen and lost and tier.otherwise is None:
                message = f"no candidate of tier `{name}` has {' or '.join(lost)}: requests that need it are refused"
                help_ = "write `otherwise: default`: then the models of the default may serve them"
                yield warning(linked, ("tiers", name), Code.NO_DEFAULT, message, help_)

"""`kind: score`: which model serves, by weighted cost, quality and speed over the candidates of the tier.

A model the caller names is pinned: it is checked, not scored.
"""

from fnmatch import fnmatchcase
from typing import Annotated, ClassVar, Literal

from msgspec import Meta, Struct

from ..call import Call
from ..chat import Problem as Refusal
from ..config.codes import Code
from ..features import Features, needs
from ..registry.index import Model, Registry
from ..spec import Count, Name, Percent, Spec
from ..stores.base import Principal
from .base import NEXT, REFUSE, Problem, Run, Scope, StageSpec, among, unknown_model
from .ranking import Ranking, Weights, output_share

KEEP = 6
"""Candidates kept for the fallback chain."""

BALANCED = "balanced"
STRATEGIES = {
    "cost": Weights(100, 0, 0),
    "quality": Weights(0, 100, 0),
    "speed": Weights(0, 0, 100),
}
_OUTPUT_GUESS = 256


class WeightSpec(Spec, frozen=True):
    """Only the proportions count; at least one weight must be above zero."""

    cost: Percent = 40
    quality: Percent = 35
    speed: Percent = 25


class TierSpec(Spec, frozen=True):
    """The candidates of one tier: names or globs, narrowed by quality."""

    models: Annotated[tuple[Annotated[str, Meta(max_length=128)], ...], Meta(description="Names or globs.")] = ("*",)
    exclude: Annotated[
        tuple[Annotated[str, Meta(max_length=128)], ...], Meta(description="Names or globs of models left out.")
    ] = ()
    min_quality: Percent | None = None
    max_quality: Percent | None = None
    strategy: Name | None = None
    otherwise: Annotated[
        Literal["default"] | None,
        Meta(description="`default`: when no model of this tier can serve, those of the default may."),
    ] = None
    output_tokens: Annotated[Count, Meta(description="Expected output when the caller sets no limit.")] = _OUTPUT_GUESS


class Score(StageSpec, frozen=True, tag="score"):
    """`strategy` and `weights` hold for all tiers unless a tier or the caller says otherwise."""

    strategy: Name = BALANCED
    weights: WeightSpec = WeightSpec()
    strategies: Annotated[dict[Name, WeightSpec], Meta(description="Strategies of your own, by name.")] = {}
    tiers: dict[Name, TierSpec] = {}
    default: Annotated[TierSpec, Meta(description="Candidates of tiers that are not listed.")] = TierSpec()

    kind: ClassVar[str] = "score"
    outcomes: ClassVar = {"chosen": NEXT, "pinned": NEXT, "none": REFUSE}
    gives: ClassVar = {"chosen": "model", "pinned": "model"}
    needs: ClassVar = ("caller",)

    @property
    def known_strategies(self) -> frozenset[str]:
        """Every strategy that this stage, or a caller, may name."""
        return frozenset({BALANCED, *STRATEGIES, *self.strategies})

    def problems(self, scope: Scope) -> list[Problem]:
        """Names that do not exist, tiers without a candidate, weights that are all zero."""
        known = self.known_strategies
        found: list[Problem] = []
        named: list[tuple[tuple[str, ...], str | None]] = [(("strategy",), self.strategy)]
        named += [(("tiers", n, "strategy"), t.strategy) for n, t in self.tiers.items()]
        named.append((("default", "strategy"), self.default.strategy))
        for path, name in named:
            if name is not None and name not in known:
                help_ = among(name, known, "strategies")
                found.append(Problem(path, Code.UNKNOWN_STRATEGY, f"`{name}` is not a strategy", help_))
        weighted: list[tuple[tuple[str, ...], WeightSpec]] = [(("weights",), self.weights)]
        weighted += [(("strategies", n), w) for n, w in self.strategies.items()]
        for path, weights in weighted:
            if not weights.cost + weights.quality + weights.speed:
                help_ = "give one of `cost`, `quality` and `speed` a weight"
                found.append(Problem(path, Code.BAD_VALUE, "all weights are zero", help_))
        for name, tier in self.tiers.items():
            if scope.tiers and name not in scope.tiers:
                help_ = among(name, scope.tiers, "tiers")
                found.append(Problem(("tiers", name), Code.UNKNOWN_TIER, f"`{name}` is not a tier", help_))
            found += _tier_problems(("tiers", name), tier, scope.registry)
        return found + _tier_problems(("default",), self.default, scope.registry)

    def build(self, scope: Scope) -> Run:
        """A ranking for each tier and the weights of each strategy."""
        w = self.weights
        weights = {BALANCED: Weights(w.cost, w.quality, w.speed), **STRATEGIES}
        weights |= {n: Weights(s.cost, s.quality, s.speed) for n, s in self.strategies.items()}
        tables = {name: _table(tier, self, scope.registry) for name, tier in self.tiers.items()}
        return _Chooser(self, weights, tables, _table(self.default, self, scope.registry), scope).run


class _Table(Struct, frozen=True):
    ranking: Ranking
    strategy: str
    output_tokens: int
    spills: bool


class _Chooser:
    __slots__ = ("_default", "_insists", "_node", "_providers", "_registry", "_tables", "_weights")

    def __init__(
        self, spec: Score, weights: dict[str, Weights], tables: dict[str, _Table], default: _Table, scope: Scope
    ) -> None:
        self._node = spec.node
        # Without another way to go, a model that rests after failures is asked rather than nobody.
        self._insists = "none" not in spec.on
        self._weights = weights
        self._tables = tables
        self._default = default
        self._registry = scope.registry
        self._providers = scope.providers

    def run(self, call: Call) -> str:
        base, _, asked = call.model.partition(":")
        if base != "auto":
            return self._pin(call)
        table = self._tables.get(call.tier, self._default)
        strategy = asked or call.features.strategy or table.strategy
        weights = self._weights.get(strategy)
        if weights is None:
            return _refuse(call, _unknown_strategy(strategy, self._weights, "model" if asked else None))
        if call.principal is not None and call.principal.strategies and strategy not in call.principal.strategies:
            chosen = bool(asked or call.features.strategy)
            own = None if chosen else next((s for s in call.principal.strategies if s in self._weights), None)
            if own is None:
                return _refuse(call, _strategy_not_allowed(strategy, call.principal, "model" if asked else None))
            strategy, weights = own, self._weights[own]
        call.strategy = strategy
        features = call.features
        share = output_share(features.tokens, features.max_tokens or table.output_tokens)
        ranked = table.ranking.order(weights, share, call.state.health)
        resting = _pick(call, ranked)
        spilled = not call.chain and table.spills
        if spilled:
            known = {model for model, _ in call.dropped}
            others = self._default.ranking.order(weights, share, call.state.health)
            resting += _pick(call, [m for m in others if m.id not in known])
        if not call.chain and self._insists:
            call.chain = resting
        if call.details is not None:
            rows = table.ranking.explain(weights, share, call.state.health)
            if spilled:
                rows += self._default.ranking.explain(weights, share, call.state.health)
            unique = list({row.model: row for row in reversed(rows)}.values())[::-1]
            call.note(self._node, {"strategy": strategy, "weights": weights, "candidates": unique})
        if call.chain:
            return "chosen"
        return _refuse(call, _nothing_left(call))

    def _pin(self, call: Call) -> str:
        model = self._registry.find(call.model)
        if model is None:
            message = f"The model `{call.model[:128]}` does not exist here; GET /v1/models lists those that do."
            return _refuse(call, Refusal(404, "invalid_request_error", message, "model_not_found", "model"))
        if model.provider not in self._providers:
            message = f"No provider `{model.provider}` is configured here, which `{model.id}` needs."
            return _refuse(call, Refusal(404, "invalid_request_error", message, "model_not_found", "model"))
        if call.principal is not None and call.principal.models and model.id not in call.principal.models:
            return _refuse(call, _not_allowed(model.id))
        down = call.state.health.down
        reason = down.get(model.provider) or down.get(model.id)
        if call.state.closed:
            reason = reason or call.state.no_key(model.provider, call.features.tenant)
        call.chain = [model]
        if reason is not None:
            # Its chain may still answer; the fallback stage decides.
            call.dropped.append((model.id, reason))
        return "pinned"


def _pick(call: Call, ranked: list[Model]) -> list[Model]:
    """Fill the chain with the first KEEP candidates that can serve; why others before them cannot is kept.

    Returns those that only rest after failures: the last resort when nobody else is left.
    """
    features, state, down = call.features, call.state, call.state.health.down
    closed = state.closed
    wanted, size = needs(features), features.tokens + (features.max_tokens or _OUTPUT_GUESS)
    allowed = call.principal.models if call.principal is not None else frozenset()
    resting = []
    for model in ranked:
        reason = (
            (down.get(model.provider) if down else None)
            or (state.no_key(model.provider, features.tenant) if closed else None)
            or (f"context: needs {size}, has {model.context}" if size > model.context else None)
            or (f"lacks {', '.join(sorted(wanted - model.capabilities))}" if not wanted <= model.capabilities else None)
            or (_output_reason(features, model) if features.max_tokens > model.max_output else None)
            or ("not allowed for this key" if allowed and model.id not in allowed else None)
        )
        if reason is None and down and (reason := down.get(model.id)) is not None:
            resting.append(model)
        if reason is not None:
            call.dropped.append((model.id, reason))
            continue
        call.chain.append(model)
        if len(call.chain) == KEEP:
            break
    return resting[:KEEP]


def _output_reason(features: Features, model: Model) -> str:
    return f"output: asked for {features.max_tokens}, gives {model.max_output}"


def _refuse(call: Call, refusal: Refusal) -> str:
    call.refusal = refusal
    return "none"


def _not_allowed(model: str) -> Refusal:
    return Refusal(403, "permission_error", f"This key may not use the model `{model}`.", "model_not_allowed", "model")


def _strategy_not_allowed(name: str, caller: Principal, param: str | None) -> Refusal:
    message = f"This key may not use the strategy `{name}`, only: {', '.join(caller.strategies)}."
    return Refusal(403, "permission_error", message, "strategy_not_allowed", param)


def _unknown_strategy(name: str, known: dict[str, Weights], param: str | None) -> Refusal:
    message = f"`{name[:64]}` is not a strategy; strategies are: {', '.join(sorted(known))}."
    return Refusal(400, "invalid_request_error", message, "unknown_strategy", param)


def _nothing_left(call: Call) -> Refusal:
    """The caller's own doing is a 400, the gateway's state a 503; either way the reasons are told."""
    reasons = [reason for _, reason in call.dropped]
    shown = "; ".join(f"{model}: {reason}" for model, reason in call.dropped[:5])
    more = f" and {len(call.dropped) - 5} more" if len(call.dropped) > 5 else ""
    message = f"No candidate of tier `{call.tier}` can serve this request ({shown or 'the tier has none'}{more})."
    if reasons and all(r.startswith("context:") for r in reasons):
        return Refusal(400, "invalid_request_error", message, "context_length_exceeded", "messages")
    if reasons and all(r.startswith(("context:", "lacks ", "output:")) for r in reasons):
        return Refusal(400, "invalid_request_error", message, "unsupported_by_candidates")
    if reasons and all(r == "not allowed for this key" for r in reasons):
        return Refusal(403, "permission_error", message, "model_not_allowed", "model")
    return Refusal(503, "api_error", message, "no_candidate", retry_after=5.0)


def candidates(tier: TierSpec, registry: Registry) -> tuple[Model, ...]:
    """The models a tier may be served by."""
    low = -1.0 if tier.min_quality is None else tier.min_quality
    high = 101.0 if tier.max_quality is None else tier.max_quality
    return tuple(
        m
        for m in registry.routable
        if low <= (m.quality or 0) <= high
        and any(_is_named(m, name, registry) for name in tier.models)
        and not any(_is_named(m, name, registry) for name in tier.exclude)
    )


def _is_glob(name: str) -> bool:
    return any(mark in name for mark in "*?[")


def _is_named(model: Model, name: str, registry: Registry) -> bool:
    """Whether a name of a model, or a glob over names with or without the provider, means this one."""
    if _is_glob(name):
        return fnmatchcase(model.id, name) or fnmatchcase(f"{model.provider}/{model.id}", name)
    found = registry.find(name)
    return found is not None and found.id == model.id


def _table(tier: TierSpec, spec: Score, registry: Registry) -> _Table:
    ranking = Ranking(candidates(tier, registry))
    return _Table(ranking, tier.strategy or spec.strategy, tier.output_tokens, tier.otherwise is not None)


def _tier_problems(path: tuple[str, ...], tier: TierSpec, registry: Registry) -> list[Problem]:
    found = []
    for field, names in (("models", tier.models), ("exclude", tier.exclude)):
        for index, name in enumerate(names):
            if not _is_glob(name) and registry.find(name) is None:
                found.append(unknown_model((*path, field, index), name, registry))
            elif name != "*" and not any(_is_named(m, name, registry) for m in registry):
                message = f"`{name}` matches no model"
                found.append(Problem((*path, field, index), Code.NO_CANDIDATES, message, _GLOB_HELP, warning=True))
    if tier.min_quality is not None and tier.max_quality is not None and tier.min_quality > tier.max_quality:
        message = "`min_quality` is above `max_quality`: no model is between them"
        found.append(Problem((*path, "min_quality"), Code.BAD_VALUE, message))
    if not found and tier.otherwise is None and registry.routable and not candidates(tier, registry):
        message = "no model of an enabled provider is a candidate here"
        help_ = "`sidecar models` lists them with their quality"
        found.append(Problem((*path, "models"), Code.NO_CANDIDATES, message, help_, warning=True))
    return found


_GLOB_HELP = "globs are over `model` and `provider/model`; `sidecar models` lists them"

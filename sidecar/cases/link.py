"""Names in cases, looked up in the policy they are about: a misspelt tier is an error, not a failing case."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, time
from math import ceil
from typing import Any

from msgspec import Struct, structs

from ..chat import Problem as Said
from ..config.codes import Code
from ..engine.trial import World, known_callers
from ..graph import Graph
from ..identity.jwt import Fault, claim
from ..policy import Policy
from ..registry.price import nano
from ..stages.authenticate import JWT, Authenticate
from ..stages.base import Problem, among, unknown_model
from ..stages.budget import Budget
from ..stages.classify import Classify
from ..stages.fallback import Failures
from ..stages.rate_limit import RateLimit
from ..stages.score import Score
from ..stores.base import Principal
from . import spec

NONE = "none"
"""What cases write where nothing is to be: no tier, no rule, no model."""
Path = tuple[str | int, ...]


class Names(Struct, frozen=True):
    """Everything in a policy that a case may name."""

    graph: Graph
    tiers: tuple[str, ...]
    rules: tuple[str, ...]
    strategies: tuple[str, ...]
    issuers: Mapping[str, JWT]
    callers: Mapping[str, Principal]
    counted: frozenset[tuple[str, str]]


def names_of(policy: Policy, graph: Graph) -> Names:
    """What the documents of a policy know."""
    classifiers = [stage for stage in graph.stages if isinstance(stage, Classify)]
    return Names(
        graph=graph,
        tiers=tuple(dict.fromkeys(tier for stage in classifiers for tier in stage.tiers)),
        rules=tuple(rule.name for stage in classifiers for rule in stage.rules),
        strategies=tuple(sorted({s for x in graph.stages if isinstance(x, Score) for s in x.known_strategies})),
        issuers={jwt.name: jwt for stage in graph.stages if isinstance(stage, Authenticate) for jwt in stage.jwt},
        callers=known_callers(policy.specs),
        counted=frozenset(
            (limit.per, what)
            for stage in graph.stages
            if isinstance(stage, RateLimit)
            for limit in stage.limits
            for what, rate in limit.rates
            if rate is not None
        ),
    )


def problems(case: spec.Case, names: Names) -> Iterator[Problem]:
    """Names that stand for nothing in this policy."""
    yield from _caller_problems(("caller",), case.caller, names)
    if case.world.cached_for is not None:
        yield from _caller_problems(("world", "cached_for"), case.world.cached_for, names)
    yield from _world_problems(case.world, names)
    yield from _expect_problems(case.expect, names)
    yield from _stage_problems(case.expect, names)


def world(case: spec.Case, names: Names) -> World:
    """The world of a case whose names were found in order."""
    said, graph = case.world, names.graph
    now = said.time or datetime.combine(graph.registry.day, time(12), UTC)
    made = World(
        caller=_principal(case.caller, names),
        credential=case.caller.credential or "",
        ip=case.caller.ip,
        down={_identity(name, graph): why for name, why in said.down.items()},
        speeds={_identity(name, graph): speed for name, speed in said.speed.items()},
        used={(per, what): amount for per, amounts in said.used.items() for what, amount in amounts.items()},
        spent={name: nano(amount) for name, amount in said.spent.items()},
        now=now.timestamp(),
    )
    if said.cached_for is not None:
        other = _principal(said.cached_for, names)
        asked_before = structs.replace(made.before(), caller=other, credential="", ip=said.cached_for.ip)
        return structs.replace(made, answered=asked_before)
    return structs.replace(made, answered=made.before()) if said.cache == "hit" else made


def retry_after(said: Said) -> int | None:
    """Seconds as the header has them."""
    return None if said.retry_after is None else ceil(said.retry_after)


def _identity(name: str, graph: Graph) -> str:
    model = None if name in graph.gateway.providers else graph.registry.find(name)
    return name if model is None else model.id


def _principal(said: spec.Caller, names: Names) -> Principal | str | None:
    if said.credential is not None and said.credential.count(".") == 2 and names.issuers:
        return str(Fault.MALFORMED)  # what looks like a token is judged as one
    if said.anonymous or said.credential is not None:
        return None
    if said.issuer is not None:
        issuer = names.issuers[said.issuer]
        claims = {**({"iss": issuer.issuer} if issuer.issuer else {}), **said.claims}
        unsaid = any(claim(claims, path) is None for path in issuer.required)
        return (None if unsaid else issuer.principal(claims)) or str(Fault.CLAIMS)
    holder = next(iter(names.callers.values()), None) if said.key is None else names.callers.get(said.key)
    models = None if said.models is None else frozenset(said.models)
    fields = {"tenant": said.tenant, "labels": said.labels, "claims": said.claims or None, "models": models}
    written: dict[str, Any] = {name: value for name, value in fields.items() if value is not None}
    if holder is None and said.key is None and not written:
        return None
    return structs.replace(holder or Principal(said.key or "app", "default"), **written)


def _caller_problems(path: Path, said: spec.Caller, names: Names) -> Iterator[Problem]:
    alone = said.tenant is None and said.labels is None and said.models is None and not said.claims
    if said.key is not None and said.key not in names.callers and alone:
        help_ = (
            among(said.key, names.callers, "keys") if names.callers else "it has none; with a `tenant` it is made up"
        )
        yield Problem((*path, "key"), Code.UNKNOWN_KEY, f"the policy has no key `{said.key}`", help_)
    if said.issuer is not None and said.issuer not in names.issuers:
        help_ = among(said.issuer, names.issuers, "issuers") if names.issuers else "it has none under `jwt`"
        yield Problem((*path, "issuer"), Code.UNKNOWN_KEY, f"the policy has no issuer `{said.issuer}`", help_)
    for index, name in enumerate(said.models or ()):
        yield from _no_model((*path, "models", index), name, names)


def _world_problems(said: spec.World, names: Names) -> Iterator[Problem]:
    providers, registry = names.graph.gateway.providers, names.graph.registry
    for name in said.down:
        if name not in providers and registry.find(name) is None:
            close = registry.suggest(name)
            help_ = f"did you mean `{close}`?" if close else among(name, providers, "providers")
            message = f"`{name}` is neither a provider nor a model"
            yield Problem(("world", "down", name), Code.UNKNOWN_PROVIDER, message, help_)
    for name in said.speed:
        yield from _no_model(("world", "speed", name), name, names)
    for per, amounts in said.used.items():
        for what in amounts:
            if (per, what) not in names.counted:
                message = f"the policy has no limit on {what} per {per}"
                yield Problem(("world", "used", per, what), Code.BAD_VALUE, message, "`kind: rate_limit` has them")
    budgets = [budget.name for stage in names.graph.stages if isinstance(stage, Budget) for budget in stage.budgets]
    for name in said.spent:
        if name not in budgets:
            help_ = among(name, budgets, "budgets") if budgets else "it has no `kind: budget`"
            yield Problem(("world", "spent", name), Code.BAD_VALUE, f"the policy has no budget `{name}`", help_)


def _expect_problems(said: spec.Expect, names: Names) -> Iterator[Problem]:
    listed: tuple[tuple[str, str | None, tuple[str, ...], str, Code], ...] = (
        ("tier", said.tier, names.tiers, "tiers", Code.UNKNOWN_TIER),
        ("rule", said.rule, names.rules, "rules", Code.UNKNOWN_RULE),
        ("strategy", said.strategy, names.strategies, "strategies", Code.UNKNOWN_STRATEGY),
    )
    for field, name, known, several, code in listed:
        if name is not None and name != NONE and name not in known:
            help_ = among(name, known, several) if known else None
            yield Problem(("expect", field), code, f"`{name}` is not a {field} of this policy", help_)
    if isinstance(said.model, str):
        yield from _no_model(("expect", "model"), said.model, names)
    for field, models in (("model", said.model), ("chain", said.chain)):
        for index, name in enumerate(models if isinstance(models, tuple) else ()):
            yield from _no_model(("expect", field, index), name, names)
    for name in said.dropped:
        yield from _no_model(("expect", "dropped", name), name, names)


def _stage_problems(said: spec.Expect, names: Names) -> Iterator[Problem]:
    nodes = names.graph.nodes
    for node, outcome in said.edges.items():
        if node not in nodes:
            yield Problem(
                ("expect", "edges", node), Code.UNKNOWN_NODE, f"`{node}` is not a stage", among(node, nodes, "stages")
            )
        elif outcome not in nodes[node].edges:
            help_ = among(outcome, nodes[node].edges, "its outcomes")
            message = f"stage `{node}` has no outcome `{outcome}`"
            yield Problem(("expect", "edges", node), Code.UNKNOWN_OUTCOME, message, help_)
    for name in said.plan.failures if said.plan is not None else ():
        if name not in Failures.__struct_fields__:
            help_ = among(name, Failures.__struct_fields__, "failures")
            yield Problem(("expect", "plan", "failures", name), Code.BAD_VALUE, f"`{name}` is not a failure", help_)


def _no_model(path: Path, name: str, names: Names) -> Iterator[Problem]:
    if name != NONE and names.graph.registry.find(name) is None:
        yield unknown_model(path, name, names.graph.registry)

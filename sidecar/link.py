"""Linking: the names in all documents exist. What the graph they make looks like is judged in `shape`."""

from collections.abc import Iterator, Sequence
from typing import Any, Generic, TypeVar

from msgspec import Struct

from .conditions import Condition, ConditionError
from .config.codes import Code
from .config.diagnostic import Diagnostic, Place, Severity
from .config.document import DataPath, Document
from .features import FEATURES
from .gateway import Gateway, Provider
from .spec import Spec
from .stages import STAGES
from .stages.authenticate import Authenticate
from .stages.base import NEXT, TERMINALS, Problem, Scope, StageSpec, among
from .stages.keys import Key, Keys
from .stages.score import Score

S = TypeVar("S", bound=Spec)


class Linked(Struct, Generic[S], frozen=True):
    """A spec and the document it was written in; None when it is a default that nobody wrote."""

    spec: S
    document: Document | None
    entry: str

    def place(self, path: DataPath, key: bool = False) -> Place:
        """Where a path of the spec stands; what spans lines, or is not there, is shown by the key it stands under."""
        if self.document is None:
            return Place(self.entry)
        node = self.document.node(path)
        return self.document.place(path, key or node is None or node.children is not None)

    def finding(self, path: DataPath, code: Code, message: str, help: str | None = None) -> Diagnostic:
        """An error at a path."""
        return Diagnostic(code, Severity.ERROR, message, self.place(path), help)

    def from_problem(self, problem: Problem) -> Diagnostic:
        """A stage's problem with its place."""
        severity = Severity.WARNING if problem.warning else Severity.ERROR
        return Diagnostic(problem.code, severity, problem.message, self.place(problem.path), problem.help)


class Absent(Struct, frozen=True):
    """Stages that were written and are not among the linked ones, by the names of their nodes.

    `unread` says that some file could not be read at all: any name may be in it. `models` says that the gateway's own
    models are not known. What hangs on those is not judged: one fault is not shown as two.
    """

    off: frozenset[str] = frozenset()
    broken: frozenset[str] = frozenset()
    unread: bool = False
    models: bool = False


def pipeline(gateway: Gateway, stages: Sequence[StageSpec]) -> tuple[str, ...]:
    """The main line: as written, else the first stage of each kind in the default order."""
    if gateway.pipeline:
        names = {stage.node for stage in stages}
        return tuple(dict.fromkeys(name for name in gateway.pipeline if name in names))
    first: dict[str, str] = {}
    for stage in stages:
        first.setdefault(stage.kind, stage.node)
    rank = {kind: place for place, kind in enumerate(stage.kind for stage in STAGES)}
    return tuple(first[kind] for kind in sorted(first, key=lambda k: rank[k]))


def link_problems(
    gateway: Linked[Gateway], stages: Sequence[Linked[StageSpec]], scope: Scope, absent: Absent
) -> list[Diagnostic]:
    """Every name that stands for nothing, or for two things."""
    return [
        *_provider_problems(gateway, scope),
        *_admin_problems(gateway),
        *([] if absent.models else _alias_problems(gateway, stages, scope)),
        *_rollout_problems(gateway),
        *_pipeline_problems(gateway, stages, absent),
        *_duplicate_nodes(stages),
        *_edge_problems(stages, scope, absent),
    ]


def declared_keys(parts: Sequence[Linked[Any]]) -> Iterator[tuple[Linked[Any], int, Key]]:
    """Every gateway key of the documents, with its document and its place under `keys`."""
    for linked in parts:
        if isinstance(linked.spec, (Authenticate, Keys)):
            yield from ((linked, index, key) for index, key in enumerate(linked.spec.keys))


def key_problems(parts: Sequence[Linked[Any]]) -> list[Diagnostic]:
    """Keys with one name or one hash, in whichever documents they stand, and strategies that no stage has."""
    found: list[Diagnostic] = []
    strategies = {name for p in parts if isinstance(p.spec, Score) for name in p.spec.known_strategies}
    names: dict[str, Place] = {}
    origins: dict[str, tuple[str, Place]] = {}
    for linked, index, key in declared_keys(parts):
        name = linked.place(("keys", index, "name"))
        field, origin = ("secret", key.secret) if key.hash is None else ("hash", key.hash)
        place = linked.place(("keys", index, field))
        if key.name in names:
            message, also = f"there are two keys called `{key.name}`", (names[key.name], "the first one is here")
            help_ = "give each its own name"
            found.append(Diagnostic(Code.DUPLICATE_NAME, Severity.ERROR, message, name, help_, also))
        elif origin in origins:
            other, first = origins[origin]
            message = f"key `{key.name}` has the {field} of key `{other}`: they are one key"
            also = (first, "the first one is here")
            found.append(Diagnostic(Code.DUPLICATE_NAME, Severity.ERROR, message, place, "keep one of them", also))
        names.setdefault(key.name, name)
        if origin is not None:
            origins.setdefault(origin, (key.name, place))
        for place_, strategy in enumerate(key.strategies):
            if strategies and strategy not in strategies:
                path = ("keys", index, "strategies", place_)
                help_ = among(strategy, strategies, "strategies")
                found.append(linked.finding(path, Code.UNKNOWN_STRATEGY, f"`{strategy}` is not a strategy", help_))
    return found


def _provider_problems(gateway: Linked[Gateway], scope: Scope) -> list[Diagnostic]:
    found: list[Diagnostic] = []
    spec = gateway.spec
    for name, provider in spec.providers.items():
        found += _key_problems(gateway, name, provider)
    for name, model in spec.models.items():
        if model.provider is not None and model.provider not in spec.providers:
            message = f"`{model.provider}` is not a provider"
            help_ = among(model.provider, spec.providers, "providers") if spec.providers else _NO_PROVIDER
            found.append(gateway.finding(("models", name, "provider"), Code.UNKNOWN_PROVIDER, message, help_))
    if gateway.document is not None and not scope.providers:
        message = "no provider is enabled: every request will be refused"
        help_ = "set `enabled: true` at one of them" if spec.providers else _NO_PROVIDER
        problem = Problem(("providers",), Code.NO_CANDIDATES, message, help_, warning=True)
        found.append(gateway.from_problem(problem))
    return found


def _key_problems(gateway: Linked[Gateway], name: str, provider: Provider) -> list[Diagnostic]:
    """A provider's keys stand in one place, each of them once."""
    found: list[Diagnostic] = []
    path = ("providers", name, "keys")
    if provider.api_key is not None and provider.keys:
        message = f"provider `{name}` has both `api_key` and `keys`"
        help_ = "move the one of `api_key` to `keys`: `- secret: ...`"
        found.append(Diagnostic(Code.KEY_ORIGIN, Severity.ERROR, message, gateway.place(path, key=True), help_))
    written: set[tuple[str, str | None]] = set()
    for index, key in enumerate(provider.keys):
        if (key.secret, key.tenant) in written:
            whose = f" for tenant `{key.tenant}`" if key.tenant is not None else ""
            message = f"this key of provider `{name}` is listed twice{whose}"
            help_ = "keep one; `weight` says how large its share is"
            found.append(gateway.finding((*path, index, "secret"), Code.DUPLICATE_NAME, message, help_))
        written.add((key.secret, key.tenant))
    return found


def _admin_problems(gateway: Linked[Gateway]) -> list[Diagnostic]:
    found: list[Diagnostic] = []
    keys = gateway.spec.admin.keys
    for index, key in enumerate(keys):
        path = ("admin", "keys", index)
        if (key.hash is None) == (key.secret is None):
            message = f"admin key `{key.name}` needs exactly one of `hash` and `secret`"
            help_ = "`sidecar keys hash` prints the hash of a key that it reads from standard input"
            found.append(gateway.finding(path, Code.KEY_ORIGIN, message, help_))
        for field, what in (("name", "called"), ("hash", "with the hash")):
            value = getattr(key, field)
            if value is not None and value in [getattr(other, field) for other in keys[:index]]:
                message = f"there are two admin keys {what} `{value}`"
                found.append(gateway.finding((*path, field), Code.DUPLICATE_NAME, message, "keep one of them"))
    return found


def _alias_problems(gateway: Linked[Gateway], stages: Sequence[Linked[StageSpec]], scope: Scope) -> list[Diagnostic]:
    found: list[Diagnostic] = []
    strategies = {name for s in stages if isinstance(s.spec, Score) for name in s.spec.known_strategies}
    for alias, target in gateway.spec.aliases.items():
        path = ("aliases", alias)
        base, _, strategy = target.partition(":")
        if base == "auto" and strategy and strategies and strategy not in strategies:
            help_ = among(strategy, strategies, "strategies")
            found.append(gateway.finding(path, Code.UNKNOWN_STRATEGY, f"`{strategy}` is not a strategy", help_))
        if base == "auto":
            continue
        if target in gateway.spec.aliases:
            help_ = f"write what it stands for: `{gateway.spec.aliases[target]}`"
            found.append(gateway.finding(path, Code.UNKNOWN_MODEL, f"`{target}` is an alias itself", help_))
        elif scope.registry.find(target) is None:
            close = scope.registry.suggest(target)
            help_ = f"did you mean `{close}`?" if close else "an alias stands for a model, `auto` or `auto:<strategy>`"
            found.append(gateway.finding(path, Code.UNKNOWN_MODEL, f"`{target}` is not a model", help_))
    return found


def _rollout_problems(gateway: Linked[Gateway]) -> list[Diagnostic]:
    rollout = gateway.spec.rollout
    canary = None if rollout is None else rollout.canary
    if canary is None or canary.when is None:
        return []
    try:
        Condition(canary.when)
    except ConditionError as fault:
        help_ = among(fault.unknown, FEATURES, "features") if fault.unknown else fault.help
        message = f"condition of the canary: {fault}"
        return [gateway.finding(("rollout", "canary", "when"), Code.BAD_CONDITION, message, help_)]
    return []


def _pipeline_problems(
    gateway: Linked[Gateway], stages: Sequence[Linked[StageSpec]], absent: Absent
) -> list[Diagnostic]:
    found: list[Diagnostic] = []
    nodes = {s.spec.node for s in stages}
    for index, node in enumerate(gateway.spec.pipeline):
        path = ("pipeline", index)
        if node in gateway.spec.pipeline[:index]:
            message = f"`{node}` stands in the pipeline twice"
            help_ = "a stage runs once; a second one of its kind needs a `name` of its own"
            found.append(gateway.finding(path, Code.DUPLICATE_NAME, message, help_))
        elif node not in nodes:
            found += _no_node(gateway, path, (node, nodes, "stage"), absent)
    return found


def _duplicate_nodes(stages: Sequence[Linked[StageSpec]]) -> list[Diagnostic]:
    found = []
    first: dict[str, Linked[StageSpec]] = {}
    for linked in stages:
        name = linked.spec.node
        if name in first:
            also = (first[name].place(("name",) if first[name].spec.name else ("kind",)), "the first one is here")
            message = f"there are two stages called `{name}`"
            place = linked.place(("name",) if linked.spec.name else ("kind",))
            help_ = "give each a `name` of its own"
            found.append(Diagnostic(Code.DUPLICATE_NAME, Severity.ERROR, message, place, help_, also))
        if name in TERMINALS or name == NEXT:
            message = f"`{name}` cannot be the name of a stage: it is where an edge may lead"
            found.append(linked.finding(("name",), Code.DUPLICATE_NAME, message, "give it another name"))
        first.setdefault(name, linked)
    return found


def _edge_problems(stages: Sequence[Linked[StageSpec]], scope: Scope, absent: Absent) -> list[Diagnostic]:
    found = []
    nodes = {linked.spec.node for linked in stages} | TERMINALS
    for linked in stages:
        outcomes = linked.spec.edges(scope)
        for outcome, to in linked.spec.on.items():
            if outcome not in outcomes:
                message = f"stage `{linked.spec.node}` has no outcome `{outcome}`"
                place = linked.place(("on", outcome), key=True)
                help_ = among(outcome, outcomes, "its outcomes")
                found.append(Diagnostic(Code.UNKNOWN_OUTCOME, Severity.ERROR, message, place, help_))
            if to not in nodes:
                found += _no_node(linked, ("on", outcome), (to, nodes, "node"), absent)
    return found


def _no_node(linked: Linked[S], path: DataPath, wanted: tuple[str, set[str], str], absent: Absent) -> list[Diagnostic]:
    """The finding for a name that is none of the graph's nodes, if the stage is not merely hidden by its own faults."""
    name, nodes, what = wanted
    if name in absent.off:
        message = f"stage `{name}` is switched off"
        return [linked.finding(path, Code.UNKNOWN_NODE, message, "take it out here, or its `enabled: false`")]
    if absent.unread or name in absent.broken:
        return []
    return [linked.finding(path, Code.UNKNOWN_NODE, f"`{name}` is not a {what}", among(name, nodes, f"{what}s"))]


_NO_PROVIDER = "list one under `providers`, with its `protocol` and `api_key`"

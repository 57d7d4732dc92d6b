"""Linking: names across documents exist, the graph has no loop and no node that nothing leads to."""

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Generic, TypeVar

from msgspec import Struct

from .config.codes import Code
from .config.diagnostic import Diagnostic, Place, Severity
from .config.document import DataPath, Document
from .gateway import Gateway
from .graph import default_edge
from .spec import Spec
from .stages import STAGES
from .stages.base import TERMINALS, Problem, Scope, StageSpec

S = TypeVar("S", bound=Spec)


class Linked(Struct, Generic[S], frozen=True):
    """A spec and the document it was written in; None when it is a default that nobody wrote."""

    spec: S
    document: Document | None
    entry: str

    def place(self, path: DataPath, key: bool = False) -> Place:
        """Where a path of the spec stands."""
        return Place(self.entry) if self.document is None else self.document.place(path, key)

    def finding(self, path: DataPath, code: Code, message: str, help: str | None = None) -> Diagnostic:
        """An error at a path."""
        return Diagnostic(code, Severity.ERROR, message, self.place(path), help)

    def from_problem(self, problem: Problem) -> Diagnostic:
        """A stage's problem with its place."""
        severity = Severity.WARNING if problem.warning else Severity.ERROR
        return Diagnostic(problem.code, severity, problem.message, self.place(problem.path), problem.help)


def pipeline(gateway: Gateway, stages: Sequence[StageSpec]) -> tuple[str, ...]:
    """The main line: as written, else the first stage of each kind in the default order."""
    if gateway.pipeline:
        names = {stage.node for stage in stages}
        return tuple(name for name in gateway.pipeline if name in names)
    first: dict[str, str] = {}
    for stage in stages:
        first.setdefault(stage.kind, stage.node)
    rank = {kind: place for place, kind in enumerate(stage.kind for stage in STAGES)}
    return tuple(first[kind] for kind in sorted(first, key=lambda k: rank[k]))


def link_problems(gateway: Linked[Gateway], stages: Sequence[Linked[StageSpec]], scope: Scope) -> list[Diagnostic]:
    """Every fault between documents."""
    return [
        *_gateway_problems(gateway, stages, scope),
        *_duplicate_nodes(stages),
        *_edge_problems(stages, scope),
        *_shape_problems(gateway, stages, scope),
    ]


def _gateway_problems(gateway: Linked[Gateway], stages: Sequence[Linked[StageSpec]], scope: Scope) -> list[Diagnostic]:
    found: list[Diagnostic] = []
    spec, nodes = gateway.spec, {s.spec.node for s in stages}
    for name, model in spec.models.items():
        if model.provider is not None and model.provider not in spec.providers:
            message = f"`{model.provider}` is not a provider"
            path = ("models", name, "provider")
            found.append(gateway.finding(path, Code.UNKNOWN_PROVIDER, message, _among(spec.providers, "providers")))
    for alias, target in spec.aliases.items():
        if target.partition(":")[0] != "auto" and scope.registry.find(target) is None:
            close = scope.registry.suggest(target)
            help_ = f"did you mean `{close}`?" if close else "an alias stands for a model, `auto` or `auto:<strategy>`"
            found.append(gateway.finding(("aliases", alias), Code.UNKNOWN_MODEL, f"`{target}` is not a model", help_))
    for index, node in enumerate(spec.pipeline):
        if node not in nodes:
            help_ = _among(nodes, "stages")
            found.append(gateway.finding(("pipeline", index), Code.UNKNOWN_NODE, f"`{node}` is not a stage", help_))
    if gateway.document is not None and not scope.providers:
        message = "no provider is enabled: every request will be refused"
        found.append(gateway.from_problem(Problem(("providers",), Code.NO_CANDIDATES, message, warning=True)))
    return found


def _duplicate_nodes(stages: Sequence[Linked[StageSpec]]) -> list[Diagnostic]:
    found = []
    first: dict[str, Linked[StageSpec]] = {}
    for linked in stages:
        name = linked.spec.node
        if name in first:
            also = (first[name].place(("kind",)), "the first one is here")
            message = f"there are two stages called `{name}`"
            place = linked.place(("name",) if linked.spec.name else ("kind",))
            help_ = "give each a `name`"
            found.append(Diagnostic(Code.DUPLICATE_NAME, Severity.ERROR, message, place, help_, also))
        if name in TERMINALS:
            found.append(linked.finding(("name",), Code.DUPLICATE_NAME, f"`{name}` is the name of an end of the graph"))
        first.setdefault(name, linked)
    return found


def _edge_problems(stages: Sequence[Linked[StageSpec]], scope: Scope) -> list[Diagnostic]:
    found = []
    nodes = {linked.spec.node for linked in stages} | TERMINALS
    for linked in stages:
        outcomes = linked.spec.edges(scope)
        for outcome, to in linked.spec.on.items():
            if outcome not in outcomes:
                message = f"stage `{linked.spec.node}` has no outcome `{outcome}`"
                place = linked.place(("on", outcome), key=True)
                help_ = _among(outcomes, "outcomes")
                found.append(Diagnostic(Code.UNKNOWN_OUTCOME, Severity.ERROR, message, place, help_))
            if to not in nodes:
                help_ = _among(nodes, "nodes")
                found.append(linked.finding(("on", outcome), Code.UNKNOWN_NODE, f"`{to}` is not a node", help_))
    return found


def _shape_problems(gateway: Linked[Gateway], stages: Sequence[Linked[StageSpec]], scope: Scope) -> list[Diagnostic]:
    """Loops, and nodes that no walk comes to."""
    order = pipeline(gateway.spec, [s.spec for s in stages])
    by_name = {s.spec.node: s for s in stages}
    following = dict(pairwise(order))
    edges = {
        name: {default_edge(s.spec, o, scope, following.get(name)) for o in s.spec.edges(scope)} & by_name.keys()
        for name, s in by_name.items()
    }
    if not order:
        return [gateway.finding((), Code.UNKNOWN_NODE, "every stage is switched off: there is nothing to run")]
    found = [
        by_name[name].finding(("on",), Code.GRAPH_LOOP, f"a walk that leaves `{name}` can come back to it")
        for name in edges
        if name in _reach(edges, edges[name])
    ]
    reached = _reach(edges, {order[0]})
    for name in by_name.keys() - reached:
        problem = Problem(("kind",), Code.DEAD_NODE, f"nothing leads to stage `{name}`", _DEAD_HELP, warning=True)
        found.append(by_name[name].from_problem(problem))
    return found


_DEAD_HELP = "name it in another stage's `on`, or in the gateway's `pipeline`"


def _reach(edges: dict[str, set[str]], start: set[str]) -> set[str]:
    reached: set[str] = set()
    waiting = list(start)
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += edges.get(name, ())
    return reached


def _among(names: Iterable[str], what: str) -> str:
    return f"{what} are: {', '.join(sorted(names))}"

"""Policy -> Graph: the immutable compiled program, an edge for every outcome, and a hash of all it was made from."""

from collections.abc import Iterable, Mapping
from itertools import pairwise

from msgspec import Struct

from .call import Call
from .chat import Problem
from .gateway import Gateway
from .registry.index import Registry
from .stages.base import EXECUTE, NEXT, ONWARD, REFUSE, TERMINALS, Run, Scope, StageSpec

HASH_SHOWN = 12


class Node(Struct, frozen=True, eq=False):
    """One stage in place. `edges` maps each outcome to the next node or to the name of an end."""

    name: str
    kind: str
    run: Run
    edges: Mapping[str, "Node | str"]


class Graph(Struct, frozen=True, eq=False):
    """A compiled policy. Nothing in it changes; state is elsewhere."""

    hash: str
    entry: Node
    nodes: Mapping[str, Node]
    gateway: Gateway
    registry: Registry
    aliases: Mapping[str, str]
    stages: tuple[StageSpec, ...]
    contexts: tuple[int, ...] = ()
    """Context windows of the routable models, ascending: near one of them tokens are counted exactly."""

    @property
    def short_hash(self) -> str:
        """The hash as it is shown: its first 12 characters."""
        return self.hash[:HASH_SHOWN]


def default_edge(spec: StageSpec, outcome: str, scope: Scope, following: str | None) -> str:
    """Where an outcome leads: what the user wrote, else the stage's default; after the last stage `next` is refusal."""
    to = spec.on.get(outcome) or spec.edges(scope)[outcome]
    if to == ONWARD:
        return following or EXECUTE
    return to if to != NEXT else following or REFUSE


def successors(order: tuple[str, ...], stages: Iterable[StageSpec]) -> Mapping[str, str]:
    """Node -> what `next` means for it. A node beside the main line goes on where the main one of its kind does."""
    after = dict(pairwise(order))
    main: dict[str, str] = {}
    beside: list[StageSpec] = []
    for spec in stages:
        if spec.node not in order:
            beside.append(spec)
        elif spec.node in after:
            main.setdefault(spec.kind, after[spec.node])
    return after | {spec.node: main[spec.kind] for spec in beside if spec.kind in main}


def compile_graph(gateway: Gateway, stages: tuple[StageSpec, ...], order: tuple[str, ...], scope: Scope) -> Graph:
    """Build every node and tie the edges. `order` names the main line; other nodes are reached by `on` only.

    The specs are linked: a fault here is a programming error, not the user's.
    """
    specs = {spec.node: spec for spec in stages}
    edges: dict[str, dict[str, Node | str]] = {name: {} for name in specs}
    nodes = {name: Node(name, spec.kind, _build(spec, scope), edges[name]) for name, spec in specs.items()}
    following = successors(order, stages)
    for name, spec in specs.items():
        for outcome in spec.edges(scope):
            to = default_edge(spec, outcome, scope, following.get(name))
            edges[name][outcome] = to if to in TERMINALS else nodes[to]
    contexts = tuple(sorted({model.context for model in scope.registry.routable}))
    return Graph(scope.policy_hash, nodes[order[0]], nodes, gateway, scope.registry, gateway.aliases, stages, contexts)


def _build(spec: StageSpec, scope: Scope) -> Run:
    """The stage's run; where the policy itself sends an outcome to `refuse`, the caller is told so."""
    run = spec.build(scope)
    refused = frozenset(outcome for outcome, to in spec.on.items() if to == REFUSE)
    if not refused:
        return run

    def refusing(call: Call) -> str:
        outcome = run(call)
        if outcome in refused and call.refusal is None:
            message = f"The policy refuses this request: `{outcome}` at `{spec.node}`."
            call.refusal = Problem(403, "permission_error", message, "refused_by_policy")
        return outcome

    return refusing

"""Policy -> Graph: the immutable compiled program, an edge for every outcome, and a hash of all it was made from."""

from collections.abc import Mapping
from itertools import pairwise

from msgspec import Struct

from .gateway import Gateway
from .registry.index import Registry
from .stages.base import NEXT, TERMINALS, Run, Scope, StageSpec

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
    """Where an outcome leads: what the user wrote, else the stage's default; `next` after the last is refusal."""
    to = spec.on.get(outcome) or spec.edges(scope)[outcome]
    return to if to != NEXT else following or "refuse"


def compile_graph(gateway: Gateway, stages: tuple[StageSpec, ...], order: tuple[str, ...], scope: Scope) -> Graph:
    """Build every node and tie the edges. `order` names the main line; other nodes are reached by `on` only.

    The specs are linked: a fault here is a programming error, not the user's.
    """
    specs = {spec.node: spec for spec in stages}
    edges: dict[str, dict[str, Node | str]] = {name: {} for name in specs}
    nodes = {name: Node(name, spec.kind, spec.build(scope), edges[name]) for name, spec in specs.items()}
    following = dict(pairwise(order))
    for name, spec in specs.items():
        for outcome in spec.edges(scope):
            to = default_edge(spec, outcome, scope, following.get(name))
            edges[name][outcome] = to if to in TERMINALS else nodes[to]
    contexts = tuple(sorted({model.context for model in scope.registry.routable}))
    return Graph(scope.policy_hash, nodes[order[0]], nodes, gateway, scope.registry, gateway.aliases, stages, contexts)

"""The shape of the graph, before it is built: it ends, every stage can be reached, and what a stage needs is known.

A walk learns things on its way: who calls (authenticate), which model (score), the answer (a cache hit). A policy
may order its stages as it likes, as long as no walk comes to a stage that needs what is not known by then.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from .config.codes import Code
from .config.diagnostic import Diagnostic
from .gateway import Gateway
from .graph import default_edge, successors
from .link import Linked, pipeline
from .stages.base import EXECUTE, NEXT, REFUSE, RESPOND, Problem, Scope, StageSpec

Edges = Mapping[str, Mapping[str, str]]
"""Node -> outcome -> where it leads."""

_NEEDS = {EXECUTE: ("model",), RESPOND: ("answer",)}
_WITHOUT = {
    "caller": "before a caller is known",
    "model": "before a model is chosen",
    "answer": "without an answer at hand",
}
_GIVEN = {
    "caller": "put `authenticate` before it: keys' tenants and models count from there on",
    "model": "put a `score` stage before it, also for models that callers name",
    "answer": "only the outcome `hit` of a cache may lead there",
}
_DEAD = "name it in another stage's `on`, or in the gateway's `pipeline`"
_ENDLESS = "an edge must lead onwards: to a later stage, `execute`, `respond` or `refuse`"
_NOWHERE = (
    "end the pipeline with a `fallback` stage (`alternatives: 0` and `retries: 0` switch falling back off), "
    "or say under `on` where it leads"
)


def shape_problems(gateway: Linked[Gateway], stages: Sequence[Linked[StageSpec]], scope: Scope) -> list[Diagnostic]:
    """Loops, nodes that no walk comes to, edges that lead nowhere, stages in an order that cannot work."""
    order = pipeline(gateway.spec, [s.spec for s in stages])
    if not order:
        return [gateway.finding((), Code.UNKNOWN_NODE, "every stage is switched off: there is nothing to run")]
    by_name = {s.spec.node: s for s in stages}
    following = successors(order, [s.spec for s in stages])
    edges = {
        name: {o: default_edge(s.spec, o, scope, following.get(name)) for o in s.spec.edges(scope)}
        for name, s in by_name.items()
    }
    reached = _reach(edges, order[0])
    return [
        *_loops(by_name, edges, order),
        *_dead(by_name, reached),
        *_nowhere([by_name[n] for n in edges if n in reached and n not in following], scope),
        *_order(by_name, edges, order[0]),
    ]


def _loops(by_name: Mapping[str, Linked[StageSpec]], edges: Edges, order: Iterable[str]) -> Iterator[Diagnostic]:
    """Each edge that leads back to a stage of the way that led there."""
    done: set[str] = set()
    for start in (*order, *edges):
        way: list[str] = []
        waiting: list[Iterator[tuple[str, str]]] = []
        if start not in done:
            way.append(start)
            waiting.append(iter(edges[start].items()))
        while way:
            outcome, to = next(waiting[-1], ("", ""))
            if not to:
                done.add(way.pop())
                waiting.pop()
            elif to in way:
                circle = " -> ".join([*way[way.index(to) :], to])
                message = f"a walk could go round for ever: {circle}"
                yield by_name[way[-1]].finding(("on", outcome), Code.GRAPH_LOOP, message, _ENDLESS)
            elif to in edges and to not in done:
                way.append(to)
                waiting.append(iter(edges[to].items()))


def _dead(by_name: Mapping[str, Linked[StageSpec]], reached: set[str]) -> Iterator[Diagnostic]:
    for name, linked in by_name.items():
        if name not in reached:
            path = ("name",) if linked.spec.name else ("kind",)
            problem = Problem(path, Code.DEAD_NODE, f"nothing leads to stage `{name}`: it never runs", _DEAD, True)
            yield linked.from_problem(problem)


def _nowhere(last: Sequence[Linked[StageSpec]], scope: Scope) -> Iterator[Diagnostic]:
    """Outcomes that go on to the next stage where there is none."""
    for linked in last:
        edges = linked.spec.edges(scope).items()
        lost = [outcome for outcome, to in edges if to == NEXT and outcome not in linked.spec.on]
        if lost:
            shown = ", ".join(f"`{outcome}`" for outcome in lost)
            message = f"nothing follows stage `{linked.spec.node}`: {shown} would lead nowhere"
            path = ("name",) if linked.spec.name else ("kind",)
            yield linked.finding(path, Code.UNKNOWN_NODE, message, _NOWHERE)


def _order(by_name: Mapping[str, Linked[StageSpec]], edges: Edges, entry: str) -> Iterator[Diagnostic]:
    """Stages and ends that a walk can come to without what they need."""
    reached = _reach(edges, entry)
    for what in _WITHOUT:
        gives = {name: {o for o, given in s.spec.gives.items() if given == what} for name, s in by_name.items()}
        if what == "caller" and not any(gives[name] for name in reached & gives.keys()):
            continue  # nobody is asked who they are: all callers are one
        without = {name: {o: to for o, to in edges[name].items() if o not in gives[name]} for name in edges}
        early = _reach(without, entry)
        for name in (n for n in by_name if n in early):
            linked = by_name[name]
            if what in linked.spec.needs:
                path = ("name",) if linked.spec.name else ("kind",)
                message = f"a walk can come to stage `{name}` {_WITHOUT[what]}"
                yield linked.finding(path, Code.UNKNOWN_NODE, message, _GIVEN[what])
            for outcome, to in without[name].items():
                if what in _NEEDS.get(to, ()) and what not in linked.spec.needs:
                    message = f"`{outcome}` of stage `{name}` leads to `{to}` {_WITHOUT[what]}"
                    yield linked.finding(("on", outcome), Code.UNKNOWN_NODE, message, _GIVEN[what])


def _reach(edges: Edges, start: str) -> set[str]:
    """Every node and end that a walk from `start` can come to."""
    reached: set[str] = set()
    waiting = [start]
    while waiting:
        name = waiting.pop()
        if name not in reached:
            reached.add(name)
            waiting += edges.get(name, {}).values()
    return reached - {REFUSE}

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
from .stages.base import EXECUTE, NEXT, REFUSE, RESPOND, TERMINALS, Problem, Scope, StageSpec

Edges = Mapping[str, Mapping[str, str]]
"""Node -> outcome -> where it leads."""

_NEEDS = {EXECUTE: ("model", "limits"), RESPOND: ("answer",)}
_WITHOUT = {
    "caller": "before a caller is known",
    "model": "before a model is chosen",
    "answer": "without an answer at hand",
    "limits": "without the limits of the caller's key",
}
_GIVEN = {
    "caller": "put `authenticate` before it: keys' tenants and models count from there on",
    "model": "put a `score` stage before it, also for models that callers name",
    "answer": "only the outcome `hit` of a cache may lead there",
    "limits": "put a `quota` stage before it: a key has `limits`, and no other stage holds it to them",
}
_DEAD = "name it in another stage's `on`, or in the gateway's `pipeline`"
_ENDLESS = "an edge must lead onwards: to a later stage, `execute`, `respond` or `refuse`"
_NOWHERE = (
    "end the pipeline with a `fallback` stage (`alternatives: 0` and `retries: 0` switch falling back off), "
    "or say under `on` where it leads"
)


def shape_problems(
    gateway: Linked[Gateway], stages: Sequence[Linked[StageSpec]], scope: Scope, *, limits: bool
) -> list[Diagnostic]:
    """Loops, nodes that no walk comes to, edges that lead nowhere, stages in an order that cannot work.

    `limits` says that some gateway key has limits of its own, which a stage must look at.
    """
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
    judge = _Judge(gateway, by_name, edges)
    return [
        *judge.loops(order),
        *judge.dead(reached),
        *judge.nowhere([by_name[n] for n in edges if n in reached and n not in following], scope),
        *judge.order(order[0], reached, limits),
    ]


class _Judge:
    """Findings about one graph. Each points to what the user wrote: an edge, a place in the pipeline, a stage."""

    def __init__(self, gateway: Linked[Gateway], by_name: Mapping[str, Linked[StageSpec]], edges: Edges) -> None:
        self._gateway = gateway
        self._by_name = by_name
        self._edges = edges

    def loops(self, order: Iterable[str]) -> Iterator[Diagnostic]:
        """Each edge that leads back to a stage of the way that led there."""
        done: set[str] = set()
        for start in (*order, *self._edges):
            way = [] if start in done else [start]
            waiting = [iter(self._edges[name].items()) for name in way]
            while way:
                outcome, to = next(waiting[-1], ("", ""))
                if not to:
                    done.add(way.pop())
                    waiting.pop()
                elif to in way:
                    circle = " -> ".join([*way[way.index(to) :], to])
                    message = f"a walk could go round for ever: {circle}"
                    yield self._by_name[way[-1]].finding(("on", outcome), Code.GRAPH_LOOP, message, _ENDLESS)
                elif to in self._edges and to not in done:
                    way.append(to)
                    waiting.append(iter(self._edges[to].items()))

    def dead(self, reached: set[str]) -> Iterator[Diagnostic]:
        """Stages that somebody wrote and nothing leads to."""
        for name, linked in self._by_name.items():
            if name not in reached and linked.document is not None:
                path = ("name",) if linked.spec.name else ("kind",)
                problem = Problem(path, Code.DEAD_NODE, f"nothing leads to stage `{name}`: it never runs", _DEAD, True)
                yield linked.from_problem(problem)

    def nowhere(self, last: Sequence[Linked[StageSpec]], scope: Scope) -> Iterator[Diagnostic]:
        """Outcomes that go on to the next stage where there is none."""
        for linked in last:
            edges = linked.spec.edges(scope).items()
            lost = [outcome for outcome, to in edges if to == NEXT and outcome not in linked.spec.on]
            if lost:
                shown = ", ".join(f"`{outcome}`" for outcome in lost)
                message = f"nothing follows stage `{linked.spec.node}`: {shown} would lead nowhere"
                yield self._finding(linked.spec.node, message, _NOWHERE)

    def order(self, entry: str, reached: set[str], limits: bool) -> Iterator[Diagnostic]:
        """The first stages and ends on each way that a walk comes to without what they need."""
        given = {what for name, s in self._by_name.items() if name in reached for what in s.spec.gives.values()}
        for what in _WITHOUT:
            if what == "caller" and what not in given:
                continue  # nobody is asked who they are: all callers are one
            if what == "limits" and not limits:
                continue
            waiting, seen = [(entry, "", "")], set()
            while waiting:
                name, source, outcome = waiting.pop(0)
                linked = self._by_name.get(name)
                # A stage is looked at once; each edge to an end is a fault of its own.
                step = name if linked is not None else f"{source} {outcome}"
                if step in seen:
                    continue
                seen.add(step)
                if what in (_NEEDS.get(name, ()) if linked is None else linked.spec.needs):
                    yield self._early(name, source, outcome, what)
                elif linked is not None:
                    edges = self._edges[name].items()
                    waiting += [(to, name, o) for o, to in edges if linked.spec.gives.get(o) != what]

    def _early(self, name: str, source: str, outcome: str, what: str) -> Diagnostic:
        linked = self._by_name.get(source)
        if linked is not None and outcome in linked.spec.on:
            message = f"`{outcome}` of stage `{source}` leads to `{name}` {_WITHOUT[what]}"
            return linked.finding(("on", outcome), Code.UNKNOWN_NODE, message, _GIVEN[what])
        if name in TERMINALS:
            return self._finding(source, f"stage `{source}` leads to `{name}` {_WITHOUT[what]}", _GIVEN[what])
        return self._finding(name, f"a walk can come to stage `{name}` {_WITHOUT[what]}", _GIVEN[what])

    def _finding(self, name: str, message: str, help: str) -> Diagnostic:
        """At the stage's place in the pipeline, else in its own document, else where the configuration begins."""
        pipeline, linked = self._gateway.spec.pipeline, self._by_name[name]
        if name in pipeline:
            return self._gateway.finding(("pipeline", pipeline.index(name)), Code.UNKNOWN_NODE, message, help)
        return linked.finding(("name",) if linked.spec.name else ("kind",), Code.UNKNOWN_NODE, message, help)


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

"""What a case expects against what the walk did: each difference in words, with the field it is about."""

from collections.abc import Iterable, Iterator

from msgspec import Struct

from ..call import Call
from ..config.diagnostic import Place
from ..engine.explain import Explanation, explanation
from ..engine.headers import decision_headers
from ..engine.trial import walk_once
from ..graph import Graph
from ..spec import seconds
from ..stages.base import EXECUTE
from ..stages.classify import Classify
from .link import NONE, retry_after
from .spec import Cached, Expect, Plan, Refusal
from .suite import Trial


class Difference(Struct, frozen=True):
    """One thing that is not as expected. `field` is its path below `expect`."""

    field: tuple[str, ...]
    expected: str
    seen: str

    def __str__(self) -> str:
        return f"{'.'.join(self.field)}: expected {self.expected}, got {self.seen}"


class Result(Struct, frozen=True):
    """What came of one trial; it passed when nothing differs. `fired` are the rules that decided, with their stage."""

    trial: Trial
    explanation: Explanation
    differences: tuple[Difference, ...]
    fired: tuple[tuple[str, str], ...]

    def place(self, difference: Difference) -> Place:
        """Where the expectation is written."""
        return self.trial.document.place(("expect", *difference.field))


def run(graph: Graph, trial: Trial) -> Result:
    """Walk it and compare."""
    call, end = walk_once(graph, trial.asked, trial.world)
    fired = []
    for node, rows in (call.details or {}).items():
        if graph.nodes[node].kind == Classify.kind:
            fired += [(node, row["rule"]) for row in rows if row["holds"]][:1]
    differences = tuple(_differences(graph, trial.expect, call, end))
    return Result(trial, explanation(graph, call, end), differences, tuple(fired))


def _differences(graph: Graph, expect: Expect, call: Call, end: str) -> Iterator[Difference]:
    yield from _same(("outcome",), expect.outcome, end)
    yield from _same(("tier",), expect.tier, call.tier or NONE)
    yield from _same(("rule",), expect.rule, call.rule or NONE)
    yield from _same(("strategy",), expect.strategy, call.strategy or NONE)
    chain = [model.id for model in call.chain] if end == EXECUTE else []
    if expect.model is not None:
        wanted = [expect.model] if isinstance(expect.model, str) else expect.model
        first = chain[0] if chain else NONE
        if first not in _identities(graph, wanted):
            yield Difference(("model",), " or ".join(wanted), first)
    if expect.chain is not None and _identities(graph, expect.chain) != chain:
        yield Difference(("chain",), _listed(expect.chain), _listed(chain))
    dropped = dict(reversed(call.dropped))
    for name, reason in expect.dropped.items():
        why = dropped.get(_identities(graph, [name])[0])
        if why is None or reason not in why:
            yield Difference(("dropped", name), f"`{reason}`", "not dropped" if why is None else f"`{why}`")
    trace = dict(call.trace)
    for node, outcome in expect.edges.items():
        yield from _same(("edges", node), outcome, trace.get(node, "no visit"))
    told = {name.decode(): value.decode() for name, value in decision_headers(call)}
    for name, value in expect.headers.items():
        yield from _same(("headers", name), value, told.get(name.lower(), "no such header"))
    if expect.refusal is not None:
        yield from _refusal(expect.refusal, call)
    if expect.plan is not None:
        yield from _plan(expect.plan, call)
    if expect.cache is not None:
        yield from _cache(expect.cache, call)


def _refusal(expect: Refusal, call: Call) -> Iterator[Difference]:
    refusal = call.refusal
    if refusal is None:
        yield Difference(("refusal",), "a refusal", "none")
        return
    yield from _same(("refusal", "status"), expect.status, refusal.status)
    yield from _same(("refusal", "code"), expect.code, refusal.code)
    yield from _same(("refusal", "param"), expect.param, refusal.param)
    yield from _same(("refusal", "retry_after"), expect.retry_after, retry_after(refusal))
    if expect.message is not None and expect.message not in refusal.message:
        yield Difference(("refusal", "message"), f"`{expect.message}`", f"`{refusal.message}`")


def _plan(expect: Plan, call: Call) -> Iterator[Difference]:
    plan = call.plan
    yield from _same(("plan", "retries"), expect.retries, plan.retries)
    for name in ("backoff_initial", "backoff_max", "connect", "first_token", "answer", "idle", "total"):
        wanted, got = getattr(expect, name), getattr(plan, name)
        if wanted is not None and seconds(wanted) != got:
            yield Difference(("plan", name), wanted, f"{got:g}s")
    if expect.hedge is not None:
        wanted = {"off": None, "p95": 0.0}[expect.hedge] if expect.hedge in ("off", "p95") else seconds(expect.hedge)
        if wanted != plan.hedge:
            got = "off" if plan.hedge is None else f"{plan.hedge:g}s" if plan.hedge else "p95"
            yield Difference(("plan", "hedge"), expect.hedge, got)
    for name, reaction in expect.failures.items():
        got = "retry" if name in plan.retry else "fall_back" if name in plan.fall_back else "fail"
        yield from _same(("plan", "failures", name), reaction, got)


def _cache(expect: Cached, call: Call) -> Iterator[Difference]:
    yield from _same(("cache", "result"), expect.result, call.cache)
    if expect.ttl is not None and seconds(expect.ttl) != call.cache_ttl:
        yield Difference(("cache", "ttl"), expect.ttl, f"{call.cache_ttl:g}s")


def _same(field: tuple[str, ...], expected: object, seen: object) -> Iterator[Difference]:
    if expected is not None and expected != seen:
        yield Difference(field, str(expected), NONE if seen is None else str(seen))


def _identities(graph: Graph, names: Iterable[str]) -> list[str]:
    """Each model's id, whichever of its names was written."""
    return [name if (model := graph.registry.find(name)) is None else model.id for name in names]


def _listed(names: Iterable[str]) -> str:
    return " -> ".join(names) or NONE

"""Explain a decision: the very walk that serves traffic, with a state made up for it and notes taken."""

from typing import Any

import msgspec
from msgspec import Struct

from ..call import Call
from ..chat import Problem
from ..graph import Graph
from ..registry.price import usd
from ..stages.base import EXECUTE, REFUSE, RESPOND
from .trial import Asked, World, walk_once

SHOWN = 12
"""Candidates a person is shown; as JSON there are all."""
_WRITTEN = frozenset({"headers", "claims", "user", "conversation"})
"""Features that are the caller's own words, credentials among them."""
_LONGEST = 128


class Explanation(Struct, frozen=True):
    """What would happen to a request, and why. `end` is execute, respond or refuse; nobody was called."""

    policy: str
    end: str
    model: str | None
    chain: list[str]
    tier: str
    rule: str
    strategy: str
    features: dict[str, Any]
    trace: list[tuple[str, str]]
    rules: list[dict[str, Any]]
    budgets: list[dict[str, Any]]
    candidates: list[dict[str, Any]]
    dropped: list[tuple[str, str]]
    refusal: Problem | None


def explain(graph: Graph, asked: Asked, world: World) -> Explanation:
    """What becomes of a request in a world."""
    return explanation(graph, *walk_once(graph, asked, world))


def explanation(graph: Graph, call: Call, end: str) -> Explanation:
    """What a walk that took notes tells of itself."""
    details = call.details or {}
    kinds = {node.name: node.kind for node in graph.nodes.values()}
    rules = [row for node, detail in details.items() if kinds[node] == "classify" for row in detail]
    budgets = [row for node, detail in details.items() if kinds[node] == "budget" for row in detail]
    scores = [detail for node, detail in details.items() if kinds[node] == "score"]
    features = msgspec.to_builtins(call.features)
    return Explanation(
        policy=graph.short_hash,
        end=end,
        model=call.chain[0].id if call.chain and end == "execute" else None,
        chain=[m.id for m in call.chain] if end == "execute" else [],
        tier=call.tier,
        rule=call.rule,
        strategy=call.strategy,
        features={k: v for k, v in features.items() if v not in ("", 0, False, {}) and k != "text"},
        trace=call.trace,
        rules=rules,
        budgets=budgets,
        candidates=[msgspec.to_builtins(t) for s in scores for t in s["candidates"]],
        dropped=call.dropped,
        refusal=call.refusal if end == REFUSE else None,
    )


def record(graph: Graph, call: Call) -> bytes:
    """What was decided of a request of live traffic, as JSON: an Explanation without anything that its caller wrote
    but names, cut short."""
    end = REFUSE if call.refusal is not None else EXECUTE if call.hit is None else RESPOND
    found = explanation(graph, call, end)
    features = {name: _cut(value) for name, value in found.features.items() if name not in _WRITTEN}
    return msgspec.json.encode(msgspec.structs.replace(found, features=features))


def as_text(result: Explanation) -> str:
    """The lines `sidecar explain` prints."""
    lines = [f"policy    {result.policy}"]
    lines.append(f"features  {' '.join(f'{k}={_short(v)}' for k, v in result.features.items() if k != 'headers')}")
    if result.rules:
        lines.append("rules")
        first = next((i for i, row in enumerate(result.rules) if row["holds"]), None)
        for index, row in enumerate(result.rules):
            mark = ("fired" if index == first else "holds") if row["holds"] else "-"
            lines.append(f"  {mark:<6} {row['rule']:<22} -> {row['tier']:<10} {row['when']}")
    lines += [f"budget    {_budget(row)}" for row in result.budgets]
    lines.append(f"tier      {result.tier or '-'}" + (f" (rule {result.rule})" if result.rule else ""))
    if result.candidates:
        lines.append(f"strategy  {result.strategy}; score = cost, quality, speed, each 0 to 1, weighted")
        lines.append(f"  {'model':<34} {'score':>6} {'cost':>6} {'quality':>8} {'speed':>6} {'USD/M':>9}")
        lines += [_candidate(row) for row in result.candidates[:SHOWN]]
        if len(result.candidates) > SHOWN:
            lines.append(f"  ... and {len(result.candidates) - SHOWN} more (--format json shows all)")
    lines += [f"dropped   {model}: {reason}" for model, reason in result.dropped[:SHOWN]]
    lines.append("walk      " + "  ".join(f"{node}:{outcome}" for node, outcome in result.trace) + f"  => {result.end}")
    if result.refusal is not None:
        lines.append(f"refused   {result.refusal.status} {result.refusal.code}: {result.refusal.message}")
    else:
        lines.append(f"chain     {' -> '.join(result.chain)}")
    return "\n".join(lines) + "\n"


def _budget(row: dict[str, Any]) -> str:
    subject = f" of {row['subject']}" if row["subject"] else ""
    return f"{row['budget']}{subject}: {'hard' if row['hard'] else 'soft'}, {usd(row['limit'])} USD"


def _candidate(row: dict[str, Any]) -> str:
    price = "-" if row["usd_per_million"] is None else f"{row['usd_per_million']:.3f}"
    return (
        f"  {row['model'][:34]:<34} {row['score']:>6.3f} {row['cost']:>6.3f} {row['quality']:>8.3f} "
        f"{row['speed']:>6.3f} {price:>9}"
    )


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _cut(value: Any) -> Any:
    return value[:_LONGEST] if isinstance(value, str) else value

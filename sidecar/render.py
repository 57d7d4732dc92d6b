"""A graph as a picture: Mermaid, Graphviz dot, or JSON; on its edges, if known, the requests that took them."""

from collections.abc import Mapping

import msgspec

from .graph import Graph, Node

_LABELS = {"execute": "ask the provider", "respond": "answer from the cache", "refuse": "refuse"}


Traffic = Mapping[tuple[str, str], int]
"""Node and outcome -> requests."""
_NONE: Traffic = {}


def edges(graph: Graph, traffic: Traffic = _NONE) -> list[tuple[str, str, str]]:
    """(from, outcomes joined by " | ", to), in the order of the walk; outcomes to one place share an edge. With traffic
    each edge has its requests, and their share of all that came to the node."""
    rows: list[tuple[str, str, str]] = []
    for node in _reached(graph):
        together: dict[str, list[str]] = {}
        for outcome, to in node.edges.items():
            together.setdefault(to if isinstance(to, str) else to.name, []).append(outcome)
        came = sum(traffic.get((node.name, outcome), 0) for outcome in node.edges)
        for to, outcomes in together.items():
            took = sum(traffic.get((node.name, outcome), 0) for outcome in outcomes)
            share = f" ({took * 100 / came:.1f} %)" if came else ""
            rows.append((node.name, " | ".join(outcomes) + (f": {took:,}{share}" if traffic else ""), to))
    return rows


def mermaid(graph: Graph, traffic: Traffic = _NONE) -> str:
    """A flowchart for Markdown."""
    rows = edges(graph, traffic)
    lines = [f"%% policy {graph.short_hash}", "flowchart TD"]
    ids = {name: f"n{i}" for i, name in enumerate(dict.fromkeys(n for a, _, b in rows for n in (a, b)))}
    for name, ident in ids.items():
        shape = f'(["{_LABELS[name]}"])' if name in _LABELS else f'["{name}"]'
        lines.append(f"    {ident}{shape}")
    lines += [f'    {ids[a]} -->|"{label}"| {ids[b]}' for a, label, b in rows]
    return "\n".join(lines) + "\n"


def dot(graph: Graph, traffic: Traffic = _NONE) -> str:
    """A digraph for Graphviz."""
    lines = ["digraph policy {", "  rankdir=TB; node [shape=box];", f'  label="policy {graph.short_hash}";']
    lines += [f'  "{name}" [shape=oval, label="{label}"];' for name, label in _LABELS.items()]
    lines += [f'  "{a}" -> "{b}" [label="{label}"];' for a, label, b in edges(graph, traffic)]
    return "\n".join([*lines, "}"]) + "\n"


def as_json(graph: Graph, traffic: Traffic = _NONE) -> str:
    """Nodes and edges as data."""
    nodes = [{"name": n.name, "kind": n.kind} for n in _reached(graph)]
    data = {
        "policy": graph.hash,
        "entry": graph.entry.name,
        "nodes": nodes,
        "edges": [
            {"from": n.name, "outcome": o, "to": to if isinstance(to, str) else to.name}
            | ({"requests": traffic.get((n.name, o), 0)} if traffic else {})
            for n in _reached(graph)
            for o, to in n.edges.items()
        ],
    }
    return msgspec.json.format(msgspec.json.encode(data), indent=2).decode() + "\n"


def _reached(graph: Graph) -> list[Node]:
    """Nodes a walk can come to, in the order it first may."""
    found: dict[str, Node] = {}
    waiting = [graph.entry]
    while waiting:
        node = waiting.pop(0)
        if node.name not in found:
            found[node.name] = node
            waiting += [to for to in node.edges.values() if isinstance(to, Node)]
    return list(found.values())

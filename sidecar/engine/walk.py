"""The loop that runs every request. Read this file first.

A graph is nodes; a node's `run` looks at the call, changes it, and names an outcome; the outcome's edge leads to the
next node or to one of three ends: `execute` (ask a provider), `respond` (the answer is at hand), `refuse`.
No clock, no disk, no network: the same loop serves live traffic, `sidecar explain` and tests.
"""

from ..call import Call
from ..graph import Graph


def walk(graph: Graph, call: Call) -> str:
    """Take `call` through `graph`; returns the end it came to. `call.trace` has each node and its outcome."""
    node = graph.entry
    trace = call.trace
    while True:
        outcome = node.run(call)
        trace.append((node.name, outcome))
        to = node.edges[outcome]
        if isinstance(to, str):
            return to
        node = to

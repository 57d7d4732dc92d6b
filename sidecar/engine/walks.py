"""Which ways requests went through the graph since the gateway began, for people who want to see it."""

from collections import deque
from collections.abc import Iterable, Mapping

Trace = list[tuple[str, str]]
"""(node, outcome), in the order of the walk."""
KEPT = 200
"""Requests whose way is remembered."""


class Walks:
    """Counts every step and remembers the newest ways. Use on one event loop."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], int] = {}
        self._newest: deque[tuple[str, Trace]] = deque(maxlen=KEPT)

    def add(self, walks: Iterable[tuple[str, Trace]]) -> None:
        """Requests that ended: each its id and its trace."""
        counts = self._counts
        for walk in walks:
            self._newest.append(walk)
            for step in walk[1]:
                counts[step] = counts.get(step, 0) + 1

    @property
    def counts(self) -> Mapping[tuple[str, str], int]:
        """How many requests left a node by an outcome. Names are of policies, so there are few."""
        return self._counts

    def newest(self) -> dict[str, Trace]:
        """The ways that are remembered, by request id."""
        return dict(self._newest)

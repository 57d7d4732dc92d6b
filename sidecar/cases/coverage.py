"""Which rules fired and which edges were taken, of all that the policy has: what no case looked at yet."""

from collections.abc import Iterable

from msgspec import Struct

from ..config.diagnostic import Place
from ..graph import Graph
from ..policy import Policy
from ..stages.authenticate import Authenticate
from ..stages.classify import ABSTAIN, PINNED, Classify
from ..stages.quota import Quota
from .judge import Result


class Missed(Struct, frozen=True):
    """A rule that never fired, or an edge (`stage:outcome`) that was never taken; `place` is where it is written."""

    what: str
    place: Place


class Coverage(Struct, frozen=True):
    """How many rules and edges there are, how many were taken, and which were not."""

    total: int
    missed: tuple[Missed, ...]

    @property
    def taken(self) -> int:
        """Rules that fired and edges that were taken."""
        return self.total - len(self.missed)

    @property
    def percent(self) -> int:
        """Rounded down: 100 means all."""
        return 100 * self.taken // self.total if self.total else 100


def together(parts: Iterable[Coverage]) -> Coverage:
    """The coverage of several policies as one."""
    all_ = list(parts)
    return Coverage(sum(part.total for part in all_), tuple(missed for part in all_ for missed in part.missed))


def coverage(policy: Policy, graph: Graph, results: Iterable[Result]) -> Coverage:
    """What the walks took of a policy's rules and edges. An outcome that cannot be, such as a tier
    that no rule leads to, is none of its edges."""
    seen = list(results)
    taken = {step for result in seen for step in result.explanation.trace}
    fired = {step for result in seen for step in result.fired}
    total = 0
    missed: list[Missed] = []
    for linked in policy.stages:
        spec, node = linked.spec, linked.spec.node
        possible = set(graph.nodes[node].edges)
        if isinstance(spec, Authenticate) and spec.anonymous == "never":
            possible.discard("anonymous")
        if isinstance(spec, Quota) and not spec.limits:
            possible.discard("limited")
        if isinstance(spec, Classify):
            possible = {rule.tier for rule in spec.rules} | {ABSTAIN, PINNED}
            total += len(spec.rules)
            missed += [
                Missed(f"rule {rule.name}", linked.place(("rules", index, "name")))
                for index, rule in enumerate(spec.rules)
                if (node, rule.name) not in fired
            ]
        edges = [outcome for outcome in graph.nodes[node].edges if outcome in possible or (node, outcome) in taken]
        total += len(edges)
        at = linked.place(("name",) if spec.name else ("kind",))
        missed += [Missed(f"edge {node}:{outcome}", at) for outcome in edges if (node, outcome) not in taken]
    return Coverage(total, tuple(missed))

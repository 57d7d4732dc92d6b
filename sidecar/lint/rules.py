"""Rules that never decide, and pairs of rules of which the order decides."""

from collections.abc import Iterator

from ..config.codes import Code
from ..config.diagnostic import Diagnostic, Severity
from ..link import Linked
from ..plain import tree_of
from ..stages.classify import Classify
from .context import LintContext, warning
from .regions import Box, Region, Space, apart
from .sample import SAMPLES, Sampler

MOST_STEPS = 50_000
"""Comparisons of boxes in search of several rules that shadow one together; beyond it only single rules are found."""

_NEVER = "change the condition, or take the rule out"
_SHADOWED = "put it before that rule, narrow that rule's condition, or take this one out"


def rules(context: LintContext) -> Iterator[Diagnostic]:
    """Dead, shadowed and overlapping rules of every classify stage."""
    for linked in context.of(Classify):
        yield from _Judge(linked).findings()


class _Judge:
    """The rules of one stage, taken in order."""

    def __init__(self, linked: Linked[Classify]) -> None:
        self._linked = linked
        self._rules = linked.spec.rules
        patterns = frozenset(linked.spec.patterns)
        trees = [tree_of(rule.when, patterns) for rule in self._rules]
        self._space = Space(tree for tree in trees if tree is not None)
        self._regions = [None if tree is None else self._space.region(tree) for tree in trees]
        self._single: dict[frozenset[str], list[tuple[Box, int]]] = {}
        self._alike: dict[frozenset[str], list[int]] = {}
        self._steps = MOST_STEPS
        self._sampler: Sampler | None = None

    def findings(self) -> Iterator[Diagnostic]:
        unsure = False
        for place, region in enumerate(self._regions):
            unsure = unsure or region is None
            if region is None:
                yield from self._sampled(place)
                continue
            if not region:
                message = f"rule `{self._rules[place].name}` can never hold: its condition contradicts itself"
                yield warning(self._linked, ("rules", place, "when"), Code.DEAD_RULE, message, _NEVER)
                continue
            found = [] if not place else list(self._shadowed(place, region)) or list(self._overlapping(place, region))
            yield from found or (self._sampled(place) if unsure else ())
            for box in region:
                self._single.setdefault(frozenset(box), []).append((box, place))
            self._alike.setdefault(frozenset(name for box in region for name in box), []).append(place)

    def _shadowed(self, place: int, region: Region) -> Iterator[Diagnostic]:
        """The rule holds only where an earlier one, or several together, hold."""
        covers = {self._cover(box) for box in region}
        by = sorted(cover for cover in covers if cover is not None) if None not in covers else self._together(place)
        if by:
            names = ", ".join(f"`{self._rules[other].name}`" for other in by[:4])
            what = f"rule {names} holds" if len(by) == 1 else f"one of {names}{' ...' if len(by) > 4 else ''} holds"
            message = f"rule `{self._rules[place].name}` never decides: {what} whenever it does, and comes first"
            yield self._pair(Code.SHADOWED_RULE, place, by[0], message, _SHADOWED)

    def _cover(self, box: Box) -> int | None:
        """The first rule of which one box contains this one. It can name only features that this one names, too."""
        mine = frozenset(box)
        places = [
            place
            for names, boxes in self._single.items()
            if names <= mine
            for other, place in boxes
            if all(not box[name] & ~mask for name, mask in other.items())
        ]
        return min(places, default=None)

    def _together(self, place: int) -> list[int]:
        """Rules before this one that contain it between them; [] when they do not, or when to find out takes long."""
        rest, by = list(self._regions[place] or ()), []
        for earlier in range(place):
            for box in self._regions[earlier] or ():
                self._steps -= len(rest)
                if self._steps < 0:
                    return []
                left = [piece for mine in rest for piece in self._space.minus(mine, box)]
                if left != rest:
                    by.append(earlier)
                rest = left
            if not rest:
                return self._needed(place, list(dict.fromkeys(by)))
        return []

    def _needed(self, place: int, by: list[int]) -> list[int]:
        """Without the rules that the others make up for."""
        for other in list(by):
            others = [box for kept in by if kept != other for box in self._regions[kept] or ()]
            if self._space.within(self._regions[place] or [], others):
                by.remove(other)
        return by

    def _overlapping(self, place: int, region: Region) -> Iterator[Diagnostic]:
        """The first earlier rule over the same features with another tier that holds for some of the same requests,
        where neither is a special case of the other: it may be meant, but only the order says so."""
        rule = self._rules[place]
        for earlier in self._alike.get(frozenset(name for box in region for name in box), ()):
            other = self._regions[earlier] or []
            if self._rules[earlier].tier == rule.tier or all(apart(a, b) for a in region for b in other):
                continue
            if not self._space.within(other, region):
                first = self._rules[earlier]
                message = (
                    f"rule `{rule.name}` (`{rule.tier}`) and rule `{first.name}` (`{first.tier}`) hold for some of the "
                    f"same requests: `{first.name}` decides those"
                )
                help_ = "let their conditions exclude each other"
                yield self._pair(Code.OVERLAPPING_RULES, place, earlier, message, help_)
                return

    def _sampled(self, place: int) -> Iterator[Diagnostic]:
        """What samples say of a rule that is, or comes after, one that cannot be reasoned about."""
        if self._sampler is None:
            sources, patterns = [rule.when for rule in self._rules], list(self._linked.spec.patterns)
            self._sampler = Sampler(sources, patterns, self._space.atoms)
        found, name = self._sampler.judge(place), self._rules[place].name
        if found is not None and found.dead:
            message = f"rule `{name}` seems never to hold: it did for none of {SAMPLES:,} sampled requests"
            yield warning(self._linked, ("rules", place, "when"), Code.DEAD_RULE, message, _NEVER)
        elif found is not None and found.shadowed:
            message = (
                f"rule `{name}` seems never to decide: in {SAMPLES:,} sampled requests it held {found.held:,} times, "
                f"each time after an earlier rule, mostly `{self._rules[found.by].name}`"
            )
            yield self._pair(Code.SHADOWED_RULE, place, found.by, message, _SHADOWED)

    def _pair(self, code: Code, place: int, earlier: int, message: str, help: str) -> Diagnostic:
        """A warning that shows both conditions."""
        at, other = (self._linked.place(("rules", index, "when")) for index in (place, earlier))
        also = (other, f"rule `{self._rules[earlier].name}` is here")
        return Diagnostic(code, Severity.WARNING, message, at, help, also)

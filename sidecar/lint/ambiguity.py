"""Regular expressions that can take exponentially long: those that can read one text in exponentially many ways.

The expression becomes an automaton whose states are its characters (Glushkov's). It is exponential when two ways lead
from a state back to itself over the same text: then a text of n such rounds has 2**n readings, and a search that fails
tries them all. Read statically; nothing is searched, so nothing can hang. `\\b` and lookarounds count as always true,
so that a few harmless expressions are found, too.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from re import _constants as op  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any, NamedTuple

MOST_STATES = 400
MOST_STEPS = 100_000
UNROLLED = 8
"""Repeats of up to so many are written out; longer ones count as endless."""

_CATEGORIES: dict[Any, Callable[[str], bool]] = {
    op.CATEGORY_DIGIT: str.isdecimal,
    op.CATEGORY_NOT_DIGIT: lambda c: not c.isdecimal(),
    op.CATEGORY_SPACE: str.isspace,
    op.CATEGORY_NOT_SPACE: lambda c: not c.isspace(),
    op.CATEGORY_WORD: lambda c: c.isalnum() or c == "_",
    op.CATEGORY_NOT_WORD: lambda c: not (c.isalnum() or c == "_"),
}
_REPEATS = frozenset("*+{")
_ANY_TEXT = "aZ5_ -\né"
"""A character for each category."""


class _TooLargeError(ValueError):
    """More states or steps than a lint may take."""


class _Part(NamedTuple):
    """Where a part of the expression may begin and end, and whether it may match nothing."""

    first: frozenset[int]
    last: frozenset[int]
    empty: bool


_NOTHING = _Part(frozenset(), frozenset(), True)


def is_exponential(source: str) -> bool:
    """Whether a search with this expression may take exponentially long. One that is too large to tell is not found.

    Raises re.error for what is no expression.
    """
    tree = parser.parse(source)
    if not _REPEATS.intersection(source):
        return False
    automaton = _Automaton(_characters(tree), bool(tree.state.flags & op.SRE_FLAG_IGNORECASE))
    try:
        automaton.read(tree)
        return automaton.is_ambiguous()
    except _TooLargeError:
        return False


class _Automaton:
    """States are the places of characters; `_edges` counts in how many ways one follows another."""

    def __init__(self, alphabet: Iterable[str], ignore_case: bool) -> None:
        self._alphabet = frozenset(alphabet)
        self._ignore_case = ignore_case
        self._states: list[frozenset[str]] = []
        self._edges: Counter[tuple[int, int]] = Counter()

    def is_ambiguous(self) -> bool:
        """Whether two ways lead from some state back to it over one text."""
        after: dict[int, list[int]] = {}
        for (state, to), _ in self._edges.items():
            after.setdefault(state, []).append(to)
        circle = {state: number for number, ring in enumerate(_rings(after)) for state in ring}
        inside = {(s, to): ways for (s, to), ways in self._edges.items() if s in circle and circle[s] == circle.get(to)}
        if any(ways > 1 for ways in inside.values()):
            return True
        near: dict[int, list[int]] = {}
        for state, to in inside:
            near.setdefault(state, []).append(to)
        pairs = self._pairs(near)
        return any(len({left == right for left, right in ring}) == 2 for ring in _rings(pairs))

    def read(self, tree: Any) -> _Part:
        """Add a sequence of parsed parts."""
        whole = _NOTHING
        for kind, value in tree:
            whole = self._then(whole, self._part(kind, value))
        return whole

    def _part(self, kind: Any, value: Any) -> _Part:
        if kind in (op.LITERAL, op.NOT_LITERAL, op.ANY, op.IN):
            return self._state(self._matched(kind, value))
        if kind is op.SUBPATTERN:
            return self.read(value[3])
        if kind is op.BRANCH:
            return _either(self.read(branch) for branch in value[1])
        if kind in (op.MAX_REPEAT, op.MIN_REPEAT):
            return self._repeat(*value)
        if kind is op.ATOMIC_GROUP or kind is op.POSSESSIVE_REPEAT:
            return self._alone(value if kind is op.ATOMIC_GROUP else value[2])
        if kind in (op.ASSERT, op.ASSERT_NOT):
            self.read(value[1])
        return _NOTHING

    def _repeat(self, least: int, most: int, tree: Any) -> _Part:
        if most > UNROLLED:
            part = self.read(tree)
            self._tie(part.last, part.first)
            return part._replace(empty=part.empty or least == 0)
        whole = _NOTHING
        for number in range(most, 0, -1):  # x{1,3} is x(x(x)?)?
            part = self._then(self.read(tree), whole)
            whole = part._replace(empty=part.empty or number > least)
        return whole

    def _alone(self, tree: Any) -> _Part:
        """A part that is never read in a second way: its characters, in any order, without circles."""
        begin = len(self._states)
        kept = self._edges.copy()
        part = self.read(tree)
        self._edges = kept
        inside = frozenset(range(begin, len(self._states)))
        return _Part(inside, inside, part.empty)

    def _then(self, left: _Part, right: _Part) -> _Part:
        self._tie(left.last, right.first)
        first = left.first | right.first if left.empty else left.first
        last = left.last | right.last if right.empty else right.last
        return _Part(first, last, left.empty and right.empty)

    def _tie(self, states: Iterable[int], to: frozenset[int]) -> None:
        self._edges.update((state, other) for state in states for other in to)
        if len(self._edges) > MOST_STEPS:
            raise _TooLargeError

    def _state(self, matched: frozenset[str]) -> _Part:
        if len(self._states) == MOST_STATES:
            raise _TooLargeError
        self._states.append(matched)
        only = frozenset({len(self._states) - 1})
        return _Part(only, only, False)

    def _matched(self, kind: Any, value: Any) -> frozenset[str]:
        """The characters of the alphabet that a part matches."""
        if kind is op.ANY:
            return self._alphabet
        if kind is op.IN:
            outside = value[0][0] is op.NEGATE
            found = frozenset().union(*(self._matched(*item) for item in value[outside:]))
            return self._alphabet - found if outside else found
        if kind is op.CATEGORY:
            return frozenset(filter(_CATEGORIES[value], self._alphabet))
        low, high = value if kind is op.RANGE else (value, value)
        found = frozenset(c for c in self._alphabet if any(low <= ord(form) <= high for form in self._forms(c)))
        return self._alphabet - found if kind is op.NOT_LITERAL else found

    def _forms(self, character: str) -> Iterable[str]:
        if not self._ignore_case:
            return character
        return (form for form in (character, character.lower(), character.upper()) if len(form) == 1)

    def _pairs(self, after: Mapping[int, list[int]]) -> dict[tuple[int, int], list[tuple[int, int]]]:
        """What two ways over one text can come to, together, when they begin in one state."""
        waiting = [(state, state) for state in after]
        found: dict[tuple[int, int], list[tuple[int, int]]] = {}
        steps = 0
        while waiting:
            pair = waiting.pop()
            if pair in found:
                continue
            found[pair] = []
            for left in after[pair[0]]:
                for right in after[pair[1]]:
                    steps += 1
                    if not self._states[left].isdisjoint(self._states[right]):
                        found[pair].append((min(left, right), max(left, right)))
            if steps > MOST_STEPS:
                raise _TooLargeError
            waiting += found[pair]
        return found


def _either(parts: Iterator[_Part]) -> _Part:
    all_parts = list(parts)
    return _Part(
        frozenset().union(*(part.first for part in all_parts)),
        frozenset().union(*(part.last for part in all_parts)),
        any(part.empty for part in all_parts),
    )


def _characters(tree: Any) -> set[str]:
    """Characters that tell all parts of an expression apart: each it names, its neighbours, and one of each sort."""
    found = set(_ANY_TEXT)
    waiting = [tree]
    while waiting:
        item = waiting.pop()
        if isinstance(item, (parser.SubPattern, list)):
            waiting += list(item)
        elif isinstance(item, tuple) and len(item) == 2 and item[0] in (op.LITERAL, op.NOT_LITERAL, op.RANGE):
            ends = item[1] if item[0] is op.RANGE else (item[1], item[1])
            near = (code for end in ends for code in (end - 1, end, end + 1) if 0 <= code < 0x110000)
            found.update(form for code in near for form in (chr(code), chr(code).lower(), chr(code).upper()))
        elif isinstance(item, tuple):
            waiting += list(item)
    return {character for character in found if len(character) == 1}


def _rings(after: Mapping[Any, list[Any]]) -> list[list[Any]]:
    """The nodes of a graph by the circles they are in (Tarjan's, without recursion); a node may be one by itself."""
    number: dict[Any, int] = {}
    low: dict[Any, int] = {}
    path: list[Any] = []
    on_path: set[Any] = set()
    rings = []
    for start in after:
        waiting = [] if start in number else [(start, iter(after[start]))]
        while waiting:
            node, rest = waiting[-1]
            if node not in number:
                number[node] = low[node] = len(number)
                path.append(node)
                on_path.add(node)
            to = next(rest, None)
            if to is not None and to not in number:
                waiting.append((to, iter(after.get(to, ()))))
            elif to is not None and to in on_path:
                low[node] = min(low[node], number[to])
            elif to is None:
                waiting.pop()
                if waiting:
                    low[waiting[-1][0]] = min(low[waiting[-1][0]], low[node])
                if low[node] == number[node]:
                    cut = path.index(node)
                    rings.append(path[cut:])
                    on_path.difference_update(path[cut:])
                    del path[cut:]
    return rings

"""Conditions as sets of requests: what can be said of them without trying any.

The values of each feature are cut where the conditions' constants are: `tokens > 100` makes atoms below 100, 100 and
above. Inside an atom all conditions agree, so one value stands for it, a set of values is a bit mask of atoms, and a
condition is a union of boxes (feature -> mask). Features are taken to be independent of each other: what is empty or
contained here is so for every request.
"""

import ast
import operator
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from math import floor
from typing import Any

from ..features import FEATURES

Box = dict[str, int]
"""Feature -> mask of the atoms it may have; a feature that is not named may have any."""
Region = list[Box]

MOST_BOXES = 64
_OTHER = "any other text"
_OPERATORS: dict[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_MIRRORED = {ast.Lt: ast.Gt, ast.LtE: ast.GtE, ast.Gt: ast.Lt, ast.GtE: ast.LtE}


class _UndecidedError(ValueError):
    """More than this module can reason about."""


class Space:
    """The atoms of every feature that some conditions read."""

    def __init__(self, trees: Iterable[ast.expr]) -> None:
        """`trees` are conditions as `plain.tree_of` makes them."""
        constants: dict[str, set[Any]] = {}
        for tree in trees:
            for node in ast.walk(tree):
                if isinstance(node, ast.Compare):
                    name = _feature(node.left) or _feature(node.comparators[0])
                    if name is not None:
                        constants.setdefault(name, set()).update(_constants(node.left), _constants(node.comparators[0]))
        self.atoms: dict[str, Sequence[Any]] = {name: _atoms(name, values) for name, values in constants.items()}
        """One value for each atom."""
        self._masks: dict[tuple[str, str], int] = {}
        self._places: dict[str, dict[Any, int]] = {}

    def region(self, tree: ast.expr) -> Region | None:
        """Where a condition holds; None when that cannot be told."""
        try:
            return self._region(tree, True)
        except _UndecidedError:
            return None

    def full(self, name: str) -> int:
        """The mask of all atoms."""
        return (1 << len(self.atoms.get(name, _TRUTH))) - 1

    def minus(self, box: Box, other: Box) -> Region:
        """What of a box is outside another."""
        if apart(box, other):
            return [box]
        outside, inside = [], dict(box)
        for name, mask in other.items():
            mine = inside.get(name, self.full(name))
            if mine & ~mask:
                outside.append({**inside, name: mine & ~mask})
            inside[name] = mine & mask
        return outside

    def within(self, region: Region, other: Region) -> bool:
        """Whether a region is contained in another."""
        rest = region
        for box in other:
            rest = [piece for mine in rest for piece in self.minus(mine, box)]
            if len(rest) > MOST_BOXES:
                return False
        return not rest

    def _region(self, tree: ast.expr, wanted: bool) -> Region:
        if isinstance(tree, ast.UnaryOp):
            return self._region(tree.operand, not wanted)
        if isinstance(tree, ast.BoolOp):
            parts = [self._region(value, wanted) for value in tree.values]
            return _both(parts) if isinstance(tree.op, ast.And) is wanted else _either(parts)
        if isinstance(tree, ast.Constant):
            return [{}] if tree.value is wanted else []
        if isinstance(tree, ast.Compare):
            return self._compared(tree, wanted)
        return self._box(_feature(tree), 2 if wanted else 1)

    def _compared(self, tree: ast.Compare, wanted: bool) -> Region:
        left, kind, right = tree.left, type(tree.ops[0]), tree.comparators[0]
        if isinstance(left, ast.Constant):
            left, kind, right = right, _MIRRORED.get(kind, kind), left
        if isinstance(right, ast.Constant) and isinstance(right.value, bool):
            return self._region(left, wanted is (right.value is (kind is ast.Eq)))
        name = _feature(left)
        if isinstance(left, ast.Constant) and isinstance(right, ast.Constant):
            return [{}] if _OPERATORS[kind](left.value, right.value) is wanted else []
        if name is None or FEATURES.get(name) is bool or not isinstance(right, (ast.Constant, ast.Tuple)):
            raise _UndecidedError
        known = (name, ast.dump(tree))
        if known not in self._masks:
            values = _constants(right)
            self._masks[known] = self._mask(name, kind, values)
        mask = self._masks[known]
        return self._box(name, mask if wanted else self.full(name) & ~mask)

    def _mask(self, name: str, kind: type[ast.cmpop], values: Sequence[Any]) -> int:
        if kind in _OPERATORS and FEATURES[name] is not str:
            holds = _OPERATORS[kind]
            return sum(1 << place for place, atom in enumerate(self.atoms[name]) if holds(atom, values[0]))
        places = self._places.setdefault(name, {atom: place for place, atom in enumerate(self.atoms[name])})
        mask = sum(1 << place for place in {places[value] for value in values if value in places})
        return self.full(name) & ~mask if kind is ast.NotEq else mask

    def _box(self, name: str | None, mask: int) -> Region:
        if name is None:
            raise _UndecidedError
        if mask == self.full(name):
            return [{}]
        return [{name: mask}] if mask else []


def apart(box: Box, other: Box) -> bool:
    """Whether no request is in both."""
    return any(name in box and not box[name] & mask for name, mask in other.items())


def _both(parts: Sequence[Region]) -> Region:
    found: Region = [{}]
    for part in parts:
        found = [
            {**mine, **{name: mine.get(name, -1) & mask for name, mask in box.items()}}
            for mine in found
            for box in part
            if not apart(mine, box)
        ]
        if len(found) > MOST_BOXES:
            raise _UndecidedError
    return found


def _either(parts: Sequence[Region]) -> Region:
    """All boxes; those that name the same one feature are one."""
    single: Box = {}
    rest: Region = []
    for box in (box for part in parts for box in part):
        if len(box) == 1:
            ((name, mask),) = box.items()
            single[name] = single.get(name, 0) | mask
        else:
            rest.append(box)
    found = [*({name: mask} for name, mask in single.items()), *rest]
    if len(found) > MOST_BOXES:
        raise _UndecidedError
    return [{}] if {} in found else found


_TRUTH = (False, True)


def _feature(tree: ast.expr) -> str | None:
    """What a leaf reads: a feature, or a named pattern, which is true or false."""
    if isinstance(tree, ast.Attribute):
        return tree.attr
    if isinstance(tree, ast.Call) and isinstance(tree.args[0], ast.Constant):
        return f"pattern {tree.args[0].value!s}"
    return None


def _constants(tree: ast.expr) -> list[Any]:
    values = tree.elts if isinstance(tree, ast.Tuple) else [tree]
    return [value.value for value in values if isinstance(value, ast.Constant)]


def _atoms(name: str, constants: set[Any]) -> Sequence[Any]:
    """One value for each range in which all comparisons with the constants agree. Counts are 0 or more."""
    kind = FEATURES.get(name)
    if kind is str:
        texts = sorted(constants)
        return (*texts, max([_OTHER, *texts], key=len) + "*")
    if kind not in (int, float):
        return _TRUTH
    points = sorted(constants)
    if not points:
        return (0,)
    if kind is float:
        between = [(low + high) / 2 for low, high in pairwise(points)]
        return tuple(sorted({points[0] - 1, *points, *between, points[-1] + 1}))
    after = [floor(low) + 1 for low, high in pairwise(points) if floor(low) + 1 < high]
    whole = [int(point) for point in points if point == floor(point)]
    return tuple(sorted(value for value in {0, *whole, *after, floor(points[-1]) + 1} if value >= 0))

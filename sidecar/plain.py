"""Plain conditions as Python code: the part of CEL that compares features, headers and labels with constants.

Most rules are of this kind, and crossing into the CEL evaluator costs them ten times what the comparison does. The
evaluator stays the judge of what a condition may be: only what it accepted is translated, nothing here can raise, and
what is not understood (None) is left to it. The tree is built node by node: no text of a policy is ever run.
"""

import ast
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from .features import FEATURES, Features

Test = Callable[[Features, Callable[[str], bool]], int]
"""The place of the first condition that holds, or -1. The second argument tells whether a named pattern is found."""

_TOKEN = re.compile(
    r"""\s*(?:(?P<number>-?\d+(?:\.\d+)?)(?![\w.])|(?P<text>"[^"\\]*"|'[^'\\]*')
    |(?P<key>(?:headers|labels)(?:\.[A-Za-z_]\w*+|\[(?:"[^"\\]*"|'[^'\\]*')\])(?!\s*[.(\[]))
    |(?P<name>in\b|[a-z_]\w*+(?!\s*[.(\[]))
    |(?P<mark>&&|\|\||[=!<>]=|[!<>()\[\],]))""",
    re.VERBOSE,
)
_ORDER: Mapping[str, ast.cmpop] = {"<": ast.Lt(), "<=": ast.LtE(), ">": ast.Gt(), ">=": ast.GtE()}
_EQUAL: Mapping[str, ast.cmpop] = {"==": ast.Eq(), "!=": ast.NotEq()}
_NUMBERS = (int, float)
_MAPS = ("headers", "labels")


class _NotPlainError(ValueError):
    """More than this module understands."""


def tree_of(source: str, patterns: frozenset[str]) -> ast.expr | None:
    """One condition as a tree of Python's: `features.tokens > 9 and found("proof")`; None when it is not plain, or it
    reads headers or labels."""
    try:
        return _Reader(source, patterns).condition()
    except _NotPlainError:
        return None


def is_plain(source: str, patterns: frozenset[str]) -> bool:
    """Whether `first_of` can take it."""
    try:
        _Reader(source, patterns, _MAPS).condition()
    except _NotPlainError:
        return False
    return True


def first_of(sources: Sequence[str], patterns: frozenset[str]) -> Test | None:
    """All conditions as one function; None when one of them is not plain."""
    try:
        tests = [_Reader(source, patterns, _MAPS).condition() for source in sources]
    except _NotPlainError:
        return None
    body: ast.expr = ast.Constant(-1)
    for place in range(len(tests) - 1, -1, -1):
        body = ast.IfExp(tests[place], ast.Constant(place), body)
    names = ast.arguments([], [ast.arg("features"), ast.arg("found")], None, [], [], None, [])
    tree = ast.fix_missing_locations(ast.Expression(ast.Lambda(names, body)))
    test: Test = eval(compile(tree, "<conditions>", "eval"), {"__builtins__": {}})  # noqa: S307  no text: a tree of ours
    return test


class _Reader:
    """Recursive descent over one source. Each method returns an expression, of Python's type where it matters.

    `maps` are those whose keys may be read. Where a key is absent the evaluator fails, and what fails does not hold;
    here the comparison is false. That is the same under `&&` and `||`, and nowhere else.
    """

    def __init__(self, source: str, patterns: frozenset[str], maps: Collection[str] = ()) -> None:
        self._patterns = patterns
        self._maps = maps
        self._keys = 0
        self._tokens: list[tuple[str, str]] = []
        place = 0
        source = source.strip()
        while place < len(source):
            found = _TOKEN.match(source, place)
            if found is None or found.lastgroup is None:
                raise _NotPlainError
            self._tokens.append((found.lastgroup, found[found.lastgroup]))
            place = found.end()
        self._tokens.append(("end", ""))
        self._place = 0

    def condition(self) -> ast.expr:
        """The whole source."""
        test = self._bool(self._either())
        self._expect("end", "")
        return test

    def _next(self, kind: str, *texts: str) -> str | None:
        found = self._tokens[self._place]
        if found[0] != kind or (texts and found[1] not in texts):
            return None
        self._place += 1
        return found[1]

    def _expect(self, kind: str, text: str) -> None:
        if self._next(kind, text) is None:
            raise _NotPlainError

    def _either(self) -> tuple[ast.expr, type]:
        return self._joined("||", ast.Or(), self._both)

    def _both(self) -> tuple[ast.expr, type]:
        return self._joined("&&", ast.And(), self._relation)

    def _joined(
        self, mark: str, operator: ast.boolop, part: Callable[[], tuple[ast.expr, type]]
    ) -> tuple[ast.expr, type]:
        first = part()
        parts = [first[0]]
        while self._next("mark", mark) is not None:
            self._bool(first)
            parts.append(self._bool(part()))
        return (ast.BoolOp(operator, parts), bool) if len(parts) > 1 else first

    def _relation(self) -> tuple[ast.expr, type]:
        if (key := self._next("key")) is not None:
            return self._compared(key), bool
        keys = self._keys
        left, kind = self._operand()
        if self._next("name", "in") is not None:
            known = self._next("name", *self._maps) if self._maps and kind is str else None
            return ast.Compare(left, [ast.In()], [self._list(kind) if known is None else _feature(known)]), bool
        mark = self._next("mark", *_ORDER, *_EQUAL)
        if mark is None:
            return left, kind
        right, other = self._operand()
        numbers = kind in _NUMBERS and other in _NUMBERS
        if (not numbers and (mark in _ORDER or kind is not other)) or self._keys != keys:
            raise _NotPlainError
        return ast.Compare(left, [_ORDER.get(mark) or _EQUAL[mark]], [right]), bool

    def _compared(self, read: str) -> ast.expr:
        """`labels.plan == "gold"`: a key's value beside constants."""
        name = "headers" if read.startswith("headers") else "labels"
        key = read[len(name) :]
        if name not in self._maps:
            raise _NotPlainError
        self._keys += 1
        value: list[ast.expr] = [ast.Constant(key[1:] if key[0] == "." else key[2:-2])]
        get = ast.Attribute(_feature(name), "get", ast.Load())
        if self._next("name", "in") is not None:
            return ast.Compare(ast.Call(get, value, []), [ast.In()], [self._list(str)])
        mark, text = self._next("mark", *_EQUAL), self._next("text")
        if mark is None or text is None:
            raise _NotPlainError
        constant = ast.Constant(text[1:-1])
        absent = [constant] if mark == "!=" else []
        return ast.Compare(ast.Call(get, [*value, *absent], []), [_EQUAL[mark]], [constant])

    def _operand(self) -> tuple[ast.expr, type]:
        if self._next("mark", "!") is not None:
            keys = self._keys
            refused = ast.UnaryOp(ast.Not(), self._bool(self._operand()))
            if self._keys != keys:
                raise _NotPlainError
            return refused, bool
        if self._next("mark", "(") is not None:
            inner = self._either()
            self._expect("mark", ")")
            return inner
        return self._value()

    def _value(self) -> tuple[ast.expr, type]:
        if (number := self._next("number")) is not None:
            value = float(number) if "." in number else int(number)
            return ast.Constant(value), type(value)
        if (text := self._next("text")) is not None:
            return ast.Constant(text[1:-1]), str
        name = self._next("name")
        if name in ("true", "false"):
            return ast.Constant(name == "true"), bool
        if name in self._patterns:
            return ast.Call(_name("found"), [ast.Constant(name)], []), bool
        if name is None or FEATURES.get(name) not in (int, float, str, bool):
            raise _NotPlainError
        return _feature(name), FEATURES[name]

    def _list(self, kind: type) -> ast.expr:
        self._expect("mark", "[")
        values: list[Any] = []
        while not values or self._next("mark", ",") is not None:
            value, other = self._value()
            if other is not kind or kind not in (int, str) or not isinstance(value, ast.Constant):
                raise _NotPlainError
            values.append(value)
        self._expect("mark", "]")
        return ast.Tuple(values, ast.Load())

    def _bool(self, found: tuple[ast.expr, type]) -> ast.expr:
        if found[1] is not bool:
            raise _NotPlainError
        return found[0]


def _feature(name: str) -> ast.expr:
    return ast.Attribute(_name("features"), name, ast.Load())


def _name(name: str) -> ast.expr:
    return ast.Name(name, ast.Load())

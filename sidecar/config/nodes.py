"""YAML text to a tree of nodes: plain Python data, and beside every value and key its place in the file.

The strict subset of YAML 1.2 that configuration needs. Refused, with a place: duplicate keys, keys that are not
strings, merge keys, tags, and whatever grows beyond the bounds below. The tree is built from the parser's
events: that is one pass, and an alias shares its node, so that a bomb of aliases is weighed and never expanded.
"""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import yaml
from msgspec import Struct, structs

from .codes import Code
from .diagnostic import Diagnostic, Place, Severity, error

MAX_DEPTH = 64
MAX_WEIGHT = 200_000
_TEXT_WEIGHT = 100  # so many characters of one scalar weigh as much as one more node

_LINE_BREAK = re.compile("\r\n|[\r\n\x85\u2028\u2029]")
_CONSTANTS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".inf", ".Inf", ".INF", "+.inf", "+.Inf", "+.INF"), float("inf")),
    **dict.fromkeys(("-.inf", "-.Inf", "-.INF"), float("-inf")),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}
# Python refuses to read an integer of more than 4,300 digits, and no float holds one of more than 308;
# a longer one is read as a float.
_INTEGER = re.compile(r"[-+]?[0-9]{1,300}|0o[0-7]{1,300}|0x[0-9a-fA-F]{1,250}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")

# The C parser where PyYAML was built with libyaml (all wheels are); the other reads the same, slower.
_Parser = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Span(NamedTuple):
    """Where in its file: counted from 1, `end_column` exclusive, never empty, cut at the end of the line."""

    line: int
    column: int
    end_column: int


class Node(Struct, frozen=True):
    """One value of the file.

    `data` is the plain Python value; `children` mirrors it for mappings and lists. `plain` is a scalar without
    quotes. `weight` and `height` count what the node holds, aliases expanded.
    """

    span: Span
    data: Any
    children: "dict[str, Node] | list[Node] | None" = None
    keys: dict[str, Span] = {}
    plain: bool = False
    weight: int = 1
    height: int = 0


class RefusedError(Exception):
    """The rest of the file cannot be read; carries the finding that says why."""

    def __init__(self, finding: Diagnostic) -> None:
        super().__init__(finding.message)
        self.finding = finding


def split_lines(text: str) -> list[str]:
    """The lines of a file as the YAML parser counts them."""
    return _LINE_BREAK.split(text)


def resolve(text: str) -> Any:
    """The value of a plain scalar by the core schema of YAML 1.2: null, bool, int, float, else the text."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if _INTEGER.fullmatch(text):
        return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text


class TreeReader:
    """Reads one file's documents; faults that do not end the reading are collected in `findings`."""

    def __init__(self, text: str, file: str) -> None:
        self.findings: list[Diagnostic] = []
        self._file = file
        self._lines = split_lines(text)
        self._parser = _Parser(text)
        self._anchors: dict[str, Node] = {}
        self._weight = 0

    def documents(self) -> Iterator[Node]:
        """The root node of each document.

        Raises `yaml.YAMLError` where the text is not YAML and `RefusedError` where it is too much of it.
        """
        while not isinstance(event := self._parser.get_event(), yaml.StreamEndEvent):
            if isinstance(event, yaml.DocumentStartEvent):
                self._anchors = {}
                self._weight = 0
                yield self._node(self._parser.get_event(), depth=1)

    def _node(self, event: Any, depth: int) -> Node:
        if depth > MAX_DEPTH:
            self._refuse_depth(event)
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, depth)
        if event.tag is not None:
            tag = event.tag.replace("tag:yaml.org,2002:", "!!")
            self._complain(event, f"tags such as `{tag}` are not used here", "remove it; quotes make text")
        self._weigh(event, 1)
        if isinstance(event, yaml.ScalarEvent):
            node = self._scalar(event)
        elif isinstance(event, yaml.SequenceStartEvent):
            node = self._sequence(event, depth)
        else:
            node = self._mapping(event, depth)
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        return node

    def _scalar(self, event: Any) -> Node:
        extra = len(event.value) // _TEXT_WEIGHT
        self._weigh(event, extra)
        plain = event.implicit[0]
        data = resolve(event.value) if plain else event.value
        return Node(self._span(event), data, plain=plain, weight=1 + extra)

    def _sequence(self, event: Any, depth: int) -> Node:
        before = self._weight
        items: list[Node] = []
        while not isinstance(child := self._parser.get_event(), yaml.SequenceEndEvent):
            items.append(self._node(child, depth + 1))
        return Node(
            self._span(event),
            [item.data for item in items],
            items,
            weight=1 + self._weight - before,
            height=1 + max((item.height for item in items), default=0),
        )

    def _mapping(self, event: Any, depth: int) -> Node:
        before = self._weight
        children: dict[str, Node] = {}
        keys: dict[str, Span] = {}
        while not isinstance(key_event := self._parser.get_event(), yaml.MappingEndEvent):
            key = self._key(key_event, depth)
            span = self._span(key_event)
            value_event = self._parser.get_event()
            value = self._node(value_event, depth + 1)
            if key is None:
                continue
            if key in keys:
                self._complain_twice(key, span, keys[key])
                continue
            keys[key] = span
            # A value that is not there has no place of its own: its key stands for it.
            absent = value_event.start_mark.index == value_event.end_mark.index and value.data is None
            children[key] = structs.replace(value, span=span) if absent else value
        in_block = event.start_mark.index == event.end_mark.index
        return Node(
            next(iter(keys.values()), self._span(event)) if in_block else self._span(event),
            {key: child.data for key, child in children.items()},
            children,
            keys,
            weight=1 + self._weight - before,
            height=1 + max((child.height for child in children.values()), default=0),
        )

    def _key(self, event: Any, depth: int) -> str | None:
        node = self._node(event, depth + 1)
        if node.children is not None or isinstance(event, yaml.AliasEvent):
            self._complain(event, "a key must be a plain string", "write it as `key: value`")
        elif node.plain and node.data == "<<":
            self._complain(event, "merge keys (`<<`) are not used here", "write the fields out where they apply")
        elif not isinstance(node.data, str):
            shown = event.value or "(nothing)"
            self._complain(event, f"the key `{shown}` is not a string", f'put it in quotes: "{event.value}"')
        else:
            return node.data
        return None

    def _alias(self, event: Any, depth: int) -> Node:
        node = self._anchors.get(event.anchor)
        if node is None:
            message = f"the alias `*{event.anchor}` has no anchor `&{event.anchor}` before it"
            self._complain(event, message, "a value that starts with `*` needs quotes")
            return Node(self._span(event), None)
        if depth + node.height > MAX_DEPTH:
            self._refuse_depth(event)
        self._weigh(event, node.weight)
        return node

    def _weigh(self, event: Any, weight: int) -> None:
        self._weight += weight
        if self._weight > MAX_WEIGHT:
            message = f"the document has more than {MAX_WEIGHT:,} values, aliases expanded"
            raise RefusedError(error(Code.TOO_LARGE, message, self._place(self._span(event))))

    def _refuse_depth(self, event: Any) -> None:
        message = f"values are nested deeper than {MAX_DEPTH} levels"
        raise RefusedError(error(Code.TOO_LARGE, message, self._place(self._span(event))))

    def _complain(self, event: Any, message: str, help: str) -> None:
        self.findings.append(error(Code.SYNTAX, message, self._place(self._span(event)), help))

    def _complain_twice(self, key: str, second: Span, first: Span) -> None:
        self.findings.append(
            Diagnostic(
                Code.DUPLICATE_KEY,
                Severity.ERROR,
                f"`{key}` is written twice in one mapping",
                self._place(second),
                "keep one of them",
                also=(self._place(first), "first written here"),
            )
        )

    def _span(self, event: Any) -> Span:
        start, end = event.start_mark, event.end_mark
        line = min(start.line, len(self._lines) - 1)
        end_column = end.column if end.line == start.line else len(self._lines[line])
        return Span(line + 1, start.column + 1, max(end_column, start.column + 1) + 1)

    def _place(self, span: Span) -> Place:
        return Place(self._file, *span)

"""Faults in words: what is wrong, where, and how to mend it.

Messages never quote a value: the source line stands below them, and what is shown there can be masked when the field
is a secret.
"""

import difflib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from msgspec import Struct, structs

from .codes import Code
from .diagnostic import MOST_FINDINGS, Diagnostic, error
from .document import DataPath, Document
from .nodes import resolve
from .shapes import Schema, alternatives, tag, type_of, types_of

Finding = tuple[DataPath, Diagnostic]

_TYPE_NAMES = {
    "string": "a string",
    "integer": "an integer",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "a mapping",
    "null": "empty",
}
_BOUNDS = {
    "minimum": "must be at least {0}",
    "maximum": "must be at most {0}",
    "exclusiveMinimum": "must be more than {0}",
    "exclusiveMaximum": "must be less than {0}",
    "multipleOf": "must be a multiple of {0}",
    "minLength": "must have at least {0} characters",
    "maxLength": "must have at most {0} characters",
    "minItems": "must have at least {0} entries",
    "maxItems": "must have at most {0} entries",
    "minProperties": "must have at least {0} entries",
    "maxProperties": "must have at most {0} entries",
    "pattern": "has the wrong form",
}
_OLD_BOOLEANS = {"on": "true", "yes": "true", "y": "true", "off": "false", "no": "false", "n": "false"}
_LISTED = 12
_UNQUOTE = "remove the quotes"


def nearest(word: str, choices: Iterable[str]) -> str | None:
    """``did you mean `retries`?`` for a misspelt word, or None."""
    close = difflib.get_close_matches(word, list(choices), n=1)
    return f"did you mean `{close[0]}`?" if close else None


def listed(names: Iterable[object]) -> str:
    """The names in backticks; of those beyond a dozen only how many they are."""
    shown = [f"`{name}`" for name in names]
    rest = f" and {len(shown) - _LISTED} more" if len(shown) > _LISTED else ""
    return ", ".join(shown[:_LISTED]) + rest


def field(path: DataPath) -> str:
    """How a message calls the value at a path: `port`, `hosts[2]`, the document."""
    names = [index for index, step in enumerate(path) if isinstance(step, str)]
    if not names:
        return "the document"
    name, indexes = path[names[-1]], path[names[-1] + 1 :]
    return f"`{name}{''.join(f'[{index}]' for index in indexes)}`"


class Fault(Struct, frozen=True):
    """`value`, at `path`, does not keep to `keyword` of `schema`, which says `bound`.

    With `of_key` it is a key of the mapping at `path` that does not. `branches` are the faults of each branch of a
    union, beside the branch's index; they matter only where no branch was meant.
    """

    path: DataPath
    keyword: str
    bound: Any
    value: Any
    schema: Schema
    of_key: bool = False
    branches: tuple[tuple[int, "Fault"], ...] = ()


class Wording:
    """Words the faults of one document; `title` is what messages call the document itself."""

    def __init__(self, document: Document, schema: Schema, title: str) -> None:
        self._document = document
        self._definitions: Mapping[str, Schema] = schema.get("$defs", {})
        self._title = title

    def findings(self, faults: Iterable[Fault]) -> list[Finding]:
        """Each finding once, beside the path it is about; the first few hundred of a hopeless document."""
        found: dict[Diagnostic, DataPath] = {}
        for path, finding in islice((one for fault in faults for one in self._findings(fault)), MOST_FINDINGS):
            found.setdefault(finding, path)
        return [(path, finding) for finding, path in found.items()]

    def _findings(self, fault: Fault) -> Iterator[Finding]:
        if fault.of_key:
            return self._bad_key(fault)
        special: dict[str, Callable[[Fault], Iterator[Finding]]] = {
            "additionalProperties": self._unknown_fields,
            "required": self._missing_fields,
            "type": self._wrong_type,
            "anyOf": self._no_branch,
            "enum": self._no_choice,
        }
        return special.get(fault.keyword, self._out_of_bounds)(fault)

    def _unknown_fields(self, fault: Fault) -> Iterator[Finding]:
        known = fault.schema.get("properties", {})
        own = tag(fault.schema)
        names = [name for name in known if own is None or name != own[0]]
        for name in fault.value:
            if name not in known:
                message = f"`{name}` is not a field of {self._owner(fault)}"
                absent = (other for other in names if other not in fault.value)
                help = nearest(name, absent) or (f"its fields are {listed(names)}" if names else None)
                yield self._finding(Code.UNKNOWN_FIELD, (*fault.path, name), message, help, key=True)

    def _missing_fields(self, fault: Fault) -> Iterator[Finding]:
        for name in fault.bound:
            if name not in fault.value:
                shape = alternatives(fault.schema["properties"][name], self._definitions)[0]
                example = next(iter(shape.get("examples") or shape.get("enum") or ()), "...")
                yield self._missing(fault, name, f"add `{name}: {example}`")

    def _missing(self, fault: Fault, name: str, help: str) -> Finding:
        message = f"`{name}` is missing in {self._owner(fault)}"
        return (*fault.path, name), self._finding(Code.MISSING_FIELD, fault.path, message, help, key=True)[1]

    def _wrong_type(self, fault: Fault) -> Iterator[Finding]:
        shapes = alternatives(fault.schema, self._definitions)
        types = {name for shape in shapes for name in types_of(shape)}
        wanted = [text for name, text in _TYPE_NAMES.items() if name in types]
        if "number" in types:
            wanted.remove(_TYPE_NAMES["integer"])
        got = type_of(fault.value)
        shown = str(fault.value).lower() if got == "boolean" else _TYPE_NAMES[got]
        message = f"{field(fault.path)} must be {' or '.join(wanted)}, not {shown}{self._origin(fault.path)}"
        described = [_described(shape) for shape in shapes if types_of(shape) != {"null"}]
        help = _type_help(fault.value, shapes) or (described[0] if len(described) == 1 else None)
        if help == _UNQUOTE and self._origin(fault.path):
            help = "write it without quotes on a line of its own: a `${` inside `{...}` or `[...]` needs them"
        yield self._value(Code.WRONG_TYPE, fault, message, help)

    def _no_branch(self, fault: Fault) -> Iterator[Finding]:
        """The value is meant for no branch of a union: its type is another, or its tag is missing or not known."""
        shapes = alternatives(fault.schema, self._definitions)
        tags = [own for shape in shapes if (own := tag(shape)) is not None]
        if not tags or not isinstance(fault.value, dict):
            yield from self._wrong_type(fault)
            return
        name = tags[0][0]
        choices = [value for _, value in tags]
        if name in fault.value:
            yield self._not_chosen((*fault.path, name), fault.value[name], choices)
        else:
            yield self._missing(fault, name, f"it is one of {listed(choices)}")

    def _no_choice(self, fault: Fault) -> Iterator[Finding]:
        yield self._not_chosen(fault.path, fault.value, fault.bound)

    def _not_chosen(self, path: DataPath, value: object, choices: Iterable[object]) -> Finding:
        names = ["null" if choice is None else choice for choice in choices]
        one_of = "one of " if len(names) > 1 else ""
        message = f"{field(path)} must be {one_of}{listed(names)}{self._origin(path)}"
        help = nearest(value, map(str, names)) if isinstance(value, str) else None
        return self._finding(Code.BAD_VALUE, path, message, help)

    def _out_of_bounds(self, fault: Fault) -> Iterator[Finding]:
        text = _BOUNDS.get(fault.keyword, "is not valid").format(fault.bound)
        if fault.bound == 1:
            text = "must not be empty" if "at least 1 " in text else text.replace("1 entries", "1 entry")
        help = _described(fault.schema) if fault.keyword == "pattern" else _description(fault.schema)
        if fault.keyword == "pattern" and fault.schema.get("x-secret"):
            text = "must say where the secret is found, not what it is"
        elif fault.keyword == "pattern" and help is None:
            help = f"it must match {fault.bound}"
        message = f"{field(fault.path)} {text}{self._origin(fault.path)}"
        yield self._value(Code.BAD_VALUE, fault, message, help)

    def _bad_key(self, fault: Fault) -> Iterator[Finding]:
        message = f"`{fault.value}` cannot be a key of {field(fault.path)}"
        help = _description(fault.schema) or f"a key must match {fault.bound}"
        yield self._finding(Code.BAD_VALUE, (*fault.path, fault.value), message, help, key=True)

    def _owner(self, fault: Fault) -> str:
        """What a mapping is called: kind `gateway`, stage `fallback`, an entry of `models`, `listen`."""
        names = [step for step in fault.path if isinstance(step, str)]
        if not names:
            return self._title
        own = tag(fault.schema)
        if own is not None:
            return f"{_singular(names[-1])} `{own[1]}`"
        return f"an entry of `{names[-1]}`" if isinstance(fault.path[-1], int) else f"`{names[-1]}`"

    def _origin(self, path: DataPath) -> str:
        """Names the reference a value came from: the source line does not show the value itself."""
        node = self._document.node(path)
        reference = re.search(r"\$\{\w+", node.data) if node is not None and isinstance(node.data, str) else None
        return f"; its value comes from `{reference[0]}}}`" if reference else ""

    def _finding(self, code: Code, path: DataPath, message: str, help: str | None, *, key: bool = False) -> Finding:
        return path, error(code, message, self._document.place(path, key), help)

    def _value(self, code: Code, fault: Fault, message: str, help: str | None) -> Finding:
        """A finding about a value, which is not to be shown if the field is a secret."""
        finding = error(code, message, self._document.place(fault.path), help)
        shapes = alternatives(fault.schema, self._definitions)
        return fault.path, structs.replace(finding, masked=any(shape.get("x-secret") for shape in shapes))


def _description(shape: Schema) -> str | None:
    """What the schema says of a field, on one line: the first paragraph."""
    text = shape.get("description")
    return " ".join(text.partition("\n\n")[0].split()) if text else None


def _described(shape: Schema) -> str | None:
    """The same of a text of a certain form, with an example of it."""
    text, example = _description(shape), next(iter(shape.get("examples", ())), None)
    if "pattern" not in shape or shape.get("x-secret") or example is None or str(example) in (text or ""):
        return text
    return f"such as `{example}`" if text is None else f"{text.removesuffix('.')}; such as `{example}`."


def _type_help(value: object, shapes: Sequence[Schema]) -> str | None:
    types = {name for shape in shapes for name in types_of(shape)}
    if isinstance(value, str):
        if "boolean" in types and value.lower() in _OLD_BOOLEANS:
            return f"in YAML 1.2 this is text: write `{_OLD_BOOLEANS[value.lower()]}`"
        if type_of(resolve(value)) in types - {"null"}:
            return _UNQUOTE
    if "array" in types and not isinstance(value, dict):
        return "write a list: `- ` before each entry, or `[...]`"
    if isinstance(value, bool | int | float) and any(_takes(shape, str(value)) for shape in shapes):
        return "put it in quotes"
    return None


def _takes(shape: Schema, text: str) -> bool:
    """Whether a text has the form that is wanted; of lists of words it has not."""
    return "string" in types_of(shape) and "enum" not in shape and bool(re.search(shape.get("pattern", ""), text))


def _singular(name: str) -> str:
    return name[:-3] + "y" if name.endswith("ies") else name.removesuffix("s")

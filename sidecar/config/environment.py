"""`${NAME}` and `${NAME:-default}` in a document's texts, replaced from the environment.

The schema decides three things: a secret keeps its reference (it is looked up when it is used, and shown nowhere),
a text field keeps a value that looks like a number, and a variable that is not set gets a stand-in of the right
type so that the rest of the document can still be checked.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from .codes import Code
from .diagnostic import MOST_FINDINGS, Diagnostic, Place, Severity, error
from .document import DataPath, Document
from .nodes import Node, resolve
from .shapes import Schema, alternatives, inside, type_of, types_of

_REFERENCE = re.compile(
    r"""\$(?: (?P<dollar>\$)
        | \{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?: :-(?P<default>(?:[^}$]|\$(?!\{))*) )?\}
        | (?P<open>\{) )""",
    re.VERBOSE,
)

# How Python shows bytes of the environment that are not UTF-8; no JSON and no header could carry them.
_SURROGATE = re.compile("[\ud800-\udfff]")


def expand(
    document: Document, schema: Schema, environ: Mapping[str, str], strict: bool
) -> tuple[dict[str, Any], list[Diagnostic]]:
    """The document's data with every reference replaced, and a finding for each that cannot be.

    An unset variable is an error when `strict`, else a warning. A variable that is set and empty takes its default,
    as in a shell.
    """
    expansion = _Expansion(document, schema, environ, strict)
    data = expansion.value(document.root, expansion.root_shapes, ())
    return data, expansion.findings


class _Expansion:
    def __init__(self, document: Document, schema: Schema, environ: Mapping[str, str], strict: bool) -> None:
        self.findings: list[Diagnostic] = []
        self._document = document
        self._definitions: Mapping[str, Schema] = schema.get("$defs", {})
        self._environ = environ
        self._lines = document.lines
        self._severity = Severity.ERROR if strict else Severity.WARNING
        self.root_shapes = alternatives(schema, self._definitions)

    def value(self, node: Node, shapes: Sequence[Schema], path: DataPath) -> Any:
        """The node's data, expanded; `shapes` are the schemas that may hold there."""
        if isinstance(node.children, dict):
            return {key: self._inside(node, child, shapes, (*path, key)) for key, child in node.children.items()}
        if isinstance(node.children, list):
            return [self._inside(node, child, shapes, (*path, index)) for index, child in enumerate(node.children)]
        if not isinstance(node.data, str) or "$" not in node.data:
            return node.data
        if any(shape.get("x-secret") for shape in shapes):
            return node.data
        return self._text(node, shapes, path)

    def _inside(self, parent: Node, child: Node, shapes: Sequence[Schema], path: DataPath) -> Any:
        return self.value(child, inside(shapes, parent.data, path[-1], self._definitions), path)

    def _text(self, node: Node, shapes: Sequence[Schema], path: DataPath) -> Any:
        unknown = False

        def replace(match: re.Match[str]) -> str:
            nonlocal unknown
            if match["dollar"]:
                return "$"
            if match["open"]:
                self._refuse(match, path)
                return match[0]
            text = self._environ.get(match["name"]) or match["default"] or ""
            if not text and match["default"] is None and match["name"] not in self._environ:
                self._report_unset(match, path)
            elif _SURROGATE.search(text):
                self._report_bytes(match, path)
            else:
                return text
            unknown = True
            return str(match["name"]).lower()

        text = _REFERENCE.sub(replace, node.data)
        if unknown:
            return _stand_in(shapes, text)
        whole = _REFERENCE.fullmatch(node.data)
        return _typed(text, shapes) if node.plain and whole and whole["name"] else text

    def _report_unset(self, match: re.Match[str], path: DataPath) -> None:
        help = f"set it, or give it a default: `${{{match['name']}:-...}}`"
        message = f"the environment variable `{match['name']}` is not set"
        self._report(Code.UNSET_VARIABLE, message, help, match, path)

    def _report_bytes(self, match: re.Match[str], path: DataPath) -> None:
        message = f"the environment variable `{match['name']}` is not UTF-8 text"
        self._report(Code.BAD_VALUE, message, None, match, path)

    def _refuse(self, match: re.Match[str], path: DataPath) -> None:
        message = "`${` begins no reference to the environment"
        help = "write `${NAME}` or `${NAME:-default}`; a plain `${` is written `$${`"
        self._report(Code.BAD_VALUE, message, help, match, path)

    def _report(self, code: Code, message: str, help: str | None, match: re.Match[str], path: DataPath) -> None:
        if len(self.findings) < MOST_FINDINGS:
            severity = self._severity if code is Code.UNSET_VARIABLE else Severity.ERROR
            self.findings.append(Diagnostic(code, severity, message, self._place(match, path), help))
        elif len(self.findings) == MOST_FINDINGS:
            # An error, so that none of those left unsaid is taken for a warning.
            self.findings.append(error(Code.TOO_LARGE, "too many faulty references", self._document.place(path)))

    def _place(self, match: re.Match[str], path: DataPath) -> Place:
        """The reference itself where the text stands in its line as it is, else the whole value."""
        place = self._document.place(path)
        start = self._lines[place.line - 1].find(match.string, place.column - 1)
        if start < 0:
            return place
        return Place(place.file, place.line, start + match.start() + 1, start + match.end() + 1)


def _typed(text: str, shapes: Sequence[Schema]) -> Any:
    """A variable that is the whole value is read as YAML would, unless the field wants it as text."""
    value = resolve(text)
    types = {name for shape in shapes for name in types_of(shape)}
    return text if type_of(value) not in types and "string" in types else value


def _stand_in(shapes: Sequence[Schema], text: str) -> Any:
    """Something the field accepts, for a value that is not known: its example, its default, its first choice."""
    for shape in shapes:
        is_free_text = "string" in types_of(shape) and not shape.keys() & {"enum", "pattern", "format"}
        known = [] if is_free_text else [shape.get("default"), *shape.get("enum", ())]
        for value in (*shape.get("examples", ()), *known):
            if value is not None:
                return value
    types = {name for shape in shapes for name in types_of(shape)}
    if "string" in types or not types:
        return text
    if types & {"integer", "number"}:
        return next((shape[bound] for shape in shapes for bound in ("minimum", "maximum") if bound in shape), 1)
    return True if "boolean" in types else text

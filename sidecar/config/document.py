"""One YAML document: its data and the place of every key and value; and the two doors to it, text and bytes."""

import stat
from pathlib import Path, PurePath
from typing import Any

import yaml
from msgspec import Struct

from .codes import Code
from .diagnostic import Diagnostic, Place, Severity, error
from .nodes import Node, RefusedError, TreeReader, split_lines
from .syntax import syntax_error, unprintable

MAX_BYTES = 1 << 20
DEFAULT_KINDS = {"gateway.yaml": "gateway", "gateway.yml": "gateway"}
"""File name -> the kind of its first document when that has no `kind`."""

DataPath = tuple[str | int, ...]


class Document(Struct, frozen=True):
    """A document whose root is a mapping; `index` counts the documents of the file from 0.

    `kind` is what the `kind` field says, None when that is missing or not a text. `data` is as written:
    references to the environment are expanded by `check`, because only the schema tells which fields are secrets.
    """

    file: str
    index: int
    kind: str | None
    data: dict[str, Any]
    text: str
    root: Node

    @property
    def lines(self) -> list[str]:
        """The lines of the whole file."""
        return split_lines(self.text)

    def node(self, path: DataPath) -> Node | None:
        """The node at a path such as ``("rules", 0, "when")``, or None."""
        node: Node | None = self.root
        for step in path:
            node = node and _child(node, step)
        return node

    def place(self, path: DataPath, key: bool = False) -> Place:
        """The span of the value at a path, or of its key; where there is none, of the nearest known parent."""
        node, span = self.root, self.root.span
        for step in path:
            child = _child(node, step)
            if child is None:
                return Place(self.file, *span)
            span = node.keys.get(str(step), child.span) if key else child.span
            node = child
        return Place(self.file, *span)


def _empty(text: str, file: str) -> Diagnostic:
    """A file without a document. One without a single character is what a full disk or a cut-off writer leaves: to
    serve without its policy is not what anybody meant."""
    if text.strip():
        return Diagnostic(Code.EMPTY_FILE, Severity.WARNING, "the file holds no document", Place(file))
    return error(Code.EMPTY_FILE, "the file is empty", Place(file), "delete it if that is meant, or comment it out")


def parse(text: str, file: str) -> tuple[list[Document], list[Diagnostic]]:
    """The documents of one file and all that is wrong with its YAML; never raises.

    After an error some documents may be missing, and a returned one may lack the refused keys: good enough to find
    more faults in, not to be used.
    """
    text = text.removeprefix("\ufeff")
    if len(text) > MAX_BYTES:
        return [], [_too_large(file)]
    lines = split_lines(text)
    if finding := unprintable(file, lines):
        return [], [finding]
    documents: list[Document] = []
    findings: list[Diagnostic] = []
    reader = TreeReader(text, file)
    try:
        for index, root in enumerate(reader.documents()):
            if isinstance(root.data, dict):
                documents.append(Document(file, index, _kind(root.data, file, index), root.data, text, root))
            elif root.data is not None:
                help = "write fields, one a line: `kind: ...`"
                place = Place(file, *root.span)
                findings.append(error(Code.WRONG_TYPE, "a document must be a mapping of fields", place, help))
    except yaml.YAMLError as failure:
        findings.append(syntax_error(failure, file, lines))
    except RefusedError as refusal:
        findings.append(refusal.finding)
    findings += reader.findings
    if not documents and not findings:
        findings.append(_empty(text, file))
    return documents, findings


def decode(data: bytes, file: str) -> tuple[str, list[Diagnostic]]:
    """The text of a file's bytes (UTF-8, a byte order mark is dropped); empty text beside a finding."""
    if len(data) > MAX_BYTES:
        return "", [_too_large(file)]
    try:
        return data.decode("utf-8-sig"), []
    except UnicodeDecodeError as failure:
        before = split_lines(data[: failure.start].decode("utf-8-sig", "replace"))
        column = len(before[-1]) + 1
        utf16 = data.startswith((b"\xff\xfe", b"\xfe\xff"))
        message = "the file is UTF-16, not UTF-8" if utf16 else f"byte 0x{data[failure.start]:02x} is not UTF-8 text"
        place = Place(file, len(before), column, column + 1)
        return "", [error(Code.UNREADABLE, message, place, "save the file as UTF-8")]


def read(path: Path, file: str) -> tuple[bytes, list[Diagnostic]]:
    """The bytes of a regular file, shown in findings as `file`; empty bytes beside a finding. Never raises.

    A pipe or a device is refused before it is opened: reading one might never end.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return b"", [error(Code.UNREADABLE, "not a regular file", Place(file))]
        with path.open("rb") as stream:
            data = stream.read(MAX_BYTES + 1)
    except (OSError, ValueError) as failure:
        return b"", [unreadable("the file", failure, Place(file))]
    return (data, []) if len(data) <= MAX_BYTES else (b"", [_too_large(file)])


def unreadable(what: str, failure: OSError | ValueError, place: Place) -> Diagnostic:
    """The finding for what the operating system said; a path with a NUL in it is a `ValueError`."""
    reason = failure.strerror if isinstance(failure, OSError) else str(failure)
    return error(Code.UNREADABLE, f"{what} cannot be read: {(reason or 'unknown failure').lower()}", place)


def _too_large(file: str) -> Diagnostic:
    return error(Code.TOO_LARGE, f"the file is larger than {MAX_BYTES // 1024:,} KiB", Place(file), "split it")


def _kind(data: dict[str, Any], file: str, index: int) -> str | None:
    if "kind" not in data and index == 0:
        return DEFAULT_KINDS.get(PurePath(file).name)
    kind = data.get("kind")
    return kind if isinstance(kind, str) else None


def _child(node: Node, step: str | int) -> Node | None:
    children = node.children
    if isinstance(children, dict):
        return children.get(step) if isinstance(step, str) else None
    if isinstance(children, list) and isinstance(step, int):
        return children[step] if 0 <= step < len(children) else None
    return None

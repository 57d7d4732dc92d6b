"""Somebody else's configuration, read so that nothing in it goes unnoticed: what nobody takes is noted."""

from typing import Any, TypeVar, cast

from msgspec import Struct

from ..config.document import DataPath, Document

T = TypeVar("T")
ANYTHING = "has no counterpart"


class Note(Struct, frozen=True):
    """Something that was not carried over as it stood, and why; never a value, for that may be a secret."""

    line: int
    path: str
    reason: str


class Notes:
    """All notes on one document."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self.found: list[Note] = []

    def add(self, path: DataPath, reason: str) -> None:
        """Note what stands at a path."""
        note = Note(self._document.place(path, key=True).line, ".".join(map(str, path)), reason)
        if note not in self.found:
            self.found.append(note)


class Section:
    """One mapping of the document. What was not taken by `close` is noted, with its reason if there is one."""

    def __init__(self, notes: Notes, path: DataPath, data: object) -> None:
        self._notes = notes
        self._path = path
        self._left: dict[str, Any] = dict(data) if isinstance(data, dict) else {}
        if data is not None and not isinstance(data, dict):
            notes.add(path, "is not a mapping")

    def take(self, name: str, kind: type[T]) -> T | None:
        """A value, once; None when it is absent or of another type, which is noted."""
        value = self._left.pop(name, None)
        wanted: Any = (int, float) if kind is float else kind
        if value is None or (isinstance(value, wanted) and (kind is bool or not isinstance(value, bool))):
            return cast(T | None, value)
        self.note(name, "is of another type than expected")
        return None

    def number(self, *names: str) -> float | None:
        """A positive number under the first of these names that has one."""
        found: float | None = None
        for name in names:
            value = self.take(name, float)
            if value is not None and value <= 0:
                self.note(name, "is not above 0")
            elif found is None:
                found = value
        return found

    def inner(self, name: str) -> "Section":
        """A mapping inside."""
        return Section(self._notes, (*self._path, name), self._left.pop(name, None))

    def note(self, name: str, reason: str) -> None:
        """Note one of its fields."""
        self._notes.add((*self._path, name), reason)

    def close(self, reasons: dict[str, str], otherwise: str = ANYTHING) -> None:
        """Note what is left."""
        for name in self._left:
            self.note(name, reasons.get(name, otherwise))
        self._left = {}


def groups(section: Section, name: str) -> dict[str, list[str]]:
    """A list of mappings from a name to names, as one mapping."""
    found: dict[str, list[str]] = {}
    for one in section.take(name, list) or []:
        for key, values in one.items() if isinstance(one, dict) else ():
            if isinstance(values, list) and all(isinstance(value, str) for value in values):
                found.setdefault(str(key), []).extend(values)
            else:
                section.note(name, f"`{key}` has something else than a list of names")
    return found

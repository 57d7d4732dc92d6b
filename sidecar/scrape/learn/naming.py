"""How a page writes the names of models, and the keys of a field that turn them into ids."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from ..figure import kept, name
from ..finding import QuarantineError
from ..spec import Field
from .known import Known, Model
from .sheet import Sheet, literal

_NOTE = r"(?: \([^()]*\))?"
_ID = re.compile(r"[A-Za-z0-9][\w.:/@+-]*")
_TICKED = re.compile(r"`([A-Za-z][\w.:-]*\d[\w.:-]*)`")
_LOOKED_AT = 500

Naming = dict[str, Any]
"""Keys of an id's field beside the place it stands in: `match`, `find`, `replace`, `slug`, `alias`."""

FORMS: tuple[Naming, ...] = (
    {},
    {"match": rf"(\S+){_NOTE}"},
    {"slug": True},
    {"match": rf"(.*?){_NOTE}", "slug": True},
)
"""Ids as they are, ids with a note, names for people, those with a note."""


class Named(Struct, frozen=True):
    """An id's field, its column, and the known model of each line."""

    field: dict[str, Any]
    column: int | None
    models: tuple[Model | None, ...]

    @property
    def known(self) -> int:
        """How many known models there are."""
        return len({model.id for model in self.models if model})


def names_of(sheet: Sheet, known: Known, namings: Sequence[Naming]) -> list[Named]:
    """Where the names stand and how they are read: of `namings`, and of all others, what finds most known models."""
    found: list[tuple[tuple[int, int, int], Named]] = []
    given: list[tuple[tuple[int, int, int], Named]] = []
    for at in range(len(sheet.header)):
        texts = [line.cells[at] if isinstance(line.cells[at], str) else None for line in sheet.lines]
        if not any(text and known.somehow(text) for text in texts[:_LOOKED_AT]):
            continue
        for rank, naming in enumerate(_forms(texts, known, namings)):
            aliases = dict(naming.get("alias", {}))
            models, read = [], 0
            for each in _read(texts, naming):
                models.append(_model(each, known, aliases))
                read += each is not None
            alias = {"alias": aliases} if aliases else {}
            place = {key: value for key, value in sheet.columns[at].items() if key != "optional"}
            named = Named(place | naming | alias, at, tuple(models))
            (given if rank < len(namings) else found).append(((named.known, read, -rank), named))
    if (before := _before(sheet, known)) is not None:
        found.append(((before.known, 0, 0), before))
    best = [max(some, key=lambda each: each[0])[1] for some in (given, found) if some]
    return [each for each in best if each.known]


def _forms(texts: Sequence[str | None], known: Known, namings: Sequence[Naming]) -> Iterator[Naming]:
    yield from namings
    yield from FORMS
    short = set()
    for text in texts[:_LOOKED_AT]:
        model = known.short(re.sub(r" ?\([^()]*\)", "", text[:256])) if text else None
        if model is not None:
            short.add(model.id.split("-")[0])
    for first in sorted(short)[:3]:
        yield {"match": rf"(.*?){_NOTE}", "replace": {"^": f"{first} "}, "slug": True}


def _read(texts: Sequence[str | None], naming: Naming) -> Iterator[str | None]:
    """The ids that a field with these keys makes of cells; None where it refuses one."""
    field = msgspec.convert({"column": "x", **naming}, Field)
    for text in texts:
        try:
            raw = kept(text, field)
        except QuarantineError:
            raw = None
        read = name(raw, field) if raw else ""
        yield read if _ID.fullmatch(read) else None


def _model(read: str | None, known: Known, aliases: dict[str, str]) -> Model | None:
    """The known model of an id; one that is only alike gets an alias."""
    if read is None:
        return None
    model = known.exact(aliases.get(read, read))
    if model is None and (model := known.alike(read)) is not None:
        aliases[read] = model.id
    return model


def _before(sheet: Sheet, known: Known) -> Named | None:
    """Names as code in the text before a table: a page with a section for each model."""
    models: list[Model | None] = []
    prefixes = set()
    for line in sheet.lines:
        ticked = [text for text in _TICKED.findall(line.section[-4000:]) if known.exact(text)]
        models.append(known.exact(ticked[0]) if ticked else None)
        prefixes |= {text.split("-")[0] for text in ticked}
    if len(prefixes) != 1:
        return None
    named = Named({"section": rf"`({literal(prefixes.pop())}[\w.:-]*)`"}, None, tuple(models))
    return named if named.known > 1 else None

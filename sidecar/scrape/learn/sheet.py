"""Tables that are selected together, as one: columns by name, though each table may have some of its own."""

import re
from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from ..table import Grid

_NOTE = re.compile(r"(?<=\S) ?\(.*\)$|\*+$")


class Line(Struct, frozen=True):
    """One row; `cells` has one for each column of the sheet, None where its table lacks the column."""

    cells: tuple[Any, ...]
    section: str
    typed: bool


class Sheet(Struct, frozen=True):
    """Columns, each with the keys that find it, and the whole rows of all tables."""

    header: tuple[str, ...]
    columns: tuple[dict[str, Any], ...]
    lines: tuple[Line, ...]


def sheet(grids: Sequence[Grid]) -> Sheet:
    """All tables whose columns have a name each; where names are there twice, the tables like the first."""
    if not grids:
        return Sheet((), (), ())
    first = grids[0].header
    twice = any(len(set(map(bare, grid.header))) < len(grid.header) for grid in grids)
    if twice or all(grid.header == first for grid in grids):
        alike = [grid for grid in grids if grid.header == first]
        lines = [Line(line.cells, grid.section, grid.typed) for grid in alike for line in grid.lines if line.whole]
        return Sheet(first, tuple(_nth(first, at) for at in range(len(first))), tuple(lines))
    header = tuple(dict.fromkeys(bare(name) for grid in grids for name in grid.header))
    lines = []
    for grid in grids:
        at = [next((i for i, name in enumerate(grid.header) if bare(name) == wanted), None) for wanted in header]
        for line in grid.lines:
            if line.whole:
                cells = tuple(None if index is None else line.cells[index] for index in at)
                lines.append(Line(cells, grid.section, grid.typed))
    return Sheet(header, tuple(_any_of(name, grids) for name in header), tuple(lines))


def literal(text: str) -> str:
    """A pattern of these very words, as a person would write it."""
    return re.escape(text).replace(r"\ ", " ").replace(r"\-", "-").replace(r"\&", "&")


def bare(header: str) -> str:
    """A column's name without what is said in parentheses after it."""
    return _NOTE.sub("", header)


def _nth(header: Sequence[str], at: int) -> dict[str, Any]:
    """A column's whole name, and which one it is where several have it. A pattern is never empty."""
    same = [index for index, name in enumerate(header) if name == header[at]]
    which = {"nth": [same.index(at) + 1, len(same)]} if len(same) > 1 else {}
    return {"column": literal(header[at]) or "^$", **which}


def _any_of(name: str, grids: Sequence[Grid]) -> dict[str, Any]:
    """A column of several tables: some may say more in its name, some may lack it."""
    seen = {each for grid in grids for each in grid.header if bare(each) == name}
    pattern = literal(name) if seen == {name} else rf"{literal(name)}(?: ?\(.*\)|\*+)?"
    everywhere = all(any(bare(each) == name for each in grid.header) for grid in grids)
    return {"column": pattern or "^$"} | ({} if everywhere else {"optional": True})

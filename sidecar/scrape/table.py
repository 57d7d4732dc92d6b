"""Every format meets here: a table with a header and rows of cells. Also the reader of Markdown's pipe tables."""

import html
import re
from collections.abc import Iterator, Sequence
from typing import Any

from msgspec import Struct

from .spec import Markdown


class Line(Struct, frozen=True):
    """One row of a table; `whole` is False when it has not the cells that the header has."""

    cells: tuple[Any, ...]
    number: int = 1
    whole: bool = True


class Grid(Struct, frozen=True):
    """One table. `section` is the text from its heading on; `typed` cells come from JSON, not from text."""

    header: tuple[str, ...]
    lines: tuple[Line, ...]
    section: str = ""
    number: int = 1
    typed: bool = False


_LINK = re.compile(r"!?\[([^\]]*)\]\([^)]*\)")
_TAG = re.compile(r"</?[A-Za-z][^>]*>")
_MARKUP = re.compile(r"[`*]+|\\(?=[$|_*<>-])|(?<!\w)_|_(?!\w)")
_HEADING = re.compile(r"#{1,6} +(.*?)[ #]*")
_RULE = re.compile(r"\|?( *:?-+:? *\|)* *:?-+:? *\|? *")
_PIPE = re.compile(r"(?<!\\)\|")


def tidy(text: str) -> str:
    """A text on one line: entities resolved, blanks of all sorts made one."""
    return " ".join(html.unescape(text).split())


def plain(text: str) -> str:
    """A Markdown text without links, tags and emphasis."""
    return tidy(_MARKUP.sub("", _TAG.sub(" ", _LINK.sub(r"\1", text))))


def grid(rows: Sequence[Line], header_row: int, transpose: bool) -> Grid | None:
    """A table of raw rows, of which one is the header; None when it is not there."""
    if len(rows) < header_row:
        return None
    number = rows[0].number
    if transpose:
        rows = _transposed(rows)
    header, body = rows[header_row - 1], rows[header_row:]
    width = len(header.cells)
    lines = tuple(Line(row.cells, row.number, row.whole and len(row.cells) == width) for row in body)
    return Grid(tuple(map(str, header.cells)), lines if header.whole else (), number=number)


def _transposed(rows: Sequence[Line]) -> list[Line]:
    """Columns as rows. One row that lacks a cell makes all of them doubtful: which cell it was is not known."""
    width = max(len(row.cells) for row in rows)
    whole = all(row.whole and len(row.cells) == width for row in rows)
    padded = [(*row.cells, *[""] * (width - len(row.cells))) for row in rows]
    return [Line(cells, rows[0].number, whole or index == 0) for index, cells in enumerate(zip(*padded, strict=True))]


def markdown_grids(text: str, spec: Markdown) -> list[Grid]:
    """The tables under the headings that the spec means."""
    found: list[Grid] = []
    there: set[str] = set()
    for heading, start, lines in _sections(text):
        if re.fullmatch(spec.heading, heading):
            there.add(heading)
            found += _chosen(list(_tables(lines, start)), "\n".join(lines), spec)
    announced = {plain(label) for label in re.findall(spec.index, text)} if spec.index is not None else set()
    # A grid without columns is a table that cannot be read: that is what is reported of it.
    found += [Grid((), (), label) for label in sorted(announced - there) if re.fullmatch(spec.heading, label)]
    return found


def captions(text: str) -> Iterator[tuple[str, str]]:
    """`(heading, caption)` of every table on a page: the line of text before it."""
    for heading, start, lines in _sections(text):
        for _, caption, _ in _tables(lines, start):
            yield heading, plain(caption)


def _chosen(tables: list[tuple[str, str, list[Line]]], section: str, spec: Markdown) -> list[Grid]:
    if spec.panes is not None:
        labels = [match[1] for match in re.finditer(spec.panes, section)] or [spec.first]
        if len(labels) != len(tables):
            # Which table is missing cannot be told, so none is what its place says.
            return [Grid((), (), before, rows[0].number) for before, _, rows in tables[:1]]
        tables = [table for label, table in zip(labels, tables, strict=True) if label == spec.pane]
    found = []
    for before, caption, rows in tables:
        if spec.caption is not None and not re.fullmatch(spec.caption, plain(caption)):
            continue
        table = grid(rows, spec.header_row, spec.transpose)
        if table is not None:
            found.append(Grid(table.header, table.lines, before, table.number))
    return found


def _sections(text: str) -> Iterator[tuple[str, int, list[str]]]:
    """Heading, number of its first line, lines up to the next heading; what is fenced as code counts for nothing."""
    heading, start, lines, fence = "", 1, list[str](), False
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith(("```", "~~~")):
            fence = not fence
        match = None if fence else _HEADING.fullmatch(line)
        if match:
            yield heading, start, lines
            heading, start, lines = plain(match[1]), number + 1, []
        else:
            lines.append("" if fence else line)
    yield heading, start, lines


def _tables(lines: list[str], start: int) -> Iterator[tuple[str, str, list[Line]]]:
    """The section's text before each table, the last line of it, and the table's rows without the rule."""
    before: list[str] = []
    index = 0
    while index < len(lines):
        if not (_PIPE.search(lines[index]) and index + 1 < len(lines) and _RULE.fullmatch(lines[index + 1].strip())):
            before.append(lines[index])
            index += 1
            continue
        rows = [_row(lines[index], start + index)]
        index += 2
        while index < len(lines) and _PIPE.search(lines[index]):
            rows.append(_row(lines[index], start + index))
            index += 1
        yield "\n".join(before), next((line for line in reversed(before) if line.strip()), ""), rows


def _row(line: str, number: int) -> Line:
    line = line.strip()
    closed = line.startswith("|") and len(line) > 1 and bool(_PIPE.match(line, len(line) - 1))
    cells = _PIPE.split(line[1:-1] if closed else line)
    return Line(tuple(map(plain, cells)), number, closed)

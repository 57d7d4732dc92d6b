"""Where parsel and JMESPath are: from a page's text and a table's spec to grids."""

import json
import re
from collections.abc import Iterator
from typing import Any

import jmespath
from parsel import Selector, SelectorList

from .finding import QuarantineError, Reason
from .spec import Html, Island, Json, Markdown, Scraper, Table
from .table import Grid, Line, grid, markdown_grids, tidy

MAX_SPAN = 1000
"""Cells that one cell may stand for: HTML's own bound."""

# A footnote's mark is no digit of a price, and a script no text.
_TEXT = "descendant-or-self::text()[not(ancestor::script or ancestor::style or ancestor::sup or ancestor::template)]"
_TRAILING_COMMA = re.compile(r",(?=\s*[\]}])")


class Page:
    """One page, parsed once."""

    def __init__(self, text: str, type: str) -> None:
        self.text = text
        self.type = type
        self.data: Any = json.loads(text) if type == "json" else None
        self.html = Selector(text, type="html") if type == "html" else None

    @property
    def visible(self) -> str:
        """What a reader sees, on one line."""
        return tidy(self.text if self.html is None else _text(self.html.xpath("//body")))

    @property
    def titles(self) -> str:
        """The title and the headings."""
        if self.html is not None:
            return " | ".join(_text(node) for node in self.html.xpath("//title | //h1 | //h2"))
        return " | ".join(re.findall(r"(?m)^(?:Title:|#{1,2} ) *(.*)", self.text)) if self.type == "markdown" else ""

    def grids(self, spec: Table) -> list[Grid]:
        """The tables that a spec means. Raises QuarantineError where JSON or a record is not what it should be."""
        if isinstance(spec, Markdown):
            return markdown_grids(self.text, spec)
        if isinstance(spec, Html):
            return list(self._html_grids(spec))
        if isinstance(spec, Island):
            return [found for text in self._islands(spec) if (found := _records(_json(text), spec)) is not None]
        if isinstance(spec, Json):
            found = _records(self.data, spec)
            return [] if found is None else [found]
        raise TypeError(f"no such table: {type(spec).__name__}")

    def _select(self, css: str | None, xpath: str | None) -> SelectorList[Selector]:
        if self.html is None:
            return SelectorList()
        return self.html.css(css) if css is not None else self.html.xpath(xpath or "")

    def _html_grids(self, spec: Html) -> Iterator[Grid]:
        selected = self._select(spec.css, spec.xpath)
        if spec.cells:
            lines = tuple(_card(node, spec.cells) for node in selected)
            if lines:
                yield Grid(tuple(spec.cells), lines, number=lines[0].number)
            return
        for node in selected:
            found = grid(_rows(node), spec.header_row, spec.transpose)
            if found is not None:
                yield found

    def _islands(self, spec: Island) -> list[str]:
        if spec.pattern is not None:
            return re.findall(spec.pattern, self.text)
        return self._select(spec.css, spec.xpath).getall()


def problems(scraper: Scraper) -> list[str]:
    """Selectors and queries that cannot be used: what the spec's own types do not check."""
    blank, found = Selector("<p/>", type="html"), []
    for table in (table for source in scraper.sources for table in source.tables):
        css, xpath = getattr(table, "css", None), getattr(table, "xpath", None)
        cells = table.cells.values() if isinstance(table, Html) else ()
        try:
            if isinstance(table, Json):
                jmespath.compile(table.rows)
            if css is not None:
                blank.css(css)
            for path in (xpath, *cells):
                if path is not None:
                    blank.xpath(path)
        # cssselect's errors are SyntaxError and RuntimeError.
        except (ValueError, SyntaxError, RuntimeError) as fault:
            found.append(str(fault).strip())
    return found


def _text(nodes: Selector | SelectorList[Selector]) -> str:
    return tidy(" ".join(nodes.xpath(_TEXT).getall()))


def _line(node: Selector) -> int:
    return int(getattr(node.root, "sourceline", None) or 1)


def _card(node: Selector, cells: dict[str, str]) -> Line:
    """A row that no table holds. Two places for one cell leave it open which is right: the row is not whole."""
    found = {header: node.xpath(path) for header, path in cells.items()}
    return Line(
        tuple(_text(part) for part in found.values()),
        _line(node),
        all(len(part) <= 1 for part in found.values()),
    )


def _rows(table: Selector) -> list[Line]:
    """A table's rows with every cell that spans several repeated."""
    rows: list[Line] = []
    below: dict[int, tuple[int, str]] = {}
    for row in table.xpath(".//tr"):
        cells: list[str] = []
        for cell in row.xpath("./th | ./td"):
            _fill(cells, below)
            text = _text(cell)
            for _ in range(_span(cell, "colspan")):
                if (deep := _span(cell, "rowspan")) > 1:
                    below[len(cells)] = (deep, text)
                cells.append(text)
        _fill(cells, below)
        below = {at: (deep - 1, text) for at, (deep, text) in below.items() if deep > 1}
        if cells:
            rows.append(Line(tuple(cells), _line(row)))
    return rows


def _fill(cells: list[str], below: dict[int, tuple[int, str]]) -> None:
    """Cells that an earlier row's cell reaches down into."""
    while len(cells) in below and below[len(cells)][0] > 0:
        cells.append(below[len(cells)][1])


def _span(cell: Selector, attribute: str) -> int:
    text = cell.attrib.get(attribute, "1")
    return min(int(text), MAX_SPAN) if text.isdecimal() and int(text) > 0 else 1


def _json(text: str) -> Any:
    try:
        return json.loads(_TRAILING_COMMA.sub("", text))
    except (ValueError, RecursionError):
        raise QuarantineError(Reason.TRUNCATED, "JSON inside the page cannot be read") from None


def _records(data: Any, spec: Json) -> Grid | None:
    """The records that a query yields; None when it yields none, which is not the same as an empty list."""
    try:
        rows = jmespath.search(spec.rows, data)
    except jmespath.exceptions.JMESPathError as fault:
        raise QuarantineError(Reason.MISSING_TABLE, f"the records are not where they were: {fault}") from None
    if not isinstance(rows, list):
        return None
    if spec.header:
        header = spec.header
    else:
        header = tuple(dict.fromkeys(key for row in rows if isinstance(row, dict) for key in row))
    return Grid(header, tuple(_record(row, header) for row in rows), typed=True)


def _record(row: Any, header: tuple[str, ...]) -> Line:
    if isinstance(row, dict):
        return Line(tuple(row.get(key) for key in header))
    if isinstance(row, list):
        return Line(tuple(row), whole=len(row) == len(header))
    return Line((row,), whole=False)

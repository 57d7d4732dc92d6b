"""A page's bytes and a spec to rows and findings: select, normalise, check. Pure; what is in doubt stays out."""

import re
from collections.abc import Iterable, Iterator
from typing import Any

from .check import plausible
from .figure import amounts, kept, name, nothing, per_million, size
from .finding import Extraction, Finding, QuarantineError, Reason, Row
from .page import behind, open_page
from .select import Page
from .spec import FIELDS, MONEY, SIZES, Field, FieldName, Scraper, Source, Table
from .table import Grid, Line

Columns = dict[FieldName, int | None]
"""Field to the index of its column; None for one that stands in no column."""


def extract(scraper: Scraper, data: bytes) -> Extraction:
    """All models of a page that may be believed, and why the others, or the whole page, may not."""
    try:
        page, source = open_page(scraper, data)
    except QuarantineError as fault:
        return Extraction((), (Finding(fault.reason, fault.message, fault.line),))
    return _Reading(scraper, source, page).result()


class _Reading:
    """One page being read: values by model, and the models that are in doubt."""

    def __init__(self, scraper: Scraper, source: Source, page: Page) -> None:
        self.scraper, self.source, self.page = scraper, source, page
        self.found: dict[str, dict[str, Any]] = {}
        self.added: dict[str, dict[str, Any]] = {}
        self.places: dict[str, int] = {}
        self.selectors: dict[str, dict[str, str]] = {}
        self.findings: list[Finding] = []
        self.given = frozenset(
            field for table in source.tables for field, how in table.fields.items() if how.value is not None
        )

    def result(self) -> Extraction:
        """Rows and findings; no rows at all when the page as a whole is not believed."""
        try:
            for table in self.source.tables:
                self.read(table)
            rows = self.believed()
        except QuarantineError as fault:
            rows = ()
            self.refuse(fault)
        return Extraction(rows, tuple(dict.fromkeys(self.findings)), self.source.url)

    def refuse(self, fault: QuarantineError, line: int = 1, ids: Iterable[str] = ()) -> None:
        """Notes why these models, or the whole page, are kept out."""
        self.findings.append(Finding(fault.reason, fault.message, max(line, fault.line), tuple(ids)))

    def read(self, table: Table) -> None:
        """Adds what one of the source's tables says. Raises QuarantineError when the page cannot do without it."""
        grids = self.page.grids(table)
        if grids and not self.source.min_rows and not any(grid.lines for grid in grids):
            return  # an empty list, where that is an answer
        before = len(self.findings)
        if sum(self.grid(table, grid) for grid in grids) or table.optional:
            return
        ids = table.fields["id"]
        where = f"for `{ids.column or ids.section}`" + (" with the added fields" if table.joins else "")
        why = f": {self.findings[-1].message}" if len(self.findings) > before else ""
        reason = self.findings[-1].reason if why else Reason.MISSING_TABLE
        raise behind(self.page, QuarantineError(reason, f"no table {where} has rows{why}"))

    def grid(self, table: Table, grid: Grid) -> int:
        """How many rows of one grid are meant, sound or not."""
        try:
            columns = _columns(table, grid.header)
            meant = _meant(table, grid)
            if not meant:
                raise QuarantineError(Reason.MISSING_TABLE, "a table without a row that is meant")
        except QuarantineError as fault:
            section = table.fields["id"].section
            ids = re.findall(section, grid.section) if section is not None else []
            self.refuse(fault, grid.number, [name(each, table.fields["id"]) for each in ids])
            return 0
        for line in meant:
            self.line(table, grid, line, columns)
        return len(meant)

    def line(self, table: Table, grid: Grid, line: Line, columns: Columns) -> None:
        """Adds one row, or keeps its models out."""
        ids: list[str] = []
        try:
            ids = _ids(table.fields["id"], grid, line, columns["id"])
            if not line.whole:
                raise QuarantineError(Reason.RAGGED_ROW, "a row with other cells than its header")
            values = _values(table, grid, line, columns)
        except QuarantineError as fault:
            about = f"`{', '.join(ids)}`: " if ids else ""
            self.refuse(QuarantineError(fault.reason, about + fault.message), line.number, ids)
            for each in ids if not table.joins else ():
                self.places.setdefault(each, line.number)
            return
        into = self.added if table.joins else self.found
        for each in ids:
            if not table.joins:
                self.places.setdefault(each, line.number)
            known = into.setdefault(each, {})
            if clash := [field for field in values if known.get(field, values[field]) != values[field]]:
                message = f"`{each}`: the page gives `{clash[0]}` as {known[clash[0]]} and as {values[clash[0]]}"
                self.refuse(QuarantineError(Reason.CONFLICT, message), line.number, [each])
            known.update(values)
            found_by = {field: table.finder(field) for field in values}
            self.selectors[each] = {**found_by, **self.selectors.get(each, {})}

    def believed(self) -> tuple[Row, ...]:
        """The models without a fault. Raises QuarantineError when they are too few, or too many others are bad."""
        doubtful = {each for finding in self.findings for each in finding.ids}
        nameless = sum(not finding.ids for finding in self.findings)
        rows = []
        for each, values in self.found.items():
            values = {**values, **self.added.get(each, {})}
            try:
                plausible(self.scraper, self.source, values, self.given)
            except QuarantineError as fault:
                self.refuse(QuarantineError(fault.reason, f"`{each}`: {fault.message}"), self.places[each], [each])
                doubtful.add(each)
            if each not in doubtful:
                ordered: dict[str, Any] = {field: values[field] for field in FIELDS if field in values}
                rows.append(Row(each, ordered, self.places[each], self.selectors[each]))
        bad = nameless + len(doubtful & self.places.keys())
        if len(self.places) < self.source.min_rows:
            message = f"{len(self.places)} models, and the page has never had fewer than {self.source.min_rows}"
            raise QuarantineError(Reason.TOO_FEW_ROWS, message)
        if bad > self.scraper.max_quarantined * (bad + len(rows)):
            raise QuarantineError(Reason.TOO_MANY_BAD, f"{bad} of {bad + len(rows)} models are bad: none is believed")
        return tuple(rows)


def _columns(table: Table, header: tuple[str, ...]) -> Columns:
    """Where each field's column is now: found by its name, so that it may move."""
    columns: Columns = {}
    for field, how in table.fields.items():
        if how.column is None:
            columns[field] = None
            continue
        at = [index for index, text in enumerate(header) if re.fullmatch(how.column, text)]
        which, of = how.nth or (1, 1)
        if not at and how.optional and field != "id":
            continue
        if len(at) != of:
            said = "no column" if not at else f"{len(at)} columns"
            raise QuarantineError(Reason.MISSING_COLUMN, f"{said} for `{field}` (`{how.column}`)")
        columns[field] = at[which - 1]
    return columns


def _meant(table: Table, grid: Grid) -> list[Line]:
    """The rows that `where` lets through."""
    tests = []
    for header, cell in table.where.items():
        at = [index for index, text in enumerate(grid.header) if re.fullmatch(header, text)]
        if len(at) != 1:
            raise QuarantineError(Reason.MISSING_COLUMN, f"{len(at)} columns for `{header}`")
        tests.append((at[0], cell))
    return [
        line
        for line in grid.lines
        if all(at < len(line.cells) and re.fullmatch(cell, str(line.cells[at])) for at, cell in tests)
    ]


def _ids(how: Field, grid: Grid, line: Line, at: int | None) -> list[str]:
    """The models that a row is about."""
    if how.section is not None:
        texts: list[str | None] = list(re.findall(how.section, grid.section))
    else:
        cell = how.value if at is None else line.cells[at] if at < len(line.cells) else None
        texts = [kept(cell, how) if isinstance(cell, str) else None]
    ids = [name(text, how) for text in texts if text]
    if not ids or not all(re.fullmatch(r"[A-Za-z0-9][\w.:/@+-]*", each) for each in ids):
        raise QuarantineError(Reason.MISSING_VALUE, f"a row without a model's name: `{texts[0] if texts else ''}`")
    return ids


def _values(table: Table, grid: Grid, line: Line, columns: Columns) -> dict[str, Any]:
    """The figures of one row, without those it does not give."""
    values: dict[str, Any] = {}
    money: dict[int, list[FieldName]] = {}
    for field, at in columns.items():
        how = table.fields[field]
        if field == "id":
            continue
        if how.section is not None:
            cell = next(iter(re.findall(how.section, grid.section)), None)
        else:
            cell = how.value if at is None else line.cells[at]
        if field in MONEY and at is not None:
            money.setdefault(at, []).append(field)
        elif nothing(cell):
            continue
        elif field in MONEY:
            values[field] = cell
        elif (text := kept(cell, how)) is not None:
            values[field] = size(text) if field in SIZES else name(text, how)
    for at, fields in money.items():
        values.update(_prices(table, line.cells[at], fields, grid.typed))
    for field in columns:
        if table.fields[field].required and field != "id" and field not in values:
            raise QuarantineError(Reason.MISSING_VALUE, f"a row without `{field}`")
    return values


def _prices(table: Table, cell: Any, fields: list[FieldName], typed: bool) -> Iterator[tuple[str, float]]:
    """The prices in one cell. Every amount must be somebody's: what nobody picks or ignores is not understood."""
    if nothing(cell):
        return
    given = amounts(cell, typed)
    claimed: set[int] = set()
    for field in fields:
        pick = table.fields[field].pick or ""
        at = [index for index, amount in enumerate(given) if re.fullmatch(pick, amount.words)]
        if len(at) > 1:
            raise QuarantineError(Reason.UNREADABLE_VALUE, f"`{str(cell)[:80]}` has {len(at)} amounts for `{field}`")
        claimed.update(at)
        for index in at:
            yield field, per_million(given[index], table.fields[field])
    for index, amount in enumerate(given):
        if index not in claimed and not (table.ignore and re.fullmatch(table.ignore, amount.words)):
            raise QuarantineError(Reason.UNREADABLE_VALUE, f"`{str(cell)[:80]}`: `{amount.words}` is not understood")

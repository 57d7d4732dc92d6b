"""How well the known figures stand in a table: which column is which, in which unit, and who contradicts it."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from msgspec import Struct

from ..figure import Amount, amounts, nothing, size
from ..finding import QuarantineError
from ..spec import MONEY, SIZES
from .known import FIELDS, Known, Model
from .naming import Named, Naming, names_of
from .sheet import Line, Sheet, literal

PER = {"1M": 1, "1K": 1_000, "token": 1_000_000}
"""How many of these units one million tokens are."""

_UNITS = {"million": "1M", "thousand": "1K", "token": "token"}
_TOKENS = "tokens"
_HINTS = {
    "input": r"input|prompt", "output": r"output|completion", "cache_read": r"cache|read|hit",
    "cache_write_5m": r"write|5m", "cache_write_1h": r"write|1h", "audio_input": r"audio",
    "long_input": r"input|long|>", "long_output": r"output|long|>", "long_cache_read": r"cache|long|>",
    "context": r"context|window", "max_output": r"max|output",
}  # fmt: skip
"""Words of a header that speak for a field, where the figures leave it open."""

_MOST_PATTERN = 900


class Spot(Struct, frozen=True):
    """Where a field stands: a column, the words beside its amounts, and the unit."""

    at: int
    words: frozenset[str]
    unit: str


class Fit(Struct, frozen=True):
    """A table's fields as YAML has them, which column they are, and what speaks for and against them, by model id."""

    fields: dict[str, dict[str, Any]]
    extra: dict[str, Any]
    columns: dict[int, str]
    agreeing: frozenset[str]
    differing: frozenset[str]
    rows: int

    @property
    def confidence(self) -> float:
        """Share of the known models whose prices the table gives as they are known."""
        of = len(self.agreeing) + len(self.differing)
        return len(self.agreeing) / of if of else 0.0

    @property
    def score(self) -> tuple[int, int, int]:
        """The better, the higher: agreement, then rows, then further fields."""
        return len(self.agreeing) - 2 * len(self.differing), self.rows, len(self.fields)


class _Row(Struct, frozen=True):
    model: Model
    line: Line


def fit(sheet: Sheet, known: Known, namings: Sequence[Naming]) -> Fit | None:
    """The best reading of a sheet; None when no known model's input and output stand in it."""
    readings = (_reading(sheet, named) for named in names_of(sheet, known, namings))
    return max((each for each in readings if each is not None), key=lambda each: each.score, default=None)


def _reading(sheet: Sheet, named: Named) -> Fit | None:
    rows = [_Row(model, line) for line, model in zip(sheet.lines, named.models, strict=True) if model is not None]
    spots = _assigned(rows, sheet, named.column)
    if not {"input", "output"} <= spots.keys():
        return None
    tests = _where(rows, spots, sheet, named.column)
    agreeing, differing = _verdicts([row for row in rows if _meant(row.line, tests)], spots)
    meant = [line for line in sheet.lines if _meant(line, tests)]
    extra: dict[str, Any] = {}
    if tests:
        extra["where"] = {sheet.columns[at]["column"]: literal(cell) for at, cell in tests.items()}
    if ignored := _ignored(meant, spots):
        extra["ignore"] = ignored
    columns = {spot.at: field for field, spot in reversed(spots.items())}
    if named.column is not None:
        columns[named.column] = "model"
    fields = {"id": named.field} | _fields(spots, sheet)
    return Fit(fields, extra, columns, frozenset(agreeing), frozenset(differing), len(meant))


def same(one: float, other: float) -> bool:
    """Whether two figures are one but for how a computer writes them."""
    return abs(one - other) <= 1e-9 * max(abs(one), abs(other))


def _amounts(cell: Any, typed: bool) -> list[Amount]:
    try:
        return [] if nothing(cell) else amounts(cell, typed)
    except (QuarantineError, ArithmeticError):
        return []


def _readings(line: Line, at: int) -> Iterator[tuple[str, str, float]]:
    """`(words, unit, value per million)` of one cell, once for each unit that it may be in."""
    cell = line.cells[at]
    for amount in _amounts(cell, line.typed):
        said = _UNITS[amount.unit] if amount.unit else None
        for unit, times in PER.items():
            if said in (None, unit):
                yield amount.words, unit, float(amount.figure * Decimal(times))
    try:
        yield "", _TOKENS, float(size(cell))
    except (QuarantineError, ArithmeticError):
        return


def _bids(rows: Sequence[_Row], at: int) -> Iterator[tuple[int, str, Spot]]:
    """`(models that agree, field, spot)`: what one column may be."""
    agree: dict[tuple[str, str], dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    there: dict[tuple[str, str], set[str]] = defaultdict(set)
    for row in rows:
        for words, unit, value in _readings(row.line, at):
            for field, figure in row.model.figures.items():
                if (field in SIZES) != (unit == _TOKENS):
                    continue
                there[field, words].add(row.model.id)
                if same(value, figure):
                    agree[field, unit][words].add(row.model.id)
    for (field, unit), by_words in agree.items():
        mine = {words: models for words, models in by_words.items() if 2 * len(models) > len(there[field, words])}
        if mine:
            yield len(set[str]().union(*mine.values())), field, Spot(at, frozenset(mine), unit)


def _assigned(rows: Sequence[_Row], sheet: Sheet, name: int | None) -> dict[str, Spot]:
    """Which column each field is: by how many models agree, then by what the header says."""
    bids = []
    for at, header in enumerate(sheet.header):
        for models, field, spot in _bids(rows, at) if at != name else ():
            bids.append(((models, len(re.findall(_HINTS.get(field, "$^"), header.lower())), -at), field, spot))
    spots: dict[str, Spot] = {}
    taken: set[tuple[int, str]] = set()
    page_unit = None
    for _, field, spot in sorted(bids, key=lambda bid: bid[0], reverse=True):
        free = frozenset(words for words in spot.words if (spot.at, words) not in taken)
        if field in spots or not free or (spot.unit != _TOKENS and page_unit not in (None, spot.unit)):
            continue
        if spot.unit != _TOKENS:
            page_unit = spot.unit
        spots[field] = Spot(spot.at, free, spot.unit)
        taken |= {(spot.at, words) for words in free}
    if not {"long_input", "long_output"} <= spots.keys():  # one without the other is not believed
        spots = {field: spot for field, spot in spots.items() if not field.startswith("long_")}
    return dict(sorted(spots.items(), key=lambda each: FIELDS.index(each[0])))


def _agrees(row: _Row, field: str, spot: Spot) -> bool | None:
    """Whether a row gives a field as it is known; None when it does not give it."""
    given = [value for words, unit, value in _readings(row.line, spot.at) if unit == spot.unit and words in spot.words]
    return any(same(value, row.model.figures[field]) for value in given) if given else None


def _verdicts(rows: Iterable[_Row], spots: Mapping[str, Spot]) -> tuple[set[str], set[str]]:
    """Models whose input and output are as known in every row, and those with a row that says otherwise."""
    good, bad = set[str](), set[str]()
    for row in rows:
        said = {_agrees(row, field, spots[field]) for field in ("input", "output")}
        if False in said:
            bad.add(row.model.id)
        elif said == {True}:
            good.add(row.model.id)
    return good - bad, bad


def _where(rows: Sequence[_Row], spots: Mapping[str, Spot], sheet: Sheet, name: int | None) -> dict[int, str]:
    """The cell that tells the rows that agree from further rows of the same models."""
    good, rest = list[_Row](), list[_Row]()
    for row in rows:
        (good if all(_agrees(row, field, spots[field]) for field in ("input", "output")) else rest).append(row)
    ids = {row.model.id for row in good}
    rest = [row for row in rest if row.model.id in ids]
    used = {spot.at for spot in spots.values()} | {name}
    for at, keys in enumerate(sheet.columns) if rest else ():
        mine = {str(row.line.cells[at]) for row in good}
        if at in used or "nth" in keys or len(mine) != 1 or not 0 < len(literal(min(mine))) <= _MOST_PATTERN:
            continue
        if not mine & {str(row.line.cells[at]) for row in rest}:
            return {at: mine.pop()}
    return {}


def _meant(line: Line, tests: Mapping[int, str]) -> bool:
    return all(str(line.cells[at]) == cell for at, cell in tests.items())


def _fields(spots: Mapping[str, Spot], sheet: Sheet) -> dict[str, dict[str, Any]]:
    fields: dict[str, dict[str, Any]] = {}
    for field, spot in spots.items():
        keys = dict(sheet.columns[spot.at])
        if field in MONEY and spot.words != {""}:
            keys["pick"] = "|".join(map(literal, sorted(spot.words)))
        if spot.unit in ("1K", "token"):
            keys["per"] = spot.unit
        fields[field] = keys
    return fields


def _ignored(lines: Sequence[Line], spots: Mapping[str, Spot]) -> str | None:
    """What stands beside amounts that nobody picks."""
    picked: dict[int, set[str]] = defaultdict(set)
    for field, spot in spots.items():
        if field in MONEY:
            picked[spot.at] |= spot.words
    others = {
        amount.words
        for at, mine in picked.items()
        for line in lines
        for amount in _amounts(line.cells[at], line.typed)
        if amount.words and amount.words not in mine
    }
    pattern = "|".join(map(literal, sorted(others)))
    return pattern if 0 < len(pattern) <= _MOST_PATTERN else None

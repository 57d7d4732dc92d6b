"""What reading a page yields: rows that may be believed, and findings that say why the others may not."""

from enum import StrEnum
from typing import Any

from msgspec import Struct


class Reason(StrEnum):
    """Why a row, a table or a whole page is quarantined."""

    WALL = "wall"
    WRONG_PAGE = "wrong-page"
    TRUNCATED = "truncated"
    NOT_STATED = "not-stated"
    MISSING_TABLE = "missing-table"
    MISSING_COLUMN = "missing-column"
    MISSING_VALUE = "missing-value"
    RAGGED_ROW = "ragged-row"
    UNREADABLE_VALUE = "unreadable-value"
    WRONG_UNIT = "wrong-unit"
    OUT_OF_BOUNDS = "out-of-bounds"
    IMPLAUSIBLE = "implausible"
    CONFLICT = "conflict"
    TOO_FEW_ROWS = "too-few-rows"
    TOO_MANY_BAD = "too-many-bad"
    UNLISTED_HOST = "unlisted-host"
    ROBOTS = "robots"
    UNREACHABLE = "unreachable"
    BAD_ANSWER = "bad-answer"
    WRONG_CONTENT = "wrong-content"
    PAGE_TOO_LARGE = "page-too-large"
    PRICE_JUMP = "price-jump"
    FEWER_ROWS = "fewer-rows"
    VANISHED = "vanished"
    DISAGREEMENT = "disagreement"
    NAME_TAKEN = "name-taken"


class Finding(Struct, frozen=True):
    """One thing wrong; `ids` are the models it keeps out, none when that is the whole page."""

    reason: Reason
    message: str
    line: int = 1
    ids: tuple[str, ...] = ()


class Row(Struct, frozen=True):
    """One model: `values` by field, prices in USD per million tokens; `line` is where the page names it, `selectors`
    say what found each value."""

    id: str
    values: dict[str, Any]
    line: int = 1
    selectors: dict[str, str] = {}


class Extraction(Struct, frozen=True):
    """All of a page. `url` is the source that read it, None when none fits."""

    rows: tuple[Row, ...]
    findings: tuple[Finding, ...]
    url: str | None = None


class UpdateError(Exception):
    """An update of the registry that cannot be made; the text says why."""


class BusyError(UpdateError):
    """Another update is under way, or has just done what was asked for."""


class NoScraperError(UpdateError):
    """A scraper that is not there, or that cannot be used."""


class QuarantineError(Exception):
    """A value, a row or a page that is not to be believed; carries the reason."""

    def __init__(self, reason: Reason, message: str, line: int = 1) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.line = line

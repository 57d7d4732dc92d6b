"""A place on a page where a price list may stand: a table of the vocabulary that has no fields yet."""

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct

from ..finding import QuarantineError
from ..select import Page
from ..spec import Html, Island, Json, Markdown
from ..table import Grid

MOST, LEAST = 600, 20
"""Ways that are tried on one page: each reads all of it, so a large page gets fewer."""

MOST_READ = 256 * 2**20
"""Characters that all ways together read."""

MOST_LINES = 3000
"""Rows of one place that are looked at, of all its tables together."""

Keys = dict[str, Any]
"""A table's keys as YAML has them, without `fields`."""


class Place(Struct, frozen=True):
    """Ways to select one table of the page, the one that outlives most redesigns first; `where` is for people.

    `alone` selects this table and no other: where it holds nothing, no way is tried.
    """

    ways: Sequence[Keys]
    where: str
    alone: Keys | None = None


def ways(page: Page) -> int:
    """How many ways may be tried on a page."""
    return max(LEAST, min(MOST, MOST_READ // max(1, len(page.text))))


def grids(page: Page, keys: Keys) -> list[Grid]:
    """What a way selects; nothing where it cannot be used."""
    try:
        table = msgspec.convert({**keys, "fields": {"id": {"value": "x"}}}, Html | Markdown | Json | Island)
        found = page.grids(table)
    # A selector made of a page's own words may be one that parsel refuses.
    except (msgspec.ValidationError, QuarantineError, ValueError, RecursionError):
        return []
    kept: list[Grid] = []
    left = MOST_LINES
    for each in found:
        left -= len(each.lines)
        if left < 0:
            break
        kept += [each] if each.lines else []
    return kept

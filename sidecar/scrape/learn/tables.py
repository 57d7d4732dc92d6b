"""The tables of an HTML page: by the words in them first, since classes are the first thing that a redesign changes."""

import json
from collections.abc import Iterator

from parsel import Selector

from ..select import Page
from ..table import tidy
from .place import Keys, Place

_LABELS = 6
_MOST_ANCESTORS = 12
_MOST_TABLES = 120
_TOO_MANY = 1000
_NO_LABEL = frozenset({"class", "style", "props", "uid", "prefix", "ssr", "opts", "href", "src", "client"})


def html_tables(page: Page) -> Iterator[Place]:
    """Every table with cells: one or two rows of header, models in rows or in columns."""
    found = [] if page.html is None else page.html.xpath("//table")
    if len(found) > _TOO_MANY:
        return
    for index, table in enumerate(found[:_MOST_TABLES], 1):
        rows = [_texts(row) for row in table.xpath("(.//tr)[position() <= 60]")]
        if len(rows) < 2:
            continue
        marks = list(labels(table))
        for header_row, transpose in ((1, False), (2, False), (1, True)):
            header = [row[0] for row in rows if row] if transpose else rows[header_row - 1]
            shape: Keys = {} if header_row == 1 else {"header_row": header_row}
            if transpose:
                shape["transpose"] = True
            by_words = f"//table{_with(header)}"
            ways = [by_words, *(f"{by_words}{mark}" for mark in marks)]
            ways += [f"//table{mark}" for mark in marks] + [f"(//table)[{index}]"]
            keys = [{"from": "html", "xpath": way, **shape} for way in ways if len(way) <= 1000]
            yield Place(keys, f"table {index}", keys[-1])


def labels(node: Selector) -> Iterator[str]:
    """Predicates that tell an element from its like: by what is said of the parts of the page that it stands in."""
    seen = set()
    for ancestor in node.xpath("ancestor::*")[: -_MOST_ANCESTORS - 1 : -1]:
        for name, value in ancestor.attrib.items():
            if name in _NO_LABEL or name in seen or not 0 < len(value) <= 60 or not _plain(name):
                continue
            seen.add(name)
            # The element that a selector meets first on the way up is the one whose label counts.
            yield f"[ancestor::*[@{name}][1]/@{name}={quoted(value)}]"
            if len(seen) == _LABELS:
                return
    for level in ("h2", "h3", "h4"):
        heading = tidy(" ".join(node.xpath(f"preceding::{level}[1]//text()").getall()))
        if 0 < len(heading) <= 60:
            yield f"[preceding::{level}[1][normalize-space()={quoted(heading)}]]"


def quoted(text: str) -> str:
    """A text as a literal of XPath."""
    if '"' not in text:
        return json.dumps(text, ensure_ascii=False).replace("\\\\", "\\")
    return f"'{text}'" if "'" not in text else "concat('', " + ", '\"', ".join(f'"{p}"' for p in text.split('"')) + ")"


def _plain(name: str) -> bool:
    return name.replace("-", "").isalnum() and name.isascii() and name[0].isalpha()


def _texts(row: Selector) -> list[str]:
    return [tidy(" ".join(cell.xpath(".//text()").getall()))[:200] for cell in row.xpath("./th | ./td")]


def _with(header: list[str]) -> str:
    words = [word for word in dict.fromkeys(header) if word and len(word) <= 60][:4]
    return "".join(f"[.//*[self::th or self::td][normalize-space()={quoted(word)}]]" for word in words)

"""The pipe tables of a Markdown page, by heading, by the line before them, and by a row of tabs."""

import re
from collections import Counter
from collections.abc import Iterator

from ..select import Page
from ..table import captions
from .place import Keys, Place
from .sheet import literal

_TABS = re.compile(r"(?m)^(?:\[[^\[\]\n]{1,30}\]\([^()\s]*\)[ \t]*){2,}")
_TAB = re.compile(r"\[([^\[\]\n]{1,30})\]\(")
_MOST_HEADINGS = 150
_SHAPES: tuple[Keys, ...] = ({}, {"header_row": 2}, {"transpose": True})


def markdown_places(page: Page) -> Iterator[Place]:
    """Every table with a heading above it, in all shapes that a table may have."""
    if page.type != "markdown":
        return
    holding: dict[str, list[str]] = {}
    for heading, caption in captions(page.text):
        if heading in holding or len(holding) < _MOST_HEADINGS:
            holding.setdefault(heading, []).append(caption)
    for heading, before in holding.items():
        for shape in _SHAPES:
            base: Keys = {"from": "markdown", "heading": literal(heading) or "^$", **shape}
            ways = [base, *({**base, "caption": literal(text)} for text in dict.fromkeys(before) if text)]
            yield Place([way for way in ways if _short(way)], f"below `{heading[:60]}`")
    yield from _sections(page, list(holding))


def _sections(page: Page, headings: list[str]) -> Iterator[Place]:
    """A section for each model: headings that begin alike, one table of each or the one below a tab."""
    firsts = Counter(heading.split()[0] for heading in headings if heading.split())
    patterns = [f"{literal(word)}.*" for word, count in firsts.most_common(3) if count > 1]
    tabs = Counter(label for row in _TABS.finditer(page.text) for label in _TAB.findall(row[0]))
    often = [label for label, count in tabs.most_common(8) if count > 1]
    for pattern in patterns:
        for shape in _SHAPES:
            ways: list[Keys] = [{"from": "markdown", "heading": pattern, **shape}]
            if often:
                panes = rf"\[({'|'.join(map(literal, often))})\]\("
                ways += [{**ways[0], "panes": panes, "pane": label, "first": often[0]} for label in often]
            yield Place([way for way in ways if _short(way)], f"below headings like `{pattern}`")


def _short(way: Keys) -> bool:
    return all(len(value) <= 1000 for value in way.values() if isinstance(value, str))

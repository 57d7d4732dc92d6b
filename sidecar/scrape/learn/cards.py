"""Price lists that no table holds: cards and rows of boxes, found by the names of models that stand in them."""

import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from parsel import Selector

from ..select import Page
from ..table import tidy
from .known import Known
from .place import Keys, Place
from .tables import quoted

_MOST_NAMES = 300
_MOST_CARDS = 300
_MOST_CELLS = 24
_AMOUNT = re.compile(r"\$\s?\.?\d")
_PLAIN_CLASS = re.compile(r"[A-Za-z_][\w-]*")


def html_cards(page: Page, known: Known) -> Iterator[Place]:
    """Boxes of one shape with a model's name in each, by class and by where they stand."""
    if page.html is None:
        return
    names = [
        node
        for node in page.html.xpath("//body//*[not(self::script or self::style)][string-length() < 120][not(*/*/*)]")
        if (text := _text(node)) and known.somehow(text) is not None
    ][:_MOST_NAMES]
    for (parent, tag), cards in _groups([node.root for node in names]).items():
        if len(cards) < 2:
            continue
        boxes = [Selector(root=card, type="html") for card in list(cards)[:_MOST_CARDS]]
        above = list(parent.iterchildren(tag))
        head = above[0] if above and above[0] not in cards else None
        for cells in _cells(boxes, list(cards.values()), head):
            ways: list[Keys] = [{"from": "html", "css": css, "cells": cells} for css in _classes(list(cards))]
            ways += [{"from": "html", "xpath": way, "cells": cells} for way in _paths(parent, tag)]
            yield Place(ways, f"boxes like line {cards_line(list(cards))}")


def cards_line(cards: Sequence[Any]) -> int:
    """The line of the page that the first card stands on."""
    return int(cards[0].sourceline or 1)


def _groups(names: Sequence[Any]) -> dict[tuple[Any, str], dict[Any, Any]]:
    """`(parent, tag)` to the cards below it, each with its name's element: the tightest boxes that tell names apart."""
    groups: dict[tuple[Any, str], dict[Any, Any]] = defaultdict(dict)
    holds: Counter[Any] = Counter(above for name in names for above in (name, *name.iterancestors()))
    for name in names:
        card = name
        for parent in name.iterancestors():
            if holds[parent] > holds[card] and isinstance(card.tag, str):
                groups[parent, card.tag].setdefault(card, name)
                break
            card = parent
    return groups


def _cells(boxes: Sequence[Selector], names: Sequence[Any], head: Any) -> Iterator[dict[str, str]]:
    """Header to XPath: by the label beside an amount, and by the place of the amount."""
    name = _path_of(boxes[0].root, names[0])
    for by_tag in (f".//{names[0].tag}", name):
        if all(len(box.xpath(by_tag)) == 1 for box in boxes):
            name = by_tag
            break
    by_label: dict[str, str] = {}
    by_place: dict[str, str] = {}
    titles = _titles(head)
    for box in boxes[:20]:
        for amount in _innermost(box):
            path = _path_of(box.root, amount.root)
            by_place.setdefault(titles.get(path) or f"at {path.removeprefix('./')}", path)
            if (label := _label(box, amount)) is not None:
                by_label.setdefault(label[0], label[1])
    for cells in (by_label, by_place):
        if 2 <= len(cells) <= _MOST_CELLS and all(len(path) <= 1000 for path in cells.values()):
            yield {"Model": name, **{key: path for key, path in cells.items() if key != "Model"}}


def _innermost(box: Selector) -> list[Selector]:
    found = [node for node in box.xpath(".//*[contains(., '$')][string-length() < 200]") if _AMOUNT.match(_text(node))]
    return [node for node in found if not any(_AMOUNT.match(_text(child)) for child in node.xpath("./*"))]


def _label(box: Selector, amount: Selector) -> tuple[str, str] | None:
    """The text before an amount, and the way from it to the amount."""
    node = amount
    for _ in range(4):
        before = node.xpath("preceding-sibling::*[1]")
        if before and (text := _text(before[0])):
            found = f".//*[normalize-space()={quoted(text)}]/following-sibling::*[1]"
            return (text, found) if len(text) <= 60 and not _AMOUNT.match(text) else None
        parents = node.xpath("..")
        if not parents or parents[0].root is box.root:
            return None
        node = parents[0]
    return None


def _titles(head: Any) -> dict[str, str]:
    """Path to text in the box before the first card: the header of a table that is made of boxes."""
    if head is None:
        return {}
    nodes = Selector(root=head, type="html").xpath(".//*[not(*)]")[:_MOST_CELLS]
    return {_path_of(head, node.root): text for node in nodes if 0 < len(text := _text(node)) <= 60}


def _classes(cards: Sequence[Any]) -> list[str]:
    """Classes that all cards have, the ones that say most first."""
    common = set.intersection(*(set((card.get("class") or "").split()) for card in cards))
    return [f".{name}" for name in sorted(common, key=len, reverse=True) if _PLAIN_CLASS.fullmatch(name)][:4]


def _paths(parent: Any, tag: str) -> list[str]:
    """The cards by their parent: its id, or its place on the page."""
    named = [f'//*[@id="{parent.get("id")}"]/{tag}'] if re.fullmatch(r"[\w-]+", parent.get("id") or "") else []
    return [*named, f"{parent.getroottree().getpath(parent)}/{tag}"]


def _path_of(card: Any, node: Any) -> str:
    """The way from a card to an element in it, step by step."""
    steps = []
    while node is not card and node is not None:
        same = [each for each in (node.getparent() if node.getparent() is not None else ()) if each.tag == node.tag]
        steps.append(f"{node.tag}[{same.index(node) + 1}]" if len(same) > 1 else str(node.tag))
        node = node.getparent()
    return "./" + "/".join(reversed(steps)) if steps else "."


def _text(node: Selector) -> str:
    return tidy(" ".join(node.xpath("descendant-or-self::text()[not(ancestor::sup)]").getall()))

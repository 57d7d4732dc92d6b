"""HTML pages as they might become: tables, cards and the data behind them."""

import json
import random
import re
from collections.abc import Callable
from typing import Any

from lxml import html as lxml_html

from sidecar.scrape.finding import Row

from .mutations import ANY, EVERY, TABLE_CHANGES, Mutation, Mutator, change_records

PRICE_TABLE = "//table[.//*[contains(., '$')]]"
CARD = "//*[contains(concat(' ', @class, ' '), ' card_pricing_api_wrap ')]"


def on_tree(change: Callable[[Any, random.Random], Mutation | None]) -> Mutator:
    """A change to the parsed page."""

    def mutate(text: str, rng: random.Random, rows: tuple[Row, ...]) -> Mutation | None:
        tree = lxml_html.document_fromstring(text.encode(), parser=lxml_html.HTMLParser(encoding="utf-8"))
        done = change(tree, rng)
        if done is not None:
            done.name = done.name or change.__name__
            done.text = lxml_html.tostring(tree, encoding="unicode", doctype="<!DOCTYPE html>")
        return done

    mutate.__name__ = change.__name__
    return mutate


def table_cells(tree: Any, rng: random.Random) -> Mutation | None:
    """One of the changes to tables of any format."""
    tables = tree.xpath(PRICE_TABLE)
    if not tables:
        return None
    own = [
        table
        for table in tables
        if "Short context" in table.text_content() or "Claude API alias" in table.text_content()
    ]
    table = rng.choice(own if own and rng.random() < 0.8 else tables)
    change = rng.choice(TABLE_CHANGES)
    grid = [[" ".join(cell.text_content().split()) for cell in row.xpath("./th|./td")] for row in table.xpath(".//tr")]
    offset = 1 if "Short context" in grid[0] else 0
    body = grid[offset:]
    if len(body) < 2 or not change(body, rng):
        return None
    for row in table.xpath(".//tr")[offset:]:
        row.getparent().remove(row)
    holder = (table.xpath(".//tbody") or [table])[0]
    for index, cells in enumerate(body):
        row = lxml_html.Element("tr")
        for cell in cells:
            made = lxml_html.Element("th" if index == 0 else "td")
            made.text = cell
            row.append(made)
        holder.append(row)
    # A table of three columns that loses one has no model less than the page has.
    return Mutation(
        f"html {change.__name__}", "", gone={EVERY} if change.__name__ in ("drop_row", "drop_column") else set()
    )


def rename_attributes(tree: Any, rng: random.Random) -> Mutation:
    """New class names, or another name for what tells the parts apart."""
    kind = rng.choice(("class", "data-value", "component-export", "data-content-switcher-pane", "data-api-price"))
    for node in tree.xpath(f"//*[@{kind}]"):
        value = node.attrib.pop(kind)
        if kind == "class":
            node.set(kind, " ".join(f"x{len(name)}{name[:2]}" for name in value.split()))
        else:
            node.set(f"{kind}-2", value)
    return Mutation("", "")


def swap_panes(tree: Any, rng: random.Random) -> Mutation | None:
    """The labels of two panes change places."""
    labels = ("standard", "batch", "flex", "priority")
    one, other = rng.sample(labels, 2)
    panes = tree.xpath("//*[@data-content-switcher-pane]")
    for node in panes:
        value = node.get("data-value")
        node.set("data-value", {one: other, other: one}.get(value, value))
    return Mutation("", "") if panes else None


def tables_go(tree: Any, rng: random.Random) -> Mutation | None:
    """A table or a card is gone, or stands there twice."""
    found = tree.xpath(CARD) or tree.xpath(PRICE_TABLE)
    if not found:
        return None
    node = rng.choice(found)
    if rng.random() < 0.5:
        node.getparent().remove(node)
        return Mutation("", "", gone={EVERY})
    node.addnext(lxml_html.fromstring(lxml_html.tostring(node, encoding="unicode", with_tail=False)))
    return Mutation("", "")


def islands(tree: Any, rng: random.Random) -> Mutation | None:
    """The data behind the tables changes."""
    nodes = tree.xpath("//astro-island[@component-export='TextTokenPricingTables']")
    if not nodes:
        return None
    node = nodes[0] if rng.random() < 0.7 else rng.choice(nodes)
    props = json.loads(node.get("props"))
    if rng.random() < 0.2:
        kind = rng.choice(("tier", "rows", "cut"))
        if kind == "cut":
            node.set("props", node.get("props")[:-40])
            return Mutation("islands cut", "")
        props[kind] = [0, rng.choice(("standard", "batch", "priority", None))]
        node.set("props", json.dumps(props))
        return Mutation(f"islands {kind}", "", gone={EVERY} if kind == "rows" else set())
    block = [[cell[1] for cell in row[1]] for row in props["rows"][1]]
    gone, kind = change_records(block, rng)
    props["rows"][1] = [[1, [[0, cell] for cell in row]] for row in block]
    node.set("props", json.dumps(props))
    return Mutation(f"islands {kind}", "", gone=gone)


def cards(tree: Any, rng: random.Random) -> Mutation | None:
    """Labels, units and figures of cards that no table holds."""
    found = tree.xpath(CARD)
    if not found:
        return None
    card = rng.choice(found)
    kind = rng.choice(("labels", "rename", "unit", "slip", "order", "extra"))
    labels = card.xpath(".//*[starts-with(@class, 'tokens_main_label')]")
    values = card.xpath(".//*[@class='tokens_main_val_number']")
    if kind == "labels":
        one, other = rng.sample([label for label in labels if label.text in ("Input", "Output", "Write", "Read")], 2)
        one.text, other.text = other.text, one.text
    elif kind == "rename":
        rng.choice(labels).text = rng.choice(("Prompt", "Tokens", "Output"))
    elif kind == "unit":
        for span in card.xpath(".//*[@class='tokens_main_val_span']"):
            span.text = (span.text or "").replace("MTok", rng.choice(("KTok", "token", "hour")))
    elif kind == "slip":
        value = rng.choice(values)
        value.text = f"{float(value.text) * rng.choice((1000, 0.001)):g}"
    elif kind == "order":
        card.getparent().insert(0, card)
    else:
        label = rng.choice(labels)
        label.getparent().addnext(lxml_html.fromstring(lxml_html.tostring(label.getparent(), with_tail=False)))
    return Mutation(f"cards {kind}", "")


def restate(text: str, rng: random.Random, rows: tuple[Row, ...]) -> Mutation | None:
    """The cells of the tables get a unit that is not the page's."""
    unit = rng.choice((" / 1K tokens", " / KTok", " per token", " / minute"))
    changed = re.sub(r">(\$\d[\d.]*)<", rf">\1{unit}<", text)
    return Mutation("restate", changed) if changed != text else None


HTML: tuple[Mutator, ...] = (
    *(on_tree(table_cells),) * 6,
    *map(on_tree, (rename_attributes, swap_panes, tables_go, islands, islands, islands, cards, cards, cards)),
    restate, *ANY,
)  # fmt: skip

"""A scraper is proposed from a page in which known prices stand, and reads the page as the hand-made one does.

`pytest tests/scrape --update-golden` writes the table of docs/scrapers.md.
"""

import json
import random
import re
from collections import Counter
from datetime import date
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.registry.load import load
from sidecar.scrape.extract import extract
from sidecar.scrape.finding import Extraction
from sidecar.scrape.learn.known import Known
from sidecar.scrape.learn.propose import Learned, Proposal, learn
from sidecar.scrape.learn.text import as_yaml
from tests.scrape.pages import LISTED, NO_SCRAPER, OPENROUTER, data, read, scraper, scraper_of
from tests.scrape.test_vocabulary import spec

DOCUMENT = Path(__file__).parents[2] / "docs" / "scrapers.md"
TABLE = re.compile(r"(?s)(<!-- learned: written by tests/scrape/test_learn.py -->\n).*?(<!-- end of learned -->)")
PRICED = sorted(page for page, models in LISTED.items() if models)
EARLIER = {"openai_pricing_jina_2026-05-08.md": "openai_pricing_2026-05-03.html.gz"}
"""Pages with tables of models that the registry does not know; an earlier scrape knows some of them."""
PARTLY = {"openai_pricing_2026-05-03.html.gz": 42 / 60, "openai_pricing_jina_2026-05-08.md": 7 / 8}
"""What is learned where no known model speaks for a table."""


@cache
def known(earlier: str | None = None) -> Known:
    """The registry's models of today, and those of an earlier scrape."""
    found = Known(load().catalogue.models, date(2026, 11, 21))
    if earlier is not None:
        found.add(scraper(scraper_of(earlier)).provider, [{"id": row.id, **row.values} for row in read(earlier).rows])
    return found


@cache
def learned(page: str) -> Learned:
    return learn(data(page), known(EARLIER.get(page)), scraper(scraper_of(page)))


def proposal(page: str) -> Proposal:
    found = learned(page).proposal
    assert found is not None, learned(page).looked
    return found


def prices(read: Extraction) -> Counter[tuple[float, float]]:
    return Counter((row.values["input"], row.values["output"]) for row in read.rows)


def share(found: Extraction, page: str) -> float:
    """How many of the rows of the hand-made scraper are there with the same prices."""
    theirs = prices(read(page))
    return sum((prices(found) & theirs).values()) / theirs.total()


@pytest.mark.parametrize("page", PRICED)
def test_what_is_proposed_reads_the_page_as_the_hand_made_scraper_does(page: str) -> None:
    found = proposal(page)
    assert found.confidence == 1.0
    assert len(found.agreeing) >= 3
    assert share(found.read, page) >= PARTLY.get(page, 0.9)
    mine = {row.id: row.values for row in found.read.rows}
    for row in read(page).rows:
        for field in mine.get(row.id, {}).keys() & {"input", "output", "cache_read", "cache_write_5m", "long_input"}:
            assert mine[row.id][field] == row.values.get(field, mine[row.id][field]), (row.id, field)


@pytest.mark.parametrize("page", PRICED)
def test_what_is_printed_is_what_was_tried(page: str) -> None:
    text = as_yaml(proposal(page), page, "2026-11-21")
    assert text.startswith("# yaml-language-server: $schema=")
    assert spec(text) == proposal(page).scraper
    assert extract(spec(text), data(page)) == proposal(page).read


def test_without_a_scraper_to_go_by_names_are_made_all_the_same() -> None:
    found = learn(data("claude_pricing_2026-05-11.md"), known()).proposal
    assert found is not None
    assert "claude-3-5-haiku" in found.agreeing  # `Claude Haiku 3.5` on the page
    assert share(found.read, "claude_pricing_2026-05-11.md") == 1.0


def test_a_page_that_is_all_json_is_learned_with_its_unit() -> None:
    found = learn(data(OPENROUTER), known()).proposal
    assert found is not None and found.confidence > 0.9
    assert found.document["sources"][0]["tables"][0]["fields"]["input"]["per"] == "token"
    assert share(found.read, OPENROUTER) == 1.0


@pytest.mark.parametrize("page", sorted(NO_SCRAPER | {"openai_pricing_2026-02-26.md"}))
def test_a_page_without_known_prices_gives_no_proposal(page: str) -> None:
    found = learn(data(page), known())
    assert found.proposal is None
    assert sum(found.looked.values()) > 0


def renamed(text: str) -> str:
    """Every class and every label that tells the parts of an HTML page apart is another."""
    names = {"class", "data-value", "data-content-switcher-pane", "component-export", "data-api-price", "id"}
    change = "|".join(sorted(names))
    return re.sub(rf' ({change})="([^"{{}}]*)"', lambda m: f' {m[1]}="{"-".join(f"n{c}" for c in m[2].split())}"', text)


def boxes(text: str) -> str:
    """Tables become boxes in boxes, and the data behind them is gone."""
    text = re.sub(r' props="[^"]*"', "", text)
    text = re.sub(r"<(/?)(?:table|thead|tbody|tr|td|th)\b", r"<\1div", text)
    return re.sub(r"<(/?)(?:colgroup)\b", r"<\1span", text)


def headings(text: str) -> str:
    """Headings are other words, and so are the names of the columns."""
    text = re.sub(r"(?m)^## (?:Model pricing|Flagship models)$", "## What it costs", text)
    for old, new in (("Base Input Tokens", "You send"), ("Cached input", "Again"), ("Output Tokens", "You get")):
        text = re.sub(rf"\| {old} +\|", f"| {new} |", text)
    return text


def backwards(text: str) -> str:
    """The columns of every pipe table stand the other way round."""
    rows = re.compile(r"(?m)^\|(.*)\|[ \t]*$")
    return rows.sub(lambda m: "|" + "|".join(reversed(re.split(r"(?<!\\)\|", m[1]))) + "|", text)


def other_component(text: str) -> str:
    return text.replace("TextTokenPricingTables", "PriceList").replace("rows={", "lines={").replace("tier=", "kind=")


REDESIGNS = [
    ("openai_pricing_2026-05-03.html.gz", renamed, 42 / 60),
    ("openai_pricing_fragment_2026-06-14.html.gz", renamed, 0.9),
    ("claude_com_pricing_2026-05-08.html.gz", renamed, 0.9),
    ("claude_models_overview_2026-05-03.html.gz", renamed, 0.9),
    ("claude_models_overview_2026-05-03.html.gz", boxes, 0.0),
    ("openai_pricing_fragment_2026-06-14.html.gz", boxes, 4 / 42),  # the shown table has only the newest models
    ("claude_pricing_2026-05-11.md", headings, 0.9),
    ("claude_pricing_2026-05-11.md", backwards, 0.9),
    ("claude_pricing_2025-10-20.md", backwards, 0.9),
    ("openai_pricing_jina_2026-05-08.md", headings, 6 / 8),
    ("openai_pricing_jina_2026-05-08.md", backwards, 6 / 8),
    ("openai_pricing_2026-05-29.md", other_component, 0.9),
]


@pytest.mark.parametrize("page, change, least", REDESIGNS, ids=lambda value: getattr(value, "__name__", None))
def test_a_redesigned_page_is_learned_again(page: str, change, least: float) -> None:  # type: ignore[no-untyped-def]
    text = change(data(page).decode())
    old = scraper(scraper_of(page))
    found = learn(text.encode(), known(), old).proposal
    assert extract(old, text.encode()).rows != read(page).rows or change is backwards
    if least:
        assert found is not None and found.confidence >= 0.9
        assert share(found.read, page) >= least
    # Whatever is proposed, it gives no known model another price.
    assert found is None or not found.differing


SMALL = """<html><body><h1>Prices</h1><p>per 1M tokens</p><table class="p">
<tr><th>Model</th><th>Send</th><th>Get</th></tr>
<tr><td>GPT-4o</td><td>$2.50</td><td>$10.00</td></tr><tr><td>GPT-4o mini</td><td>$0.15</td><td>$0.60</td></tr>
<tr><td>GPT-4.1</td><td>$2.00</td><td>$8.00</td></tr><tr><td>Acme 7</td><td>$1.00</td><td>$3.00</td></tr>
</table></body></html>"""


def test_figures_of_thousands_are_told_by_their_ratio() -> None:
    text = re.sub(r"\$([\d.]+)", lambda m: f"${float(m[1]) / 1000:.6f}", SMALL).replace("1M tokens", "1K tokens")
    found = learn(text.encode(), known()).proposal
    assert found is not None
    assert found.document["sources"][0]["tables"][0]["fields"]["input"]["per"] == "1K"
    assert found.document["sources"][0]["states"] == ["per 1K tokens"]
    assert {row.id: row.values["output"] for row in found.read.rows}["acme-7"] == 3.0


def test_the_rows_that_are_meant_are_told_from_other_tiers() -> None:
    rows = [("gpt-4o", 2.5, 10), ("gpt-4o-mini", 0.15, 0.6), ("gpt-4.1", 2, 8)]
    lines = [f"| {m} | {t} | ${i * f:g} | ${o * f:g} |" for m, i, o in rows for t, f in (("now", 1), ("batch", 0.5))]
    text = "# Prices\n\n| Model | Tier | In | Out |\n|---|---|---|---|\n" + "\n".join(lines)
    found = learn(text.encode(), known()).proposal
    assert found is not None and found.confidence == 1.0
    assert found.document["sources"][0]["tables"][0]["where"] == {"Tier": "now"}


def test_a_figure_that_changed_is_said_and_most_others_still_speak() -> None:
    found = learn(SMALL.replace("$2.00", "$1.80").encode(), known()).proposal
    assert found is not None
    assert (found.agreeing, found.differing) == (("gpt-4o", "gpt-4o-mini"), ("gpt-4.1",))
    assert "# Differs: gpt-4.1 input is 1.8 on the page, known as 2" in as_yaml(found, "page.html", "2026-11-21")


@pytest.mark.parametrize("figures", ["$7.77", "€2.50"])
def test_names_without_their_prices_prove_nothing(figures: str) -> None:
    assert learn(re.sub(r"\$[\d.]+", figures, SMALL).encode(), known()).proposal is None


def test_records_in_the_page_are_learned_through_what_wraps_them() -> None:
    rows = [{"slug": "gpt-4o", "cost": {"in": 2.5, "out": 10}}, {"slug": "o3", "cost": {"in": 2, "out": 8}}]
    text = (
        f'<html><body><script id="d" type="application/json">{json.dumps({"a": {"list": rows}})}</script></body></html>'
    )
    found = learn(text.encode(), known()).proposal
    assert found is not None and set(found.agreeing) == {"gpt-4o", "o3"}
    assert found.document["sources"][0]["tables"][0]["xpath"] == '//script[@id="d"]/text()'


TAGS = [
    *("<div>", "</div>", "<table>", "<tr>", "<td>", "</td>", "</table>", "GPT-4o", "$2.50", "$10", "o3", "$2", "$8"),
    *(
        "<script>",
        "</script>",
        '{"a": [',
        "]",
        "<td colspan=99999>",
        "'",
        '"',
        "&quot;",
        "\n# x\n",
        "| ",
        "|---|---|\n",
    ),
    *("<html>", "[1, [[0, ", "\\", "rows={[", '<A b="c" ', "$2$3", "1e999", "<h3>", "\x00", "\u200b"),
]


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(TAGS), max_size=60).map("".join))
def test_no_page_is_too_odd(text: str) -> None:
    found = learn(text.encode(), known()).proposal
    assert found is None or spec(as_yaml(found, "page", "2026-11-21")) == found.scraper


@pytest.mark.parametrize("seed", range(12))
def test_no_broken_page_is_too_odd(seed: int) -> None:
    rng = random.Random(seed)
    page = rng.choice(["claude_pricing_2026-05-11.md", "openai_pricing_fragment_2026-06-14.html.gz"])
    text = data(page).decode()
    for _ in range(30):
        at = rng.randrange(len(text))
        text = text[:at] + rng.choice(TAGS) + text[at + rng.randrange(40) :]
    found = learn(text.encode(), known()).proposal
    assert found is None or found.confidence >= 0.5


def test_the_report_of_the_pages(request: pytest.FixtureRequest) -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert TABLE.search(text)
    if request.config.getoption("--update-golden"):
        DOCUMENT.write_text(TABLE.sub(lambda match: match[1] + report() + match[2], text), encoding="utf-8")


def report() -> str:
    lines = [
        "| page | known models with known prices | models read | of the hand-made scraper's |",
        "| --- | ---: | ---: | ---: |",
    ]
    for page in PRICED:
        found, name = proposal(page), re.sub(r"\.gz$", "", page)
        known_here = f"{len(found.agreeing)}/{len(found.agreeing) + len(found.differing)}"
        lines.append(f"| {name} | {known_here} | {len(found.read.rows)} | {share(found.read, page):.0%} |")
    return "\n".join(lines) + "\n"

"""The vocabulary of a scraper, on pages small enough to see what happens."""

import json
import re
from pathlib import Path

import pytest

from sidecar.config.check import check
from sidecar.config.document import parse
from sidecar.scrape.extract import extract
from sidecar.scrape.finding import Extraction
from sidecar.scrape.select import problems
from sidecar.scrape.spec import Scraper

MARKDOWN = """\
kind: scraper
name: acme
provider: acme
sources:
  - url: https://acme.example/pricing.md
    type: markdown
    states: ['per 1M tokens']
    tables:
      - from: markdown
        heading: Prices
        fields:
          id: {column: Model, slug: true, alias: {acme-one: acme-1}}
          input: {column: 'Input.*', pick: '|\\(text\\)'}
          audio_input: {column: 'Input.*', pick: '\\(audio\\)'}
          output: {column: Output}
          cache_read: {column: Cached, optional: true}
          context: {column: Context, optional: true}
"""
PAGE = """\
# Acme
## Prices
USD per 1M tokens
| Model | Input | Output | Context |
|---|---|---|---|
| Acme One | $1.50 | $6 | 200K |
| [Acme 2.5](https://x) | \\$2 (text) \\$4 (audio) | $8 / MTok | 1M tokens |
"""


def spec(text: str) -> Scraper:
    (document,), findings = parse(text, "acme.yaml")
    value, faults = check(document, {"scraper": Scraper}, {})
    assert isinstance(value, Scraper), [*findings, *faults]
    return value


def read(page: str, text: str = MARKDOWN) -> Extraction:
    return extract(spec(text), page.encode())


def reasons(found: Extraction) -> list[str]:
    return [finding.reason.value for finding in found.findings]


def test_names_prices_and_sizes_are_normalised() -> None:
    found = read(PAGE)
    assert reasons(found) == []
    assert [(row.id, row.values) for row in found.rows] == [
        ("acme-1", {"input": 1.5, "output": 6.0, "context": 200_000}),
        ("acme-2-5", {"input": 2.0, "output": 8.0, "audio_input": 4.0, "context": 1_000_000}),
    ]


@pytest.mark.parametrize(
    "old, new",
    [
        ("| Model | Input | Output | Context |", "| Model | Input (USD) | Output | Context |"),
        ("| Acme One | $1.50 | $6 | 200K |\n", "| Acme One | $1.50 | $6 | 200K |\n| Acme One | $1.50 | $6 | 200K |\n"),
        ("# Acme", "# Acme\n\n| Model | Input |\n|---|---|\n| other | $9 |\n"),
    ],
)
def test_what_does_not_matter_changes_nothing(old: str, new: str) -> None:
    assert read(PAGE.replace(old, new)).rows[0].values == read(PAGE).rows[0].values


@pytest.mark.parametrize(
    "cell, reason",
    [
        ("1.50", "unreadable-value"),
        ("€1.50", "unreadable-value"),
        ("from $1.50", "unreadable-value"),
        ("$1,50", "unreadable-value"),
        ("$1,500", "unreadable-value"),
        ("$2 $1.50", "unreadable-value"),
        ("$1.50 until June", "unreadable-value"),
        ("$1.50 / 1K tokens", "wrong-unit"),
        ("$1.50 per token", "wrong-unit"),
        ("$1.50 / hour", "unreadable-value"),
        ("$1.50 (text) $2 (video)", "unreadable-value"),
        ("-", "missing-value"),
        ("$0", "out-of-bounds"),
        ("$1500", "implausible"),
        ("$2001", "out-of-bounds"),
        ("$9", "implausible"),
        ("$0.0015", "implausible"),
    ],
)
def test_a_price_in_doubt_keeps_its_model_out_and_the_rest_goes_in(cell: str, reason: str) -> None:
    text = MARKDOWN.replace("provider: acme", "provider: acme\nmax_quarantined: 0.5")
    found = read(PAGE.replace("$1.50", cell), text)
    assert [row.id for row in found.rows] == ["acme-2-5"]
    assert reasons(found) == [reason]
    assert found.findings[0].ids == ("acme-1",)
    assert found.findings[0].line == 6


@pytest.mark.parametrize(
    "change, reason",
    [
        (lambda page: page.replace("Output", "Result"), "missing-column"),
        (lambda page: page.replace("Context", "Output"), "missing-column"),
        (lambda page: page.replace("## Prices", "## Costs"), "missing-table"),
        (lambda page: page.replace("per 1M", "per 1K"), "not-stated"),
        (lambda page: "Title: Just a moment...\n\nVerify you are human", "wall"),
        (lambda page: "<html><title>Sign in</title><body>Log in</body></html>", "wall"),
        (lambda page: "<html><title>Prices</title><body>Log in to see them</body></html>", "wall"),
        (lambda page: "<html><title>Prices</title><body>Hello</body></html>", "wrong-page"),
        (lambda page: page.replace("$6", "$1"), "too-many-bad"),
    ],
)
def test_a_page_in_doubt_is_kept_out_with_the_reason(change, reason: str) -> None:  # type: ignore[no-untyped-def]
    found = read(change(PAGE))
    assert found.rows == ()
    assert reason in reasons(found)


def test_a_page_that_contradicts_itself_is_not_asked_which_is_right() -> None:
    found = read(f"{PAGE}| Acme One | $1 | $6 | 200K |\n", MARKDOWN.replace("acme\ns", "acme\nmax_quarantined: 0.5\ns"))
    assert [row.id for row in found.rows] == ["acme-2-5"]
    assert reasons(found) == ["conflict"]


def test_fewer_models_than_ever_is_no_price_list() -> None:
    text = MARKDOWN.replace("    states:", "    min_rows: 3\n    states:")
    assert reasons(read(PAGE, text)) == ["too-few-rows"]


def test_bytes_that_are_no_text_and_pages_without_end_are_refused() -> None:
    assert reasons(extract(spec(MARKDOWN), b"\xff\xfe\x00")) == ["truncated"]
    assert reasons(extract(spec(MARKDOWN), b"# x\n" * 5_000_000)) == ["wrong-page"]


JSON = """\
kind: scraper
name: acme
provider: acme
sources:
  - url: https://acme.example/models.json
    type: json
    tables:
      - from: json
        rows: 'models[].{id: id, input: cost.in, output: cost.out}'
        fields:
          id: {column: id}
          input: {column: input, per: 1K}
          output: {column: output, per: 1K}
      - from: json
        rows: 'limits[].{id: id, context: size}'
        joins: true
        fields:
          id: {column: id}
          context: {column: context}
"""


def test_records_are_joined_and_brought_to_millions() -> None:
    page = {
        "models": [{"id": "a", "cost": {"in": 0.0015, "out": "0.006"}}],
        "limits": [{"id": "a", "size": 128000}, {"id": "elsewhere", "size": 1000}],
    }
    assert [(row.id, row.values) for row in read(json.dumps(page), JSON).rows] == [
        ("a", {"input": 1.5, "output": 6.0, "context": 128_000})
    ]


ISLAND = """\
kind: scraper
name: acme
provider: acme
sources:
  - url: https://acme.example/pricing
    type: html
    tables:
      - from: island
        css: script#data::text
        rows: prices
        header: [model, input, output]
        fields:
          id: {column: model}
          input: {column: input}
          output: {column: output}
      - from: html
        css: table.now
        joins: true
        optional: true
        transpose: true
        fields:
          id: {column: Name}
          context: {column: Window}
"""
HTML = """<html><body><script id="data" type="application/json">{"prices": [["a", 1, 4], ["b", 2, 8,],]}</script>
<table class="now"><tr><th>Name</th><td>a</td><td>b</td></tr><tr><th>Window<sup>1</sup></th><td colspan=2>64k</td></tr>
</table></body></html>"""


def test_data_inside_a_page_meets_the_table_that_is_shown() -> None:
    assert [(row.id, row.values) for row in read(HTML, ISLAND).rows] == [
        ("a", {"input": 1.0, "output": 4.0, "context": 64_000}),
        ("b", {"input": 2.0, "output": 8.0, "context": 64_000}),
    ]


def test_a_column_more_in_data_without_headers_is_no_reason_to_guess() -> None:
    found = read(HTML.replace('["a", 1, 4]', '["a", 1, 3, 4]').replace('["b", 2, 8,]', '["b", 2, 3, 8]'), ISLAND)
    assert found.rows == ()
    assert reasons(found) == ["ragged-row", "ragged-row", "too-many-bad"]


@pytest.mark.parametrize("cut", [HTML[:-8], HTML.replace("8,],]", "8")])
def test_half_a_page_is_no_page(cut: str) -> None:
    assert read(cut, ISLAND).rows == ()
    assert reasons(read(cut, ISLAND)) == ["truncated"]


@pytest.mark.parametrize(
    "old, new, said",
    [
        ("column: Model", "column: '('", "not a regular expression"),
        ("{column: Output}", "{column: Output, value: 1}", "exactly one of"),
        ("{column: Output}", "{column: Output, find: x}", "needs a group"),
        ("from: markdown", "from: pdf", "`from` must be one of"),
        ("          id: {column: Model, slug: true, alias: {acme-one: acme-1}}\n", "", "needs the field `id`"),
        ("cache_read:", "cached:", "cached"),
    ],
)
def test_a_wrong_spec_is_a_finding(old: str, new: str, said: str) -> None:
    (document,), _ = parse(MARKDOWN.replace(old, new), "acme.yaml")
    value, findings = check(document, {"scraper": Scraper}, {})
    assert value is None
    assert any(said in f"{finding.message} {finding.help}" for finding in findings), findings


def test_selectors_and_queries_are_tried_before_a_page_is() -> None:
    assert problems(spec(ISLAND)) == []
    assert len(problems(spec(ISLAND.replace("rows: prices", "rows: 'prices[['")))) == 1
    assert len(problems(spec(ISLAND.replace("css: table.now", "css: 'table..'")))) == 1
    assert len(problems(spec(ISLAND.replace("css: table.now", "xpath: '//a['")))) == 1


def test_the_example_of_the_documentation_is_a_scraper() -> None:
    text = (Path(__file__).parents[2] / "docs" / "scrapers.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"(?s)```yaml\n(kind: scraper\n.*?)```", text)
    assert problems(spec(example)) == []

"""Every saved page, read by the shipped scrapers, against the catalogues and against what a person finds on it.

`pytest tests/scrape --update-golden` writes the table of docs/scrapers.md; otherwise it is checked.
"""

import re
from pathlib import Path

import pytest

from sidecar.scrape.extract import extract
from tests.registry.catalogues import catalogues
from tests.scrape.pages import LISTED, NO_SCRAPER, OLLAMA, OPENROUTER, SCRAPERS, listed, read, scraper, scraper_of
from tests.shared import shared

DOCUMENT = Path(__file__).parents[2] / "docs" / "scrapers.md"
TABLE = re.compile(r"(?s)(<!-- pages: written by tests/scrape/test_pages.py -->\n).*?(<!-- end of pages -->)")
ALL = ("input", "output", "cache_read", "cache_write_5m", "cache_write_1h")

CUT = "llm-prices has the price before the cut of 2025-06-10 without an end date; the others have the page's 2/8."
DISCOUNT = "OpenRouter has another price than the provider; LiteLLM has the page's."
ROUNDED = "OpenRouter rounds to two places: the page has 0.125 and 0.025."

DIFFERENCES: dict[tuple[str, str, str], str] = {
    ("o3", "llm-prices", "input"): CUT,
    ("o3", "llm-prices", "output"): CUT,
    ("gpt-3.5-turbo-0613", "openrouter", "input"): DISCOUNT,
    ("gpt-5.1-codex", "openrouter", "cache_read"): ROUNDED,
    ("gpt-5.1-codex-mini", "openrouter", "cache_read"): ROUNDED,
}
"""(model, catalogue, field): who is right where page and catalogue differ."""

UNCONFIRMED = {
    # In no catalogue: retired before any of them was saved, or known there by another name.
    "gpt-4-0125-preview", "gpt-4-1106-vision-preview", "gpt-4-0314", "gpt-3.5-turbo-16k-0613", "davinci-002",
    "babbage-002", "codex-mini-latest", "gemini-2.5-flash-lite-preview-09-2025",
}  # fmt: skip


def compared(page: str, fields: tuple[str, ...]) -> dict[tuple[str, str], dict[str, tuple[float, float]]]:
    """(model, field) to the page's and each catalogue's price, where both have one."""
    shared("catalogues")
    found: dict[tuple[str, str], dict[str, tuple[float, float]]] = {}
    for row in read(page).rows:
        for name, models in catalogues().items():
            theirs = models.get(row.id, {})
            for field in fields:
                if field in theirs and field in row.values:
                    found.setdefault((row.id, field), {})[name] = (row.values[field], theirs[field])
    return found


def same(pair: tuple[float, float]) -> bool:
    return abs(pair[0] - pair[1]) < 1e-9


def precision(page: str) -> tuple[int, int]:
    """How many input and output prices no majority of the catalogues contradicts, and of how many."""
    votes = [[same(pair) for pair in by.values()] for by in compared(page, ("input", "output")).values()]
    return sum(sum(vote) * 2 >= len(vote) for vote in votes), len(votes)


def recall(page: str) -> tuple[int, int]:
    """How many of the models listed as current were extracted, and how many there are."""
    return len(listed(page) & {row.id for row in read(page).rows}), len(listed(page))


def report() -> str:
    head = "| page | models | prices confirmed | precision | recall of current models |"
    lines = [head, "| --- | ---: | ---: | ---: | ---: |"]
    totals = [0, 0, 0, 0, 0]
    for page in sorted(LISTED):
        right, of = precision(page)
        found, current = recall(page)
        totals = [a + b for a, b in zip(totals, (len(read(page).rows), right, of, found, current), strict=True)]
        shares = (f"{right / of:.1%}", f"{found}/{current}, {found / current:.1%}") if of else ("-", "-")
        name = re.sub(r"\.gz$", "", page)
        lines.append(f"| {name} | {len(read(page).rows)} | {right}/{of} | {shares[0]} | {shares[1]} |")
    rows, right, of, found, current = totals
    last = f"| all | {rows} | {right}/{of} | {right / of:.1%} | {found}/{current}, {found / current:.1%} |"
    listing = [f"- `{model}` {field}, {name}: {why}" for (model, name, field), why in sorted(DIFFERENCES.items())]
    return "\n".join([*lines, last, "", "Where page and catalogue differ:", "", *listing]) + "\n"


def test_every_saved_page_has_its_place() -> None:
    saved = {path.name for path in shared("pricing").iterdir()} - {"INDEX.json"}
    assert saved == LISTED.keys() | NO_SCRAPER


@pytest.mark.parametrize("page", sorted(page for page, models in LISTED.items() if models))
def test_a_page_is_read_without_a_finding_and_nearly_all_of_it(page: str) -> None:
    assert read(page).findings == ()
    found, current = recall(page)
    assert found >= 0.95 * current, listed(page) - {row.id for row in read(page).rows}


@pytest.mark.parametrize("page", sorted(page for page, models in LISTED.items() if models))
def test_prices_are_those_of_the_catalogues_and_differences_are_explained(page: str) -> None:
    right, of = precision(page)
    assert right >= 0.99 * of
    different = {
        (model, name, field)
        for (model, field), by in compared(page, ALL).items()
        for name, pair in by.items()
        if not same(pair)
    }
    assert different <= DIFFERENCES.keys()


def test_the_differences_and_the_unconfirmed_are_still_there() -> None:
    pages = [page for page, models in LISTED.items() if models]
    different = {
        (model, name, field)
        for page in pages
        for (model, field), by in compared(page, ALL).items()
        for name, pair in by.items()
        if not same(pair)
    }
    known = {model for models in catalogues().values() for model in models}
    assert different == DIFFERENCES.keys()
    assert {row.id for page in pages for row in read(page).rows} - known == UNCONFIRMED


@pytest.mark.parametrize("page", ["openai_pricing_2026-02-26.md", "openai_deprecations_2026-02-26.md"])
def test_a_page_without_prices_is_refused_with_a_reason(page: str) -> None:
    assert read(page).rows == ()
    assert [finding.reason for finding in read(page).findings] == ["wrong-page"]


def test_the_catalogue_is_a_second_opinion_on_what_the_providers_say() -> None:
    theirs = {row.id: row.values for row in read(OPENROUTER).rows}
    ours = {row.id: row.values for page in LISTED for row in read(page).rows}
    both = theirs.keys() & ours.keys()
    differing = {model for model in both if any(theirs[model][f] != ours[model][f] for f in ("input", "output"))}
    assert len(both) >= 40
    assert differing == {"gpt-3.5-turbo-0613"} & both


def test_what_a_machine_has_pulled_costs_nothing() -> None:
    rows = [(row.id, row.values) for row in read(OLLAMA).rows]
    assert rows == [("deepseek-r1", {"input": 0, "output": 0}), ("llama3.2", {"input": 0, "output": 0})]


def test_a_machine_without_models_is_no_fault() -> None:
    found = extract(scraper("ollama"), b'{"models": []}')
    assert (found.rows, found.findings) == ((), ())


def test_long_inputs_batches_and_priority_are_told_apart() -> None:
    values = {row.id: row.values for row in read("gemini_pricing_jina_2026-05-07.md").rows}["gemini-2.5-pro"]
    assert (values["input"], values["long_input"], values["long_above"]) == (1.25, 2.5, 200_000)
    assert (values["batch_input"], values["priority_input"], values["cache_read"]) == (0.625, 2.25, 0.125)


def test_no_scraper_names_a_page_that_is_not_there() -> None:
    assert {scraper_of(page) for page in [*LISTED, OPENROUTER, OLLAMA]} == {f.stem for f in SCRAPERS.glob("*.yaml")}
    for file in SCRAPERS.glob("*.yaml"):
        assert scraper(file.stem).name == file.stem


def test_the_report_is_that_of_today(request: pytest.FixtureRequest) -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    expected = TABLE.sub(lambda match: match[1] + report() + match[2], text)
    if request.config.getoption("--update-golden"):
        DOCUMENT.write_text(expected, encoding="utf-8")
        return
    assert text == expected

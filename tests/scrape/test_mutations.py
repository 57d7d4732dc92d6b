"""Pages change. Whatever a change does, no wrong price is believed, and what is kept out is kept out with a reason."""

import random
from collections import Counter

import pytest

from sidecar.scrape.extract import extract
from sidecar.scrape.finding import Extraction, Row
from sidecar.scrape.spec import MONEY

from .mutations import EVERY, MARKDOWN, Mutation, Mutator
from .mutations_html import HTML
from .mutations_json import JSON
from .pages import data, pages_of, read, scraper

EACH = 240
SCRAPERS = ("anthropic", "google", "openai", "openrouter", "ollama")


def mutators(page: str) -> tuple[Mutator, ...]:
    if page.endswith(".html.gz"):
        return HTML
    return JSON if data(page).startswith(b"{") else MARKDOWN


def mutations(name: str) -> list[tuple[str, Mutation]]:
    """As many as wanted, each page in turn, each kind of change in turn; always the same ones."""
    pages, made, turn = pages_of(name), list[tuple[str, Mutation]](), 0
    while len(made) < EACH:
        page = pages[turn % len(pages)]
        kinds = mutators(page)
        text = data(page).decode()
        mutation = kinds[turn // len(pages) % len(kinds)](text, random.Random(f"{page} {turn}"), read(page).rows)
        turn += 1
        if mutation is not None and mutation.text != text:
            made.append((page, mutation))
    return made


def wrong(before: dict[str, Row], doubtful: set[str], mutation: Mutation, found: Extraction) -> list[str]:
    """Prices believed that the page does not give."""
    faults = []
    for row in found.rows:
        if row.id in mutation.never or EVERY in mutation.never:
            faults.append(f"{row.id} must not be believed")
        expected = before[row.id].values if row.id in before else mutation.added.get(row.id)
        if expected is None and row.id in doubtful:
            continue  # another of its figures kept it out before; without that figure its prices may come in
        if expected is None:
            faults.append(f"{row.id} is no model of the page")
            continue
        faults += [
            f"{row.id}.{field} is {value}, not {expected.get(field)}"
            for field, value in row.values.items()
            if field in MONEY and value != expected.get(field)
        ]
    return faults


def silent(before: dict[str, Row], mutation: Mutation, found: Extraction) -> list[str]:
    """Models that are missing, or lack a main price, and nothing says why."""
    reasons = {id for finding in found.findings for id in finding.ids}
    if any(not finding.ids for finding in found.findings) or EVERY in mutation.gone:
        return []
    rows = {row.id: row.values for row in found.rows}
    wanted = (before.keys() | mutation.added.keys()) - mutation.gone - reasons
    return [id for id in sorted(wanted) if not {"input", "output"} <= rows.get(id, {}).keys()]


@pytest.mark.parametrize("name", SCRAPERS)
def test_no_wrong_price_is_believed_and_nothing_is_lost_in_silence(name: str) -> None:
    made = mutations(name)
    outcomes: Counter[str] = Counter()
    faults = []
    for page, mutation in made:
        before = {row.id: row for row in read(page).rows}
        doubtful = {id for finding in read(page).findings for id in finding.ids}
        found = extract(scraper(name), mutation.text.encode())
        bad = wrong(before, doubtful, mutation, found) + silent(before, mutation, found)
        faults += [f"{page}, {mutation.name}: {fault}" for fault in bad]
        outcomes["whole" if not found.findings else "partly" if found.rows else "quarantined"] += 1
    print(name, len(made), dict(outcomes), len({mutation.name for _, mutation in made}), "kinds")
    assert len(made) >= 200
    assert not faults, f"{len(faults)} of {len(made)}\n" + "\n".join(faults[:40])

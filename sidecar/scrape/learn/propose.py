"""A scraper for a page that no scraper reads any more: the places where known prices stand, proved by the extractor."""

import math
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any

import msgspec
from msgspec import Struct

from ..extract import extract
from ..finding import Extraction
from ..page import page_of
from ..select import Page, problems
from ..spec import MONEY, SIZES, Scraper, Table
from .cards import html_cards
from .fit import Fit, fit, same
from .headings import markdown_places
from .known import Known
from .naming import Naming
from .place import Keys, Place, grids, ways
from .records import html_islands, json_lists, markdown_islands
from .sheet import literal, sheet
from .tables import html_tables

LARGEST = 4 * 2**20
"""Bytes of a page that is learned from: it is read many times over."""

ENOUGH = 0.5
"""Confidence from which on something is proposed."""

NOWHERE = "https://example.com/pricing"
"""The url of a proposal for a page that does not say its own."""

_LEAST = 2
"""One model's prices stand in many places by chance."""

_TRIED = 12
_JOINED = 4
_SURE = 0.75
_UNITS = {
    "1M": r"(?i)per 1M tokens|per million tokens|per 1 million tokens|/ ?1M tokens|/ ?MTok|MTok = Million tokens",
    "1K": r"(?i)per 1K tokens|per 1,000 tokens|per thousand tokens|/ ?1K tokens",
}
_URL = re.compile(
    r"""(?m)^URL Source: (https?://\S+)|<link[^>]{0,200}rel="canonical"[^>]{0,80}href="(https?://[^"\s]+)"""
)


class Difference(Struct, frozen=True):
    """A figure that the page gives otherwise than it is known."""

    model: str
    field: str
    page: float
    known: float


class Proposal(Struct, frozen=True):
    """A scraper, as data and as a spec, and what it reads from the page it was learned on.

    `agreeing` and `differing` are known models, by whether the page gives their input and output as they are known.
    """

    document: dict[str, Any]
    scraper: Scraper
    read: Extraction
    agreeing: tuple[str, ...]
    differing: tuple[str, ...]
    differences: tuple[Difference, ...]

    @property
    def confidence(self) -> float:
        """Share of the known models among the page's whose input and output are as known."""
        of = len(self.agreeing) + len(self.differing)
        return len(self.agreeing) / of if of else 0.0


class Learned(Struct, frozen=True):
    """The proposal, None when no known prices stand on the page; and the places that were looked at."""

    proposal: Proposal | None
    looked: dict[str, int]


class _Found(Struct, frozen=True):
    keys: Keys
    fit: Fit


class _Frame(Struct, frozen=True):
    """What a proposal has beside its tables."""

    page: Page
    data: bytes
    known: Known
    like: Scraper | None


def learn(data: bytes, known: Known, like: Scraper | None = None) -> Learned:
    """What a page's own figures say of where its prices stand.

    `like` is the scraper that once read the page: names, url, bounds and aliases are taken from it. Raises ValueError
    when the bytes are no text.
    """
    page = page_of(data.decode("utf-8-sig"))
    looked: Counter[str] = Counter()
    found = sorted(_fits(page, known, _namings(like), looked), key=lambda each: each.fit.score, reverse=True)
    frame = _Frame(page, data, known, like)
    trials = [_proposed(frame, [each]) for each in found[:_TRIED]]
    best, first = max(
        ((trial, each) for trial, each in zip(trials, found, strict=False) if trial is not None),
        key=lambda pair: _worth(pair[0]),
        default=(None, None),
    )
    if best is None or first is None:
        return Learned(None, dict(looked))
    best = _finished(frame, _widened(frame, best, [first], found))
    sound = best.confidence >= ENOUGH and len(best.agreeing) >= _LEAST
    return Learned(best if sound else None, dict(looked))


def _worth(trial: Proposal) -> tuple[int, int, int, int]:
    """Agreement first, then how much is read, then with how few doubts and how many fields."""
    fields = sum(len(row.values) for row in trial.read.rows)
    return (
        len(trial.agreeing) - 2 * len(trial.differing),
        len(trial.read.rows),
        -len(trial.read.findings),
        fields,
    )


def _fits(page: Page, known: Known, namings: Sequence[Naming], looked: Counter[str]) -> Iterator[_Found]:
    """Every way of every place in which known prices stand."""
    tried: set[bytes] = set()
    most = ways(page)
    for kind, place in _places(page, known):
        looked[kind] += 1
        if place.alone is not None and fit(sheet(grids(page, place.alone)), known, namings) is None:
            continue
        for keys in place.ways:
            key = msgspec.json.encode(keys)
            if key in tried:
                continue
            tried.add(key)
            if len(tried) > most:
                return
            fitted = fit(sheet(grids(page, keys)), known, namings)
            if fitted is not None and fitted.agreeing:
                yield _Found(_named(keys, fitted), fitted)


def _places(page: Page, known: Known) -> Iterator[tuple[str, Place]]:
    yield from chain(
        (("tables", place) for place in html_tables(page)),
        (("groups of boxes", place) for place in html_cards(page, known)),
        (("tables", place) for place in markdown_places(page)),
        (("lists in JSON", place) for place in json_lists(page)),
        (("lists in JSON", place) for place in html_islands(page)),
        (("lists in JSON", place) for place in markdown_islands(page)),
    )


def _named(keys: Keys, fitted: Fit) -> Keys:
    """Columns of lists have no names of their own: they get those of their fields."""
    if not keys.get("header"):
        return keys
    return {**keys, "header": [fitted.columns.get(at, name) for at, name in enumerate(keys["header"])]}


def _table(found: _Found) -> dict[str, Any]:
    """A table as YAML has it."""
    fields = found.fit.fields
    if found.keys.get("header"):
        old = [f"c{at}" for at in range(1, len(found.keys["header"]) + 1)]
        new = dict(zip(old, found.keys["header"], strict=True))
        fields = {
            name: {**how, "column": new.get(how.get("column", ""), how.get("column"))} for name, how in fields.items()
        }
    return {**found.keys, **found.fit.extra, "fields": fields}


def _proposed(frame: _Frame, found: Sequence[_Found]) -> Proposal | None:
    """A scraper of these tables, run on the page; None when it cannot be used."""
    like, page = frame.like, frame.page
    tables = [_table(each) for each in found]
    source: dict[str, Any] = {"url": _url(page, like), "type": page.type}
    if states := _states(page, tables):
        source["states"] = states
    models = [frame.known.exact(name) for each in found for name in each.fit.agreeing]
    provider = Counter(model.provider for model in models if model is not None).most_common(1)[0][0]
    document: dict[str, Any] = {
        "name": provider if like is None else like.name,
        "provider": provider if like is None else like.provider,
    }
    if like is not None and like.bounds:
        document["bounds"] = msgspec.to_builtins(like.bounds)
    document |= {"max_quarantined": 1.0, "sources": [{**source, "tables": tables}]}
    try:
        scraper = msgspec.convert(document, Scraper)
    except msgspec.ValidationError:
        return None
    if problems(scraper):
        return None
    read = extract(scraper, frame.data)
    return Proposal(document, scraper, read, *_verdict(read, frame.known))


def _finished(frame: _Frame, trial: Proposal) -> Proposal:
    """With the bounds that what was read allows: until here any number of rows might be bad."""
    rows = len(trial.read.rows)
    bad = len({name for finding in trial.read.findings for name in finding.ids} - {row.id for row in trial.read.rows})
    bad += sum(not finding.ids for finding in trial.read.findings)
    share = math.ceil(20 * bad / (bad + rows)) / 20 if rows else 0.0
    document = {key: value for key, value in trial.document.items() if key != "max_quarantined"}
    tables = document["sources"][0]["tables"]
    source = {key: value for key, value in document["sources"][0].items() if key != "tables"}
    document["sources"] = [{**source, "min_rows": max(1, rows * 6 // 10), "tables": tables}]
    if share > 0.25:
        document = {**document, "max_quarantined": share}
    scraper = msgspec.convert(document, Scraper)
    read = extract(scraper, frame.data)
    return Proposal(document, scraper, read, *_verdict(read, frame.known))


def _verdict(read: Extraction, known: Known) -> tuple[tuple[str, ...], tuple[str, ...], tuple[Difference, ...]]:
    """Known models that the page has as they are known, those it has otherwise, and what differs."""
    agreeing, differing, differences = list[str](), list[str](), list[Difference]()
    for row in read.rows:
        model = known.exact(row.id)
        if model is None:
            continue
        for field in (MONEY | SIZES) & row.values.keys() & model.figures.keys():
            if not same(row.values[field], model.figures[field]):
                differences.append(Difference(model.id, field, row.values[field], model.figures[field]))
        wrong = [field for field in ("input", "output") if not same(row.values[field], model.figures[field])]
        (differing if wrong else agreeing).append(model.id)
    return tuple(agreeing), tuple(differing), tuple(sorted(differences, key=lambda d: (d.model, d.field)))


def _widened(frame: _Frame, best: Proposal, used: list[_Found], found: Sequence[_Found]) -> Proposal:
    """With further tables, as long as each adds known models and none speaks against those there are."""
    tried = 0
    for each in found:
        if each.fit.confidence < _SURE or each.fit.agreeing <= set(best.agreeing):
            continue
        if len(used) == _JOINED or tried == _TRIED:
            break
        tried += 1
        wider = _proposed(frame, [*used, each])
        if wider is not None and _better(wider, best):
            best, used = wider, [*used, each]
    return best


def _better(wider: Proposal, best: Proposal) -> bool:
    return (
        len(wider.read.rows) > len(best.read.rows)
        and len(wider.agreeing) >= len(best.agreeing)
        and len(wider.differing) <= len(best.differing)
        and len(wider.read.findings) <= len(best.read.findings)
        and {row.id for row in best.read.rows} <= {row.id for row in wider.read.rows}
    )


def _namings(like: Scraper | None) -> list[Naming]:
    """How an existing scraper reads names."""
    found: list[Naming] = []
    for table in _tables(like):
        how = table.fields["id"]
        keys = {
            "match": how.match, "find": how.find, "replace": how.replace, "slug": how.slug, "alias": how.alias,
        }  # fmt: skip
        naming = {key: value for key, value in keys.items() if value}
        if naming and naming not in found:
            found.append(naming)
    return found


def _tables(like: Scraper | None) -> Iterator[Table]:
    for source in () if like is None else like.sources:
        yield from source.tables


def _url(page: Page, like: Scraper | None) -> str:
    """Where the page is from: as the scraper has it, or as the page says."""
    sources = [] if like is None else [source for source in like.sources if source.type == page.type]
    for source in sources:
        if source.marks is not None and re.search(source.marks, page.text):
            return source.url
    said = _URL.search(page.text[:200_000])
    found = (said[1] or said[2])[:2048] if said else None
    return found or (sources[0].url if sources else NOWHERE)


def _states(page: Page, tables: Sequence[dict[str, Any]]) -> list[str]:
    """The words by which the page says its unit, so that another unit is noticed."""
    units = {how.get("per", "1M") for table in tables for name, how in table["fields"].items() if name in MONEY}
    if page.type == "json" or len(units) != 1 or (pattern := _UNITS.get(units.pop())) is None:
        return []
    said = re.search(pattern, page.visible)
    return [literal(said[0])] if said else []

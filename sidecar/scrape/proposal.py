"""What pages of today would change in the registry: cards, a line for each change, and what is kept out and why.

Pure. A model in doubt stays as it is, a page in doubt changes nothing, and the rest goes in.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from enum import StrEnum
from math import isclose
from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from ..registry.card import ModelCard, Source, card_problems, names
from .finding import Extraction, Finding, QuarantineError, Reason, Row
from .normalise import figures, in_force, laid_over, same
from .spec import Scraper

OPINION = 0.01
"""How far a second opinion may be off: catalogues round."""
_NO_FIGURES = {"status", "unlisted", "long_above"}


class Reading(Struct, frozen=True):
    """One page: where it came from, what was read from it, and the rows of the page that was believed before it."""

    scraper: Scraper
    source: Source
    extraction: Extraction
    last: tuple[Row, ...] = ()


class Terms(Struct, frozen=True):
    """`accept`: a person has looked, and jumps, disagreements and shrunken pages are true. `add`: models that the
    registry does not have are taken in."""

    today: date
    accept: bool = False
    add: bool = False


class Action(StrEnum):
    """What became of a model, or of one of its figures."""

    CHANGED = "changed"
    ADDED = "added"
    QUARANTINED = "quarantined"
    VANISHED = "vanished"


class Change(Struct, frozen=True):
    """A line of the changelog. `page` is the page's sha256; `model` is "" where a whole page is kept out."""

    source: str
    model: str
    field: str
    old: Any
    new: Any
    page: str
    action: Action
    reason: str = ""


class Refusal(Struct, frozen=True):
    """A finding, and the page it is about."""

    source: str
    url: str
    finding: Finding


class Proposal(Struct, frozen=True):
    """`believed` are the URLs of pages that were believed as a whole; `unknown` models by scraper that the registry
    does not have; `confirmed` is how many models stay as they are."""

    cards: tuple[ModelCard, ...]
    changes: tuple[Change, ...]
    refusals: tuple[Refusal, ...]
    believed: frozenset[str]
    unknown: Mapping[str, tuple[str, ...]]
    confirmed: int


def propose(cards: Sequence[ModelCard], readings: Sequence[Reading], terms: Terms) -> Proposal:
    """All readings laid over the cards."""
    merging = _Merging(cards, terms)
    believed = [reading for reading in readings if merging.believes(reading)]
    for reading in believed:
        if reading.scraper.second_opinion:
            merging.hear(reading)
    for reading in believed:
        if not reading.scraper.second_opinion:
            merging.lay(reading)
    return merging.proposal(frozenset(reading.source.url for reading in believed))


class _Merging:
    """The registry while pages are laid over it."""

    def __init__(self, cards: Sequence[ModelCard], terms: Terms) -> None:
        self.cards = {card.id: card for card in cards}
        self.owner = {name: card.id for card in cards for name in (*names(card), *_upstream(card))}
        self.terms = terms
        self.opinions: dict[str, tuple[Row, Source]] = {}
        self.changes: list[Change] = []
        self.refusals: list[Refusal] = []
        self.unknown: dict[str, list[str]] = {}
        self.confirmed = 0

    def proposal(self, believed: frozenset[str]) -> Proposal:
        """What came of it."""
        unknown = {scraper: tuple(ids) for scraper, ids in self.unknown.items()}
        cards = tuple(self.cards.values())
        return Proposal(cards, tuple(self.changes), tuple(self.refusals), believed, unknown, self.confirmed)

    def believes(self, reading: Reading) -> bool:
        """Whether a page as a whole is taken for what it was; notes what is wrong with it, and with its models."""
        found = reading.extraction
        for finding in found.findings:
            if found.rows and finding.ids and not any(id in self.owner for id in finding.ids):
                self.strangers(reading, finding.ids)
            else:
                self.refuse(reading, finding)
        if found.findings and not found.rows:
            return False
        gone = self.gone(reading)
        if len(gone) > reading.scraper.max_missing * len(reading.last) and not self.terms.accept:
            message = f"{len(gone)} of the {len(reading.last)} models of the last page are not on it: none is believed"
            self.refuse(reading, Finding(Reason.FEWER_ROWS, message))
            return False
        return True

    def refuse(self, reading: Reading, finding: Finding) -> None:
        """Notes a finding, and a line of the changelog for each model that it keeps out."""
        name, page = reading.scraper.name, reading.source.sha256 or ""
        self.refusals.append(Refusal(name, reading.source.url, finding))
        action = Action.VANISHED if finding.reason is Reason.VANISHED else Action.QUARANTINED
        reason = f"{finding.reason}: {finding.message}"
        self.changes += (Change(name, id, "", None, None, page, action, reason) for id in finding.ids or ("",))

    def strangers(self, reading: Reading, ids: Iterable[str]) -> None:
        """Notes models of a provider that the registry does not have: nothing hangs on them."""
        if not reading.scraper.second_opinion:
            known = self.unknown.setdefault(reading.scraper.name, [])
            known += (id for id in ids if id not in known)

    def gone(self, reading: Reading) -> list[str]:
        """Models of the last page that this one does not speak of, soundly or not."""
        spoken = {row.id for row in reading.extraction.rows}
        spoken.update(id for finding in reading.extraction.findings for id in finding.ids)
        return [row.id for row in reading.last if row.id not in spoken]

    def hear(self, reading: Reading) -> None:
        """Keeps a second opinion for the models that have one."""
        for row in reading.extraction.rows:
            self.opinions[self.owner.get(row.id, row.id)] = (row, reading.source)

    def lay(self, reading: Reading) -> None:
        """Lays a page's rows over the cards, and marks what is gone from it."""
        for id in self.gone(reading):
            card = self.card(id, reading.scraper.provider)
            if card is not None and card.unlisted is None:
                self.cards[card.id] = replace(card, unlisted=self.terms.today)
                message = f"`{card.id}` was on the last page and is not on this one: it is kept, and marked"
                self.refuse(reading, Finding(Reason.VANISHED, message, ids=(card.id,)))
        for row in reading.extraction.rows:
            try:
                self.row(reading, row)
            except QuarantineError as fault:
                self.refuse(reading, Finding(fault.reason, f"`{row.id}`: {fault.message}", row.line, (row.id,)))

    def card(self, id: str, provider: str) -> ModelCard | None:
        """The card that a page of this provider means by a name."""
        card = self.cards.get(self.owner.get(id, ""))
        return card if card is not None and card.provider == provider else None

    def row(self, reading: Reading, row: Row) -> None:
        """Lays one row over its card. Raises QuarantineError."""
        source = replace(reading.source, selectors=row.selectors)
        old = self.card(row.id, reading.scraper.provider)
        if old is None:
            self.new(reading, row, source)
            return
        new = laid_over(old, row, source, self.terms.today)
        before, after = figures(old, self.terms.today), figures(new, self.terms.today)
        changed = [name for name in {**before, **after} if not same(before.get(name), after.get(name))]
        if changed:
            new = self.judged(new, changed, before, after, reading.scraper.max_jump)
            _sound(new)
        page = source.sha256 or ""
        self.changes += (
            Change(reading.scraper.name, old.id, name, before.get(name), after.get(name), page, Action.CHANGED)
            for name in changed
        )
        self.confirmed += not changed
        self.cards[old.id] = new

    def judged(
        self, card: ModelCard, changed: list[str], before: dict[str, Any], after: dict[str, Any], most: float
    ) -> ModelCard:
        """The card with who confirms its new price. Raises QuarantineError for a jump or a contradiction."""
        if not self.terms.accept:
            jumps = [
                name for name in changed if name not in _NO_FIGURES and _jump(before.get(name), after.get(name), most)
            ]
            if jumps:
                said = "; ".join(f"`{name}` from {before[name]:g} to {after[name]:g}" for name in jumps)
                raise QuarantineError(Reason.PRICE_JUMP, f"{said}: more than {most:g} times, or less")
        row, source = self.opinions.get(card.id, (None, None))
        asked = [name for name in ("input", "output") if name in changed and row is not None and name in row.values]
        if row is None or not asked:
            return card
        off = [name for name in asked if not isclose(row.values[name], after[name], rel_tol=OPINION)]
        if off and not self.terms.accept:
            said = "; ".join(f"`{name}` is {after[name]:g} here and {row.values[name]:g} there" for name in off)
            raise QuarantineError(Reason.DISAGREEMENT, f"{source.url if source else ''} contradicts: {said}")
        today = in_force(card.prices, self.terms.today)
        agreed = tuple(replace(p, confirmed=source) if p is today and not off else p for p in card.prices)
        return replace(card, prices=agreed)

    def new(self, reading: Reading, row: Row, source: Source) -> None:
        """Takes in a model that the registry does not have, where that is wanted and its sizes are known."""
        opinion, other = self.opinions.get(row.id, (None, None))
        sizes = {**(opinion.values if opinion is not None else {}), **row.values}
        if not self.terms.add or "context" not in sizes or "max_output" not in sizes:
            self.strangers(reading, [row.id])
            return
        if row.id in self.owner:
            raise QuarantineError(Reason.NAME_TAKEN, f"the registry calls `{self.owner[row.id]}` so")
        card = ModelCard(
            id=row.id,
            provider=reading.scraper.provider,
            context=sizes["context"],
            max_output=sizes["max_output"],
            capabilities=("streaming",),
            limits_source=reading.source if "context" in row.values else other,
        )
        card = laid_over(card, row, source, self.terms.today)
        _sound(card)
        self.cards[card.id] = card
        self.owner[card.id] = card.id
        found = {name: value for name, value in figures(card, self.terms.today).items() if value is not None}
        page = source.sha256 or ""
        self.changes += (
            Change(reading.scraper.name, card.id, name, None, value, page, Action.ADDED)
            for name, value in found.items()
        )


def _upstream(card: ModelCard) -> Iterator[str]:
    if card.upstream is not None:
        yield card.upstream


def _jump(old: Any, new: Any, most: float) -> bool:
    if old is None or new is None:
        return False
    return not (old and new) or not 1 / most <= new / old <= most


def _sound(card: ModelCard) -> None:
    """The card must be one that `models.json` may hold: one that is not would make the whole file refused."""
    try:
        msgspec.json.decode(msgspec.json.encode(card), type=ModelCard)
    except msgspec.ValidationError as fault:
        raise QuarantineError(Reason.IMPLAUSIBLE, f"does not fit the registry: {fault}") from None
    if problems := card_problems(card):
        raise QuarantineError(Reason.IMPLAUSIBLE, "; ".join(map(str, problems)))

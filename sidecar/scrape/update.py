"""An update of the registry: fetch, extract, propose, write. One at a time, whoever asked for it."""

import asyncio
import os
import secrets
import socket
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from time import monotonic, time

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from ..registry import card, versions
from ..registry.load import Loaded, load, newest
from ..stores.updates import Entry, Page, Updates
from .extract import extract
from .fetch import Fetcher, Known
from .finding import BusyError, Extraction, Finding, QuarantineError
from .proposal import Change, Proposal, Reading, Refusal, Terms, propose
from .spec import Scraper, Source

PATIENCE = 900.0
"""Seconds after which an update that says nothing more is taken for dead."""


class Paths(Struct, frozen=True):
    """Where the registry is written (`named`: gateway.yaml says so), the database, and how many versions are kept."""

    registry: Path
    database: Path
    named: bool = False
    keep: int = versions.KEEP

    def load(self) -> Loaded:
        """The catalogue in force."""
        return load(self.registry) if self.named else newest(self.registry)


class Progress(Struct, frozen=True):
    """How far an update is: `done` of `of` scrapers, and what is being done."""

    done: int
    of: int
    step: str


class Report(Struct, frozen=True):
    """How an update ended. `outcomes` by scraper: unchanged, changed, quarantined (some of it), failed (all of it).

    `written` is the new version, None when nothing was to be written. `requested` are all URLs that were asked for.
    """

    at: float
    seconds: float
    outcomes: dict[str, str]
    changes: tuple[Change, ...]
    refusals: tuple[Refusal, ...]
    unknown: dict[str, tuple[str, ...]]
    confirmed: int
    written: str | None
    requested: tuple[str, ...]


class RegistryUpdater:
    """Updates one registry. `told` is called with each step; `progress` is the last one, None between updates."""

    def __init__(self, paths: Paths, told: Callable[[Progress], None] = lambda progress: None) -> None:
        self.progress: Progress | None = None
        self._paths = paths
        self._store = Updates(paths.database)
        self._told = told
        self._holder = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"
        self._requested: list[str] = []

    async def update(
        self, scrapers: Sequence[Scraper], terms: Terms, *, dry_run: bool = False, tick: float | None = None
    ) -> Report:
        """Ask all scrapers' pages and take in what is to be believed. With `tick`, unless that was done since then.

        Raises BusyError, OSError and sqlite3.Error; whatever is wrong with pages is in the report.
        """
        if dry_run:
            return await self._update(scrapers, terms, dry_run=True)
        await asyncio.to_thread(self._store.prepare)
        report = None
        try:
            await self._claim(tick)
            report = await self._update(scrapers, terms, dry_run=False)
            return report
        finally:
            self.progress = None
            done = (time(), msgspec.json.encode(report).decode()) if report is not None else (None, "")
            # Shielded: the next update must not have to wait for a lease that nobody holds.
            await asyncio.shield(asyncio.to_thread(self._store.release, self._holder, *done))

    async def _update(self, scrapers: Sequence[Scraper], terms: Terms, *, dry_run: bool) -> Report:
        began, at = monotonic(), time()
        self._requested = []
        readings: list[Reading] = []
        pages: list[Page] = []
        for place, scraper in enumerate(scrapers):
            if not dry_run:
                await self._claim(None)
            self._tell(place, len(scrapers), f"{scraper.name}: asking {scraper.sources[0].url}")
            readings += await self._read(scraper, terms.today, pages)
        self._tell(len(scrapers), len(scrapers), "comparing")
        loaded = await asyncio.to_thread(self._paths.load)
        proposal = await asyncio.to_thread(propose, loaded.catalogue.models, readings, terms)
        written = None
        if not dry_run:
            believed = [page for page in pages if page.url in proposal.believed]
            written = await asyncio.to_thread(self._write, loaded, proposal, believed, terms.today)
        return Report(
            at=at,
            seconds=round(monotonic() - began, 3),
            outcomes={scraper.name: _outcome(scraper, readings, proposal) for scraper in scrapers},
            changes=proposal.changes,
            refusals=proposal.refusals,
            unknown=dict(proposal.unknown),
            confirmed=proposal.confirmed,
            written=None if written is None else str(written),
            requested=tuple(self._requested),
        )

    async def _claim(self, tick: float | None) -> None:
        now = time()
        if not await asyncio.to_thread(self._store.claim, self._holder, now, now + PATIENCE, tick):
            raise BusyError("another update of the registry is under way, or has just ended")

    def _tell(self, done: int, of: int, step: str) -> None:
        self.progress = Progress(done, of, step)
        self._told(self.progress)

    async def _read(self, scraper: Scraper, today: date, pages: list[Page]) -> list[Reading]:
        """The first page of a scraper's sources that can be read; before it, why others could not."""
        readings: list[Reading] = []
        fetcher = await asyncio.to_thread(Fetcher, scraper)  # it reads the certificates
        async with fetcher:
            for source in scraper.sources:
                reading = await self._page(fetcher, scraper, source, today, pages)
                readings.append(reading)
                if reading.extraction.rows or not reading.extraction.findings:
                    break
        self._requested += fetcher.requested
        return readings

    async def _page(
        self, fetcher: Fetcher, scraper: Scraper, source: Source, today: date, pages: list[Page]
    ) -> Reading:
        where = card.Source(url=source.url, fetched_at=today)
        before = await asyncio.to_thread(self._store.page, source.url)
        known = Known() if before is None else Known(before.etag, before.last_modified)
        try:
            fetched = await fetcher.fetch(source, known)
        except QuarantineError as fault:
            return Reading(scraper, where, Extraction((), (Finding(fault.reason, fault.message),)))
        if fetched.page is None and before is not None:
            data, sha = before.page, before.sha256
        else:
            data, sha = fetched.page or b"", fetched.sha256
            said = fetched.known
            pages.append(Page(source.url, said.etag, said.last_modified, sha, today.isoformat(), data))
        found = await asyncio.to_thread(extract, scraper, data)
        last = found.rows
        if before is not None and before.sha256 != sha:
            last = (await asyncio.to_thread(extract, scraper, before.page)).rows
        return Reading(scraper, replace(where, sha256=sha), found, last)

    def _write(self, loaded: Loaded, proposal: Proposal, pages: list[Page], today: date) -> Path | None:
        """Changelog, pages and models.json, together."""
        now = datetime.now(UTC).timestamp()
        entries = [_entry(change, now) for change in proposal.changes]
        written: list[Path] = []

        def write() -> None:
            if proposal.cards != loaded.catalogue.models or loaded.problem is not None:
                catalogue = replace(loaded.catalogue, generated=today, models=proposal.cards)
                data = msgspec.json.format(msgspec.json.encode(catalogue), indent=1) + b"\n"
                written.append(versions.replace(self._paths.registry, data, self._paths.keep))

        self._store.commit(entries, pages, write)
        return written[0] if written else None


def _entry(change: Change, now: float) -> Entry:
    old, new = (None if value is None else msgspec.json.encode(value).decode() for value in (change.old, change.new))
    names = (change.source, change.model, change.field)
    return Entry(now, *names, old, new, change.page, change.action.value, change.reason)


def _outcome(scraper: Scraper, readings: Sequence[Reading], proposal: Proposal) -> str:
    urls = {reading.source.url for reading in readings if reading.scraper.name == scraper.name}
    if not urls & proposal.believed:
        return "failed"
    if any(refusal.source == scraper.name for refusal in proposal.refusals):
        return "quarantined"
    return "changed" if any(change.source == scraper.name for change in proposal.changes) else "unchanged"

"""Updates of the registry inside the gateway: on the schedule of `registry_update`, and on demand.

One replica updates, whoever's turn comes first; the others see from the database how it ended. Hot reload takes the new
models.json in like any other change.
"""

import asyncio
import random
import sqlite3
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from time import time
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from ..engine.holder import Holder
from ..engine.metrics import Metrics
from ..gateway import RegistryUpdate
from ..schedule import following
from ..scrape.finding import BusyError, NoScraperError
from ..spec import seconds
from ..stores.updates import Updates

if TYPE_CHECKING:
    from ..scrape.proposal import Terms
    from ..scrape.spec import Scraper
    from ..scrape.update import RegistryUpdater, Report

LOOK = 30.0
"""Seconds between looks at what the schedule says, and at what other replicas did."""
SHOWN = 20
"""Findings that are kept to be shown."""


class _Change(Struct):
    model: str
    action: str


class _Finding(Struct):
    reason: str
    message: str
    line: int = 1


class _Refusal(Struct):
    source: str
    url: str
    finding: _Finding


class _Report(Struct):
    """What is read of the last report: the parts that are shown."""

    at: float
    outcomes: dict[str, str]
    changes: list[_Change]
    refusals: list[_Refusal]


class LastUpdate(Struct, frozen=True):
    """The last update that ended, of any replica or of the command line. `findings` are at most SHOWN lines."""

    at: float
    outcomes: Mapping[str, str]
    changed: int
    quarantined: int
    findings: tuple[str, ...]


class RegistryUpdates:
    """`run` runs as long as the gateway does; `update` is for who asks. `fault` says why the last one did not end."""

    def __init__(
        self, entry: Path, holder: Holder, metrics: Metrics, database: Path, environ: Mapping[str, str]
    ) -> None:
        self.last: LastUpdate | None = None
        self.fault: str | None = None
        self._entry = entry
        self._holder = holder
        self._metrics = metrics
        self._environ = environ
        self._store = Updates(database)
        self._updater: RegistryUpdater | None = None

    @property
    def settings(self) -> RegistryUpdate | None:
        """What gateway.yaml says today."""
        return self._holder.current.graph.gateway.registry_update

    @property
    def next(self) -> float | None:
        """When the schedule comes round again, without jitter; None when there is none."""
        settings = self.settings
        return following(settings.schedule, time()) if settings is not None and settings.enabled else None

    @property
    def step(self) -> str | None:
        """What the update under way in this process is doing, for example `[1/5] openai: asking https://...`."""
        progress = None if self._updater is None else self._updater.progress
        return None if progress is None else f"[{progress.done}/{progress.of}] {progress.step}"

    async def run(self) -> None:
        """Update whenever the schedule says so, until cancelled."""
        due: tuple[str, float, float] | None = None
        while True:
            settings = self.settings
            if settings is None or not settings.enabled:
                due = None
            else:
                await self.look()
                if due is None or due[0] != settings.schedule:
                    tick = following(settings.schedule, time())
                    # Replicas that keep the same time must not all come at once.
                    due = settings.schedule, tick, tick + random.uniform(0, seconds(settings.jitter))  # noqa: S311
                if time() >= due[2]:
                    await self._scheduled(due[1])
                    due = None
                    continue
            await asyncio.sleep(LOOK if due is None else min(LOOK, max(0.05, due[2] - time())))

    async def update(self, *names: str, dry_run: bool = False, tick: float | None = None) -> "Report":
        """Ask the pages now: of the scrapers of these names, or of those that the schedule asks.

        Raises BusyError while another update runs, NoScraperError for a name that is none, OSError, sqlite3.Error.
        """
        updater, scrapers, terms = await asyncio.to_thread(self._prepare, names)
        self._updater = self._updater or updater
        try:
            report = await updater.update(scrapers, terms, dry_run=dry_run, tick=tick)
        finally:
            if self._updater is updater:
                self._updater = None
        if not dry_run:
            self._metrics.registry_updated(report.outcomes)
            await self.look()
            self._tell(report)
        return report

    async def look(self) -> None:
        """See how the last update ended, whoever made it."""
        try:
            found = await asyncio.to_thread(self._store.last)
        except sqlite3.Error:
            return  # the ledger tells of a database that cannot be used
        if found is None or (self.last is not None and self.last.at == found[0]):
            return
        try:
            report = msgspec.json.decode(found[1], type=_Report)
        except msgspec.DecodeError:
            return  # of another version
        failed = "failed" in report.outcomes.values()
        lines = [f"{r.url}:{r.finding.line}:1: error[{r.finding.reason}]: {r.finding.message}" for r in report.refusals]
        changed = {change.model for change in report.changes if change.action in ("changed", "added")}
        self.last = LastUpdate(found[0], report.outcomes, len(changed), len(lines), tuple(lines[:SHOWN]))
        self._metrics.registry_state(None if failed else found[0], len(lines))

    def _prepare(self, names: Sequence[str]) -> "tuple[RegistryUpdater, list[Scraper], Terms]":
        """All that an update needs. In a thread, for it reads files and loads HTML parsers."""
        # Here, because those are 20 MB that a gateway without updates does not pay.
        from ..scrape.proposal import Terms

        # Here, for the reason given above.
        from ..scrape.specs import chosen

        # Here, for the reason given above.
        from ..scrape.update import Paths, RegistryUpdater

        gateway = self._holder.current.graph.gateway
        settings = gateway.registry_update or RegistryUpdate()
        providers = {name for name, provider in gateway.providers.items() if provider.enabled}
        scrapers = chosen(names or settings.scrapers, self._entry.parent, providers)
        registry = gateway.catalogue(self._entry, self._environ)
        paths = Paths(registry, self._store.path, gateway.registry is not None, settings.keep)
        terms = Terms(datetime.now(UTC).date(), add=settings.add_models)
        return RegistryUpdater(paths), scrapers, terms

    async def _scheduled(self, tick: float) -> None:
        try:
            await self.update(tick=tick)
        except BusyError:
            return  # another replica's turn
        except (NoScraperError, OSError, sqlite3.Error, ValueError) as fault:
            self.fault = str(fault)
            self._holder.log("error", "registry_update", {"problem": self.fault})
        else:
            self.fault = None

    def _tell(self, report: "Report") -> None:
        changed = sorted({change.model for change in report.changes if change.action in ("changed", "added")})
        kept_out = [f"{r.source}: {r.finding.reason}: {r.finding.message}" for r in report.refusals[:SHOWN]]
        self._holder.log(
            "warning" if report.refusals else "info",
            "registry_update",
            {"outcomes": report.outcomes, "changed": changed, "quarantined": kept_out, "written": report.written},
        )

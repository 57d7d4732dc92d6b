"""`sidecar scrape NAME|--all`: pages are asked for, and what is to be believed goes into the registry."""

import argparse
import asyncio
import os
import sqlite3
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from ..config.render import printable
from ..gateway import RegistryUpdate
from ..graph import Graph
from ..scrape.finding import BusyError, NoScraperError
from ..scrape.proposal import Action, Refusal, Terms
from ..scrape.specs import chosen
from ..scrape.update import Paths, Progress, RegistryUpdater, Report
from .config import default_path, read

_HEAD = f"{'model':<36} {'field':<16} {'old':>12} {'new':>12}  from"


def update(options: argparse.Namespace) -> int:
    """0 when all is in, 1 when something was quarantined or failed, 2 when called wrongly."""
    if (options.name is None) != options.all:
        sys.stderr.write("sidecar scrape: either NAME or --all\n")
        return 2
    entry = options.config or default_path()
    graph = read(entry, strict=False).graph
    if graph is None:
        return 1
    settings = graph.gateway.registry_update or RegistryUpdate()
    wanted = settings.scrapers if options.all else (options.name,)
    providers = {name for name, provider in graph.gateway.providers.items() if provider.enabled}
    try:
        scrapers = chosen(wanted, entry.parent, providers)
    except NoScraperError as fault:
        sys.stderr.write(f"sidecar scrape: {fault}\n")
        return 2
    terms = Terms(datetime.now(UTC).date(), accept=options.accept, add=settings.add_models)
    updater = RegistryUpdater(_paths(graph, entry, settings.keep), _tell)
    try:
        report = asyncio.run(updater.update(scrapers, terms, dry_run=options.dry_run))
    except (BusyError, OSError, sqlite3.Error) as fault:
        sys.stderr.write(f"sidecar scrape: {fault}\n")
        return 1
    sys.stderr.write("".join(f"{line(refusal)}\n" for refusal in report.refusals))
    sys.stdout.write(_json(report) if options.format == "json" else _text(report, dry_run=options.dry_run))
    return int(bool(report.refusals))


def line(refusal: Refusal) -> str:
    """A finding as one clickable line."""
    finding = refusal.finding
    return f"{refusal.url}:{finding.line}:1: error[{finding.reason}]: {printable(finding.message)}"


def _paths(graph: Graph, entry: Path, keep: int) -> Paths:
    gateway = graph.gateway
    registry, database = gateway.catalogue(entry, os.environ), gateway.ledger(entry, os.environ)
    return Paths(registry, database, gateway.registry is not None, keep)


def _tell(progress: Progress) -> None:
    sys.stderr.write(f"[{progress.done}/{progress.of}] {progress.step}\n")


def _json(report: Report) -> str:
    return msgspec.json.format(msgspec.json.encode(report), indent=2).decode() + "\n"


def _text(report: Report, *, dry_run: bool) -> str:
    """The changes as a table, models that the registry does not have, and a line that counts."""
    shown = [change for change in report.changes if change.action in (Action.CHANGED, Action.ADDED)]
    lines = [_HEAD] if shown else []
    for change in shown:
        old, new = _figure(change.old), _figure(change.new)
        lines.append(f"{change.model:<36} {change.field:<16} {old:>12} {new:>12}  {change.source}")
    for scraper, ids in report.unknown.items():
        lines.append(f"{scraper}: not in the registry: {', '.join(ids)}")
    counts = [
        f"{len({change.model for change in shown})} models changed",
        f"{report.confirmed} confirmed",
        f"{len(report.refusals)} findings",
    ]
    wrote = "nothing written (dry run)" if dry_run else report.written or "nothing to write"
    return "\n".join([*lines, f"{', '.join(counts)} in {report.seconds:.1f} s: {wrote}"]) + "\n"


def _figure(value: Any) -> str:
    return "-" if value is None else f"{value:g}" if isinstance(value, float) else str(value)

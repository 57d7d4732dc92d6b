"""`sidecar scrape --learn FILE`: a scraper for a page that none reads, proposed from the prices that are known."""

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from ..registry.card import ModelCard
from ..registry.load import load
from ..scrape.learn.known import Known
from ..scrape.learn.propose import LARGEST, learn
from ..scrape.learn.text import as_yaml, refusal
from ..scrape.spec import Scraper
from .saved import fields_of, read_page


def learned(options: argparse.Namespace, like: Scraper | None) -> int:
    """0 with a proposal on standard output, 1 when no known prices were found, 2 when there is nothing to read."""
    data = read_page(options.learn, LARGEST)
    if data is None:
        return 2
    today = datetime.now(UTC).date()
    registry = load(options.registry)
    if registry.problem is not None:
        sys.stderr.write(f"sidecar scrape: {registry.problem}\n")
        return 2
    cards = registry.catalogue.models
    if options.provider is not None and not any(card.provider == options.provider for card in cards):
        providers = ", ".join(sorted({card.provider for card in cards}))
        sys.stderr.write(f"sidecar scrape: no model of `{options.provider}` is known; there are {providers}\n")
        return 2
    known = Known([card for card in cards if _meant(card, options.provider)], today)
    if options.known is not None:
        rows = _rows(options.known)
        if rows is None:
            return 2
        known.add(options.provider or (like.provider if like is not None else "unknown"), rows)
    try:
        found = learn(data, known, like)
    except UnicodeDecodeError as fault:
        sys.stderr.write(f"sidecar scrape: {options.learn}: byte {fault.start} is not UTF-8\n")
        return 2
    if found.proposal is None:
        sys.stderr.write(refusal(found, str(options.learn), len(known)))
        return 1
    sys.stdout.write(as_yaml(found.proposal, options.learn.name, today.isoformat()))
    return 0


def _meant(card: ModelCard, provider: str | None) -> bool:
    return provider in (None, card.provider)


def _rows(path: Path) -> list[dict[str, Any]] | None:
    """What an earlier `sidecar scrape` printed."""
    data = read_page(path)
    try:
        rows = None if data is None else msgspec.json.decode(data, type=list[dict[str, Any]])
    except (msgspec.DecodeError, UnicodeDecodeError) as fault:
        sys.stderr.write(f"sidecar scrape: {path}: {fault}\n")
        return None
    return None if rows is None else [fields_of(row) for row in rows]

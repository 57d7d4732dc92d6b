"""`sidecar scrape NAME --from FILE`: the prices that a scraper reads from a saved page. Nothing is written.

Without `--from` the pages are asked for, and the registry is brought up to date."""

import argparse
import sys
from pathlib import Path

import msgspec

from ..config.render import printable
from ..scrape.extract import extract
from ..scrape.finding import Extraction, Row
from ..scrape.select import problems
from ..scrape.spec import Scraper
from ..scrape.specs import FOLDER, find, names
from .config import read_one

STDIN = Path("-")
_PRICES = ("input", "output", "cache_read", "cache_write_5m", "batch_input", "batch_output")
_SHOWN = {"cache_write_5m": "cache_write"}
"""The short retention is the one that every provider with a price for writes has: the plain name is its."""
_HEAD = f"{'model':<40} {' '.join(f'{name:>14}' for name in _PRICES)} {'context':>9}"


def options(parser: argparse.ArgumentParser) -> None:
    """Which scraper, which page, which format."""
    parser.add_argument(
        "name", nargs="?", help=f"a file, or the name of one in {FOLDER}/ here or of those that are shipped"
    )
    parser.add_argument("--all", action="store_true", help="those of registry_update, else of all enabled providers")
    parser.add_argument("--from", dest="page", type=Path, help="a saved page, or `-`: standard input; write nothing")
    parser.add_argument("--dry-run", action="store_true", help="ask the pages, show what would change, write nothing")
    parser.add_argument("--accept", action="store_true", help="you have looked: jumps and shrunken pages are true")
    parser.add_argument("--config", type=Path, default=None, help="gateway.yaml: which registry is brought up to date")
    parser.add_argument("--format", choices=("text", "json"), help="default: json with --from, else text")


def action(options: argparse.Namespace) -> int:
    """0, 1 when the scraper is wrong or something was quarantined, 2 when there is nothing to read."""
    if options.page is None:
        from .scrape_update import update  # it brings an HTTP client

        return update(options)
    if options.name is None or options.all:
        sys.stderr.write("sidecar scrape: --from FILE is the page of one scraper: name it\n")
        return 2
    spec = find(options.name, Path())
    if spec is None:
        sys.stderr.write(f"sidecar scrape: no scraper `{options.name}`; there are {', '.join(names(Path()))}\n")
        return 2
    scraper = _load(spec)
    if scraper is None:
        return 1
    try:
        data = sys.stdin.buffer.read() if options.page == STDIN else options.page.read_bytes()
    except OSError as fault:
        sys.stderr.write(f"sidecar scrape: {options.page}: {(fault.strerror or str(fault)).lower()}\n")
        return 2
    found = extract(scraper, data)
    sys.stderr.write(_findings(found, str(options.page)))
    if options.format == "text":
        sys.stdout.write("\n".join([_HEAD, *map(_row, found.rows)]) + "\n")
    else:
        rows = [
            {"id": row.id, **{_SHOWN.get(name, name): value for name, value in row.values.items()}}
            for row in found.rows
        ]
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(rows), indent=2).decode() + "\n")
    return int(bool(found.findings))


def _load(path: Path) -> Scraper | None:
    """The scraper in a file, or None; what is wrong with it goes to standard error."""
    scraper = read_one(path, "scraper", Scraper)
    if scraper is None:
        return None
    wrong = problems(scraper)
    for problem in wrong:
        sys.stderr.write(f"{path}: error[bad-pattern]: {printable(problem)}\n")
    return None if wrong else scraper


def _findings(found: Extraction, file: str) -> str:
    """One clickable line a finding, and one that counts them; "" for none."""
    lines = [
        f"{file}:{finding.line}:1: error[{finding.reason}]: {printable(finding.message)}"
        for finding in sorted(found.findings, key=lambda finding: finding.line)
    ]
    if lines:
        lines.append(f"{len(lines)} quarantined, {len(found.rows)} models in {file}")
    return "".join(f"{line}\n" for line in lines)


def _row(row: Row) -> str:
    figures = [f"{row.values[name]:>14g}" if name in row.values else f"{'-':>14}" for name in _PRICES]
    return f"{row.id:<40} {' '.join(figures)} {row.values.get('context', '-'):>9}"

"""`sidecar scrape NAME|--all`: the pages are asked for, and the registry is brought up to date. `--from FILE` reads a
saved page and writes nothing; `--record` keeps it as a fixture, `--check` reads all fixtures again, `--learn FILE`
proposes a scraper for a page that none reads."""

import argparse
import sys
from pathlib import Path

from ..config.render import printable
from ..scrape.extract import extract
from ..scrape.finding import Extraction, Row
from ..scrape.select import problems
from ..scrape.spec import Scraper
from ..scrape.specs import FOLDER, find, names
from .config import read_one
from .fixtures import check, folder_of, record
from .learn import learned
from .saved import read_page, rows_json

_PRICES = ("input", "output", "cache_read", "cache_write_5m", "batch_input", "batch_output")
_HEAD = f"{'model':<40} {' '.join(f'{name:>14}' for name in _PRICES)} {'context':>9}"


def options(parser: argparse.ArgumentParser) -> None:
    """Which scraper, which page, what to do with it."""
    where = f"a file, or the name of one in {FOLDER}/ here or of those that are shipped"
    parser.add_argument("name", nargs="?", help=where)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--from", dest="page", type=Path, metavar="FILE", help="the saved page, or `-`: standard input")
    what.add_argument("--check", action="store_true", help="read all recorded pages again: 1 on any difference")
    what.add_argument("--learn", type=Path, metavar="FILE", help="propose a scraper for a saved page")
    parser.add_argument("--format", choices=("text", "json"), help="default: json with --from, else text")
    _updating(parser)
    parser.add_argument("--record", action="store_true", help="keep page and rows as a fixture; with --from")
    parser.add_argument(
        "--to", type=Path, metavar="FOLDER", help="of the fixtures (default: fixtures/NAME by the scraper)"
    )
    parser.add_argument("--provider", metavar="NAME", help="--learn: only this provider's models")
    parser.add_argument(
        "--like", metavar="SCRAPER", help="--learn: names, url and bounds of a scraper that read it once"
    )
    parser.add_argument("--known", type=Path, metavar="ROWS", help="--learn: rows of an earlier scrape, known as well")
    parser.add_argument(
        "--registry", type=Path, metavar="FILE", help="--learn: a models.json (default: the bundled one)"
    )


def _updating(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--all", action="store_true", help="those of registry_update, else of all enabled providers")
    parser.add_argument("--dry-run", action="store_true", help="ask the pages, show what would change, write nothing")
    parser.add_argument("--accept", action="store_true", help="you have looked: jumps and shrunken pages are true")
    parser.add_argument("--config", type=Path, default=None, help="gateway.yaml: which registry is brought up to date")


def action(options: argparse.Namespace) -> int:
    """0, 1 when the scraper is wrong, something was quarantined or differs, 2 when there is nothing to read."""
    if wrong := _called_wrongly(options):
        sys.stderr.write(f"sidecar scrape: {wrong}\n")
        return 2
    if options.page is None and options.learn is None and not options.check:
        from .scrape_update import update  # it brings an HTTP client

        return update(options)
    name = options.like if options.learn is not None else options.name
    if name is None:
        return learned(options, None)
    spec = find(name, Path())
    if spec is None:
        sys.stderr.write(f"sidecar scrape: no scraper `{name}`; there are {', '.join(names(Path()))}\n")
        return 2
    scraper = _load(spec)
    if scraper is None:
        return 1
    if options.learn is not None:
        return learned(options, scraper)
    folder = options.to or folder_of(spec, scraper)
    if options.check:
        return check(scraper, folder)
    data = read_page(options.page)
    if data is None:
        return 2
    return _read(scraper, data, options, folder)


def _called_wrongly(options: argparse.Namespace) -> str | None:
    """What goes together and what does not."""
    if options.learn is not None and options.name is not None:
        return "a scraper's name goes with --from and --check, and none with --learn (`--like NAME` is meant there)"
    if (options.name is None or options.all) and (options.page is not None or options.check):
        return "a scraper's name goes with --from and --check: they are about one"
    if options.record and options.page is None:
        return "--record needs --from: the page that is kept"
    return None


def _read(scraper: Scraper, data: bytes, options: argparse.Namespace, folder: Path) -> int:
    """Rows on standard output, findings on standard error, and the fixture when one is asked for."""
    found = extract(scraper, data)
    sys.stderr.write(_findings(found, str(options.page)))
    if options.record and not record(found, data, folder):
        return 1
    if options.format == "text":
        sys.stdout.write("\n".join([_HEAD, *map(_row, found.rows)]) + "\n")
    else:
        sys.stdout.write(rows_json(found))
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

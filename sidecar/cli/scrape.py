"""`sidecar scrape NAME --from FILE`: the prices that a scraper reads from a saved page. Nothing is written."""

import argparse
import sys
from pathlib import Path

import msgspec

from ..config.render import printable
from ..scrape.extract import extract
from ..scrape.finding import Extraction, Row
from ..scrape.select import problems
from ..scrape.spec import Scraper
from .config import read_one

FOLDER = Path("scrapers")
STDIN = Path("-")
_PRICES = ("input", "output", "cache_read", "cache_write_5m", "batch_input", "batch_output")
_SHOWN = {"cache_write_5m": "cache_write"}
"""The short retention is the one that every provider with a price for writes has: the plain name is its."""
_HEAD = f"{'model':<40} {' '.join(f'{name:>14}' for name in _PRICES)} {'context':>9}"


def options(parser: argparse.ArgumentParser) -> None:
    """Which scraper, which page, which format."""
    parser.add_argument("name", help=f"a file, or the name of one in {FOLDER}/ here or of those that are shipped")
    parser.add_argument("--from", dest="page", type=Path, required=True, help="the saved page, or `-`: standard input")
    parser.add_argument("--format", choices=("text", "json"), default="json")


def action(options: argparse.Namespace) -> int:
    """0, 1 when the scraper is wrong or something was quarantined, 2 when there is nothing to read."""
    spec = _find(options.name)
    if spec is None:
        sys.stderr.write(f"sidecar scrape: no scraper `{options.name}`; there are {', '.join(sorted(_names()))}\n")
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


def _folders() -> list[Path]:
    """Where scrapers are: here first, then those of the package."""
    package = Path(__file__).parent.parent
    shipped = package / "starter" if (package / "starter").is_dir() else package.parent
    return [FOLDER, shipped / FOLDER]


def _names() -> set[str]:
    return {path.stem for folder in _folders() for path in folder.glob("*.yaml")}


def _find(name: str) -> Path | None:
    candidates = [Path(name)] if name.endswith((".yaml", ".yml")) else [f / f"{name}.yaml" for f in _folders()]
    return next((path for path in candidates if path.is_file()), None)


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

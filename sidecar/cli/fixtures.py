"""Recorded pages of a scraper: `scrapers/fixtures/NAME/DATE/{page.html,rows.json}`, kept and read again."""

import difflib
import sys
from datetime import UTC, datetime
from pathlib import Path

from ..config.render import printable
from ..scrape.extract import extract
from ..scrape.finding import Extraction
from ..scrape.page import page_of
from ..scrape.spec import Scraper
from .saved import read_page, rows_json

_ROWS = "rows.json"
_ENDINGS = {"html": ".html", "markdown": ".md", "json": ".json"}


def folder_of(spec: Path, scraper: Scraper) -> Path:
    """Where a scraper's fixtures are: beside its file."""
    return spec.parent / "fixtures" / scraper.name


def record(found: Extraction, data: bytes, folder: Path) -> bool:
    """Keep a page's bytes and what was read from them under today's date; a second one of a day is numbered.

    False when nothing was read or nothing can be written: what proves nothing is no fixture.
    """
    if not found.rows:
        sys.stderr.write("sidecar scrape: not recorded: no model was read from the page\n")
        return False
    day = datetime.now(UTC).date().isoformat()
    try:
        for number in range(1, 1000):
            place = folder / (day if number == 1 else f"{day}-{number}")
            if not place.exists():
                break
        place.mkdir(parents=True)
        page = place / f"page{_ENDINGS[page_of(data.decode('utf-8-sig')).type]}"
        page.write_bytes(data)
        (place / _ROWS).write_text(rows_json(found), encoding="utf-8")
    except OSError as fault:
        sys.stderr.write(f"sidecar scrape: {fault.filename}: {(fault.strerror or str(fault)).lower()}\n")
        return False
    sys.stderr.write(f"recorded: {page}, {len(found.rows)} models\n")
    return True


def check(scraper: Scraper, folder: Path) -> int:
    """0 when every recorded page gives the rows that were recorded, 1 with a diff, 2 when there is no fixture."""
    expected = sorted(folder.glob(f"*/{_ROWS}"))
    if not expected:
        sys.stderr.write(f"sidecar scrape: no fixtures in {folder}; `--record` makes one\n")
        return 2
    different = 0
    for rows in expected:
        page = next(iter(sorted(rows.parent.glob("page.*"))), None)
        data = None if page is None else read_page(page)
        before = read_page(rows)
        if data is None or before is None:
            sys.stderr.write(f"{rows.parent}: no page that can be read\n" if page is None else "")
            return 2
        found = extract(scraper, data)
        old = before.decode("utf-8", "replace").splitlines()
        new = rows_json(found).splitlines()
        if old != new:
            different += 1
            diff = difflib.unified_diff(old, new, str(rows), f"{page} as it is read now", lineterm="")
            sys.stdout.write("".join(f"{printable(line)}\n" for line in diff))
            for finding in found.findings:
                sys.stderr.write(f"{page}:{finding.line}:1: error[{finding.reason}]: {printable(finding.message)}\n")
    if different:
        sys.stdout.write(f"{different} of {len(expected)} pages of `{scraper.name}` are read otherwise than recorded\n")
        return 1
    sys.stdout.write(f"ok: {len(expected)} pages of `{scraper.name}` are read as recorded\n")
    return 0

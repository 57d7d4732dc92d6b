"""Where scrapers are: `scrapers/` beside the configuration first, then those of the package."""

import os
from collections.abc import Collection, Sequence
from pathlib import Path

from ..config.check import check
from ..config.diagnostic import Diagnostic, Severity
from ..config.document import decode, parse
from ..config.document import read as read_file
from .finding import NoScraperError
from .select import problems
from .spec import Scraper

FOLDER = "scrapers"


def folders(base: Path) -> list[Path]:
    """The folders that scrapers are looked for in."""
    package = Path(__file__).parent.parent
    shipped = package / "starter" if (package / "starter").is_dir() else package.parent
    return [base / FOLDER, shipped / FOLDER]


def names(base: Path) -> list[str]:
    """All there are, by name."""
    return sorted({path.stem for folder in folders(base) for path in folder.glob("*.yaml")})


def find(name: str, base: Path) -> Path | None:
    """A scraper's file: a path that ends in .yaml, or a name."""
    if name.endswith((".yaml", ".yml")):
        candidates = [base / name]
    else:
        candidates = [folder / f"{name}.yaml" for folder in folders(base)]
    return next((path for path in candidates if path.is_file()), None)


def load(path: Path) -> Scraper:
    """The scraper in a file. Raises NoScraperError."""
    data, findings = read_file(path, str(path))
    text, unfit = decode(data, str(path))
    documents, faults = parse(text, str(path))
    findings += unfit or faults
    for document in documents:
        spec, wrong = check(document, {"scraper": Scraper}, os.environ)
        findings += wrong
        if isinstance(spec, Scraper) and not _errors(findings):
            if selectors := problems(spec):
                raise NoScraperError(f"{path}: {'; '.join(selectors)}")
            return spec
    raise NoScraperError(f"{path}: {'; '.join(f.message for f in _errors(findings)) or 'there is no scraper in it'}")


def chosen(wanted: Sequence[str], base: Path, providers: Collection[str]) -> list[Scraper]:
    """The scrapers of these names; of no names, those of the providers and the second opinions. Raises
    NoScraperError."""
    if not wanted:
        every = [load(path) for name in names(base) if (path := find(name, base)) is not None]
        return [scraper for scraper in every if scraper.second_opinion or scraper.provider in providers]
    found = []
    for name in wanted:
        path = find(name, base)
        if path is None:
            raise NoScraperError(f"no scraper `{name}`; there are {', '.join(names(base))}")
        found.append(load(path))
    return found


def _errors(findings: Sequence[Diagnostic]) -> list[Diagnostic]:
    return [finding for finding in findings if finding.severity is Severity.ERROR]

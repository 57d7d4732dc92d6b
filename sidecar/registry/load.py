"""Reading models.json. A bad file never stops the gateway: its backup, then the bundled file, stand in, loudly."""

import stat
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct

from .card import Catalogue, card_problems, name_clashes

BUNDLED = Path(__file__).with_name("models.json")
"""The catalogue that ships with the package."""

MAX_BYTES = 32 * 2**20
"""Largest models.json that is read."""

Origin = Literal["file", "backup", "bundled"]

_decoder = msgspec.json.Decoder(Catalogue)


class Loaded(Struct, frozen=True):
    """A catalogue, the place it came from, and why that is not the place that was asked for."""

    catalogue: Catalogue
    source: Origin
    problem: str | None = None


def load(path: Path | None = None) -> Loaded:
    """The catalogue in `path`, else in `<path>.bak`, else the bundled one; None asks for the bundled one.

    `problem` names every file that could not be used, with the reason. Bad content never raises.
    """
    if path is None:
        return Loaded(_decoder.decode(BUNDLED.read_bytes()), "bundled")
    catalogue, problem = _attempt(path)
    if catalogue is not None:
        return Loaded(catalogue, "file")
    backup = path.with_name(f"{path.name}.bak")
    catalogue, worse = _attempt(backup)
    if catalogue is not None:
        return Loaded(catalogue, "backup", f"{problem}; using {backup}")
    return Loaded(
        _decoder.decode(BUNDLED.read_bytes()), "bundled", f"{problem}; {worse}; using the bundled models.json"
    )


def newest(path: Path) -> Loaded:
    """What an update left in `path` (or its backup); the bundled catalogue where there is nothing, or it is newer."""
    if not path.exists() and not path.with_name(f"{path.name}.bak").exists():
        return load(None)
    left, bundled = load(path), load(None)
    return left if left.catalogue.generated >= bundled.catalogue.generated else bundled


def parse(data: bytes) -> Catalogue | str:
    """The catalogue in `data`, or what is wrong with it: the one check for files and for what a scraper proposes."""
    try:
        catalogue = _decoder.decode(data)
    except msgspec.ValidationError as fault:
        return f"does not fit the schema: {fault}"
    except (msgspec.DecodeError, UnicodeDecodeError) as fault:
        return f"is not JSON: {fault}"
    for card, name, other in name_clashes(catalogue.models):
        return f"two models are called `{name}`: `{other}` and `{card.id}`"
    for card in catalogue.models:
        for problem in card_problems(card):
            return f"model `{card.id}`: {problem}"
    return catalogue


def _attempt(path: Path) -> tuple[Catalogue | None, str]:
    """The catalogue in a file, or the file's name with the reason."""
    try:
        # A pipe would block and a device never end: only a plain file is opened.
        if not stat.S_ISREG(path.stat().st_mode):
            return None, f"{path} is not a plain file"
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as fault:
        return None, f"{path} cannot be read: {fault.strerror or fault}"
    except ValueError as fault:
        return None, f"{path!r} is not a path: {fault}"
    if len(data) > MAX_BYTES:
        return None, f"{path} is larger than {MAX_BYTES // 2**20} MiB"
    found = parse(data)
    return (None, f"{path} {found}") if isinstance(found, str) else (found, "")

"""models.json and what it was before: replaced in one step, with the last versions kept beside it.

Beside `models.json` stand `models.json.bak`, what it was before the last change, and `models.json.<UTC time>` for each
of the last states, the present one among them. A crash at any moment leaves either the old file or the new one.
"""

import os
import re
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from .load import parse

KEEP = 10
"""Versions that are kept where nobody says how many."""

_FORM = "%Y%m%dT%H%M%S.%fZ"
_STAMP = re.compile(r"\d{8}T\d{6}\.\d{6}Z")


def replace(path: Path, data: bytes, keep: int = KEEP) -> Path:
    """Make `data` the content of `path` in one step, and the content before it `<path>.bak`.

    Returns the version that was written. `keep` is how many versions stay, the new one included. Raises OSError, and
    ValueError when `data` is no catalogue; then `path` is as it was.
    """
    if isinstance(fault := parse(data), str):
        raise ValueError(f"not written: it {fault}")
    path.parent.mkdir(parents=True, exist_ok=True)
    before = path.read_bytes() if path.is_file() else None
    if before is not None:
        if not any(version.read_bytes() == before for version in versions(path)[:1]):
            # Written by another hand: what is replaced can be brought back even so.
            _write(_version(path, datetime.fromtimestamp(path.stat().st_mtime, UTC)), before)
        if not isinstance(parse(before), str):  # a broken file must not take a sound backup's place
            _write(path.with_name(f"{path.name}.bak"), before)
    version = _version(path, datetime.now(UTC))
    _write(version, data)
    _write(path, data)
    for old in versions(path)[max(keep, 1) :]:
        old.unlink(missing_ok=True)
    return version


def versions(path: Path) -> list[Path]:
    """The kept versions of `path`, newest first."""
    named = (file for file in path.parent.glob(f"{path.name}.*") if _STAMP.fullmatch(file.name[len(path.name) + 1 :]))
    return sorted(named, reverse=True)


def written(version: Path) -> datetime:
    """When a version was written, in UTC."""
    return datetime.strptime(version.name[-len("20260101T000000.000000Z") :], _FORM).replace(tzinfo=UTC)


def rollback(path: Path, version: Path, keep: int = KEEP) -> Path:
    """Make a kept version the content of `path` again; what stood there becomes the backup.

    Returns the version that was written: going back is a change like any other, and can be taken back. Raises
    OSError, and ValueError when the version is no catalogue.
    """
    return replace(path, version.read_bytes(), keep)


def _version(path: Path, at: datetime) -> Path:
    return path.with_name(f"{path.name}.{at.strftime(_FORM)}")


def _write(path: Path, data: bytes) -> None:
    """All of the file or nothing of it, and on the disk before it has its name."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
        _sync(path.parent)
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)


def _sync(folder: Path) -> None:
    """The folder's own entry too, where the platform can."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

"""A page that a person names on the command line, never more of it than a page may have; and the rows read from one."""

import sys
import zlib
from gzip import BadGzipFile, GzipFile
from io import BytesIO
from pathlib import Path
from typing import Any

import msgspec

from ..scrape.finding import Extraction
from ..scrape.page import MAX_BYTES

STDIN = Path("-")
_SHOWN = {"cache_write_5m": "cache_write"}
"""The short retention is the one that every provider with a price for writes has: the plain name is its."""


def read_page(path: Path, most: int = MAX_BYTES) -> bytes | None:
    """All bytes of a file or of standard input, unpacked if it was saved as gzip; None when it cannot be read or is too
    large, which is said."""
    try:
        if path == STDIN:
            data = sys.stdin.buffer.read(most + 1)
        else:
            with path.open("rb") as file:
                data = file.read(most + 1)
        data = _unpacked(data, most)
    except (EOFError, zlib.error, BadGzipFile) as fault:
        sys.stderr.write(f"sidecar scrape: {path}: a gzip file that is broken: {str(fault).lower()}\n")
        return None
    except OSError as fault:
        sys.stderr.write(f"sidecar scrape: {path}: {(fault.strerror or str(fault)).lower()}\n")
        return None
    if len(data) > most:
        sys.stderr.write(f"sidecar scrape: {path}: larger than {most // 2**20} MiB, the largest page that is read\n")
        return None
    return data


def _unpacked(data: bytes, most: int) -> bytes:
    """Of a gzip file what is in it, and no more of that than one byte beyond `most`."""
    if not data.startswith(b"\x1f\x8b"):
        return data
    with GzipFile(fileobj=BytesIO(data)) as packed:
        return packed.read(most + 1)


def rows_of(found: Extraction) -> list[dict[str, Any]]:
    """Models with their figures, prices in USD per million tokens."""
    return [
        {"id": row.id, **{_SHOWN.get(name, name): value for name, value in row.values.items()}} for row in found.rows
    ]


def rows_json(found: Extraction) -> str:
    """The same as JSON, a line a figure."""
    return msgspec.json.format(msgspec.json.encode(rows_of(found)), indent=2).decode() + "\n"


def fields_of(row: dict[str, Any]) -> dict[str, Any]:
    """A row as it was printed, with the names that a spec has."""
    own = {shown: name for name, shown in _SHOWN.items()}
    return {own.get(name, name): value for name, value in row.items()}

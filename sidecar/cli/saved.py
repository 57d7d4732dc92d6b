"""Reading what a person names on the command line, never more of it than a page may have."""

import sys
from pathlib import Path

from ..scrape.page import MAX_BYTES

STDIN = Path("-")


def read_page(path: Path) -> bytes | None:
    """All bytes of a file or of standard input; None when it cannot be read or is too large, which is said."""
    try:
        if path == STDIN:
            data = sys.stdin.buffer.read(MAX_BYTES + 1)
        else:
            with path.open("rb") as file:
                data = file.read(MAX_BYTES + 1)
    except OSError as fault:
        sys.stderr.write(f"sidecar scrape: {path}: {(fault.strerror or str(fault)).lower()}\n")
        return None
    if len(data) > MAX_BYTES:
        sys.stderr.write(f"sidecar scrape: {path}: larger than {MAX_BYTES // 2**20} MiB, the largest page that is read\n")
        return None
    return data

"""`sidecar init [FOLDER]`: a commented configuration to begin with, its policies, and the tests of those."""

import argparse
import sys
from pathlib import Path

from .config import DEFAULT, starter, write_new


def options(parser: argparse.ArgumentParser) -> None:
    """Where to."""
    parser.add_argument("folder", nargs="?", type=Path, default=Path(), help="made if it is not there (default: here)")


def action(options: argparse.Namespace) -> int:
    """0 when written, 1 when a file stands in the way (then nothing is written), 2 for a folder that is none."""
    shipped, folder = starter(), options.folder
    sources = [shipped / DEFAULT, *sorted((shipped / "policies").glob("*.yaml"))]
    files = {str(source.relative_to(shipped)): source.read_bytes() for source in sources}
    code = write_new("init", folder, files)
    if code == 0:
        sys.stdout.write(_next(folder, list(files)))
    return code


def _next(folder: Path, paths: list[str]) -> str:
    enter = f"  cd {folder}\n" if folder != Path() else ""
    return (
        f"ok: {len(paths)} files: {', '.join(paths)}\n\n"
        f"Next:\n{enter}"
        "  sidecar validate && sidecar test   # offline, no key\n"
        "  sidecar schema --write             # completion in your editor\n"
        "  sidecar run                        # with a provider's key in the environment\n"
    )

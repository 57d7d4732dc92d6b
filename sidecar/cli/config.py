"""What every verb that reads a configuration shares: which file, and how its findings are shown."""

import argparse
import os
import sys
from pathlib import Path

from ..policy import Loaded, load

DEFAULT = "gateway.yaml"


def default_path() -> Path:
    """`SIDECAR_CONFIG`, or gateway.yaml here."""
    return Path(os.environ.get("SIDECAR_CONFIG", DEFAULT))


def config_option(parser: argparse.ArgumentParser) -> None:
    """An optional path to the configuration."""
    parser.add_argument(
        "config", nargs="?", type=Path, default=None, help="gateway.yaml (default: $SIDECAR_CONFIG or ./gateway.yaml)"
    )


def read(path: Path | None, *, strict: bool) -> Loaded:
    """Load a configuration; findings go to standard error. Exits with 2 when there is nothing to read."""
    path = path or default_path()
    if not path.exists():
        sys.stderr.write(f"sidecar: {path}: no such file\n")
        sys.exit(2)
    loaded = load(path, os.environ, strict=strict)
    if loaded.findings:
        sys.stderr.write(loaded.text)
    return loaded


def colored(stream: object) -> bool:
    """Colour only for a person, and only if they did not say no."""
    isatty = getattr(stream, "isatty", None)
    return "NO_COLOR" not in os.environ and isatty is not None and bool(isatty())

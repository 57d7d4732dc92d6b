"""What every verb that reads a configuration shares: which file, and how its findings are shown."""

import argparse
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from ..config.check import check
from ..config.diagnostic import Severity
from ..config.document import decode, parse
from ..config.document import read as read_file
from ..config.render import render_text
from ..gateway import database_path
from ..policy import Loaded, load
from ..spec import Spec

S = TypeVar("S", bound=Spec)
DEFAULT = "gateway.yaml"


def default_path() -> Path:
    """`SIDECAR_CONFIG`, or gateway.yaml here."""
    return Path(os.environ.get("SIDECAR_CONFIG", DEFAULT))


def starter() -> Path:
    """The folder with the configuration that is shipped: in the wheel, or the source tree itself."""
    package = Path(__file__).parent.parent
    return package / "starter" if (package / "starter").is_dir() else package.parent


def write_new(verb: str, folder: Path, files: Mapping[str, bytes]) -> int:
    """Write files that are not there yet, by path below `folder`. Returns 0; 1 when one is, and then none is written; 2
    when they cannot be written. Tells why on standard error."""
    present = [path for path in map(folder.joinpath, files) if path.exists() or path.is_symlink()]
    for path in present:
        sys.stderr.write(f"sidecar {verb}: {path}: is there already\n")
    if present:
        return 1
    try:
        for name, content in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("xb") as file:
                file.write(content)
    except OSError as fault:
        sys.stderr.write(f"sidecar {verb}: {fault}\n")
        return 2
    return 0


def database_option(parser: argparse.ArgumentParser, name: str, text: str) -> None:
    """A database's file, named as in `SIDECAR_DATABASE_URL`."""
    parser.add_argument(name, type=lambda url: Path(database_path(url)), metavar="FILE", help=text)


def config_option(parser: argparse.ArgumentParser) -> None:
    """An optional path to the configuration."""
    parser.add_argument(
        "config", nargs="?", type=Path, default=None, help="gateway.yaml (default: $SIDECAR_CONFIG or ./gateway.yaml)"
    )


def port_number(text: str) -> int:
    """A TCP port; 0 picks a free one."""
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"`{text}` is not a port: 0 to 65535")
    return int(text)


def candidate_option(parser: argparse.ArgumentParser, what: str) -> None:
    """A choice among the policies on trial."""
    parser.add_argument("--candidate", choices=("canary", "shadow"), help=f"{what} (`rollout:` in gateway.yaml)")


def read(path: Path | None, *, strict: bool, quiet: bool = False, candidate: str | None = None) -> Loaded:
    """Load a configuration, or the `candidate` of it; findings go to standard error, those of a sound one not where
    `quiet` is asked for. Exits with 2 when there is nothing to read."""
    path = path or default_path()
    if not path.exists():
        sys.stderr.write(f"sidecar: {path}: no such file\n")
        sys.exit(2)
    loaded = load(path, os.environ, strict=strict)
    if quiet and loaded.graph is not None:
        return loaded
    if loaded.findings:
        sys.stderr.write(loaded.text)
    sys.stderr.write(loaded.candidates_text)
    if candidate is None or loaded.graph is None:
        return loaded
    if candidate not in loaded.candidates:
        sys.stderr.write(f"sidecar: {path} has no `rollout: {candidate}:`\n")
        sys.exit(2)
    return loaded.candidates[candidate]


def read_one(path: Path, kind: str, spec: type[S]) -> S | None:
    """A file's document of this kind, for files that are no part of a policy; findings go to standard error, and with
    an error among them there is None."""
    data, findings = read_file(path, str(path))
    text, unfit = decode(data, str(path))
    documents, faults = parse(text, str(path))
    findings += unfit or faults
    found: S | None = None
    for document in documents:
        value, faults = check(document, {kind: spec}, os.environ)
        findings += faults
        found = value if isinstance(value, spec) else found
    if findings:
        sys.stderr.write(render_text(findings, {str(path): text}, colored(sys.stderr)))
    return None if any(finding.severity is Severity.ERROR for finding in findings) else found


def colored(stream: object) -> bool:
    """Colour only for a person, and only if they did not say no."""
    isatty = getattr(stream, "isatty", None)
    return "NO_COLOR" not in os.environ and isatty is not None and bool(isatty())

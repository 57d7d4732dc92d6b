"""`sidecar import --from litellm CONFIG [FOLDER]`: another gateway's configuration as one of ours."""

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path

from ..config.diagnostic import Severity
from ..config.document import decode, parse
from ..config.document import read as read_file
from ..config.render import render_text
from ..importing.litellm import convert
from ..registry.index import Registry
from ..registry.load import load as load_registry
from .config import colored, write_new


def options(parser: argparse.ArgumentParser) -> None:
    """From what, and where to."""
    parser.add_argument("--from", dest="origin", choices=("litellm",), required=True, help="whose configuration it is")
    parser.add_argument("file", type=Path, help="its file, such as config.yaml")
    parser.add_argument("folder", nargs="?", type=Path, default=Path(), help="made if it is not there (default: here)")


def action(options: argparse.Namespace) -> int:
    """0 when written, whatever could not be carried over; 1 when the file is not sound or files of ours are there
    already; 2 when it cannot be read, or the folder not be written."""
    name = str(options.file)
    if not options.file.is_file():
        sys.stderr.write(f"sidecar import: {name}: no such file\n")
        return 2
    data, findings = read_file(options.file, name)
    content, unfit = decode(data, name)
    documents, faults = parse(content, name)
    findings += unfit or faults
    if findings:
        sys.stderr.write(render_text(findings, {name: content}, colored(sys.stderr)))
    if any(finding.severity is Severity.ERROR for finding in findings) or not documents:
        return 1
    registry = Registry(load_registry().catalogue.models, datetime.now(UTC).date())
    imported = convert(documents[0], registry)
    files = {path: content.encode() for path, content in imported.files.items()}
    code = write_new("import", options.folder, files)
    if code == 0:
        for note in imported.notes:
            sys.stdout.write(f"{name}:{note.line}: {note.path}: {note.reason}\n")
        left = f"{len(imported.notes)} notes, above and at the end of gateway.yaml" if imported.notes else "no notes"
        sys.stdout.write(f"ok: {len(files)} files: {', '.join(files)}; {left}\n")
    return code

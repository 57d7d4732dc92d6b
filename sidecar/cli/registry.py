"""`sidecar registry diff|history|rollback`: what changed in models.json, what it was before, and back to that."""

import argparse
import os
import sqlite3
import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from ..config.render import printable
from ..registry.card import Catalogue
from ..registry.diff import Diff, as_markdown, as_text, counts, diff
from ..registry.load import BUNDLED, MAX_BYTES, parse
from ..registry.versions import rollback, versions, written
from .config import default_path, read

_MOST_ROWS = 50
_CHANGELOG = "SELECT ts, action, model, field, old, new, reason FROM registry_changelog ORDER BY id DESC LIMIT ?"
_NAMED = "`bundled`, `current`, `backup`, a version by number (1 is the newest) or by time, or a file"


class _InUse(Struct, frozen=True):
    """The models.json that the gateway reads, None for the bundled one; and its database."""

    file: Path | None
    database: Path | None


def options(parser: argparse.ArgumentParser) -> None:
    """Which of the three, between which states, of which file."""
    verbs = parser.add_subparsers(dest="what", metavar="WHAT", required=True)
    between = verbs.add_parser("diff", help="models and figures that differ", description=f"A state is {_NAMED}.")
    between.add_argument("old", nargs="?", default="bundled", metavar="OLD", help="default: bundled")
    between.add_argument("new", nargs="?", default="current", metavar="NEW", help="default: current")
    between.add_argument("--format", choices=("text", "json", "markdown"), default="text")
    history = verbs.add_parser("history", help="kept versions, newest first, and what each changed")
    history.add_argument("--format", choices=("text", "json"), default="text")
    back = verbs.add_parser("rollback", help="put a kept version back; what is there becomes a version")
    back.add_argument(
        "version", nargs="?", default="2", metavar="VERSION", help="default: 2, the one before the newest"
    )
    for verb in (between, history, back):
        verb.add_argument("--config", type=Path, metavar="FILE", help="gateway.yaml, whose `registry` is meant")
        verb.add_argument("--file", type=Path, metavar="FILE", help="a models.json, without a gateway.yaml")


def action(options: argparse.Namespace) -> int:
    """0; 1 when the configuration is wrong or a version is no catalogue; 2 when there is no such version or file."""
    used = _in_use(options.config, options.file)
    if used is None:
        return 1
    if options.what == "diff":
        return _diff(used, options.old, options.new, options.format)
    if used.file is None:
        return _fault("the bundled models.json has no versions: `registry:` in gateway.yaml names one that has", 2)
    return _history(used, options.format) if options.what == "history" else _rollback(used.file, options.version)


def _in_use(config: Path | None, file: Path | None) -> _InUse | None:
    """What the configuration names; without one, the bundled file. None when the configuration has errors."""
    if file is not None or (config is None and not default_path().exists()):
        return _InUse(file, None)
    loaded = read(config, strict=False)
    if loaded.policy is None or loaded.graph is None:
        return None
    entry, gateway = config or default_path(), loaded.graph.gateway
    own = None if gateway.registry is None else entry.parent / gateway.registry
    return _InUse(own, gateway.ledger(entry, os.environ))


def _fault(message: str, code: int) -> int:
    sys.stderr.write(f"sidecar registry: {message}\n")
    return code


def _place(used: _InUse, name: str) -> Path | None:
    """The file of a state, by any of its names; None when there is none."""
    if name == "bundled" or (name == "current" and used.file is None):
        return BUNDLED
    if used.file is not None:
        if name == "current":
            return used.file
        if name == "backup":
            return used.file.with_name(f"{used.file.name}.bak")
        kept = versions(used.file)
        if name.isdecimal() and len(name) < 6:
            return kept[int(name) - 1] if 0 < int(name) <= len(kept) else None
        timed = [version for version in kept if version.name.removeprefix(f"{used.file.name}.").startswith(name)]
        if len(timed) == 1:
            return timed[0]
    return Path(name) if Path(name).is_file() else None


def _catalogue(path: Path) -> Catalogue | str:
    """What a file holds, or what is wrong with it."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as fault:
        return (fault.strerror or str(fault)).lower()
    return parse(data) if len(data) <= MAX_BYTES else f"is larger than {MAX_BYTES // 2**20} MiB"


def _diff(used: _InUse, old: str, new: str, form: str) -> int:
    found = []
    for name in (old, new):
        place = _place(used, name)
        if place is None:
            return _fault(f"no state `{name}`: {_NAMED}", 2)
        catalogue = _catalogue(place)
        if isinstance(catalogue, str):
            return _fault(f"{place}: {catalogue}", 2)
        found.append(catalogue.models)
    differences = diff(*found)
    sys.stdout.write(_shown(differences, form))
    return 0


def _shown(found: Diff, form: str) -> str:
    if form == "json":
        return msgspec.json.format(msgspec.json.encode(found), indent=2).decode() + "\n"
    return as_markdown(found) if form == "markdown" else as_text(found)


def _history(used: _InUse, form: str) -> int:
    """Each version against the one before it; then what the updates wrote into the database, if they did."""
    assert used.file is not None
    rows = []
    kept = versions(used.file)
    now = _catalogue(used.file)
    states = [_catalogue(version) for version in kept]
    for number, (version, state) in enumerate(zip(kept, states, strict=True), 1):
        before = states[number] if number < len(states) else None
        changed = None
        if isinstance(state, Catalogue):
            changed = counts(diff(before.models, state.models)) if isinstance(before, Catalogue) else "the oldest kept"
        rows.append(
            {
                "version": number,
                "written": written(version).isoformat(timespec="seconds"),
                "current": isinstance(state, Catalogue) and isinstance(now, Catalogue) and state.models == now.models,
                "models": len(state.models) if isinstance(state, Catalogue) else None,
                "changes": changed if changed is not None else f"no catalogue: it {state}",
                "file": str(version),
            }
        )
    entries = [] if used.database is None else _changelog(used.database)
    if form == "json":
        text = msgspec.json.encode({"versions": rows, "changelog": entries})
        sys.stdout.write(msgspec.json.format(text, indent=2).decode() + "\n")
        return 0
    for row in rows:
        mark = "*" if row["current"] else " "
        sys.stdout.write(f"{mark}{row['version']:>3}  {row['written']}  {printable(str(row['changes']))}\n")
    for entry in entries:
        said = "{ts}  {action} {model} {field}: {old} -> {new}  {reason}".format_map(entry)
        sys.stdout.write(f"      {printable(said).rstrip()}\n")
    sys.stdout.write(f"{len(rows)} versions of {used.file}; * is what it holds\n")
    return 0


def _changelog(database: Path) -> list[dict[str, Any]]:
    """The newest rows of the table that updates write, as they are; none where there is no such table."""
    try:
        with closing(sqlite3.connect(f"{database.absolute().as_uri()}?mode=ro", uri=True)) as db:
            db.row_factory = sqlite3.Row
            rows = db.execute(_CHANGELOG, (_MOST_ROWS,)).fetchall()
    except sqlite3.Error:
        return []
    return [{**row, "ts": _time(row["ts"])} for row in map(dict, rows)]


def _time(ts: float) -> str:
    return datetime.fromtimestamp(ts, UTC).isoformat(timespec="seconds")


def _rollback(file: Path, name: str) -> int:
    place = _place(_InUse(file, None), name)
    if place is None or place in (BUNDLED, file):
        return _fault(f"no version `{name}` of {file}: `sidecar registry history` lists them", 2)
    before, after = _catalogue(file), _catalogue(place)
    try:
        now = rollback(file, place)
    except ValueError as fault:
        return _fault(f"{place}: {fault}", 1)
    except OSError as fault:
        return _fault(f"{fault.filename or file}: {(fault.strerror or str(fault)).lower()}", 2)
    if isinstance(before, Catalogue) and isinstance(after, Catalogue):
        sys.stdout.write(as_text(diff(before.models, after.models)))
    sys.stdout.write(f"{file} is {place.name} again, kept as {now.name}; `sidecar registry rollback` takes it back\n")
    return 0

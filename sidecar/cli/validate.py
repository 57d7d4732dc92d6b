"""`sidecar validate [PATH ...]`: every finding of every configuration, offline, without a key."""

import argparse
import os
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from ..cases.suite import SUFFIXES, Suites, files_beside, files_of, read_suites
from ..config.diagnostic import Diagnostic, Severity
from ..config.render import render_github, render_json, render_text
from ..policy import Loaded, load
from .config import colored, default_path

STDIN = Path("-")


def options(parser: argparse.ArgumentParser) -> None:
    """Paths, format, and how warnings count."""
    parser.add_argument(
        "paths", nargs="*", type=Path,
        help="gateway.yaml, a policy file, folders that hold some, or `-`: standard input, checked by itself",
    )  # fmt: skip
    parser.add_argument("--format", choices=("text", "json", "github"), default="text")
    parser.add_argument("--deny-warnings", action="store_true", help="a warning is as bad as an error")


def action(options: argparse.Namespace) -> int:
    """0 when nothing is wrong, 1 when something is, 2 when there is nothing to look at."""
    entries, missing = _entries(options.paths or [default_path()])
    for path in missing:
        sys.stderr.write(f"sidecar validate: {path}: no such file, or no configuration in it\n")
    if missing:
        return 2
    loaded = [_load(entry) for entry in entries if not entry.name.endswith(SUFFIXES)]
    on_trial = [candidate for one in loaded for candidate in one.candidates.values()]
    suites = [read_suites([entry], None) for entry in entries if entry.name.endswith(SUFFIXES)]
    suites += [*(_suites(one, files_beside) for one in loaded), *(_suites(one, files_of) for one in on_trial)]
    loaded += on_trial
    findings = list(
        dict.fromkeys([*(f for one in loaded for f in one.findings), *(f for one in suites for f in one.findings)])
    )
    files = len({file for one in loaded for file in one.sources.texts})
    texts = {file: text for one in loaded for file, text in one.sources.texts.items()}
    texts |= {file: text for one in suites for file, text in one.texts.items()}
    if options.format == "json":
        sys.stdout.write(render_json(findings))
    elif options.format == "github":
        sys.stdout.write(render_github(findings))
    else:
        sys.stdout.write(render_text(findings, texts, colored(sys.stdout)) or _proof(loaded, suites, files))
    return int(_fatal(findings, options.deny_warnings))


def _load(entry: Path) -> Loaded:
    given = sys.stdin.buffer.read() if entry == STDIN else None
    return load(entry, os.environ, strict=False, given=given)


def _suites(loaded: Loaded, files: Callable[[Path, Iterable[str]], list[Path]]) -> Suites:
    """The cases of a gateway: all that lie beside it, or those alone that lie with its policies."""
    if loaded.policy is None or loaded.policy.gateway.document is None:
        return Suites()
    gateway = loaded.policy.gateway
    return read_suites(files(Path(gateway.entry).parent, gateway.spec.policies), loaded)


def _entries(paths: Iterable[Path]) -> tuple[list[Path], list[Path]]:
    """Each gateway.yaml in the paths (folders recurse); a folder without one is one configuration of its own."""
    found: list[Path] = []
    missing: list[Path] = []
    for path in paths:
        if path == STDIN:
            found.append(path)
        elif path.is_dir():
            gateways = sorted(p for p in path.rglob("gateway.y*ml") if not any(x.startswith(".") for x in p.parts))
            anything = gateways or ([path] if any(path.rglob("*.y*ml")) else [])
            found += anything
            if not anything:
                missing.append(path)
        elif path.is_file():
            found.append(path)
        else:
            missing.append(path)
    return found, missing


def _fatal(findings: Iterable[Diagnostic], deny_warnings: bool) -> bool:
    return any(deny_warnings or f.severity is Severity.ERROR for f in findings)


def _proof(loaded: list[Loaded], suites: list[Suites], files: int) -> str:
    """One line that shows that something was looked at."""
    graphs = [one.graph for one in loaded if one.graph is not None]
    gateways = len({one.policy.gateway.entry for one in loaded if one.policy and one.policy.gateway.document})
    counts = {
        ("file", "files"): files,
        ("policy", "policies"): files - gateways,
        ("node", "nodes"): sum(len(graph.nodes) for graph in graphs),
        ("model", "models"): sum(len(graph.registry.routable) for graph in graphs),
        ("case", "cases"): sum(one.cases for one in suites),
    }
    return f"ok: {', '.join(f'{count} {names[count != 1]}' for names, count in counts.items() if count)}\n"

"""`sidecar test [PATH ...]`: the cases beside the policies, through the graph that serves traffic. Offline, no key."""

import argparse
import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from msgspec import Struct

from ..cases.coverage import Coverage, coverage, together
from ..cases.judge import Result, run
from ..cases.report import as_github, as_json, as_junit, as_lines, coverage_lines, summary
from ..cases.suite import SUFFIXES, Suites, below, files_beside, files_of, read_suites
from ..config.diagnostic import Diagnostic, Severity
from ..config.render import render_github, render_text
from ..policy import Loaded, load
from .config import colored, default_path

_GATEWAYS = ("gateway.yaml", "gateway.yml")


class _Target(Struct):
    """A gateway and its files of cases; None are all that it has."""

    entry: Path
    files: list[Path] | None


class _Ran(Struct):
    """What one run found: `findings` stop it before the first case."""

    results: list[Result]
    coverage: Coverage
    findings: list[Diagnostic]
    texts: dict[str, str]
    cases: int
    folders: set[Path]


def options(parser: argparse.ArgumentParser) -> None:
    """Which cases, and how results are told."""
    parser.add_argument(
        "paths", nargs="*", type=Path,
        help="gateway.yaml, a folder that holds some, or *_test.yaml (default: $SIDECAR_CONFIG or ./gateway.yaml)",
    )  # fmt: skip
    parser.add_argument("--run", type=_pattern, metavar="REGEX", help="only cases whose name it is found in")
    parser.add_argument("--coverage", action="store_true", help="list the rules and edges that no case took")
    parser.add_argument("--fail-under", type=_percent, default=0, metavar="N", help="fail below N %% of them")
    parser.add_argument("--junit", type=Path, metavar="FILE", help="write JUnit XML as well")
    parser.add_argument("--format", choices=("text", "json", "github"), default="text")
    parser.add_argument("--watch", action="store_true", help="run again whenever a file changes, until Ctrl-C")


def action(options: argparse.Namespace) -> int:
    """0 when every case passed, 1 when one failed or a file is wrong, 2 when there is nothing to run."""
    targets, missing = _targets(options.paths or [default_path()])
    for path in missing:
        sys.stderr.write(f"sidecar test: {path}: no such file, or no gateway.yaml in it, beside or above it\n")
    if missing:
        return 2
    code, folders = _once(targets, options)
    if not options.watch:
        return code
    from watchfiles import watch

    for _ in watch(*sorted(folders), watch_filter=_is_ours, debounce=200, step=50):
        sys.stdout.write("\n")
        _once(_targets(options.paths or [default_path()])[0], options)
    return code


def _once(targets: Sequence[_Target], options: argparse.Namespace) -> tuple[int, set[Path]]:
    ran = _run(targets, options.run)
    code = _told(ran, options)
    sys.stdout.flush()
    return code, ran.folders


def _run(targets: Iterable[_Target], pattern: re.Pattern[str] | None) -> _Ran:
    """Load, read, walk. The environment and the day do not count: a case means the same wherever it runs."""
    ready: list[tuple[Loaded, Suites]] = []
    ran = _Ran([], together(()), [], {}, 0, set())
    for loaded, files in (side for target in targets for side in _sides(target)):
        suites = read_suites(files, loaded)
        ran.findings += [finding for finding in loaded.findings if finding.severity is Severity.ERROR]
        ran.findings += suites.findings
        ran.texts |= loaded.sources.texts | suites.texts
        ran.folders |= loaded.folders | {file.parent.absolute() for file in files}
        ran.cases += len(suites.trials)
        ready.append((loaded, suites))
    if any(finding.severity is Severity.ERROR for finding in ran.findings):
        return ran
    parts = []
    for loaded, suites in ready:
        if loaded.policy is not None and loaded.graph is not None:
            chosen = [trial for trial in suites.trials if pattern is None or pattern.search(trial.name)]
            results = [run(loaded.graph, trial) for trial in chosen]
            if results:  # a gateway that nobody looked at does not count
                parts.append(coverage(loaded.policy, loaded.graph, results))
            ran.results += results
    ran.coverage = together(parts)
    return ran


def _sides(target: _Target) -> Iterator[tuple[Loaded, list[Path]]]:
    """The policies in use with their cases; then those on trial, each once, with the cases that lie with them."""
    loaded = load(target.entry, {}, strict=False, still=True)
    folder = target.entry.parent
    include = loaded.policy.gateway.spec.policies if loaded.policy is not None else ("policies",)
    in_use, on_trial = files_beside(folder, include), dict[tuple[str, ...], tuple[Loaded, list[Path]]]()
    for one in loaded.candidates.values():
        paths = () if one.policy is None else one.policy.gateway.spec.policies
        on_trial[paths] = one, files_of(folder, paths)
    if target.files is not None:
        named = {file.resolve(): file for file in target.files}
        theirs = {file.resolve() for _, files in on_trial.values() for file in files}
        theirs -= {file.resolve() for file in in_use}
        in_use = [file for place, file in named.items() if place not in theirs]
    yield loaded, in_use
    for one, files in on_trial.values():
        yield one, files if target.files is None else [file for file in files if file.resolve() in named]


def _told(ran: _Ran, options: argparse.Namespace) -> int:
    """Write what was found; the exit code."""
    if ran.findings and options.format == "github":
        sys.stdout.write(render_github(ran.findings))
    elif ran.findings:
        sys.stderr.write(render_text(ran.findings, ran.texts, colored(sys.stderr)))
    if any(finding.severity is Severity.ERROR for finding in ran.findings):
        return 1
    if not ran.results:
        why = (
            f"none of {ran.cases} cases has a name like that" if ran.cases else "there is no case in a *_test.yaml file"
        )
        sys.stderr.write(f"sidecar test: {why}\n")
        return 2
    if options.junit is not None:
        try:
            options.junit.write_bytes(as_junit(ran.results))
        except OSError as fault:
            sys.stderr.write(f"sidecar test: {options.junit}: {(fault.strerror or str(fault)).lower()}\n")
            return 2
    if options.format == "json":
        sys.stdout.write(as_json(ran.results, ran.coverage))
    else:
        sys.stdout.write(as_github(ran.results) if options.format == "github" else as_lines(ran.results))
        sys.stdout.write(coverage_lines(ran.coverage) if options.coverage else "")
        sys.stdout.write(summary(ran.results, ran.coverage))
    if ran.coverage.percent < options.fail_under:
        sys.stderr.write(f"sidecar test: {ran.coverage.percent} % is below --fail-under {options.fail_under}\n")
        return 1
    return int(any(result.differences for result in ran.results))


def _targets(paths: Iterable[Path]) -> tuple[list[_Target], list[Path]]:
    """Each gateway that is meant, with the files that are; and the paths that lead to none."""
    found: dict[Path, _Target] = {}
    missing: list[Path] = []
    for path in paths:
        meant = _meant(path)
        if not meant:
            missing.append(path)
        for entry, files in meant:
            target = found.setdefault(entry.resolve(), _Target(entry, files))
            both = target.files is not None and files is not None
            target.files = list(dict.fromkeys([*(target.files or ()), *(files or ())])) if both else None
    return list(found.values()), missing


def _meant(path: Path) -> list[tuple[Path, list[Path] | None]]:
    if path.is_file() and not path.name.endswith(SUFFIXES):
        return [(path, None)]
    if path.is_dir():
        inside = sorted(p for p in path.rglob("gateway.y*ml") if p.name in _GATEWAYS and not _hidden(p))
        if inside:
            return [(entry, None) for entry in inside]
    elif not path.is_file():
        return []
    folder = path if path.is_dir() else path.parent
    above = [folder, *folder.parents, *folder.resolve().parents]
    entry = next((at for place in above for name in _GATEWAYS if (at := place / name).is_file()), None)
    return [] if entry is None else [(entry, below(path) if path.is_dir() else [path])]


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") and part not in (".", "..") for part in path.parts)


def _is_ours(change: object, path: str) -> bool:
    return path.endswith((".yaml", ".yml", ".json"))


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as fault:
        raise argparse.ArgumentTypeError(f"`{text}` is not a regular expression: {fault}") from None


def _percent(text: str) -> int:
    if not text.isdecimal() or int(text) > 100:
        raise argparse.ArgumentTypeError(f"`{text}` is not a number from 0 to 100")
    return int(text)

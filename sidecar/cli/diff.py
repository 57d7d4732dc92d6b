"""`sidecar diff [OLD [NEW]]`: what another policy means, and what it does to requests. Offline, without a key."""

import argparse
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from msgspec import structs

from ..compare.changes import changes
from ..compare.corpus import Corpus, built_in, cases, from_file
from ..compare.effect import effect
from ..compare.facts import facts
from ..compare.recorded import from_ledger
from ..compare.report import Comparison, as_github, as_json, as_markdown, as_text
from ..compare.side import Side, Source, SourceError, read, source_of
from ..config.diagnostic import Severity
from ..config.render import render_github, render_text
from ..spec import seconds
from .config import candidate_option, colored, database_option, default_path
from .replay import duration

FORMATS = {"text": as_text, "json": as_json, "github": as_github, "markdown": as_markdown}


def options(parser: argparse.ArgumentParser) -> None:
    """The two sides, what they are tried on, and how it is told."""
    parser.add_argument(
        "old", nargs="?", help="gateway.yaml, its folder, or a git revision: main, HEAD~1, REV:path (default: HEAD)"
    )
    parser.add_argument("new", nargs="?", help="the same (default: the files as they are)")
    parser.add_argument(
        "--config", type=Path, help="the gateway.yaml of revisions (default: $SIDECAR_CONFIG or ./gateway.yaml)"
    )
    candidate_option(parser, "the policies in use with those on trial, in place of OLD and NEW")
    parser.add_argument(
        "--corpus", type=Path, action="append", default=[], metavar="FILE.jsonl",
        help="requests to try, the body of one a line, in place of the built-in sample",
    )  # fmt: skip
    database_option(parser, "--ledger", "recorded decisions to try, by the features that a ledger keeps")
    parser.add_argument("--since", type=duration, metavar="DURATION", help="of them, since (default: 7d)")
    parser.add_argument("--format", choices=tuple(FORMATS), default="text")
    parser.add_argument("--exit-code", action="store_true", help="exit with 1 when something differs")


def action(options: argparse.Namespace) -> int:
    """0; 1 when a side has errors, or with `--exit-code` when they differ; 2 when one cannot be read."""
    config = options.config or default_path()
    if options.candidate is not None and options.old is not None:
        sys.stderr.write("sidecar diff: --candidate compares two sides of one gateway.yaml: name it by --config\n")
        return 2
    old_side = str(config) if options.candidate is not None else options.old or "HEAD"
    try:
        if options.since is not None and options.ledger is None:
            raise SourceError("--since goes with --ledger")
        with TemporaryDirectory(prefix="sidecar-old-") as old, TemporaryDirectory(prefix="sidecar-new-") as new:
            sources = [
                source_of(old_side, config, Path(old)),
                source_of(options.new or str(config), config, Path(new)),
            ]
            if (role := options.candidate) is not None:
                sources[1] = structs.replace(sources[1], name=f"rollout.{role}", candidate=role)
            sides = [side for source in sources if (side := _sound(source, options.format)) is not None]
            if len(sides) < len(sources):
                return 1
            return _told(sides[0], sides[1], options)
    except SourceError as fault:
        sys.stderr.write(f"sidecar diff: {fault}\n")
        return 2


def _sound(source: Source, format_: str) -> Side | None:
    """The side, or None once its errors are told."""
    side = read(source)
    if isinstance(side, Side):
        return side
    errors = [finding for finding in side.findings if finding.severity is Severity.ERROR]
    if format_ == "github":
        sys.stdout.write(render_github([source.finding(finding, "") for finding in errors]))
    else:
        texts = {source.text(file): text for file, text in side.sources.texts.items()}
        findings = [source.finding(finding) for finding in errors]
        sys.stderr.write(render_text(findings, texts, colored(sys.stderr)))
    return None


def _told(old: Side, new: Side, options: argparse.Namespace) -> int:
    corpora, faults = _corpora(old, new, options)
    if faults:
        sys.stderr.write(f"note: {faults} findings in files of cases: `sidecar validate` shows them\n")
    found = Comparison(
        old,
        new,
        changes(facts(old.policy, old.graph), facts(new.policy, new.graph)),
        [effect(old.graph, corpus) for corpus in corpora if old.graph.hash != new.graph.hash],
    )
    sys.stdout.write(FORMATS[options.format](found))
    return int(options.exit_code and found.differs)


def _corpora(old: Side, new: Side, options: argparse.Namespace) -> tuple[list[Corpus], int]:
    """The cases, then the traffic that was named, else the sample; and the number of findings in the cases."""
    written, findings = cases(old, new)
    traffic = [from_file(path, old, new) for path in options.corpus]
    if options.ledger is not None:
        since = time.time() - (options.since or seconds(_SINCE))
        traffic.append(from_ledger(options.ledger, since, old, new))
    return [*([] if written is None else [written]), *(traffic or [built_in(old, new)])], findings


_SINCE = "7d"

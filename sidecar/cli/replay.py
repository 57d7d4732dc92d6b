"""`sidecar replay`: past traffic through a candidate policy. The ledger is only read, and nobody is called.

Routing, refusals and prices are exact; what another model's answer would have cost is a range; quality is a prior.
"""

import argparse
import os
import re
import sqlite3
import sys
import time
from pathlib import Path
from typing import get_args

from ..policy import Loaded
from ..registry.index import Model
from ..replay.callers import callers
from ..replay.candidate import Candidate
from ..replay.forecast import Forecast
from ..replay.history import Ledger, unreadable
from ..replay.outcome import Comparison, Replay
from ..replay.report import as_json, as_markdown, as_text
from ..spec import Duration, seconds
from .config import candidate_option, database_option, default_path, read

FORMATS = {"text": as_text, "json": as_json, "markdown": as_markdown}
_DURATION = get_args(Duration)[1].pattern


def options(parser: argparse.ArgumentParser) -> None:
    """Which traffic, which policy, which form."""
    parser.add_argument(
        "--policy", type=Path, metavar="DIR", help="the candidate: a gateway.yaml, or a folder with one (default: here)"
    )
    candidate_option(parser, "the policies on trial there")
    ledger_options(parser)
    parser.add_argument(
        "--baseline", action="append", default=[], metavar="MODEL", help="also: what this model alone would have cost"
    )
    parser.add_argument("--format", choices=tuple(FORMATS), default="text")


def ledger_options(parser: argparse.ArgumentParser) -> None:
    """Where past requests are, and since when."""
    database_option(parser, "--ledger", "the ledger's file (default: the configuration's)")
    parser.add_argument("--since", type=duration, default="7d", metavar="DURATION", help="7d, 12h (default: 7d)")


def action(options: argparse.Namespace) -> int:
    """0; 1 when the candidate has errors; 2 when there is nothing to read."""
    entry = options.policy
    if entry is not None and entry.is_dir():
        entry /= "gateway.yaml"
    loaded = read(entry, strict=False, candidate=options.candidate)
    if loaded.graph is None:
        return 1
    baselines: list[Model] = []
    for name in options.baseline:
        model = loaded.graph.registry.find(name)
        if model is None:
            close = loaded.graph.registry.suggest(name)
            hint = f"; did you mean `{close}`?" if close else ""
            sys.stderr.write(f"sidecar replay: --baseline {name}: there is no such model{hint}\n")
            return 2
        baselines.append(model)
    found = replay(loaded, options.ledger, options.since, baselines)
    if found is None:
        return 2
    sys.stdout.write(FORMATS[options.format](found))
    return 0


def replay(loaded: Loaded, ledger: Path | None, since: float, baselines: list[Model]) -> Comparison | None:
    """The comparison; None, and a line on standard error, when the ledger cannot be read."""
    if loaded.graph is None or loaded.policy is None:
        return None
    path = ledger_path(ledger)
    start = time.time() - since
    try:
        history = Ledger(path)
        candidate = Candidate(loaded.graph, callers(loaded.policy.specs, path))
        return Replay(candidate, Forecast(history.answers(start)), baselines).run(history.since(start))
    except sqlite3.Error as fault:
        sys.stderr.write(f"sidecar: {unreadable(path, fault)}\n")
        return None


def ledger_path(given: Path | None) -> Path:
    """The file that was named, else that of the configuration here."""
    if given is not None:
        return given
    loaded = read(None, strict=False)
    if loaded.graph is None:
        sys.exit(1)
    return loaded.graph.gateway.ledger(default_path(), os.environ)


def duration(text: str) -> float:
    """Seconds of a length of time, for argparse."""
    if not re.fullmatch(_DURATION, text):
        raise argparse.ArgumentTypeError(f"`{text}` is not a length of time: 30d, 12h, 1h30m")
    return seconds(text)

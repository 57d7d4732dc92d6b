"""`sidecar graph [gateway.yaml]`: the policy as a picture; with `--ledger` past requests are counted on its edges."""

import argparse
import sys

from ..render import as_json, dot, mermaid
from .config import config_option, database_option, read
from .replay import duration, replay

FORMATS = {"mermaid": mermaid, "dot": dot, "json": as_json}


def options(parser: argparse.ArgumentParser) -> None:
    """Which file, which picture, which traffic."""
    config_option(parser)
    parser.add_argument("--format", choices=tuple(FORMATS), default="mermaid")
    database_option(parser, "--ledger", "count this ledger's requests, as they would go now")
    parser.add_argument("--since", type=duration, default="7d", metavar="DURATION", help="of them, since (default: 7d)")


def action(options: argparse.Namespace) -> int:
    """0, 1 when the configuration has errors, 2 when the ledger cannot be read."""
    loaded = read(options.config, strict=False)
    if loaded.graph is None:
        return 1
    if options.ledger is None:
        sys.stdout.write(FORMATS[options.format](loaded.graph))
        return 0
    found = replay(loaded, options.ledger, options.since, [])
    if found is None:
        return 2
    if not found.edges:
        sys.stderr.write("note: the ledger has no request with features in that time\n")
    sys.stdout.write(FORMATS[options.format](loaded.graph, found.edges))
    return 0

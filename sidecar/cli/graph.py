"""`sidecar graph [gateway.yaml]`: the policy as a picture."""

import argparse
import sys

from ..render import as_json, dot, mermaid
from .config import config_option, read

FORMATS = {"mermaid": mermaid, "dot": dot, "json": as_json}


def options(parser: argparse.ArgumentParser) -> None:
    """Which file, which picture."""
    config_option(parser)
    parser.add_argument("--format", choices=tuple(FORMATS), default="mermaid")


def action(options: argparse.Namespace) -> int:
    """0, or 1 when the configuration has errors."""
    graph = read(options.config, strict=False).graph
    if graph is None:
        return 1
    sys.stdout.write(FORMATS[options.format](graph))
    return 0

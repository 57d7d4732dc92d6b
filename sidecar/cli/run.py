"""`sidecar run [gateway.yaml]`: serve."""

import argparse
import asyncio
import os
import sqlite3
import sys
import time
from pathlib import Path

from ..engine.log import LEVELS, Log, Style
from ..policy import Loaded
from .config import colored, config_option, default_path, port_number, read


def options(parser: argparse.ArgumentParser) -> None:
    """Where to listen, beside what the file says."""
    config_option(parser)
    parser.add_argument("--host", default=os.environ.get("SIDECAR_HOST"), help="overrides listen.host")
    parser.add_argument("--port", type=port_number, default=None, help="overrides listen.port and $SIDECAR_PORT")
    parser.add_argument("--log-format", choices=("json", "text"), default="json", help="text is for people")
    parser.add_argument("--log-level", choices=LEVELS, default="info", help="debug tells of decisions, stage by stage")
    parser.add_argument(
        "--log-sample", type=int, default=10, metavar="N", help="with debug: one in N decisions (default: 10)"
    )


def action(options: argparse.Namespace) -> int:
    """0 after a drain, 1 when the configuration is refused or the address taken, 2 for a port that is none."""
    loaded = read(options.config, strict=True)
    if loaded.graph is None:
        return 1
    listen = loaded.graph.gateway.listen
    port = _port(listen.port) if options.port is None else options.port
    if port is None:
        sys.stderr.write(f"sidecar run: SIDECAR_PORT={os.environ['SIDECAR_PORT']}: not a port\n")
        return 2
    if options.log_sample < 1:
        sys.stderr.write(f"sidecar run: --log-sample {options.log_sample}: one in how many? At least 1\n")
        return 2
    try:
        import uvloop
    except ImportError:  # not on every platform
        runner = asyncio.run
    else:
        runner = uvloop.run
    text = options.log_format == "text"
    style = Style(text, options.log_level, text and colored(sys.stderr), options.log_sample)
    return runner(_serve(options.config or default_path(), loaded, options.host or listen.host, port, style))


async def _serve(entry: Path, loaded: Loaded, host: str, port: int, style: Style) -> int:
    from ..server.run import serve  # Litestar and Granian: no other verb pays for them
    from ..server.state import RefusedError, running

    try:
        async with running(entry, loaded, os.environ, Log(sys.stderr.buffer, time.time, style)) as gateway:
            await serve(gateway, host, port)
    except RefusedError as refusal:
        sys.stderr.write(str(refusal))
        return 1
    except (OSError, sqlite3.Error) as fault:
        sys.stderr.write(f"sidecar run: {host}:{port}: {fault}\n")
        return 1
    return 0


def _port(configured: int) -> int | None:
    """What the environment says, else the file; None when the environment says nonsense."""
    text = os.environ.get("SIDECAR_PORT", "")
    if not text:
        return configured
    return int(text) if text.isascii() and text.isdecimal() and int(text) < 65536 else None

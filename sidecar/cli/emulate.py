"""`sidecar emulate [SCRIPT.yaml]`: a stand-in for OpenAI, Anthropic, Google and Ollama on one port, offline."""

import argparse
import asyncio
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

from ..emulator import Emulator, Entrances, Faults, Script, entrances, running
from .config import port_number, read_one

_VARIABLES = {
    "openai": ("OPENAI_BASE_URL", "/openai/v1"),
    "anthropic": ("ANTHROPIC_BASE_URL", "/anthropic"),
    "google": ("GOOGLE_GEMINI_BASE_URL", "/google"),
    "ollama": ("OLLAMA_BASE_URL", "/ollama"),
}


def options(parser: argparse.ArgumentParser) -> None:
    """Where to listen, what to say, and what is to go wrong."""
    parser.add_argument("script", nargs="?", type=Path, help="replies as YAML (`kind: emulator`); composed without one")
    parser.add_argument("--faults", type=Path, help="failures as YAML (`kind: faults`)")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=port_number, default=8788)


def action(options: argparse.Namespace) -> int:
    """0 when stopped, 1 when a file is wrong or the port taken, 2 when there is no file to read."""
    for path in (options.script, options.faults):
        if path is not None and not path.is_file():
            sys.stderr.write(f"sidecar emulate: {path}: no such file\n")
            return 2
    script = Script() if options.script is None else read_one(options.script, "emulator", Script)
    faults = Faults() if options.faults is None else read_one(options.faults, "faults", Faults)
    if script is None or faults is None:
        return 1
    try:
        asyncio.run(_serve(Emulator(script, faults), options.host, options.port))
    except OSError as fault:
        sys.stderr.write(f"sidecar emulate: {options.host}:{options.port}: {fault}\n")
        return 1
    return 0


async def _serve(emulator: Emulator, host: str, port: int) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with (
        running(emulator, host, port) as bound,
        entrances(emulator.faults, host, bound, port and port + 1) as ways,
    ):
        sys.stdout.write("".join(f"{line}\n" for line in _environment(f"http://{host}:{bound}", ways)))
        sys.stdout.flush()
        await stop.wait()


def _environment(base: str, ways: Entrances) -> Iterator[str]:
    """What an app needs to find the providers; the paths of those that faults alone know are its own affair."""
    for name, (variable, path) in _VARIABLES.items():
        yield f"{variable}={ways.urls.get(name, base)}{path}"
    for name in (name for name in ways.urls if name not in _VARIABLES):
        yield f"{re.sub(r'[^A-Za-z0-9]', '_', name).upper()}_BASE_URL={ways.urls[name]}/{name}"
    if ways.authority is not None:
        yield f"SSL_CERT_FILE={ways.authority}"

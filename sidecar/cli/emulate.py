"""`sidecar emulate [SCRIPT.yaml]`: a stand-in for OpenAI, Anthropic, Google and Ollama on one port, offline."""

import argparse
import asyncio
import signal
import sys
from pathlib import Path

from ..emulator import Emulator, Faults, Script, running
from .config import port_number, read_one


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
    async with running(emulator, host, port) as bound:
        base = f"http://{host}:{bound}"
        sys.stdout.write(
            f"OPENAI_BASE_URL={base}/openai/v1\nANTHROPIC_BASE_URL={base}/anthropic\n"
            f"GOOGLE_GEMINI_BASE_URL={base}/google\nOLLAMA_BASE_URL={base}/ollama\n"
        )
        sys.stdout.flush()
        await stop.wait()

"""`sidecar emulate [SCRIPT.yaml]`: a stand-in for OpenAI, Anthropic, Google and Ollama on one port, offline."""

import argparse
import asyncio
import os
import signal
import sys
from pathlib import Path

from ..config.check import check
from ..config.document import parse
from ..config.render import render_text
from ..emulator import Emulator, Script, running


def options(parser: argparse.ArgumentParser) -> None:
    """Where to listen, and what to say."""
    parser.add_argument("script", nargs="?", type=Path, help="replies as YAML (`kind: emulator`); composed without one")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8788)


def action(options: argparse.Namespace) -> int:
    """0 when stopped, 1 when the script is wrong or the port taken, 2 when there is no script to read."""
    if options.script is not None and not options.script.is_file():
        sys.stderr.write(f"sidecar emulate: {options.script}: no such file\n")
        return 2
    script = _script(options.script)
    if script is None:
        return 1
    try:
        asyncio.run(_serve(Emulator(script), options.host, options.port))
    except OSError as fault:
        sys.stderr.write(f"sidecar emulate: {options.host}:{options.port}: {fault}\n")
        return 1
    return 0


def _script(path: Path | None) -> Script | None:
    if path is None:
        return Script()
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as fault:
        sys.stderr.write(f"sidecar emulate: {path}: {fault}\n")
        return None
    documents, findings = parse(text, str(path))
    script: Script | None = None
    for document in documents:
        spec, faults = check(document, {"emulator": Script}, os.environ)
        findings += faults
        script = spec if isinstance(spec, Script) else script
    if findings:
        sys.stderr.write(render_text(findings, {str(path): text}))
    return script


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

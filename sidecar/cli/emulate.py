"""`sidecar emulate [SCRIPT.yaml]`: a stand-in for OpenAI, Anthropic, Google and Ollama on one port, offline."""

import argparse
import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import TypeVar

from ..config.check import check
from ..config.diagnostic import Severity
from ..config.document import parse
from ..config.render import render_text
from ..emulator import Emulator, Faults, Script, running
from ..spec import Spec

_Spec = TypeVar("_Spec", bound=Spec)


def options(parser: argparse.ArgumentParser) -> None:
    """Where to listen, what to say, and what is to go wrong."""
    parser.add_argument("script", nargs="?", type=Path, help="replies as YAML (`kind: emulator`); composed without one")
    parser.add_argument("--faults", type=Path, help="failures as YAML (`kind: faults`)")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8788)


def action(options: argparse.Namespace) -> int:
    """0 when stopped, 1 when a file is wrong or the port taken, 2 when there is no file to read."""
    for path in (options.script, options.faults):
        if path is not None and not path.is_file():
            sys.stderr.write(f"sidecar emulate: {path}: no such file\n")
            return 2
    script = Script() if options.script is None else read(options.script, "emulator", Script)
    faults = Faults() if options.faults is None else read(options.faults, "faults", Faults)
    if script is None or faults is None:
        return 1
    try:
        asyncio.run(_serve(Emulator(script, faults), options.host, options.port))
    except OSError as fault:
        sys.stderr.write(f"sidecar emulate: {options.host}:{options.port}: {fault}\n")
        return 1
    return 0


def read(path: Path, kind: str, spec: type[_Spec]) -> _Spec | None:
    """A file's document of this kind, or None; what is wrong with the file goes to standard error."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as fault:
        sys.stderr.write(f"sidecar emulate: {path}: {fault}\n")
        return None
    documents, findings = parse(text, str(path))
    found: _Spec | None = None
    for document in documents:
        value, faults = check(document, {kind: spec}, os.environ)
        findings += faults
        found = value if isinstance(value, spec) else found
    if findings:
        sys.stderr.write(render_text(findings, {str(path): text}))
    return None if any(finding.severity is Severity.ERROR for finding in findings) else found


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

"""`sidecar demo`: the gateway in front of the emulator, a dozen prompts, a table; then it keeps serving. Offline."""

import argparse
import asyncio
import os
import shutil
import signal
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec

from ..engine.log import Log
from ..identity.keys import generate, hash_text
from ..policy import load
from .config import port_number, starter

PROMPTS: tuple[dict[str, Any], ...] = (
    {"ask": "What is the capital of Portugal?"},
    {"ask": "Translate to German: good morning, everyone", "task": "translate"},
    {"ask": "Give me a title for a post about container networking", "task": "title"},
    {"ask": "Summarise the difference between TCP and UDP for a colleague who writes front ends, in five sentences."},
    {"ask": "Is a hot dog a sandwich? Argue both sides briefly."},
    {"ask": "```python\ndef mean(xs):\n    return sum(xs) / len(xs)\n```\nWhat happens for an empty list?"},
    {"ask": "Find the root cause: after the deploy p99 rose from 40 ms to 900 ms, CPU is flat, connections doubled."},
    {"ask": "Design a migration plan from one Postgres to a sharded one without downtime; list the trade-offs."},
    {"ask": "Prove that there are infinitely many primes."},
    {"ask": "Review this clause for unfair terms: the supplier may change prices at any time.", "task": "legal"},
    {"ask": "Extract name and city: 'Ana Silva, Porto'", "task": "extract", "schema": True},
    {"ask": "What is the weather in Lisbon? Use get_weather.", "tools": True},
)
_WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}
_PERSON = {
    "name": "person",
    "schema": {
        "type": "object",
        "properties": {"name": {"type": "string"}, "city": {"type": "string"}},
        "required": ["name", "city"],
        "additionalProperties": False,
    },
}


def options(parser: argparse.ArgumentParser) -> None:
    """Where to listen, and with which key."""
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=port_number, default=8787)
    parser.add_argument("--key", default=None, help="the gateway key to accept (default: a new one)")
    parser.add_argument("--once", action="store_true", help="end after the table")


def action(options: argparse.Namespace) -> int:
    """0 when stopped, 1 when it could not serve, 2 for a key that is too short."""
    key = options.key or generate()
    if len(key) < 16:
        sys.stderr.write("sidecar demo: a key has at least 16 characters\n")
        return 2
    with tempfile.TemporaryDirectory(prefix="sidecar-demo-") as folder:
        try:
            return asyncio.run(_demo(Path(folder), key, options))
        except OSError as fault:
            sys.stderr.write(f"sidecar demo: {options.host}:{options.port}: {fault}\n")
            return 1


async def _demo(folder: Path, key: str, options: argparse.Namespace) -> int:
    from ..emulator import Emulator
    from ..emulator import running as emulating
    from ..listen import listening
    from ..server.app import build
    from ..server.state import running

    entry = _configuration(folder, key)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with AsyncExitStack() as stack:
        port = await stack.enter_async_context(emulating(Emulator()))
        environ = _environment(f"http://127.0.0.1:{port}")
        loaded = load(entry, environ, strict=True)
        log = Log(stack.enter_context((folder / "sidecar.log").open("wb")), time.time)
        gateway = await stack.enter_async_context(running(entry, loaded, environ, log))
        bound = await stack.enter_async_context(listening(build(gateway), options.host, options.port))
        base = f"http://{options.host}:{bound}"
        await _table(base, key, gateway)
        sys.stdout.write(
            f"\nbase URL   {base}/v1\nkey        {key}\nstatus     {base}/status\n"
            f"policies   {entry.parent / 'policies'}  (edit them: the next request follows)\n"
        )
        sys.stdout.flush()
        if not options.once:
            sys.stdout.write("serving; Ctrl-C ends it\n")
            sys.stdout.flush()
            await stop.wait()
    return 0


def _configuration(folder: Path, key: str) -> Path:
    """The shipped configuration with a key of its own and Ollama switched on, in a folder that may be edited."""
    shipped = starter()
    shutil.copytree(shipped / "policies", folder / "policies")
    text = (shipped / "gateway.yaml").read_text(encoding="utf-8")
    entry = folder / "gateway.yaml"
    entry.write_text(text.replace("enabled: false", "enabled: true"), encoding="utf-8")
    (folder / "policies" / "authenticate.yaml").write_text(
        f"kind: authenticate\nanonymous: never\nkeys:\n  - name: demo\n    hash: {hash_text(key)}\n", encoding="utf-8"
    )
    return entry


def _environment(emulator: str) -> dict[str, str]:
    """The environment of a machine whose four providers are the emulator."""
    return {
        **os.environ,
        "OPENAI_BASE_URL": f"{emulator}/openai/v1",
        "ANTHROPIC_BASE_URL": f"{emulator}/anthropic",
        "GOOGLE_GEMINI_BASE_URL": f"{emulator}/google",
        "OLLAMA_BASE_URL": f"{emulator}/ollama",
        "OPENAI_API_KEY": "demo",
        "ANTHROPIC_API_KEY": "demo",
        "GEMINI_API_KEY": "demo",
    }


async def _table(base: str, key: str, gateway: Any) -> None:
    """Send the prompts and say where each went, why, and what the strongest model would have cost."""
    import httpx

    from ..chat import Usage
    from ..registry.price import usd

    registry = gateway.holder.current.graph.registry
    strongest = max((m for m in registry.routable if m.price), key=lambda m: (m.quality or 0, m.price.output))
    rows, spent, most = [], 0.0, 0.0
    async with httpx.AsyncClient(base_url=base, headers={"authorization": f"Bearer {key}"}, timeout=30) as client:
        for prompt in PROMPTS:
            answer = await client.post("/v1/chat/completions", json=_request(prompt), headers=_headers(prompt))
            if answer.status_code != 200:
                rows.append((_short(prompt["ask"]), "-", "-", answer.text[:60], "-", "-"))
                continue
            used = msgspec.convert(answer.json()["usage"], _Usage)
            alone = strongest.price.cost(Usage(used.prompt_tokens, used.completion_tokens))
            cost = answer.headers["x-sidecar-cost-usd"]
            spent, most = spent + float(cost), most + alone / 1e9
            rule = _why(gateway.holder.current.graph, prompt)
            model = answer.headers["x-sidecar-model"]
            rows.append((_short(prompt["ask"]), answer.headers["x-sidecar-tier"], model, rule, cost, usd(alone)))
    head = ("prompt", "tier", "model", "why", "cost USD", "strongest USD")
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    for row in (head, *rows):
        sys.stdout.write("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() + "\n")
    sys.stdout.write(
        f"\n{len(rows)} prompts: {spent:.6f} USD; all on {strongest.id}: {most:.6f} USD. Tokens are the emulator's, "
        "prices the registry's.\n"
    )


class _Usage(msgspec.Struct):
    prompt_tokens: int
    completion_tokens: int


def _why(graph: Any, prompt: dict[str, Any]) -> str:
    """The rule that fired, from the very walk that served it."""
    from ..engine.trial import Asked, World, first_caller, walk_once
    from ..surfaces.openai_chat import OpenAIChat

    raw = msgspec.json.encode(_request(prompt))
    chat: Any = OpenAIChat().parse(raw)
    call, _ = walk_once(graph, Asked(chat, raw, _headers(prompt)), World(first_caller(graph.stages)))
    return call.rule or "default"


def _headers(prompt: dict[str, Any]) -> dict[str, str]:
    return {"x-sidecar-task": prompt["task"]} if "task" in prompt else {}


def _request(prompt: dict[str, Any]) -> dict[str, Any]:
    body: dict[str, Any] = {"model": "auto", "messages": [{"role": "user", "content": prompt["ask"]}]}
    if prompt.get("tools"):
        body["tools"] = [_WEATHER]
    if prompt.get("schema"):
        body["response_format"] = {"type": "json_schema", "json_schema": _PERSON}
    return body


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 44 else f"{line[:41]}..."

"""`sidecar explain REQUEST.json|-` walks the graph without calling anyone; `sidecar explain CODE` tells of a code."""

import argparse
import os
import sys
from pathlib import Path
from typing import Any

import msgspec

from ..chat import ChatRequest
from ..config.codes import EXPLAIN, Code
from ..engine.explain import Explanation, explain, first_caller
from ..graph import Graph
from ..identity.secrets import MissingError, resolve
from ..spec import Secret
from ..surfaces.base import Invalid
from ..surfaces.openai_chat import OpenAIChat
from .config import read

SHOWN = 12
"""Candidates a person is shown; --format json has all."""


def options(parser: argparse.ArgumentParser) -> None:
    """What to explain, and as whom."""
    parser.add_argument(
        "request", help="a chat request as JSON, `-` for standard input, a prompt, or a diagnostic code"
    )
    parser.add_argument("--config", type=Path, default=None, help="gateway.yaml")
    parser.add_argument("--key", help="as the gateway key of this name (default: the first)")
    parser.add_argument(
        "--header", action="append", default=[], metavar="NAME=VALUE", help="for example x-sidecar-task=x"
    )
    parser.add_argument("--format", choices=("text", "json"), default="text")


def action(options: argparse.Namespace) -> int:
    """0 when it would be served, 1 when refused, 2 when there is nothing to explain."""
    if options.request in set(Code):
        sys.stdout.write(EXPLAIN[Code(options.request)])
        return 0
    loaded = read(options.config, strict=False)
    if loaded.graph is None or loaded.policy is None:
        return 1
    request = _request(options.request)
    if isinstance(request, str):
        sys.stderr.write(f"sidecar explain: {request}\n")
        return 2
    try:
        specs = [*(stage.spec for stage in loaded.policy.stages), *(part.spec for part in loaded.policy.parts)]
        caller = first_caller(specs, options.key)
    except LookupError:
        sys.stderr.write(f"sidecar explain: there is no gateway key called `{options.key}`\n")
        return 2
    if wrong := next((h for h in options.header if "=" not in h), None):
        sys.stderr.write(f"sidecar explain: --header {wrong}: write NAME=VALUE\n")
        return 2
    headers = {name.lower(): value for name, _, value in (h.partition("=") for h in options.header)}
    down = _down(loaded.graph)
    result = explain(loaded.graph, request, headers, caller, down)
    if options.format == "json":
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(result), indent=2).decode() + "\n")
    else:
        sys.stdout.write(_text(result))
    return 0 if result.end == "execute" else 1


def _request(text: str) -> tuple[ChatRequest, bytes] | str:
    """A request from a file, standard input or a prompt; or what is wrong with it."""
    try:
        if text == "-":
            raw = sys.stdin.buffer.read()
        elif Path(text).is_file():
            raw = Path(text).read_bytes()
        elif text.endswith(".json"):
            return f"{text}: no such file"
        else:
            raw = msgspec.json.encode({"messages": [{"role": "user", "content": text}]})
    except (OSError, ValueError) as fault:
        return f"{text[:80]}: {fault}"
    try:
        body = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as fault:
        return f"not JSON: {fault}"
    if isinstance(body, dict):
        raw = msgspec.json.encode({"model": "auto", **body})
    chat = OpenAIChat().parse(raw)
    return chat.message if isinstance(chat, Invalid) else (chat, raw)


def _down(graph: Graph) -> dict[str, str]:
    """Providers without a key in this environment; none when no provider has one (CI has no keys). What is in the
    vault is taken to be there."""
    down: dict[str, str] = {}
    ready = 0
    for name, provider in graph.gateway.providers.items():
        missing = []
        for _, key in provider.every_key:
            try:
                resolve(key.secret, os.environ, Secret)
                ready += 1
            except MissingError as fault:
                missing.append(str(fault))
        if missing and len(missing) == len(provider.every_key):
            down[name] = f"no key: {'; '.join(missing)}"
    if down and not ready:
        sys.stderr.write("note: no provider has a key here; explained as if all had one\n")
        return {}
    return down


def _text(result: Explanation) -> str:
    lines = [f"policy    {result.policy}"]
    lines.append(f"features  {' '.join(f'{k}={_short(v)}' for k, v in result.features.items() if k != 'headers')}")
    if result.rules:
        lines.append("rules")
        first = next((i for i, row in enumerate(result.rules) if row["holds"]), None)
        for index, row in enumerate(result.rules):
            mark = ("fired" if index == first else "holds") if row["holds"] else "-"
            lines.append(f"  {mark:<6} {row['rule']:<22} -> {row['tier']:<10} {row['when']}")
    lines.append(f"tier      {result.tier or '-'}" + (f" (rule {result.rule})" if result.rule else ""))
    if result.candidates:
        lines.append(f"strategy  {result.strategy}; score = cost, quality, speed, each 0 to 1, weighted")
        lines.append(f"  {'model':<34} {'score':>6} {'cost':>6} {'quality':>8} {'speed':>6} {'USD/M':>9}")
        lines += [_candidate(row) for row in result.candidates[:SHOWN]]
        if len(result.candidates) > SHOWN:
            lines.append(f"  ... and {len(result.candidates) - SHOWN} more (--format json shows all)")
    lines += [f"dropped   {model}: {reason}" for model, reason in result.dropped[:SHOWN]]
    lines.append("walk      " + "  ".join(f"{node}:{outcome}" for node, outcome in result.trace) + f"  => {result.end}")
    if result.refusal is not None:
        lines.append(f"refused   {result.refusal.status} {result.refusal.code}: {result.refusal.message}")
    else:
        lines.append(f"chain     {' -> '.join(result.chain)}")
    return "\n".join(lines) + "\n"


def _candidate(row: dict[str, Any]) -> str:
    price = "-" if row["usd_per_million"] is None else f"{row['usd_per_million']:.3f}"
    return (
        f"  {row['model'][:34]:<34} {row['score']:>6.3f} {row['cost']:>6.3f} {row['quality']:>8.3f} "
        f"{row['speed']:>6.3f} {price:>9}"
    )


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:37]}..."

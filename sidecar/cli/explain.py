"""`sidecar explain REQUEST.json|-` walks the graph without calling anyone; `sidecar explain --id ID` tells of a past
request, `sidecar explain CODE` of a code."""

import argparse
import os
import sys
from pathlib import Path

import msgspec

from ..chat import ChatRequest
from ..config.codes import EXPLAIN, Code
from ..engine.explain import as_text, explain
from ..engine.trial import Asked, World, first_caller, known_callers
from ..graph import Graph
from ..identity.secrets import MissingError, resolve
from ..scrape.explain import EXPLAIN as EXPLAIN_REASON
from ..scrape.finding import Reason
from ..spec import Secret
from ..surfaces.base import Invalid
from ..surfaces.openai_chat import OpenAIChat
from .config import candidate_option, database_option, default_path, read
from .explain_past import explain_past


def options(parser: argparse.ArgumentParser) -> None:
    """What to explain, and as whom."""
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "request",
        nargs="?",
        help="a chat request as JSON or a file of it, `-` for standard input, a prompt, or a diagnostic code",
    )
    what.add_argument("--id", metavar="REQUEST_ID", help="a past request, by its x-request-id")
    database_option(parser, "--ledger", "where that is (default: the configuration's)")
    parser.add_argument("--config", type=Path, default=None, help="gateway.yaml")
    candidate_option(parser, "by the policies on trial")
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
    if options.request in set(Reason):
        sys.stdout.write(EXPLAIN_REASON[Reason(options.request)])
        return 0
    loaded = read(options.config, strict=False, candidate=options.candidate)
    if loaded.graph is None or loaded.policy is None:
        return 1
    if options.id is not None:
        ledger = options.ledger or loaded.graph.gateway.ledger(options.config or default_path(), os.environ)
        return explain_past(loaded, options.id, ledger, options.format)
    request = _request(options.request)
    if isinstance(request, str):
        sys.stderr.write(f"sidecar explain: {request}\n")
        return 2
    try:
        specs = loaded.policy.specs
        caller = known_callers(specs)[options.key] if options.key else first_caller(specs)
    except KeyError:
        sys.stderr.write(f"sidecar explain: there is no gateway key called `{options.key}`\n")
        return 2
    if wrong := next((h for h in options.header if "=" not in h), None):
        sys.stderr.write(f"sidecar explain: --header {wrong}: write NAME=VALUE\n")
        return 2
    headers = {name.lower(): value for name, _, value in (h.partition("=") for h in options.header)}
    down = _down(loaded.graph)
    result = explain(loaded.graph, Asked(*request, headers), World(caller, down=down))
    if options.format == "json":
        sys.stdout.write(msgspec.json.format(msgspec.json.encode(result), indent=2).decode() + "\n")
    else:
        sys.stdout.write(as_text(result))
    return 0 if result.end == "execute" else 1


def _request(text: str) -> tuple[ChatRequest, bytes] | str:
    """A request from a file, standard input or a prompt; or what is wrong with it."""
    try:
        if text == "-":
            raw = sys.stdin.buffer.read()
        elif _is_file(text):
            raw = Path(text).read_bytes()
        elif text.endswith(".json"):
            return f"{text}: no such file"
        elif text.lstrip().startswith("{"):
            raw = text.encode()
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


def _is_file(text: str) -> bool:
    """Whether there is a file of that name; a long prompt cannot even be one."""
    try:
        return Path(text).is_file()
    except (OSError, ValueError):
        return False


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

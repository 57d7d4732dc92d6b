"""Every recorded answer with a usage block: the block as the provider sent it, and the usage our adapter reads.

OpenAI's responses and embeddings have no adapter yet. Their blocks count the same tokens under other names, so they
are read as chat completions after renaming; `renamed` marks them.
"""

import json
from collections.abc import Iterator
from functools import cache
from typing import Any

import msgspec
from shared import DATA
from traffic.exchanges import Exchange, exchanges

from sidecar.chat import ChatRequest, Completion, Usage
from sidecar.providers.anthropic import Anthropic
from sidecar.providers.base import Adapter
from sidecar.providers.google import Google
from sidecar.providers.ollama import Ollama
from sidecar.providers.openai import OpenAI

ADAPTERS: dict[str, Adapter] = {
    "test-openai": OpenAI(),
    "test-anthropic": Anthropic(),
    "test-google": Google(),
    "test-ollama": Ollama(),
}
RENAMED = {
    "prompt_tokens": "input_tokens",
    "completion_tokens": "output_tokens",
    "prompt_tokens_details": "input_tokens_details",
    "completion_tokens_details": "output_tokens_details",
}


class Block(msgspec.Struct):
    """One bill's worth of tokens. `raw` is the wire's own object; `service_tier` what the answer says beside it."""

    id: str
    provider: str
    model: str
    raw: dict[str, Any]
    usage: Usage
    service_tier: str | None = None
    renamed: bool = False


@cache
def blocks() -> list[Block]:
    """All of them; empty where the data is absent."""
    chats = [block for exchange in exchanges() if (block := _chat(exchange)) is not None]
    return [*chats, *_renamed()]


def read(exchange: Exchange) -> Usage | None:
    """The usage our adapter reads from the bytes."""
    adapter = ADAPTERS[exchange.model]
    if not exchange.stream:
        answer = adapter.response(exchange.body)
        return answer.usage if isinstance(answer, Completion) else None
    reader = adapter.reader(ChatRequest("m", [], stream=True))
    pieces = [exchange.body[at : at + 333] for at in range(0, len(exchange.body), 333)]
    deltas = [delta for piece in pieces for delta in reader.feed(piece)] + list(reader.end())
    return next((delta.usage for delta in reversed(deltas) if delta.usage is not None), None)


def _chat(exchange: Exchange) -> Block | None:
    usage = read(exchange) if exchange.status == 200 else None
    if usage is None:
        return None
    raw, tier, model = _raw(exchange)
    return Block(exchange.id, exchange.model.removeprefix("test-"), model, raw, usage, tier)


def _raw(exchange: Exchange) -> tuple[dict[str, Any], str | None, str]:
    """The last usage block, the service tier and the model; Anthropic's stream says the counts in two events."""
    raw: dict[str, Any] = {}
    tier, model = None, ""
    for value in exchange.values:
        whole = value.get("message", value) if exchange.model == "test-anthropic" else value
        model = whole.get("model") or whole.get("modelVersion") or model
        tier = value.get("service_tier") or tier
        if exchange.model == "test-ollama":
            raw |= {k: v for k, v in value.items() if k.endswith("_count")}
        elif exchange.model == "test-google":
            raw = value.get("usageMetadata") or raw
        else:
            raw |= whole.get("usage") or {}
    return raw, tier, model.removeprefix("models/")


def _renamed() -> Iterator[Block]:
    for name in ("recorded.jsonl", "response_fixtures_vercel.jsonl"):
        path = DATA / "traffic" / name
        for line in path.read_text().splitlines() if path.exists() else ():
            row = json.loads(line)
            if row["endpoint"] in ("responses", "embeddings"):
                yield from _other(row)


def _other(row: dict[str, Any]) -> Iterator[Block]:
    values = row["response"].get("chunks") or [row["response"].get("json") or _events(row["response"]["raw"])]
    for value in reversed(values[0] if isinstance(values[0], list) else values):
        answer = value.get("response", value)
        if isinstance(answer.get("usage"), dict):
            given = answer["usage"]
            raw = {ours: given.get(theirs, given.get(ours)) for ours, theirs in RENAMED.items()}
            tier = answer.get("service_tier")
            body = {"choices": [], "model": answer["model"], "usage": raw, "service_tier": tier}
            read = OpenAI().response(json.dumps(body).encode())
            assert isinstance(read, Completion)
            assert read.usage is not None
            yield Block(row["id"], "openai", answer["model"], raw, read.usage, tier, renamed=True)
            return


def _events(raw: str) -> list[Any]:
    lines = [line.removeprefix("data:").strip() for line in raw.splitlines()]
    return [json.loads(line) for line in lines if line.startswith('{"')]

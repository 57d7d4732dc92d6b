"""A policy as YAML text and a request as JSON, taken through the very walk that serves traffic."""

import json
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from sidecar.call import Call
from sidecar.chat import ChatRequest
from sidecar.engine.walk import walk
from sidecar.features import extract
from sidecar.graph import Graph
from sidecar.identity.keys import digest
from sidecar.policy import Loaded, load
from sidecar.stages.authenticate import Authenticate
from sidecar.stores.base import State
from sidecar.stores.budgets import Accounts
from sidecar.stores.health import LiveHealth
from sidecar.stores.memory import MemoryCache, MemoryCounters, MemoryKeys
from sidecar.surfaces.openai_chat import OpenAIChat

PROVIDERS = """\
kind: gateway
providers:
  house: {protocol: openai, base_url: http://127.0.0.1:1/v1}
  attic: {protocol: ollama}
"""
MODELS = """\
models:
  small: {provider: house, context: 8000, max_output: 2000, capabilities: all, quality: 20, speed: 200,
          price: {input: 0.1, output: 0.1}}
  middle: {provider: house, context: 32000, max_output: 8000, capabilities: all, quality: 50, speed: 100,
           price: {input: 1, output: 1}}
  large: {provider: house, context: 128000, max_output: 16000, capabilities: all, quality: 80, speed: 50,
          price: {input: 10, output: 10}}
"""
OPEN = "kind: authenticate\nanonymous: always\n"


@cache
def read(policies: str, models: str = MODELS, more: str = "") -> Loaded:
    """The configuration of some documents, over models of its own and nothing of the catalogue."""
    with tempfile.TemporaryDirectory() as folder:
        entry = Path(folder) / "gateway.yaml"
        entry.write_text(PROVIDERS + models + more + "policies: [all.yaml]\n", encoding="utf-8")
        (entry.parent / "all.yaml").write_text(policies, encoding="utf-8")
        return load(entry, {}, strict=True)


def graph(*policies: str, models: str = MODELS, more: str = "") -> Graph:
    """The compiled policy; what is wrong with it fails the test."""
    texts = policies if any("kind: authenticate" in text for text in policies) else (OPEN, *policies)
    loaded = read("---\n".join(texts), models, more)
    assert loaded.graph is not None, loaded.text
    return loaded.graph


def codes(*policies: str, models: str = MODELS, more: str = "") -> list[tuple[str, int]]:
    """What is found in the policies: each code with its line."""
    return [(finding.code, finding.place.line) for finding in read("---\n".join(policies), models, more).findings]


def state(compiled: Graph | None = None) -> State:
    """Fresh stores; the keys are those whose hash the policy holds."""
    known = {}
    for spec in compiled.stages if compiled else ():
        for key in spec.keys if isinstance(spec, Authenticate) else ():
            known[bytes.fromhex((key.hash or "").removeprefix("sha256:"))] = key.principal()
    return State(MemoryCounters(), MemoryCache(100, 10_000), LiveHealth(), MemoryKeys(known), budgets=Accounts())


def request(content: str = "hello", **fields: Any) -> dict[str, Any]:
    """A chat request's body."""
    return {"model": "auto", "messages": [{"role": "user", "content": content}], **fields}


def decide(
    compiled: Graph,
    body: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
    stores: State | None = None,
    **fields: Any,
) -> tuple[str, Call]:
    """Where a walk ends, and the call it leaves behind."""
    raw = json.dumps(body or request()).encode()
    chat = OpenAIChat().parse(raw)
    assert isinstance(chat, ChatRequest), chat
    call = Call(
        id="test",
        chat=chat,
        features=extract(chat, headers or {}),
        state=stores or state(compiled),
        **{"raw": raw, "now": 1000.0, "model": compiled.aliases.get(chat.model, chat.model), **fields},
    )
    return walk(compiled, call), call


def chain(compiled: Graph, body: Mapping[str, Any] | None = None, **more: Any) -> list[str]:
    """The models that would be tried, or the refusal's code."""
    end, call = decide(compiled, body, **more)
    if end == "execute":
        return [model.id for model in call.chain]
    assert call.refusal is not None
    return [str(call.refusal.code)]


def digest_text(key: str) -> str:
    """A key's hash as policies write it."""
    return f"sha256:{digest(key).hex()}"

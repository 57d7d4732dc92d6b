"""Requests made, and held against Anthropic's own schema and the official SDK's types."""

import base64
import gzip
import json
from functools import cache
from typing import Any

import jsonschema
import msgspec
import yaml
from anthropic.types import (
    ContentBlockParam,
    OutputConfigParam,
    TextBlockParam,
    ThinkingConfigParam,
    ToolChoiceParam,
    ToolParam,
)
from anthropic_traffic import SHARED
from pydantic import TypeAdapter

from sidecar.chat import ChatRequest
from sidecar.providers.anthropic import Anthropic
from sidecar.providers.base import Target

SPEC = SHARED / "specs" / "anthropic-openapi-2026-08-18.yaml.gz"
OLD, MIDDLE, NEW = "claude-haiku-4-5", "claude-opus-4-6", "claude-opus-5"
REASONING = frozenset({"reasoning"})
HI = {"role": "user", "content": "hi"}
PNG = base64.b64encode(b"\x89PNG").decode()
ADAPTERS: list[tuple[str, TypeAdapter[Any]]] = [
    ("tools", TypeAdapter(list[ToolParam])),
    ("tool_choice", TypeAdapter(ToolChoiceParam)),
    ("thinking", TypeAdapter(ThinkingConfigParam)),
    ("output_config", TypeAdapter(OutputConfigParam)),
]
BLOCKS: TypeAdapter[Any] = TypeAdapter(list[ContentBlockParam])
SYSTEM: TypeAdapter[Any] = TypeAdapter(str | list[TextBlockParam])


@cache
def validator() -> jsonschema.Draft202012Validator | None:
    """CreateMessageParams of the OpenAPI document, or None where it is absent."""
    if not SPEC.exists():
        return None
    document = yaml.load(gzip.decompress(SPEC.read_bytes()), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    root = {"$ref": "#/components/schemas/CreateMessageParams", "components": document["components"]}
    return jsonschema.Draft202012Validator(root)


def check(body: dict[str, Any]) -> None:
    """The body against the SDK's types and, where present, the OpenAPI document."""
    for name, adapter in ADAPTERS:
        if name in body:
            adapter.validate_python(body[name])
    SYSTEM.validate_python(body.get("system", ""))
    for turn in body["messages"]:
        BLOCKS.validate_python(turn["content"])
    schema = validator()
    # Two things the API has and the document of August 2026 does not yet.
    newer = '"between_tools"' in json.dumps(body) or '"type": "file"' in json.dumps(body)
    if schema is not None and not newer:
        schema.validate(body)


def sent(
    model: str = MIDDLE,
    capabilities: frozenset[str] = REASONING,
    rejects: frozenset[str] = frozenset(),
    max_output: int = 64_000,
    **fields: Any,
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Body and lost fields of a request."""
    raw = msgspec.json.encode({"model": "auto", "messages": [HI], **fields})
    chat = msgspec.json.decode(raw, type=ChatRequest)
    target = Target(
        model, "https://api.anthropic.com", capabilities=capabilities, rejects=rejects, max_output=max_output
    )
    outgoing = Anthropic().request(chat, raw, target)
    body = json.loads(outgoing.body)
    check(body)
    return body, outgoing.lost


def turns(*messages: dict[str, Any], **more: Any) -> tuple[list[tuple[str, list[dict[str, Any]]]], tuple[str, ...]]:
    body, lost = sent(messages=list(messages), **more)
    return [(turn["role"], turn["content"]) for turn in body["messages"]], lost


def text(words: str, **more: Any) -> dict[str, Any]:
    return {"type": "text", "text": words, **more}


def call(id: str, name: str, arguments: str) -> dict[str, Any]:
    return {"id": id, "type": "function", "function": {"name": name, "arguments": arguments}}


def tool(name: str = "f", **more: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, **more}}


SCHEMA = {
    "type": "object",
    "properties": {
        "n": {"type": "integer", "minimum": 1},
        "of": {"oneOf": [{"type": "null"}, {"$ref": "#/$defs/x"}]},
        "list": {"type": "array", "items": {"type": "object", "properties": {}}, "minItems": 1},
        "minimum": {"type": "string"},
    },
    "$defs": {"x": {"type": "object", "properties": {}, "additionalProperties": True}},
}

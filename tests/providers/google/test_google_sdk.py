"""One conversation through the official SDK and through the adapter: Google is sent the same bytes' worth."""

import json
from typing import Any

import httpx
from google.genai import types
from google_traffic import client

from sidecar.chat import (
    ChatRequest,
    FunctionCall,
    FunctionSpec,
    JSONSchema,
    Message,
    NamedFunction,
    NamedTool,
    ResponseFormat,
    Tool,
    ToolCall,
)
from sidecar.providers.base import Target
from sidecar.providers.google import Google
from sidecar.spec import Secret

SCHEMA = {"type": "object", "properties": {"x": {"type": ["integer", "null"]}}, "additionalProperties": False}


def theirs() -> httpx.Request:
    """What the official client sends."""
    seen: list[httpx.Request] = []
    sdk = client(json.dumps({"candidates": [], "usageMetadata": {}}).encode(), seen)
    sdk.models.generate_content(model="gemini-3-flash-preview", contents=_contents(), config=_config())
    return seen[0]


def _contents() -> list[types.ContentUnion]:
    return [
        types.Content(role="user", parts=[types.Part(text="x")]),
        types.Content(
            role="model",
            parts=[
                types.Part(
                    function_call=types.FunctionCall(id="c1", name="f", args={"x": 1}),
                    thought_signature=b"SIG",
                )
            ],
        ),
        types.Content(
            role="user",
            parts=[types.Part(function_response=types.FunctionResponse(id="c1", name="f", response={"ok": True}))],
        ),
    ]


def _config() -> types.GenerateContentConfig:
    return types.GenerateContentConfig(
        system_instruction=types.Content(parts=[types.Part(text="be brief")]),
        temperature=0.5,
        top_p=0.9,
        seed=7,
        max_output_tokens=5,
        stop_sequences=["a"],
        response_mime_type="application/json",
        response_json_schema=SCHEMA,
        thinking_config=types.ThinkingConfig(include_thoughts=True, thinking_level=types.ThinkingLevel.LOW),
        tools=[
            types.Tool(
                function_declarations=[
                    types.FunctionDeclaration(name="f", description="does f", parameters_json_schema=SCHEMA)
                ]
            )
        ],
        tool_config=types.ToolConfig(
            function_calling_config=types.FunctionCallingConfig(
                mode=types.FunctionCallingConfigMode.ANY, allowed_function_names=["f"]
            )
        ),
        automatic_function_calling=types.AutomaticFunctionCallingConfig(disable=True),
    )


def ours() -> ChatRequest:
    """The same conversation as a caller of the gateway sends it."""
    extra = {"google": {"thought_signature": "U0lH"}}
    return ChatRequest(
        "auto",
        [
            Message("system", "be brief"),
            Message("user", "x"),
            Message(
                "assistant", tool_calls=[ToolCall("c1", function=FunctionCall("f", '{"x":1}'), extra_content=extra)]
            ),
            Message("tool", '{"ok": true}', tool_call_id="c1"),
        ],
        temperature=0.5,
        top_p=0.9,
        seed=7,
        max_completion_tokens=5,
        stop="a",
        response_format=ResponseFormat("json_schema", JSONSchema("s", SCHEMA)),
        reasoning_effort="low",
        tools=[Tool("function", FunctionSpec("f", "does f", SCHEMA))],
        tool_choice=NamedTool("function", NamedFunction("f")),
    )


def test_the_official_sdk_sends_the_same() -> None:
    """Address, key header and body are equal."""
    request = theirs()
    target = Target("gemini-3-flash-preview", "https://generativelanguage.googleapis.com", Secret("k"))
    out = Google().request(ours(), b"", target)
    assert out.url == str(request.url)
    assert out.headers["x-goog-api-key"] == request.headers["x-goog-api-key"] == "k"
    expected = _camel(json.loads(request.content))
    expected["systemInstruction"].pop("role", None)
    assert json.loads(out.body) == expected
    assert out.lost == ()


def _camel(value: Any) -> Any:
    """The SDK spells some names with underscores; protobuf's JSON takes both. Schemas and arguments stay."""
    if isinstance(value, list):
        return [_camel(item) for item in value]
    if not isinstance(value, dict):
        return value
    out = {}
    for name, item in value.items():
        head, *rest = name.split("_")
        name = head + "".join(word.title() for word in rest)
        out[name] = item if name in ("args", "response", "parametersJsonSchema", "responseJsonSchema") else _camel(item)
    return out

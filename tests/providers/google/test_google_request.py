"""Requests to Gemini: Google's own discovery document and its SDK's types accept every one of them."""

import gzip
import json
from itertools import pairwise
from typing import Any

import jsonschema
import pytest
from google.genai import types
from google_traffic import SHARED
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.chat import (
    Audio,
    ChatRequest,
    File,
    FunctionCall,
    FunctionSpec,
    ImageURL,
    JSONSchema,
    Message,
    NamedFunction,
    NamedTool,
    Outgoing,
    Part,
    Reasoning,
    ResponseFormat,
    Tool,
    ToolCall,
)
from sidecar.providers.base import Target
from sidecar.providers.google import Google
from sidecar.spec import Secret

BASE = "https://generativelanguage.googleapis.com"
DISCOVERY = SHARED / "specs" / "google-generativelanguage-v1beta_rev20260327.json.gz"
PNG = "iVBORw0KGgo="
SCHEMA = {"type": "object", "properties": {"x": {"type": ["integer", "null"]}}, "additionalProperties": False}


def target(model: str = "gemini-3-flash-preview", **more: Any) -> Target:
    return Target(model, BASE, **more)


def send(chat: ChatRequest, to: Target | None = None) -> tuple[dict[str, Any], Outgoing]:
    out = Google().request(chat, b"", to or target())
    return json.loads(out.body), out


def ask(*messages: Message, **more: Any) -> ChatRequest:
    return ChatRequest("auto", list(messages) or [Message("user", "x")], **more)


def converted(schema: Any) -> Any:
    """A discovery schema as JSON Schema: `any` is anything, references by name, unknown properties refused."""
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        return {"$ref": f"#/$defs/{schema['$ref']}"}
    kind = schema.get("type")
    if kind == "any":
        return {}
    out: dict[str, Any] = {"type": kind}
    if "enum" in schema:
        out["enum"] = schema["enum"]
    if schema.get("format") == "int32":
        out |= {"minimum": -(2**31), "maximum": 2**31 - 1}
    if kind == "array":
        out["items"] = converted(schema["items"])
    if kind == "object":
        out["properties"] = {name: converted(s) for name, s in schema.get("properties", {}).items()}
        out["additionalProperties"] = converted(schema.get("additionalProperties", False))
    return out


def validator() -> jsonschema.Draft202012Validator | None:
    if not DISCOVERY.exists():
        return None
    document = json.loads(gzip.decompress(DISCOVERY.read_bytes()))
    defs = {name: converted(schema) for name, schema in document["schemas"].items()}
    return jsonschema.Draft202012Validator({"$ref": "#/$defs/GenerateContentRequest", "$defs": defs})


VALIDATOR = validator()


def accepted(body: dict[str, Any]) -> None:
    """Both of Google's own descriptions of the wire accept the body."""
    assert VALIDATOR is not None
    VALIDATOR.validate(body)
    assert body["contents"]
    for content in body["contents"]:
        types.Content.model_validate(content)
    roles = [content["role"] for content in body["contents"]]
    assert all(a != b for a, b in pairwise(roles)), roles
    if "systemInstruction" in body:
        types.Content.model_validate(body["systemInstruction"])
    for tool in body.get("tools", []):
        types.Tool.model_validate(tool)
    types.ToolConfig.model_validate(body.get("toolConfig", {}))
    types.GenerationConfig.model_validate(body.get("generationConfig", {}))


TOOL = Tool("function", FunctionSpec("f", "does f", SCHEMA))
CALL = ToolCall("c1", function=FunctionCall("f", '{"x": 1}'))
TABLE = {
    "plain": ask(),
    "system": ask(Message("system", "be brief"), Message("user", "x"), Message("developer", "in French")),
    "system only": ask(Message("system", "be brief")),
    "sampling": ask(temperature=0.5, top_p=0.9, n=2, seed=7, stop=["a", "b"], max_tokens=5, max_completion_tokens=6),
    "penalties": ask(presence_penalty=0.1, frequency_penalty=-0.2, logprobs=True, top_logprobs=3, user="u"),
    "tools": ask(tools=[TOOL, Tool("function", FunctionSpec("g"))], tool_choice="auto"),
    "forced": ask(tools=[TOOL], tool_choice=NamedTool("function", NamedFunction("f"))),
    "loop": ask(
        Message("user", "x"),
        Message("assistant", "calling", tool_calls=[CALL, ToolCall("c2", function=FunctionCall("f", ""))]),
        Message("tool", '{"ok": true}', tool_call_id="c1"),
        Message(
            "tool",
            [Part("text", "plain"), Part("image_url", image_url=ImageURL(f"data:image/png;base64,{PNG}"))],
            tool_call_id="c2",
        ),
        Message("user", "and?"),
        tools=[TOOL],
    ),
    "legacy": ask(
        Message("user", "x"),
        Message("assistant", function_call=FunctionCall("f", "{}")),
        Message("function", "1", name="f"),
    ),
    "media": ask(
        Message(
            "user",
            [
                Part("text", "look"),
                Part("image_url", image_url=ImageURL(f"data:image/png;base64,{PNG}", "high")),
                Part("image_url", image_url="https://example.com/a/cat.JPG?size=2"),
                Part("input_audio", input_audio=Audio(PNG, "wav")),
                Part("file", file=File(f"data:application/pdf;base64,{PNG}", filename="a.pdf")),
                Part("file", file=File(file_id=f"{BASE}/v1beta/files/abc")),
                Part("text", "", cache_control={"type": "ephemeral"}),
            ],
        )
    ),
    "json": ask(response_format=ResponseFormat("json_object")),
    "schema": ask(response_format=ResponseFormat("json_schema", JSONSchema("s", SCHEMA, strict=True))),
    "effort": ask(reasoning_effort="medium"),
}


@pytest.mark.skipif(VALIDATOR is None, reason=f"no discovery document under {SHARED}")
@pytest.mark.parametrize("model", ["gemini-3-pro-preview", "gemini-3.5-flash", "gemini-2.5-flash", "gemini-2.0-flash"])
@pytest.mark.parametrize("name", TABLE)
def test_google_accepts(name: str, model: str) -> None:
    accepted(send(TABLE[name], target(model))[0])


TEXT = st.text(max_size=8)
PARTS = st.one_of(
    st.builds(Part, type=st.just("text"), text=TEXT),
    st.builds(Part, type=st.just("refusal"), refusal=TEXT),
    st.builds(Part, type=st.just("video"), text=st.none()),
    st.builds(
        Part,
        type=st.just("image_url"),
        image_url=st.sampled_from(
            [f"data:image/png;base64,{PNG}", "data:,a%20b", "data:broken", "https://[/x.png", "https://e.com/", ""]
        ),
    ),
    st.builds(Part, type=st.just("file"), file=st.builds(File, file_id=st.sampled_from([None, "file-1", "gs://b/x"]))),
)
CALLS = st.builds(
    ToolCall,
    id=st.sampled_from([None, "", "c1", "c2"]),
    function=st.builds(FunctionCall, name=st.just("f"), arguments=st.sampled_from(["", "{}", '{"x":1}', "[1]", "{"])),
    extra_content=st.sampled_from([None, {"google": {"thought_signature": "U0lH"}}, {"google": 7}, {"other": {}}]),
)
MESSAGES = st.builds(
    Message,
    role=st.sampled_from(["system", "developer", "user", "assistant", "tool", "function"]),
    content=st.one_of(st.none(), TEXT, st.lists(PARTS, max_size=3)),
    name=st.sampled_from([None, "n"]),
    tool_calls=st.one_of(st.none(), st.lists(CALLS, max_size=2)),
    tool_call_id=st.sampled_from([None, "c1", "c9"]),
    reasoning_details=st.sampled_from([None, [Reasoning("reasoning.encrypted", data="U0lH", format="google")]]),
)
CHATS = st.builds(
    ChatRequest,
    model=st.just("m"),
    messages=st.lists(MESSAGES, max_size=5).map(lambda more: [Message("user", "x"), *more]),
    stream=st.sampled_from([None, True, False]),
    seed=st.one_of(st.none(), st.integers(-(2**40), 2**40)),
    stop=st.one_of(st.none(), TEXT, st.lists(TEXT, max_size=8)),
    tools=st.sampled_from([None, [], [TOOL], [Tool("web_search")], [Tool("custom"), TOOL]]),
    tool_choice=st.sampled_from([None, "auto", "none", "required", "odd", NamedTool("allowed_tools")]),
    reasoning_effort=st.sampled_from([None, "none", "minimal", "low", "medium", "high", "xhigh", "odd"]),
    response_format=st.sampled_from(
        [None, ResponseFormat("text"), ResponseFormat("json_schema"), ResponseFormat("odd")]
    ),
    logprobs=st.sampled_from([None, True, False]),
    top_logprobs=st.sampled_from([None, 4]),
)


@pytest.mark.skipif(VALIDATOR is None, reason=f"no discovery document under {SHARED}")
@given(chat=CHATS, model=st.sampled_from(["gemini-3-pro-preview", "gemini-2.5-pro", "gemini-flash-latest", "gemma"]))
@settings(max_examples=200, deadline=None)
def test_google_accepts_whatever_a_caller_may_send(chat: ChatRequest, model: str) -> None:
    body, out = send(chat, target(model))
    accepted(body)
    assert len(set(out.lost)) == len(out.lost)


def test_addresses_headers_and_the_key() -> None:
    _, out = send(ask(stream=True), target(key=Secret("k3y"), headers={"x-own": "1"}))
    assert out.url == f"{BASE}/v1beta/models/gemini-3-flash-preview:streamGenerateContent?alt=sse"
    assert "k3y" not in out.url
    assert out.headers == {"content-type": "application/json", "x-own": "1", "x-goog-api-key": "k3y"}
    assert send(ask(), target("tunedModels/a"))[1].url == f"{BASE}/v1beta/tunedModels/a:generateContent"
    odd = send(ask(), target("../x:deleteEverything?a#b"))[1].url
    assert odd == f"{BASE}/v1beta/models/..%2Fx%3AdeleteEverything%3Fa%23b:generateContent"


def test_turns_are_merged_and_results_named_after_their_call() -> None:
    body, out = send(TABLE["loop"])
    assert [turn["role"] for turn in body["contents"]] == ["user", "model", "user"]
    assert body["contents"][2]["parts"] == [
        {"functionResponse": {"name": "f", "response": {"ok": True}, "id": "c1"}},
        {"functionResponse": {"name": "f", "response": {"result": "plain"}, "id": "c2"}},
        {"inlineData": {"mimeType": "image/png", "data": PNG}},
        {"text": "and?"},
    ]
    assert out.lost == ("thought_signature",)
    legacy, _ = send(TABLE["legacy"])
    assert legacy["contents"][2]["parts"] == [{"functionResponse": {"name": "f", "response": {"result": "1"}}}]


def test_media() -> None:
    body, out = send(TABLE["media"])
    assert body["contents"][0]["parts"] == [
        {"text": "look"},
        {"inlineData": {"mimeType": "image/png", "data": PNG}},
        {"fileData": {"fileUri": "https://example.com/a/cat.JPG?size=2", "mimeType": "image/jpeg"}},
        {"inlineData": {"mimeType": "audio/wav", "data": PNG}},
        {"inlineData": {"mimeType": "application/pdf", "data": PNG}},
        {"fileData": {"fileUri": f"{BASE}/v1beta/files/abc"}},
    ]
    assert out.lost == ("detail", "cache_control")


@pytest.mark.parametrize(
    ("model", "effort", "config", "lost"),
    [
        ("gemini-3-flash-preview", "minimal", {"includeThoughts": True, "thinkingLevel": "MINIMAL"}, False),
        ("gemini-3-flash-preview", "medium", {"includeThoughts": True, "thinkingLevel": "MEDIUM"}, False),
        ("gemini-3-flash-preview", "none", {"thinkingLevel": "MINIMAL"}, True),
        ("gemini-3-pro-preview", "minimal", {"includeThoughts": True, "thinkingLevel": "LOW"}, False),
        ("gemini-3-pro-preview", "medium", {"includeThoughts": True, "thinkingLevel": "HIGH"}, False),
        ("gemini-3.1-pro-preview", "medium", {"includeThoughts": True, "thinkingLevel": "MEDIUM"}, False),
        ("gemini-3-pro-preview", "none", {"thinkingLevel": "LOW"}, True),
        ("gemini-3-pro-preview", "xhigh", {"includeThoughts": True, "thinkingLevel": "HIGH"}, False),
        ("gemini-3-pro-preview", "odd", {"includeThoughts": True}, True),
        ("gemini-2.5-flash", "low", {"includeThoughts": True, "thinkingBudget": 1024}, False),
        ("gemini-2.5-flash", "high", {"includeThoughts": True, "thinkingBudget": 24576}, False),
        ("gemini-2.5-flash", "none", {"thinkingBudget": 0}, False),
        ("gemini-2.5-pro", "none", {"thinkingBudget": 128}, True),
        ("gemini-2.0-flash", "low", None, True),
    ],
)
def test_reasoning_effort(model: str, effort: str, config: dict[str, Any] | None, lost: bool) -> None:
    body, out = send(ask(reasoning_effort=effort), target(model))
    assert body.get("generationConfig", {}).get("thinkingConfig") == config
    assert out.lost == (("reasoning_effort",) if lost else ())


@pytest.mark.parametrize(
    ("chat", "lost"),
    [
        (ask(stop=list("abcdef")), {"stop"}),
        (ask(seed=2**33), {"seed"}),
        (ask(user="u"), {"user"}),
        (ask(tools=[TOOL], parallel_tool_calls=False), {"parallel_tool_calls"}),
        (ask(tools=[TOOL], parallel_tool_calls=True), set()),
        (ask(tools=[Tool("web_search")]), {"tools"}),
        (ask(tools=[Tool("function", FunctionSpec("f", strict=True))]), {"strict"}),
        (ask(tools=[TOOL], tool_choice=NamedTool("allowed_tools")), {"tool_choice"}),
        (ask(response_format=ResponseFormat("grammar")), {"response_format"}),
        (ask(Message("user", "x", name="Ann")), {"name"}),
        (ask(Message("user", [Part("text", "x"), Part("video_url")])), {"video_url"}),
        (ask(Message("user", [Part("text", "x"), Part("file", file=File(file_id="file-1"))])), {"file"}),
        (ask(Message("user", "x"), Message("tool", "r", tool_call_id="nobody")), {"tool_call_id"}),
        (
            ask(
                Message("user", "x"), Message("assistant", tool_calls=[ToolCall("a", function=FunctionCall("f", "{"))])
            ),
            {"arguments", "thought_signature"},
        ),
    ],
)
def test_what_is_lost_is_named(chat: ChatRequest, lost: set[str]) -> None:
    assert set(send(chat)[1].lost) == lost


def test_the_first_five_stops_are_kept() -> None:
    assert send(ask(stop=list("abcdef")))[0]["generationConfig"] == {"stopSequences": list("abcde")}


def test_rejected_fields_are_dropped_and_named() -> None:
    rejects = frozenset({"temperature", "seed", "tools", "messages", "model", "stream", "nonsense", "top_p"})
    body, out = send(ask(temperature=1.0, seed=1, tools=[TOOL], stream=True), target(rejects=rejects))
    assert body == {"contents": [{"parts": [{"text": "x"}], "role": "user"}]}
    assert out.lost == ("seed", "temperature", "tools")
    assert "streamGenerateContent" in out.url

"""Requests to Ollama's /api/chat: the fields of its document and of `ChatRequest` in its api/types.go, no others."""

import json
import re
from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ollama_traffic import SHARED

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
from sidecar.providers.ollama import Ollama
from sidecar.spec import Secret

BASE = "http://localhost:11434"
PNG = "iVBORw0KGgo="
SCHEMA = {"type": "object", "properties": {"x": {"type": "integer"}}, "required": ["x"]}
TOOL = Tool("function", FunctionSpec("f", "does f", SCHEMA))


def strict(required: tuple[str, ...] = (), **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


STRING, NUMBER, INTEGER = {"type": "string"}, {"type": "number"}, {"type": "integer"}
CALL = strict(
    ("function",), id=STRING, function=strict(("name", "arguments"), name=STRING, arguments={"type": "object"})
)
MESSAGE = strict(
    ("role", "content"),
    role={"enum": ["system", "user", "assistant", "tool"]},
    content=STRING,
    thinking=STRING,
    images={"type": "array", "items": {"type": "string", "pattern": "^[A-Za-z0-9+/=_-]+$"}},
    tool_calls={"type": "array", "items": CALL, "minItems": 1},
    tool_name=STRING,
    tool_call_id=STRING,
)
DECLARED = strict(
    ("name", "parameters"),
    name=STRING,
    description=STRING,
    parameters={"type": "object", "required": ["type", "properties"]},
)
OPTIONS = strict(
    num_predict=INTEGER,
    temperature=NUMBER,
    top_p=NUMBER,
    seed=INTEGER,
    stop={"type": "array", "items": STRING},
    presence_penalty=NUMBER,
    frequency_penalty=NUMBER,
)
BODY = strict(
    ("model", "messages", "stream"),
    model=STRING,
    messages={"type": "array", "items": MESSAGE},
    stream={"type": "boolean"},
    format={"anyOf": [{"const": "json"}, {"type": "object"}]},
    options=OPTIONS,
    tools={"type": "array", "minItems": 1, "items": strict(("type", "function"), type=STRING, function=DECLARED)},
    think={"enum": [True, False, "low", "medium", "high", "max"]},
    logprobs={"type": "boolean"},
    top_logprobs={"type": "integer", "minimum": 0, "maximum": 20},
)
VALIDATOR = jsonschema.Draft202012Validator(BODY)


def send(chat: ChatRequest, **more: Any) -> tuple[dict[str, Any], Outgoing]:
    out = Ollama().request(chat, b"", Target("llama3.2", BASE, **more))
    body = json.loads(out.body)
    VALIDATOR.validate(body)
    return body, out


def ask(*messages: Message, **more: Any) -> ChatRequest:
    return ChatRequest("auto", list(messages) or [Message("user", "x")], **more)


def test_the_least_request() -> None:
    body, out = send(ask())
    assert body == {"model": "llama3.2", "messages": [{"role": "user", "content": "x"}], "stream": False}
    assert (out.url, out.lost) == (f"{BASE}/api/chat", ())
    assert out.headers == {"content-type": "application/json"}
    assert send(ask(stream=True))[0]["stream"] is True


def test_a_key_is_sent_when_there_is_one() -> None:
    _, out = send(ask(), key=Secret("k"), headers={"x-own": "1"})
    assert (out.headers["authorization"], out.headers["x-own"]) == ("Bearer k", "1")


def test_options_and_format() -> None:
    chat = ask(
        max_tokens=5,
        temperature=0.5,
        top_p=0.9,
        seed=7,
        stop="a",
        presence_penalty=0.1,
        frequency_penalty=-0.2,
        logprobs=True,
        top_logprobs=3,
        response_format=ResponseFormat("json_schema", JSONSchema("s", SCHEMA)),
    )
    body, out = send(chat)
    assert body["options"] == {
        "num_predict": 5,
        "temperature": 0.5,
        "top_p": 0.9,
        "seed": 7,
        "stop": ["a"],
        "presence_penalty": 0.1,
        "frequency_penalty": -0.2,
    }
    assert body["format"] == SCHEMA
    assert (body["logprobs"], body["top_logprobs"], out.lost) == (True, 3, ())
    assert send(ask(response_format=ResponseFormat("json_object")))[0]["format"] == "json"


def test_a_tool_loop_keeps_both_halves() -> None:
    """BerriAI/litellm #26094: without the call, or without its id on the result, the model calls again for ever."""
    chat = ask(
        Message("user", "x"),
        Message(
            "assistant",
            tool_calls=[
                ToolCall("c1", function=FunctionCall("f", '{"x": 1}')),
                ToolCall("c2", function=FunctionCall("g")),
            ],
        ),
        Message("tool", "11 degrees", tool_call_id="c1"),
        Message("tool", [Part("text", "a"), Part("text", "b")], tool_call_id="c2"),
        tools=[TOOL, Tool("function", FunctionSpec("g"))],
    )
    body, out = send(chat)
    assert body["messages"][1:] == [
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [
                {"id": "c1", "function": {"name": "f", "arguments": {"x": 1}}},
                {"id": "c2", "function": {"name": "g", "arguments": {}}},
            ],
        },
        {"role": "tool", "content": "11 degrees", "tool_name": "f", "tool_call_id": "c1"},
        {"role": "tool", "content": "a\nb", "tool_name": "g", "tool_call_id": "c2"},
    ]
    assert body["tools"][1]["function"] == {"name": "g", "parameters": {"type": "object", "properties": {}}}
    assert out.lost == ()


def test_the_legacy_function_turns() -> None:
    chat = ask(Message("assistant", function_call=FunctionCall("f", "{}")), Message("function", "1", name="f"))
    assert send(chat)[0]["messages"] == [
        {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f", "arguments": {}}}]},
        {"role": "tool", "content": "1", "tool_name": "f"},
    ]


def test_images_go_as_bytes_and_those_behind_a_url_are_named() -> None:
    parts = [
        Part("text", "look"),
        Part("image_url", image_url=ImageURL(f"data:image/png;base64,{PNG}")),
        Part("image_url", image_url="https://example.com/a.png"),
        Part("input_audio", input_audio=Audio(PNG)),
        Part("file", file=File("data:application/pdf;base64,AAAA")),
    ]
    body, out = send(ask(Message("user", parts)))
    assert body["messages"] == [{"role": "user", "content": "look", "images": [PNG, PNG]}]
    assert out.lost == ("image_url", "file")


@pytest.mark.parametrize(
    ("effort", "think"),
    [
        (None, None),
        ("none", False),
        ("minimal", "low"),
        ("low", "low"),
        ("medium", "medium"),
        ("high", "high"),
        ("xhigh", "max"),
        ("odd", None),
    ],
)
def test_reasoning_effort(effort: str | None, think: bool | str | None) -> None:
    body, out = send(ask(reasoning_effort=effort))
    assert body.get("think") == think
    assert out.lost == (("reasoning_effort",) if effort == "odd" else ())


def test_thinking_goes_back_unless_another_provider_signed_it() -> None:
    own = Message("assistant", "y", reasoning_content="hm")
    assert send(ask(own))[0]["messages"] == [{"role": "assistant", "content": "y", "thinking": "hm"}]
    signed = [Reasoning("reasoning.text", text="hm", signature="SIG", format="anthropic")]
    body, out = send(ask(Message("assistant", "y", reasoning_content="hm", reasoning_details=signed)))
    assert body["messages"] == [{"role": "assistant", "content": "y"}]
    assert out.lost == ("reasoning_details",)


@pytest.mark.parametrize(
    ("chat", "lost"),
    [
        (ask(n=2), {"n"}),
        (ask(n=1), set()),
        (ask(user="u"), {"user"}),
        (ask(tools=[TOOL], tool_choice="auto"), set()),
        (ask(tools=[TOOL], tool_choice="required"), {"tool_choice"}),
        (ask(tools=[TOOL], tool_choice=NamedTool("function", NamedFunction("f"))), {"tool_choice"}),
        (ask(tools=[TOOL], parallel_tool_calls=False), {"parallel_tool_calls"}),
        (ask(tools=[Tool("web_search")]), {"tools"}),
        (ask(tools=[Tool("function", FunctionSpec("f", strict=True))]), {"strict"}),
        (ask(response_format=ResponseFormat("grammar")), {"response_format"}),
        (ask(Message("user", "x", name="Ann")), {"name"}),
        (ask(Message("tool", "r", tool_call_id="nobody")), {"tool_call_id"}),
        (ask(Message("assistant", tool_calls=[ToolCall("a", function=FunctionCall("f", "{"))])), {"arguments"}),
        (ask(Message("user", [Part("text", "x", cache_control={"type": "ephemeral"})])), {"cache_control"}),
    ],
)
def test_what_is_lost_is_named(chat: ChatRequest, lost: set[str]) -> None:
    assert set(send(chat)[1].lost) == lost


def test_no_tools_when_none_may_be_called() -> None:
    body, out = send(ask(tools=[TOOL], tool_choice="none"))
    assert "tools" not in body
    assert out.lost == ()


def test_rejected_fields_are_dropped_and_named() -> None:
    chat = ask(temperature=1.0, reasoning_effort="low", stream=True)
    body, out = send(chat, rejects=frozenset({"reasoning_effort", "temperature", "seed", "stream", "messages"}))
    assert body == {"model": "llama3.2", "messages": [{"role": "user", "content": "x"}], "stream": True}
    assert out.lost == ("reasoning_effort", "temperature")


PARTS = st.builds(
    Part,
    type=st.sampled_from(["text", "image_url", "odd"]),
    text=st.one_of(st.none(), st.text(max_size=5)),
    image_url=st.sampled_from(
        [None, "", "data:", f"data:image/png;base64,{PNG}", "data:image/png;base64,", "http://x"]
    ),
)
MESSAGES = st.builds(
    Message,
    role=st.sampled_from(["system", "developer", "user", "assistant", "tool", "function"]),
    content=st.one_of(st.none(), st.text(max_size=5), st.lists(PARTS, max_size=3)),
    tool_calls=st.one_of(
        st.none(),
        st.lists(
            st.builds(
                ToolCall,
                id=st.sampled_from([None, "", "c1"]),
                function=st.one_of(
                    st.none(), st.builds(FunctionCall, arguments=st.sampled_from(["", "{}", "[1]", "{", '{"a":1}']))
                ),
            ),
            max_size=2,
        ),
    ),
    tool_call_id=st.sampled_from([None, "c1"]),
)


@given(messages=st.lists(MESSAGES, max_size=4), tools=st.sampled_from([None, [], [TOOL], [Tool("web_search")]]))
@settings(deadline=None)
def test_whatever_a_caller_may_send_fits_the_document(messages: list[Message], tools: list[Tool] | None) -> None:
    _, out = send(ChatRequest("m", messages, tools=tools))
    assert len(set(out.lost)) == len(out.lost)


DOCUMENT = SHARED / "specs" / "ollama-api.md"


@pytest.mark.skipif(not DOCUMENT.exists(), reason=f"no API document under {SHARED}")
def test_the_schema_above_accepts_the_documents_own_requests() -> None:
    text = DOCUMENT.read_text()
    section = text[text.index("\n## Generate a chat completion") : text.index("\n## Create a Model")]
    found = re.findall(r"/api/chat[^\n]*-d '(\{.*?\n\})'", section, re.DOTALL)
    checked = 0
    for block in found:
        try:
            body = json.loads(re.sub(r"^\s*//.*$", "", block, flags=re.MULTILINE))
        except ValueError:  # one of the examples has a comma too many
            continue
        VALIDATOR.validate({"stream": True, **{k: v for k, v in body.items() if k != "keep_alive"}})
        checked += 1
    assert checked >= 8

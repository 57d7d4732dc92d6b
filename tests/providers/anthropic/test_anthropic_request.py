"""Requests: what is on the wire, what is named as lost, and that Anthropic's own schema takes all of it."""

import base64
import gzip
import json
from functools import cache
from typing import Any

import jsonschema
import msgspec
import pytest
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
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter

from sidecar.chat import ChatRequest
from sidecar.providers.anthropic import Anthropic
from sidecar.providers.base import Target
from sidecar.spec import Secret

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


def test_where_it_goes() -> None:
    chat = ChatRequest("auto", [])
    target = Target("m", "http://x", Secret("sk-1"), {"x-extra": "1", "anthropic-beta": "a"})
    outgoing = Anthropic().request(chat, b"", target)
    assert outgoing.url == "http://x/v1/messages"
    assert outgoing.headers == {
        "content-type": "application/json",
        "anthropic-version": "2023-06-01",
        "x-api-key": "sk-1",
        "x-extra": "1",
        "anthropic-beta": "a",
    }
    assert "x-api-key" not in Anthropic().request(chat, b"", Target("m", "http://x")).headers


def test_the_least() -> None:
    assert sent() == (
        {"model": MIDDLE, "max_tokens": 64_000, "messages": [{"role": "user", "content": [text("hi")]}]},
        (),
    )


def test_system_and_developer_messages_go_up_in_order() -> None:
    messages = [
        {"role": "system", "content": "one"},
        {"role": "developer", "content": [text("two", cache_control={"type": "ephemeral", "ttl": "1h"})]},
        HI,
        {"role": "system", "content": "three"},
    ]
    body, lost = sent(messages=messages)
    cached = text("two", cache_control={"type": "ephemeral", "ttl": "1h"})
    assert body["system"] == [text("one"), cached, text("three")]
    assert lost == ("messages[3].role:system position",)
    assert sent(messages=messages[:1] + [HI])[0]["system"] == "one"


def test_a_system_prompt_alone_is_said_by_the_user() -> None:
    body, lost = sent(messages=[{"role": "system", "content": "one"}])
    assert body["messages"] == [{"role": "user", "content": [text("one")]}] and "system" not in body
    assert lost == ("messages[].role:system only",)


def test_turns_of_one_role_are_merged_and_blank_text_is_dropped() -> None:
    got, lost = turns(
        HI, {"role": "user", "content": [text("there"), text("  ")]}, {"role": "assistant", "content": ""}
    )
    assert got == [("user", [text("hi"), text("there")])] and lost == ()


def test_parallel_tool_results_are_one_turn_and_come_first() -> None:
    got, lost = turns(
        HI,
        {"role": "assistant", "content": "ok", "tool_calls": [call("a", "f", '{"x": 1.0}'), call("b", "g", "")]},
        {"role": "tool", "tool_call_id": "a", "content": "1"},
        {"role": "user", "content": "hurry"},
        {
            "role": "tool",
            "tool_call_id": "b",
            "content": [text("2"), {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}],
        },
    )
    assert lost == ()
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
    assert got == [
        ("user", [text("hi")]),
        (
            "assistant",
            [
                text("ok"),
                {"type": "tool_use", "id": "a", "name": "f", "input": {"x": 1.0}},
                {"type": "tool_use", "id": "b", "name": "g", "input": {}},
            ],
        ),
        (
            "user",
            [
                {"type": "tool_result", "tool_use_id": "a", "content": "1"},
                {"type": "tool_result", "tool_use_id": "b", "content": [text("2"), image]},
                text("hurry"),
            ],
        ),
    ]


def test_arguments_go_as_the_very_bytes() -> None:
    arguments = '{"b":1e2, "a":{"z":[],"y":"\\u00e9"}}'
    raw = msgspec.json.encode(
        {"model": "m", "messages": [HI, {"role": "assistant", "tool_calls": [call("a", "f", arguments)]}]}
    )
    chat = msgspec.json.decode(raw, type=ChatRequest)
    assert arguments.encode() in Anthropic().request(chat, raw, Target("m", "")).body


@pytest.mark.parametrize("arguments", ['{"a": ', "[1]", '"x"', "nope"])
def test_arguments_that_are_no_object_are_wrapped_and_named(arguments: str) -> None:
    got, lost = turns(HI, {"role": "assistant", "tool_calls": [call("a", "f", arguments)]})
    assert got[1][1][0]["input"] == {"INVALID_JSON": arguments}
    assert lost == ("tool_calls.function.arguments",)


def test_ids_of_other_providers_fit_the_alphabet_on_both_sides() -> None:
    got, _ = turns(
        HI,
        {"role": "assistant", "tool_calls": [call("functions.f:0", "f", "{}")]},
        {"role": "tool", "tool_call_id": "functions.f:0", "content": ""},
    )
    assert got[1][1][0]["id"] == got[2][1][0]["tool_use_id"] == "functions_f_0"


def test_legacy_functions_find_their_call() -> None:
    got, lost = turns(
        HI,
        {"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}},
        {"role": "function", "name": "f", "content": "1"},
    )
    assert got[1][1][0]["id"] == got[2][1][0]["tool_use_id"] and lost == ()


def test_images_and_files() -> None:
    def part(kind: str, value: Any, **more: Any) -> tuple[list[dict[str, Any]], tuple[str, ...]]:
        got, lost = turns({"role": "user", "content": [text("x"), {"type": kind, kind: value, **more}]})
        return got[0][1][1:], lost

    cached = {"type": "ephemeral"}
    url = {"type": "image", "source": {"type": "url", "url": "https://x/y.png"}, "cache_control": cached}
    assert part("image_url", {"url": "https://x/y.png"}, cache_control=cached) == ([url], ())
    jpeg = {"type": "image", "source": {"type": "base64", "media_type": "image/jpeg", "data": PNG}}
    assert part("image_url", {"url": f"data:image/jpg;base64,{PNG}"}) == ([jpeg], ())
    pdf = {
        "type": "document",
        "source": {"type": "base64", "media_type": "application/pdf", "data": PNG},
        "title": "a.pdf",
    }
    assert part("file", {"file_data": f"data:application/pdf;base64,{PNG}", "filename": "a.pdf"}) == ([pdf], ())
    assert part("file", {"file_data": PNG, "filename": "a.pdf"}) == ([pdf], ())
    note = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "é a"}}
    assert part("file", {"file_data": "data:text/csv;charset=utf-8;base64,w6kgYQ=="}) == ([note], ())
    assert part("file", {"file_data": "data:text/plain,%C3%A9%20a"}) == ([note], ())
    assert part("file", {"file_id": "file_1"})[0] == [
        {"type": "document", "source": {"type": "file", "file_id": "file_1"}}
    ]
    for kind, value in [
        ("image_url", {"url": "data:image/svg+xml;base64,AA=="}),
        ("image_url", {"url": "ftp://x"}),
        ("file", {"file_data": "data:application/zip;base64,AA=="}),
        ("file", {"file_data": "data:text/plain;base64,/w=="}),
        ("file", {}),
        ("input_audio", {"data": "AA==", "format": "wav"}),
    ]:
        assert part(kind, value) == ([], (kind,))
    assert part("novelty", 1) == ([], ("messages[].content",))


def test_a_stored_file_needs_the_beta_header() -> None:
    chat = msgspec.convert(
        {"model": "m", "messages": [{"role": "user", "content": [{"type": "file", "file": {"file_id": "f"}}]}]},
        ChatRequest,
    )
    headers = Anthropic().request(chat, b"", Target("m", "", headers={"anthropic-beta": "a"})).headers
    assert headers["anthropic-beta"] == "a,files-api-2025-04-14"


def test_media_in_other_roles_is_named() -> None:
    image = {"type": "image_url", "image_url": {"url": "https://x"}}
    assert turns(HI, {"role": "assistant", "content": [image]})[1] == ("messages[].content:assistant media",)
    assert turns({"role": "system", "content": [image]}, HI)[1] == ("messages[].content:system media",)


def test_refusals_and_names() -> None:
    got, lost = turns({**HI, "name": "bob"}, {"role": "assistant", "refusal": "no"})
    assert got[1] == ("assistant", [text("no")]) and lost == ("name",)


def test_tools() -> None:
    body, lost = sent(tools=[tool(), tool("g", description="d", parameters={"properties": {"a": {"type": "string"}}})])
    empty = {"type": "object", "properties": {}}
    assert body["tools"] == [
        {"name": "f", "input_schema": empty},
        {"name": "g", "input_schema": {"properties": {"a": {"type": "string"}}, "type": "object"}, "description": "d"},
    ]
    assert lost == () and "tool_choice" not in body
    assert sent(tools=[{"type": "web_search"}])[1] == ("tools",)


def test_strict_tools_are_closed() -> None:
    parameters = {"type": "object", "properties": {"a": {"type": "object", "properties": {}}, "b": {"minimum": 1}}}
    body, lost = sent(tools=[tool(strict=True, parameters=parameters)])
    made = body["tools"][0]
    assert made["strict"] is True and made["input_schema"]["properties"]["a"]["additionalProperties"] is False
    assert lost == ("tools[].function.parameters",)
    body, lost = sent("claude-sonnet-4-0", tools=[tool(strict=True, parameters=parameters)])
    assert body["tools"] == [{"name": "f", "input_schema": parameters}] and lost == ("tools[].function.strict",)


@pytest.mark.parametrize(
    ("fields", "choice"),
    [
        ({"tool_choice": "auto"}, {"type": "auto"}),
        ({"tool_choice": "none"}, {"type": "none"}),
        ({"tool_choice": "required"}, {"type": "any"}),
        ({"tool_choice": {"type": "function", "function": {"name": "f"}}}, {"type": "tool", "name": "f"}),
        ({"parallel_tool_calls": False}, {"type": "auto", "disable_parallel_tool_use": True}),
        ({"parallel_tool_calls": True}, None),
        ({"tool_choice": "required", "parallel_tool_calls": False}, {"type": "any", "disable_parallel_tool_use": True}),
        ({"tool_choice": "none", "parallel_tool_calls": False}, {"type": "none"}),
    ],
)
def test_tool_choice(fields: dict[str, Any], choice: dict[str, Any] | None) -> None:
    body, lost = sent(tools=[tool()], **fields)
    assert body.get("tool_choice") == choice and lost == ()


@pytest.mark.parametrize(
    ("model", "effort", "kept"),
    [
        (OLD, "high", False),  # manual thinking refuses it
        (OLD, None, True),
        (MIDDLE, "high", True),  # recorded: anthropic-65342971fa
        ("claude-opus-5", "high", True),
        ("claude-opus-5-5", None, False),
        ("claude-fable-5-1", None, False),
        ("claude-sonnet-5-5", None, False),
    ],
)
def test_a_forced_call_is_dropped_where_the_model_refuses_it(model: str, effort: str | None, kept: bool) -> None:
    fields = {"tools": [tool()], "tool_choice": "required"} | ({"reasoning_effort": effort} if effort else {})
    body, lost = sent(model, **fields)
    assert body["tool_choice"] == {"type": "any" if kept else "auto"}
    assert lost == (() if kept else ("tool_choice",))


def test_tool_choice_without_tools_is_not_sent() -> None:
    body, lost = sent(tool_choice="required", parallel_tool_calls=False)
    assert "tool_choice" not in body and lost == ("tool_choice",)


@pytest.mark.parametrize(
    ("model", "effort", "thinking", "output", "lost"),
    [
        (OLD, "low", {"type": "enabled", "budget_tokens": 12_800}, None, ()),
        (OLD, "minimal", {"type": "enabled", "budget_tokens": 6_400}, None, ()),
        (OLD, "high", {"type": "enabled", "budget_tokens": 32_000}, None, ()),
        (OLD, "none", None, None, ()),
        ("kimi-k3", "high", {"type": "enabled", "budget_tokens": 32_000}, None, ()),
        (MIDDLE, "minimal", {"type": "adaptive", "display": "summarized"}, {"effort": "low"}, ()),
        (MIDDLE, "xhigh", {"type": "adaptive", "display": "summarized"}, {"effort": "high"}, ("reasoning_effort",)),
        (MIDDLE, "none", None, None, ()),
        (NEW, "xhigh", {"type": "adaptive", "display": "summarized"}, {"effort": "xhigh"}, ()),
        (NEW, "none", {"type": "disabled"}, None, ()),
        ("claude-sonnet-5-5", "none", {"type": "between_tools"}, None, ()),
        ("claude-fable-5", "none", None, {"effort": "low"}, ("reasoning_effort",)),
        (NEW, "bogus", None, None, ("reasoning_effort",)),
    ],
)
def test_reasoning_effort(
    model: str, effort: str, thinking: dict[str, Any] | None, output: dict[str, Any] | None, lost: tuple[str, ...]
) -> None:
    body, named = sent(model, reasoning_effort=effort)
    assert (body.get("thinking"), body.get("output_config"), named) == (thinking, output, lost)


def test_a_model_that_does_not_reason_is_not_asked_to() -> None:
    body, lost = sent(capabilities=frozenset(), reasoning_effort="high")
    assert "thinking" not in body and "output_config" not in body and lost == ("reasoning_effort",)


@pytest.mark.parametrize("limit", [1, 1024, 1025, 2000, 10_000])
def test_a_budget_fits_in_the_callers_limit(limit: int) -> None:
    body, lost = sent(OLD, max_completion_tokens=limit, reasoning_effort="high")
    assert body["max_tokens"] == limit
    if limit <= 1024:
        assert "thinking" not in body and lost == ("reasoning_effort",)
    else:
        assert 1024 <= body["thinking"]["budget_tokens"] < limit and lost == ()


def test_manual_thinking_is_left_out_of_a_tool_loop_that_did_not_start_with_it() -> None:
    loop = [
        HI,
        {"role": "assistant", "tool_calls": [call("a", "f", "{}")]},
        {"role": "tool", "tool_call_id": "a", "content": "1"},
    ]
    body, lost = sent(OLD, messages=loop, reasoning_effort="high")
    assert "thinking" not in body and lost == ("reasoning_effort",)
    assert "thinking" in sent(MIDDLE, messages=loop, reasoning_effort="high")[0]
    assert (
        "thinking"
        in sent(OLD, messages=[*loop, HI, {"role": "assistant", "content": "x"}, HI], reasoning_effort="high")[0]
    )
    signed = {"type": "reasoning.text", "text": "t", "signature": "s", "format": "anthropic"}
    loop[1] = {**loop[1], "reasoning_details": [signed]}
    assert "thinking" in sent(OLD, messages=loop, reasoning_effort="high")[0]


@pytest.mark.parametrize(
    ("model", "fields", "wire", "lost"),
    [
        (OLD, {"temperature": 0.5}, {"temperature": 0.5}, ()),
        (OLD, {"temperature": 1.7}, {"temperature": 1.0}, ("temperature",)),
        (OLD, {"temperature": -1}, {"temperature": 0.0}, ("temperature",)),
        (OLD, {"top_p": 0.9}, {"top_p": 0.9}, ()),
        (OLD, {"temperature": 0.5, "top_p": 0.9}, {"temperature": 0.5}, ("top_p",)),
        (OLD, {"temperature": 1, "top_p": 0.9}, {"top_p": 0.9}, ()),
        ("claude-3-haiku-20240307", {"temperature": 0.5, "top_p": 0.9}, {"temperature": 0.5, "top_p": 0.9}, ()),
        (OLD, {"temperature": 0.5, "reasoning_effort": "low"}, {}, ("temperature",)),
        (OLD, {"temperature": 1, "top_p": 1, "reasoning_effort": "low"}, {}, ()),
        (NEW, {"temperature": 0.5, "top_p": 0.9}, {}, ("temperature", "top_p")),
        (NEW, {"temperature": 1, "top_p": 1}, {}, ()),
    ],
)
def test_sampling(model: str, fields: dict[str, Any], wire: dict[str, Any], lost: tuple[str, ...]) -> None:
    body, named = sent(model, **fields)
    assert {key: body[key] for key in ("temperature", "top_p") if key in body} == wire and named == lost


def test_output_limits() -> None:
    assert sent(max_tokens=5)[0]["max_tokens"] == 5
    assert sent(max_tokens=5, max_completion_tokens=6)[0]["max_tokens"] == 6
    body, lost = sent(max_tokens=100_000)
    assert body["max_tokens"] == 64_000 and lost == ("max_tokens",)


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


def test_json_schema() -> None:
    form = {"type": "json_schema", "json_schema": {"name": "s", "schema": SCHEMA}}
    body, lost = sent(response_format=form, reasoning_effort="low")
    closed = {"type": "object", "properties": {}, "additionalProperties": False}
    assert body["output_config"] == {
        "effort": "low",
        "format": {
            "type": "json_schema",
            "schema": {
                "type": "object",
                "properties": {
                    "n": {"type": "integer"},
                    "of": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/x"}]},
                    "list": {"type": "array", "items": closed, "minItems": 1},
                    "minimum": {"type": "string"},
                },
                "$defs": {"x": closed},
                "additionalProperties": False,
            },
        },
    }
    assert lost == ("response_format.json_schema",)
    exact = {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": False}
    form = {"type": "json_schema", "json_schema": {"name": "s", "schema": exact}}
    body, lost = sent(response_format=form)
    assert body["output_config"]["format"]["schema"] == exact and lost == ()


def test_json_without_constrained_decoding_is_asked_for_in_words() -> None:
    body, lost = sent(response_format={"type": "json_object"}, messages=[{"role": "system", "content": "be kind"}, HI])
    assert body["system"][0] == text("be kind") and "JSON object" in body["system"][1]["text"]
    assert lost == ("response_format",) and "output_config" not in body
    form = {"type": "json_schema", "json_schema": {"name": "s", "schema": SCHEMA}}
    body, lost = sent("claude-3-haiku-20240307", response_format=form)
    assert json.dumps(SCHEMA, separators=(",", ":")) in body["system"] and lost == ("response_format",)
    assert sent(response_format={"type": "text"})[1] == ()


def test_what_has_no_place_is_named() -> None:
    fields: dict[str, Any] = {
        "n": 2,
        "seed": 1,
        "presence_penalty": 1,
        "frequency_penalty": 1,
        "logprobs": True,
        "top_logprobs": 2,
        "stop": ["\n", "END"],
        "user": "u" * 600,
    }
    body, lost = sent(**fields)
    assert set(lost) == set(fields) and body["stop_sequences"] == ["END"] and "metadata" not in body
    neutral = {"n": 1, "presence_penalty": 0, "frequency_penalty": 0, "logprobs": False, "stop": "x", "user": "u"}
    body, lost = sent(**neutral, stream=True)
    assert lost == () and body["stream"] is True
    assert body["stop_sequences"] == ["x"] and body["metadata"] == {"user_id": "u"}


def test_what_the_model_refuses_is_dropped_and_named() -> None:
    body, lost = sent(rejects=frozenset({"stop", "user", "max_tokens", "tools"}), stop="x", max_tokens=5)
    assert "stop_sequences" not in body and body["max_tokens"] == 5 and lost == ("stop",)


def test_a_turn_to_be_continued_ends_in_no_white_space() -> None:
    assert turns(HI, {"role": "assistant", "content": "so \n"})[0][1] == ("assistant", [text("so")])


def test_a_schema_of_absurd_depth_is_no_fault() -> None:
    schema: dict[str, Any] = {"type": "object"}
    for _ in range(150):
        schema = {"type": "object", "properties": {"a": schema}}
    assert sent(response_format={"type": "json_schema", "json_schema": {"name": "s", "schema": schema}})[0]


# Any request that OpenAI's shape allows becomes one that Anthropic's schema allows.

WORDS = st.text(st.characters(codec="utf-8"), max_size=8)
NAMES = st.text("abcXYZ019_-", min_size=1, max_size=8)
CACHE = st.none() | st.just({"type": "ephemeral"})
PARTS = st.one_of(
    st.fixed_dictionaries({"type": st.just("text"), "text": WORDS, "cache_control": CACHE}),
    st.fixed_dictionaries(
        {
            "type": st.just("image_url"),
            "image_url": st.sampled_from(
                [{"url": "https://x/y"}, {"url": f"data:image/png;base64,{PNG}"}, {"url": "data:,"}, {"url": "x"}]
            ),
            "cache_control": CACHE,
        }
    ),
    st.fixed_dictionaries(
        {
            "type": st.just("file"),
            "file": st.sampled_from(
                [
                    {"file_data": f"data:application/pdf;base64,{PNG}", "filename": "a.pdf"},
                    {"file_data": "data:text/plain;base64,YQ=="},
                    {},
                ]
            ),
        }
    ),
    st.just({"type": "input_audio", "input_audio": {"data": "AA=="}}),
)
CONTENT = st.none() | WORDS | st.lists(PARTS, max_size=3)
CALLS = st.lists(
    st.builds(call, WORDS.filter(bool), NAMES, st.sampled_from(["", "{}", '{"a":[1]}', "nope", "[]"])), max_size=2
)
DETAIL = st.fixed_dictionaries(
    {
        "type": st.sampled_from(["reasoning.text", "reasoning.encrypted"]),
        "text": st.none() | WORDS,
        "signature": st.none() | WORDS,
        "data": st.none() | WORDS,
        "format": st.sampled_from([None, "anthropic", "google"]),
    }
)
MESSAGE = st.one_of(
    st.fixed_dictionaries({"role": st.sampled_from(["system", "developer", "user"]), "content": CONTENT}),
    st.fixed_dictionaries(
        {
            "role": st.just("assistant"),
            "content": CONTENT,
            "tool_calls": st.none() | CALLS,
            "reasoning_details": st.none() | st.lists(DETAIL, max_size=2),
            "refusal": st.none() | WORDS,
        }
    ),
    st.fixed_dictionaries({"role": st.just("tool"), "tool_call_id": WORDS, "content": CONTENT}),
    st.fixed_dictionaries({"role": st.just("function"), "name": NAMES, "content": CONTENT}),
)
FIELDS = st.fixed_dictionaries(
    {"messages": st.lists(MESSAGE, max_size=6)},
    optional={
        "max_tokens": st.integers(0, 100_000),
        "temperature": st.floats(-3, 3),
        "top_p": st.floats(0, 1),
        "stop": WORDS | st.lists(WORDS, max_size=3),
        "tools": st.lists(
            st.builds(
                tool,
                NAMES,
                parameters=st.sampled_from([None, {}, SCHEMA]),
                strict=st.none() | st.booleans(),
                description=st.none() | WORDS,
            ),
            max_size=2,
        ),
        "tool_choice": st.sampled_from(
            ["auto", "none", "required", {"type": "function", "function": {"name": "f"}}, {"type": "custom"}, "odd"]
        ),
        "parallel_tool_calls": st.booleans(),
        "reasoning_effort": st.sampled_from(["none", "minimal", "low", "medium", "high", "xhigh", "max", "odd"]),
        "response_format": st.sampled_from(
            [
                {"type": "text"},
                {"type": "json_object"},
                {"type": "json_schema", "json_schema": {"name": "s", "schema": SCHEMA}},
                {"type": "json_schema", "json_schema": {"name": "s"}},
            ]
        ),
        "user": WORDS,
        "stream": st.booleans(),
    },
)
MODELS = st.sampled_from(
    [OLD, MIDDLE, NEW, "claude-3-7-sonnet-latest", "claude-fable-latest", "claude-sonnet-5-5", "kimi"]
)


@settings(deadline=None, max_examples=500)
@given(FIELDS, MODELS, st.sampled_from([frozenset(), REASONING]))
def test_any_request_is_one_that_anthropic_takes(fields: dict[str, Any], model: str, can: frozenset[str]) -> None:
    body, lost = sent(model, can, **fields)
    assert len(lost) == len(set(lost)) and all(name.isprintable() for name in lost)
    roles = [turn["role"] for turn in body["messages"]]
    assert all(one != other for one, other in zip(roles, roles[1:], strict=False))
    for turn in body["messages"]:
        kinds = [block["type"] for block in turn["content"]]
        assert kinds == sorted(kinds, key=lambda kind: kind != "tool_result"), "results come first"
        if turn["role"] == "assistant":
            assert not {"image", "document", "tool_result"} & set(kinds)
    thinking = body.get("thinking", {"type": "disabled"})
    if thinking["type"] in ("enabled", "adaptive"):
        assert "temperature" not in body and "top_p" not in body
    if thinking["type"] == "enabled":
        assert thinking["budget_tokens"] < body["max_tokens"]
        assert body.get("tool_choice", {"type": "auto"})["type"] in ("auto", "none")

"""Everything of a request but its messages: where it goes, limits, sampling, thinking, tools, formats."""

import json
from typing import Any

import pytest
from anthropic_requests import HI, MIDDLE, NEW, OLD, SCHEMA, call, sent, text, tool

from sidecar.chat import ChatRequest
from sidecar.providers.anthropic import Anthropic
from sidecar.providers.anthropic_schema import Closed
from sidecar.providers.base import Target
from sidecar.spec import Secret


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


def test_a_schema_of_absurd_depth_is_no_fault() -> None:
    schema: dict[str, Any] = {"type": "object"}
    for _ in range(600):
        schema = {"type": "object", "properties": {"a": schema}}
    assert Closed(schema).schema["properties"]["a"]["additionalProperties"] is False

"""Anthropic's wire through Anthropic's own SDK, and against Anthropic's own schema."""

from collections.abc import Callable
from typing import Any

import anthropic
import httpx
import jsonschema
import pytest

from .conftest import Live, http

WEATHER = {
    "name": "get_weather",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
THINKING = {"type": "enabled", "budget_tokens": 1024}


def client(live: Live, key: str = "sk-ant") -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=live.url, api_key=key, max_retries=0)


def ask(text: Any, **extra: Any) -> dict[str, Any]:
    return {"model": "claude-sonnet-5", "max_tokens": 4096, "messages": [{"role": "user", "content": text}], **extra}


def raw(live: Live, body: dict[str, Any]) -> httpx.Response:
    headers = {"x-api-key": "k", "anthropic-version": "2023-06-01"}
    return http.post(f"{live.url}/v1/messages", json=body, headers=headers)


def valid(schema: dict[str, Any], name: str, body: Any) -> None:
    root = {"$ref": f"#/components/schemas/{name}", "components": schema["components"]}
    jsonschema.Draft202012Validator(root).validate(body)


def test_a_stream_says_what_the_whole_answer_says(emulator: Live) -> None:
    body = ask("Tell me about copper", thinking=THINKING)
    with client(emulator) as sdk:
        whole = sdk.messages.create(**body)
        with sdk.messages.stream(**body) as events:
            kinds = [event.type for event in events]
            streamed = events.get_final_message()
    assert [block.type for block in whole.content] == ["thinking", "text"]
    thought, text = streamed.content
    assert thought == whole.content[0]
    assert text.type == "text" and whole.content[1].type == "text" and text.text == whole.content[1].text
    assert streamed.usage.output_tokens == whole.usage.output_tokens
    assert (whole.stop_reason, streamed.stop_reason) == ("end_turn", "end_turn")
    assert kinds[0] == "message_start" and kinds[-1] == "message_stop"


def test_every_event_has_its_name_and_a_ping_comes_early(emulator: Live) -> None:
    text = raw(emulator, ask("hi", stream=True)).text
    names = [line.removeprefix("event: ") for line in text.splitlines() if line.startswith("event: ")]
    assert names[:4] == ["message_start", "content_block_start", "ping", "content_block_delta"]
    assert names[-3:] == ["content_block_stop", "message_delta", "message_stop"]


@pytest.mark.parametrize("stream", [False, True])
def test_tools(emulator: Live, stream: bool) -> None:
    body = ask("use get_weather for two cities", tools=[WEATHER])
    with client(emulator) as sdk:
        if stream:
            with sdk.messages.stream(**body) as events:
                message = events.get_final_message()
        else:
            message = sdk.messages.create(**body)
    assert message.stop_reason == "tool_use"
    assert [block.type for block in message.content] == ["tool_use", "tool_use"]
    for block in message.content:
        jsonschema.validate(block.input, WEATHER["input_schema"])


def test_tool_choice(emulator: Live) -> None:
    for choice, calls in (
        ({"type": "any"}, 1),
        ({"type": "tool", "name": "get_weather"}, 1),
        ({"type": "none"}, 0),
        ({"type": "auto"}, 0),
    ):
        content = raw(emulator, ask("hello", tools=[WEATHER], tool_choice=choice)).json()["content"]
        assert sum(block["type"] == "tool_use" for block in content) == calls, choice
    single = {"type": "auto", "disable_parallel_tool_use": True}
    content = raw(emulator, ask("get_weather twice", tools=[WEATHER], tool_choice=single)).json()["content"]
    assert len(content) == 1


def tool_turn(live: Live) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """A conversation up to a tool's result, with thinking, as a well-behaved caller sends it."""
    extra = {"thinking": THINKING, "tools": [WEATHER]}
    asked = ask("use get_weather", **extra)
    content = raw(live, asked).json()["content"]
    result = {"type": "tool_result", "tool_use_id": content[1]["id"], "content": [{"type": "text", "text": "9 C"}]}
    turns = [*asked["messages"], {"role": "assistant", "content": content}, {"role": "user", "content": [result]}]
    return turns, extra


def test_signatures_that_come_back_unchanged_are_accepted(emulator: Live) -> None:
    turns, extra = tool_turn(emulator)
    answer = raw(emulator, {**ask("", **extra), "messages": turns}).json()
    assert '"9 C"' in answer["content"][1]["text"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"signature": "EqQBCgIYAhIM"}, "messages.1.content.0: Invalid `signature` in `thinking` block"),
        ({"thinking": "other"}, "messages.1.content.0: Invalid `signature` in `thinking` block"),
        ({"signature": None}, "messages.1.content.0.thinking.signature: Field required"),
        (None, "messages.1.content.0.type: Expected `thinking` or `redacted_thinking`, but found `tool_use`."),
    ],
)
def test_changed_or_missing_thinking_is_refused(emulator: Live, change: dict[str, Any] | None, message: str) -> None:
    turns, extra = tool_turn(emulator)
    content = turns[1]["content"]
    if change is None:
        del content[0]
    else:
        content[0].update(change)
    answer = raw(emulator, {**ask("", **extra), "messages": turns})
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert answer.json()["error"]["message"].startswith(message)


def test_omitted_thinking_still_has_a_valid_signature(emulator: Live) -> None:
    body = ask("x", thinking={"type": "adaptive", "display": "omitted"})
    content = raw(emulator, body).json()["content"]
    assert content[0]["thinking"] == "" and content[0]["signature"]
    more = {"role": "user", "content": "go on"}
    again = {**body, "messages": [*body["messages"], {"role": "assistant", "content": content}, more]}
    assert raw(emulator, again).status_code == 200


def test_structured_answers_limits_and_stops(emulator: Live) -> None:
    schema = {"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"]}
    body = ask("x", output_config={"format": {"type": "json_schema", "schema": schema}})
    assert "ok" in raw(emulator, body).json()["content"][0]["text"]
    short = raw(emulator, {**ask("x"), "max_tokens": 3}).json()
    assert short["stop_reason"] == "max_tokens" and short["usage"]["output_tokens"] == 3
    stopped = raw(emulator, ask("x", stop_sequences=["."])).json()
    assert (stopped["stop_reason"], stopped["stop_sequence"]) == ("stop_sequence", ".")


def test_caching_is_written_then_read(emulator: Live) -> None:
    block = {"type": "text", "text": "the rules " * 900, "cache_control": {"type": "ephemeral", "ttl": "1h"}}
    first, second = (raw(emulator, ask("x", system=[block])).json()["usage"] for _ in range(2))
    assert first["cache_creation_input_tokens"] == first["cache_creation"]["ephemeral_1h_input_tokens"] > 1024
    assert second["cache_read_input_tokens"] == first["cache_creation_input_tokens"]
    assert second["input_tokens"] == first["input_tokens"] < 100
    plain = [{"type": "text", "text": "the rules " * 900}]
    assert raw(emulator, ask("x", system=plain)).json()["usage"]["cache_read_input_tokens"] == 0


BAD = [
    ({"model": "m", "messages": []}, "max_tokens: Field required"),
    ({**ask("x"), "max_tokens": 0}, "max_tokens: Input should be greater than or equal to 1"),
    ({**ask("x"), "messages": []}, "messages: at least one message is required"),
    ({**ask("x"), "messages": [{"role": "assistant", "content": "x"}]}, "messages: first message must use"),
    (ask([{"type": "text", "text": ""}]), "messages: text content blocks must be non-empty"),
    (ask("x", temperature=1.5), "temperature: range: 0..1"),
    (ask("x", thinking={"type": "enabled", "budget_tokens": 100}), "thinking.enabled.budget_tokens: Input should"),
    (ask("x", thinking={"type": "enabled", "budget_tokens": 4096}), "`max_tokens` must be greater than"),
    (ask("x", thinking=THINKING, temperature=0.5), "`temperature` may only be set to 1"),
    (
        ask("x", thinking=THINKING, tools=[WEATHER], tool_choice={"type": "any"}),
        "Thinking may not be enabled when tool_choice forces tool use.",
    ),
    (
        ask([{"type": "tool_result", "tool_use_id": "a", "content": "x"}]),
        "messages.0.content.0: unexpected `tool_use_id` found in `tool_result` blocks: a.",
    ),
    (
        {
            **ask("x"),
            "messages": [
                {"role": "user", "content": "x"},
                {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "f", "input": {}}]},
                {"role": "user", "content": "y"},
            ],
        },
        "messages.1: `tool_use` ids were found without `tool_result` blocks immediately after: a.",
    ),
]


@pytest.mark.parametrize(("body", "message"), BAD, ids=[bad[1][:30] for bad in BAD])
def test_bad_requests_are_refused_as_anthropic_does(emulator: Live, body: Any, message: str) -> None:
    answer = raw(emulator, body)
    assert answer.status_code == 400
    assert answer.json()["error"]["type"] == "invalid_request_error"
    assert answer.json()["error"]["message"].startswith(message)


@pytest.mark.parametrize(
    ("status", "kind", "word"),
    [
        (400, anthropic.BadRequestError, "invalid_request_error"),
        (401, anthropic.AuthenticationError, "authentication_error"),
        (404, anthropic.NotFoundError, "not_found_error"),
        (429, anthropic.RateLimitError, "rate_limit_error"),
        (500, anthropic.InternalServerError, "api_error"),
        (529, anthropic.APIStatusError, "overloaded_error"),
    ],
)
def test_scripted_errors_raise_the_sdk_classes(
    scripted: Callable[[str], Live], anthropic_schema: dict[str, Any], status: int, kind: type[Exception], word: str
) -> None:
    live = scripted(f"replies: [{{status: {status}, error: nope}}]")
    with client(live) as sdk, pytest.raises(kind) as caught:
        sdk.messages.create(**ask("x"))
    assert isinstance(caught.value, anthropic.APIStatusError)
    body = caught.value.response.json()
    assert (body["error"]["type"], body["error"]["message"]) == (word, "nope")
    valid(anthropic_schema, "ErrorResponse", body)


def test_keys_and_version(emulator: Live, scripted: Callable[[str], Live], anthropic_schema: dict[str, Any]) -> None:
    with client(scripted("keys: [good]"), key="bad") as sdk, pytest.raises(anthropic.AuthenticationError):
        sdk.messages.create(**ask("x"))
    with client(emulator) as sdk:
        assert sdk.models.list().data[0].type == "model"
    answer = http.post(f"{emulator.url}/v1/messages", json=ask("x"), headers={"x-api-key": "k"})
    assert answer.json()["error"]["message"] == "anthropic-version: header is required"
    listed = http.get(f"{emulator.url}/v1/models", headers={"x-api-key": "k", "anthropic-version": "1"}).json()
    assert set(listed) == {"data", "has_more", "first_id", "last_id"}


def test_answers_fit_the_published_schema(emulator: Live, anthropic_schema: dict[str, Any]) -> None:
    asked = [ask("hi", thinking=THINKING), ask("get_weather", tools=[WEATHER]), {**ask("x"), "max_tokens": 2}]
    for body in asked:
        valid(anthropic_schema, "Message", raw(emulator, body).json())

"""OpenAI's wire through OpenAI's own SDK, and against OpenAI's own schema."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import jsonschema
import openai
import pytest

from .conftest import Live, http

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "unit": {"enum": ["celsius", "fahrenheit"]}},
            "required": ["city", "unit"],
            "additionalProperties": False,
        },
    },
}


def client(live: Live, path: str = "/v1", key: str = "sk-test") -> openai.OpenAI:
    return openai.OpenAI(base_url=live.url + path, api_key=key, max_retries=0)


def ask(text: str, **extra: Any) -> dict[str, Any]:
    return {"model": "gpt-4o", "messages": [{"role": "user", "content": text}], **extra}


def raw(live: Live, body: dict[str, Any]) -> httpx.Response:
    return http.post(f"{live.url}/v1/chat/completions", json=body, headers={"authorization": "Bearer k"})


def valid(schema: dict[str, Any], name: str, body: Any) -> None:
    root = {"$ref": f"#/components/schemas/{name}", "components": schema["components"]}
    jsonschema.Draft202012Validator(root).validate(body)


def test_the_same_question_gets_the_same_answer(emulator: Live) -> None:
    with client(emulator) as sdk:
        first = sdk.chat.completions.create(**ask("What is a fjord?"))
        second = sdk.chat.completions.create(**ask("What is a fjord?"))
        other = sdk.chat.completions.create(**ask("What is a volcano?"))
    assert first.choices[0].message.content == second.choices[0].message.content
    assert first.choices[0].message.content != other.choices[0].message.content
    assert first.id != second.id
    assert first.choices[0].finish_reason == "stop"
    assert first.usage is not None
    assert first.usage.total_tokens == first.usage.prompt_tokens + first.usage.completion_tokens


def test_a_stream_says_what_the_whole_answer_says(emulator: Live) -> None:
    with client(emulator) as sdk:
        whole = sdk.chat.completions.create(**ask("Tell me about amber"))
        stream = sdk.chat.completions.create(
            **ask("Tell me about amber", stream=True, stream_options={"include_usage": True})
        )
        chunks = list(stream)
    assert chunks[0].choices[0].delta.role == "assistant"
    assert "".join(c.choices[0].delta.content or "" for c in chunks if c.choices) == whole.choices[0].message.content
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert chunks[-1].choices == []
    assert chunks[-1].usage == whole.usage


def test_no_usage_chunk_unless_asked_for(emulator: Live) -> None:
    text = raw(emulator, ask("hi", stream=True)).text
    assert text.endswith("data: [DONE]\n\n")
    assert '"usage"' not in text


@pytest.mark.parametrize("stream", [False, True])
def test_a_mentioned_tool_is_called(emulator: Live, stream: bool) -> None:
    body = ask("Use get_weather for Paris", tools=[WEATHER])
    with client(emulator) as sdk:
        if stream:
            with sdk.chat.completions.stream(**body) as events:
                message = events.get_final_completion().choices[0]
        else:
            message = sdk.chat.completions.create(**body).choices[0]
    assert message.finish_reason == "tool_calls"
    assert message.message.content is None or stream
    calls = message.message.tool_calls or []
    assert [call.function.name for call in calls] == ["get_weather"]
    jsonschema.validate(json.loads(calls[0].function.arguments), WEATHER["function"]["parameters"])


def test_two_calls_when_two_are_asked_for(emulator: Live) -> None:
    body = ask("Call get_weather for two cities", tools=[WEATHER])
    with client(emulator) as sdk:
        calls = sdk.chat.completions.create(**body).choices[0].message.tool_calls or []
        one = sdk.chat.completions.create(**body, parallel_tool_calls=False).choices[0].message.tool_calls or []
    assert len(calls) == 2 and calls[0].id != calls[1].id
    assert len(one) == 1


def test_choice_forces_and_forbids_calls(emulator: Live) -> None:
    named = {"type": "function", "function": {"name": "get_weather"}}
    for choice, expected in (("required", True), (named, True), ("none", False), ("auto", False)):
        body = raw(emulator, ask("hello", tools=[WEATHER], tool_choice=choice)).json()
        assert ("tool_calls" in body["choices"][0]["message"]) is expected, choice


def test_after_a_tool_the_answer_quotes_it(emulator: Live) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}
    messages = [
        {"role": "user", "content": "Use get_weather"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "21 degrees and sunny"},
    ]
    body = raw(emulator, {"model": "gpt-4o", "messages": messages, "tools": [WEATHER]}).json()
    assert "21 degrees and sunny" in body["choices"][0]["message"]["content"]
    assert body["choices"][0]["finish_reason"] == "stop"


def test_structured_answers(emulator: Live) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 3}}, "required": ["n"]}
    form = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    made = raw(emulator, ask("x", response_format=form)).json()["choices"][0]["message"]["content"]
    jsonschema.validate(json.loads(made), schema)
    loose = raw(emulator, ask("json please", response_format={"type": "json_object"})).json()
    assert isinstance(json.loads(loose["choices"][0]["message"]["content"]), dict)


def test_limits_stops_and_n(emulator: Live) -> None:
    short = raw(emulator, ask("x", max_tokens=5)).json()
    assert short["choices"][0]["finish_reason"] == "length"
    assert short["usage"]["completion_tokens"] == 5
    stopped = raw(emulator, ask("x", stop=["."])).json()["choices"][0]
    assert "." not in stopped["message"]["content"] and stopped["finish_reason"] == "stop"
    many = raw(emulator, ask("x", n=3)).json()["choices"]
    assert [one["index"] for one in many] == [0, 1, 2]
    with client(emulator) as sdk:
        chunks = list(sdk.chat.completions.create(**ask("x", n=2, stream=True)))
    assert {c.choices[0].index for c in chunks} == {0, 1}
    assert sum(c.choices[0].finish_reason == "stop" for c in chunks) == 2


@pytest.mark.parametrize("stream", [False, True])
def test_logprobs(emulator: Live, stream: bool) -> None:
    body = ask("x", logprobs=True, top_logprobs=3)
    with client(emulator) as sdk:
        if stream:
            chunks = list(sdk.chat.completions.create(**body, stream=True))
            entries = [e for c in chunks if c.choices[0].logprobs for e in c.choices[0].logprobs.content or []]
            text = "".join(c.choices[0].delta.content or "" for c in chunks)
        else:
            choice = sdk.chat.completions.create(**body).choices[0]
            assert choice.logprobs is not None
            entries, text = choice.logprobs.content or [], choice.message.content or ""
    assert "".join(entry.token for entry in entries) == text
    assert all(len(entry.top_logprobs) == 3 and entry.top_logprobs[0].token == entry.token for entry in entries)


def test_reasoning_is_billed_by_openai_and_shown_by_others(emulator: Live) -> None:
    body = {**ask("think", reasoning_effort="high"), "model": "gpt-5"}
    own = raw(emulator, body).json()
    assert own["usage"]["completion_tokens_details"]["reasoning_tokens"] > 0
    assert "reasoning_content" not in own["choices"][0]["message"]
    other = http.post(f"{emulator.url}/deepseek/v1/chat/completions", json=body, headers={"api-key": "k"}).json()
    assert other["choices"][0]["message"]["reasoning_content"]


def test_images_are_counted(emulator: Live) -> None:
    part = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    body = raw(emulator, ask([{"type": "text", "text": "look"}, part, part])).json()
    assert "2 images" in body["choices"][0]["message"]["content"]


def test_a_long_system_prompt_is_cached_the_second_time(emulator: Live) -> None:
    system = {"role": "system", "content": "the rules of the house " * 400}
    body = {"model": "gpt-4o", "messages": [system, {"role": "user", "content": "x"}]}
    figures = [raw(emulator, body).json()["usage"]["prompt_tokens_details"]["cached_tokens"] for _ in range(2)]
    assert figures[0] == 0 and figures[1] >= 1024


BAD = [
    ({"messages": []}, "you must provide a model parameter", None),
    ({"model": "gpt-4o"}, "Missing required parameter: 'messages'.", "missing_required_parameter"),
    ({"model": "gpt-4o", "messages": []}, "Invalid 'messages': empty array.", "empty_array"),
    (ask({"a": 1}), "Invalid type for 'messages[0].content'", "invalid_type"),
    ({"model": "gpt-4o", "messages": [{"role": "robot"}]}, "Invalid value: 'robot'", "invalid_value"),
    (ask("x", n=0), "Invalid 'n'", "invalid_value"),
    (ask("x", top_logprobs=1), "Invalid parameter: 'top_logprobs'", None),
    (ask("x", response_format={"type": "json_object"}), "'messages' must contain the word 'json'", None),
    ({**ask("x", max_tokens=5), "model": "gpt-5"}, "Unsupported parameter: 'max_tokens'", "unsupported_parameter"),
    ({**ask("x", temperature=0.2), "model": "o3"}, "Unsupported value: 'temperature'", "unsupported_value"),
    (
        {"model": "m", "messages": [{"role": "tool", "tool_call_id": "a", "content": "x"}]},
        "Invalid parameter: messages with role 'tool' must be",
        None,
    ),
    (
        {
            "model": "m",
            "messages": [
                {"role": "assistant", "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f"}}]},
                {"role": "user", "content": "x"},
            ],
        },
        "An assistant message with 'tool_calls' must be followed",
        None,
    ),
]


@pytest.mark.parametrize(("body", "message", "code"), BAD, ids=[bad[1][:30] for bad in BAD])
def test_bad_requests_are_refused_as_openai_does(emulator: Live, body: Any, message: str, code: str | None) -> None:
    answer = raw(emulator, body)
    error = answer.json()["error"]
    assert answer.status_code == 400
    assert error["message"].startswith(message)
    assert (error["type"], error["code"]) == ("invalid_request_error", code)


@pytest.mark.parametrize("body", [b"{", b"\xff\xfe", b"", b'{"x":' + b"[" * 100_000])
def test_what_is_no_json(emulator: Live, body: bytes) -> None:
    answer = http.post(f"{emulator.url}/v1/chat/completions", content=body, headers={"authorization": "Bearer k"})
    assert answer.status_code == 400
    assert answer.json()["error"]["message"].startswith("We could not parse the JSON body")


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, openai.BadRequestError),
        (401, openai.AuthenticationError),
        (403, openai.PermissionDeniedError),
        (404, openai.NotFoundError),
        (429, openai.RateLimitError),
        (500, openai.InternalServerError),
        (503, openai.InternalServerError),
        (529, openai.InternalServerError),
    ],
)
def test_scripted_errors_raise_the_sdk_classes(
    scripted: Callable[[str], Live], status: int, kind: type[openai.APIStatusError]
) -> None:
    live = scripted(f"kind: emulator\nreplies:\n- {{status: {status}, headers: {{retry-after: '7'}}}}\n")
    for stream in (False, True):
        with client(live) as sdk, pytest.raises(kind) as caught:
            sdk.chat.completions.create(**ask("x", stream=stream))
        assert caught.value.status_code == status
        assert caught.value.response.headers["retry-after"] == "7"


def test_keys(emulator: Live, scripted: Callable[[str], Live]) -> None:
    assert http.get(f"{emulator.url}/v1/models").status_code == 401
    live = scripted("keys: [sk-good]")
    with client(live, key="sk-good") as sdk:
        assert sdk.models.list().data[0].object == "model"
    with client(live, key="sk-bad-and-long-enough-to-show") as sdk, pytest.raises(openai.AuthenticationError) as caught:
        sdk.chat.completions.create(**ask("x"))
    assert caught.value.code == "invalid_api_key"
    assert "enough" not in str(caught.value)


def test_answers_fit_the_published_schema(emulator: Live, openai_schema: dict[str, Any]) -> None:
    asked = [
        ask("hello"),
        ask("get_weather twice", tools=[WEATHER], n=2),
        ask("x", logprobs=True, top_logprobs=2, max_tokens=3),
    ]
    for body in asked:
        valid(openai_schema, "CreateChatCompletionResponse", raw(emulator, body).json())
    body = ask("get_weather", tools=[WEATHER], stream=True)
    lines = raw(emulator, body).text.split("\n\n")[:-2]
    for line in lines:
        chunk = json.loads(line.removeprefix("data: "))
        for choice in chunk["choices"]:
            # The schema says `nullable` in the manner of OpenAPI 3.0, which JSON Schema does not know.
            assert choice.pop("logprobs") is None
            if choice["finish_reason"] is None:
                choice["finish_reason"] = "stop"
        valid(openai_schema, "CreateChatCompletionStreamResponse", chunk)

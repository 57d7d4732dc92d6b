"""Ollama's own wire, as `api.md` describes it."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import jsonschema
import pytest

from .conftest import Live, http

SCHEMA = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOLS = [{"type": "function", "function": {"name": "get_weather", "parameters": SCHEMA}}]


def raw(live: Live, body: Any) -> httpx.Response:
    return http.post(f"{live.url}/api/chat", json=body)


def ask(text: str, **extra: Any) -> dict[str, Any]:
    return {"model": "llama3.2", "messages": [{"role": "user", "content": text}], **extra}


def test_it_streams_unless_told_not_to(emulator: Live) -> None:
    stream = raw(emulator, ask("Tell me about delta", think=True))
    assert stream.headers["content-type"] == "application/x-ndjson"
    lines = [json.loads(line) for line in stream.text.splitlines()]
    whole = raw(emulator, ask("Tell me about delta", think=True, stream=False)).json()
    assert "".join(line["message"]["content"] for line in lines) == whole["message"]["content"]
    assert "".join(line["message"].get("thinking", "") for line in lines) == whole["message"]["thinking"]
    assert [line["done"] for line in lines] == [False] * (len(lines) - 1) + [True]
    assert lines[-1]["eval_count"] == whole["eval_count"] and lines[-1]["done_reason"] == "stop"


@pytest.mark.parametrize("stream", [False, True])
def test_tools(emulator: Live, stream: bool) -> None:
    answer = raw(emulator, ask("get_weather twice", tools=TOOLS, stream=stream))
    lines = [json.loads(line) for line in answer.text.splitlines()]
    calls = [call for line in lines for call in line["message"].get("tool_calls", [])]
    assert [call["function"]["name"] for call in calls] == ["get_weather"] * 2
    jsonschema.validate(calls[0]["function"]["arguments"], SCHEMA)


def test_results_formats_and_limits(emulator: Live) -> None:
    turns = [
        {"role": "user", "content": "get_weather"},
        {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "get_weather", "arguments": {}}}]},
        {"role": "tool", "tool_name": "get_weather", "content": "11 degrees"},
    ]
    body = {"model": "m", "messages": turns, "tools": TOOLS, "stream": False}
    assert 'get_weather returned: "11 degrees"' in raw(emulator, body).json()["message"]["content"]
    made = raw(emulator, ask("x", format=SCHEMA, stream=False)).json()["message"]["content"]
    jsonschema.validate(json.loads(made), SCHEMA)
    short = raw(emulator, ask("x", options={"num_predict": 2}, stream=False)).json()
    assert (short["done_reason"], short["eval_count"]) == ("length", 2)
    seen = {**ask("x", stream=False)}
    seen["messages"][0]["images"] = ["aGVsbG8="]
    assert "1 image." in raw(emulator, seen).json()["message"]["content"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"messages": []}, "model is required"),
        (ask("x", format="xml"), 'invalid format: "xml"'),
        ({"model": "m", "messages": [{"role": "robot"}]}, 'invalid role "robot"'),
        ({"model": "m", "messages": [{"role": "user", "images": ["data:image/png;base64,aa"]}]}, "illegal base64"),
        ({"model": "m", "messages": 5}, "json: cannot unmarshal int into Go struct field .messages"),
    ],
)
def test_bad_requests(emulator: Live, body: Any, message: str) -> None:
    answer = raw(emulator, body)
    assert answer.status_code == 400
    assert answer.json()["error"].startswith(message)


def test_lists_version_models_and_keys(emulator: Live, scripted: Callable[[str], Live]) -> None:
    assert http.get(f"{emulator.url}/api/version").json()["version"]
    assert http.get(f"{emulator.url}/api/tags").json()["models"][0]["details"]["format"] == "gguf"
    live = scripted("keys: [good]\nmodels: {ollama: [mine]}")
    assert [one["name"] for one in http.get(f"{live.url}/api/tags").json()["models"]] == ["mine"]
    unknown = raw(live, ask("x"))
    assert (unknown.status_code, unknown.json()["error"]) == (404, "model 'llama3.2' not found")
    refused = http.get(f"{live.url}/api/tags", headers={"authorization": "Bearer bad"})
    assert refused.status_code == 401

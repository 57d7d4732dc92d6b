"""Requests that real clients sent, to every provider: accepted, translated into what it describes, and answered."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import msgspec
import pytest
from gateway import KEY, MODELS, Emulated
from shared import DATA, shared

from .validators import check

ENDPOINTS = ("chat.completions", "/v1/chat/completions")


class Asked(msgspec.Struct):
    """One recorded request body."""

    id: str
    body: dict[str, Any]


def _requests() -> list[Asked]:
    found = []
    for folder, name in (("traffic", "recorded.jsonl"), ("clients", "captured_requests.jsonl")):
        path = DATA / folder / name
        for line in path.read_text().splitlines() if path.exists() else ():
            row = json.loads(line)
            if row.get("endpoint") in ENDPOINTS:
                found.append(Asked(row["id"], row["request"]))
            elif row.get("path") == "/v1/chat/completions":
                found.append(Asked(row["client"].replace(" ", "-"), row["body"]))
    return found


ALL = _requests()
FOREIGN = {
    "enable_thinking": ("test-anthropic", "test-google", "test-ollama"),
    "service_tier": ("test-anthropic", "test-google", "test-ollama"),
    "web_search_options": ("test-anthropic", "test-google", "test-ollama"),
    "reasoning_content": ("test-anthropic",),  # thinking that nobody signed
    "seed": ("test-anthropic",),
    "input_audio": ("test-anthropic",),
    "n": ("test-anthropic", "test-ollama"),
    "response_format": ("test-anthropic",),  # json_object; a json_schema is kept
    "strict": ("test-google", "test-ollama"),
    "file": ("test-google", "test-ollama"),  # by an id, or a PDF
    "image_url": ("test-ollama",),  # by URL: Ollama wants the bytes
    "tool_choice": ("test-ollama",),
}
"""What cannot be said to whom. Every other field of every request here must arrive."""


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("asked", ALL, ids=lambda a: a.id)
def test_a_recorded_request_is_answered_by_every_provider(asked: Asked, model: str, both: Emulated) -> None:
    answer = httpx.post(
        f"{both.v1}/chat/completions",
        json={**asked.body, "model": model},
        headers={"authorization": f"Bearer {KEY}"},
        trust_env=False,
    )
    assert answer.status_code == 200, answer.text
    assert "error" not in answer.text[:40]
    body = both.last.body
    check(model, body)
    arrived = "\n".join(_strings(body))
    assert [text for text in _said(asked.body) if text not in arrived] == []
    warnings = answer.headers.get("x-sidecar-warnings", "")
    lost = set(warnings.split(", ")) if warnings else set()
    assert all(model in FOREIGN[name] for name in lost), lost
    if model == "test-openai":
        assert not lost
        assert body == {**asked.body, "model": "gpt-4o-mini", **_usage_wanted(asked.body)}
    if asked.body.get("stream"):
        assert answer.text.endswith("data: [DONE]\n\n")
    else:
        assert answer.json()["choices"][0]["finish_reason"] in ("stop", "tool_calls", "length")
    [row] = both.rows(answer.headers["x-request-id"])
    assert (row["outcome"], row["provider"]) == ("answered", model.removeprefix("test-"))


def _said(body: dict[str, Any]) -> list[str]:
    """The texts of all messages and the names of all tools."""
    said = [tool["function"]["name"] for tool in body.get("tools", ())]
    for message in body["messages"]:
        content = message.get("content") or ""
        parts = [{"text": content}] if isinstance(content, str) else content
        said += [part["text"].strip() for part in parts if "text" in part]
        said += [call["function"]["name"] for call in message.get("tool_calls") or ()]
    return said


def _strings(value: Any) -> Iterator[str]:
    """Every string in a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _strings(one)


def _usage_wanted(body: dict[str, Any]) -> dict[str, Any]:
    """The one thing that is changed on the way to a provider of the same protocol: streams are always billed."""
    return {"stream_options": {"include_usage": True}} if body.get("stream") else {}


def test_all_requests_were_looked_at() -> None:
    shared("traffic", "recorded.jsonl")
    shared("clients", "captured_requests.jsonl")
    assert len(ALL) == 26 + 15

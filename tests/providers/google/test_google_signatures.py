"""Thought signatures go out to the caller and come back to Google where they were, and nowhere else.

maximhq/bifrost #1437, #2210 lost them: Gemini 3 refuses such a history, Gemini 2.5 thinks worse.
"""

import json
from typing import Any

import msgspec
import pytest
from google_traffic import SHARED, Exchange, exchanges, framed, gather, of_completion, run

from sidecar.chat import ChatRequest, FunctionCall, Message, Reasoning, ToolCall
from sidecar.providers.base import Target
from sidecar.providers.google import Google

TARGET = Target("gemini-3-flash-preview", "https://generativelanguage.googleapis.com")
CHAT = ChatRequest("m", [Message("user", "x")])


def history(message: Message) -> list[dict[str, Any]]:
    """The contents of the next request: the caller's JSON lies between answer and request."""
    echoed = msgspec.json.decode(msgspec.json.encode(message), type=Message)
    turns = [Message("user", "x"), echoed]
    for call in echoed.tool_calls or []:
        turns.append(Message("tool", "ok", tool_call_id=call.id))
    return contents(turns)[0]


def contents(turns: list[Message], target: Target = TARGET) -> tuple[list[dict[str, Any]], tuple[str, ...]]:
    out = Google().request(ChatRequest("m", turns), b"", target)
    return json.loads(out.body)["contents"], out.lost


def signatures(parts: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """(what, signature) of the parts that have one, code execution left out."""
    found: list[tuple[str, str]] = []
    for part in parts:
        for what in ("functionCall", "text"):
            if "thoughtSignature" in part and what in part:
                found.append((what, part["thoughtSignature"]))
    return found


def message_of(exchange: Exchange) -> Message:
    answer = (
        gather(run(Google().reader(CHAT), exchange.body))
        if exchange.stream
        else of_completion(Google().response(exchange.body))
    )
    return Message(
        "assistant",
        answer.text or None,
        tool_calls=answer.calls or None,
        reasoning_details=answer.details or None,
    )


SIGNED = [
    e
    for e in exchanges()
    if signatures([p for v in e.values for c in v.get("candidates", []) for p in c.get("content", {}).get("parts", [])])
]


@pytest.mark.skipif(not SIGNED, reason=f"no recorded traffic under {SHARED}")
@pytest.mark.parametrize("exchange", SIGNED, ids=lambda e: e.id)
def test_recorded_signatures_come_back(exchange: Exchange) -> None:
    sent = [p for v in exchange.values for c in v["candidates"] for p in c["content"].get("parts", [])]
    model = [turn for turn in history(message_of(exchange)) if turn["role"] == "model"]
    assert len(model) == 1
    assert signatures(model[0]["parts"]) == signatures(sent)


PARTS = [
    {"text": "Calling."},
    {"functionCall": {"name": "f", "args": {"a": [1, {"b": None}]}, "id": "c1"}, "thoughtSignature": "QUFB"},
    {"functionCall": {"name": "g", "args": {}, "id": "c2"}},
]


@pytest.mark.parametrize("streamed", [False, True])
def test_calls_and_results_come_back_as_they_were(streamed: bool) -> None:
    value = {"candidates": [{"content": {"parts": PARTS}, "finishReason": "STOP", "index": 0}], "responseId": "r"}
    if streamed:
        answer = gather(run(Google().reader(CHAT), framed([value])))
    else:
        answer = of_completion(Google().response(json.dumps(value).encode()))
    message = Message("assistant", answer.text, tool_calls=answer.calls)
    user, model, results = history(message)
    assert user == {"role": "user", "parts": [{"text": "x"}]}
    assert model == {"role": "model", "parts": PARTS}
    assert results == {
        "role": "user",
        "parts": [
            {"functionResponse": {"id": "c1", "name": "f", "response": {"result": "ok"}}},
            {"functionResponse": {"id": "c2", "name": "g", "response": {"result": "ok"}}},
        ],
    }


def call(signature: str | None = None, id: str = "c1") -> ToolCall:
    extra = {"google": {"thought_signature": signature}} if signature else None
    return ToolCall(id, function=FunctionCall("f", "{}"), extra_content=extra)


def test_the_documented_dummy_fills_a_missing_signature_once_a_step() -> None:
    turns = [
        Message("user", "x"),
        Message("assistant", tool_calls=[call(id="a"), call(id="b")]),
        Message("tool", "1", tool_call_id="a"),
        Message("tool", "2", tool_call_id="b"),
        Message("assistant", tool_calls=[call("U0lH", id="c")]),
        Message("tool", "3", tool_call_id="c"),
    ]
    got, lost = contents(turns)
    assert signatures(got[1]["parts"]) == [("functionCall", "skip_thought_signature_validator")]
    assert "thoughtSignature" in got[1]["parts"][0]
    assert signatures(got[3]["parts"]) == [("functionCall", "U0lH")]
    assert lost == ("thought_signature",)


@pytest.mark.parametrize(
    ("model", "dummy"),
    [
        ("gemini-3-pro-preview", True),
        ("gemini-3.6-flash", True),
        ("gemini-4-pro", True),
        ("gemini-flash-latest", True),
        ("models/gemini-3-flash-preview", True),
        ("gemini-2.5-flash", False),
        ("gemini-2.0-flash", False),
        ("gemma-3-27b-it", False),
    ],
)
def test_only_gemini_3_needs_the_dummy(model: str, dummy: bool) -> None:
    turns = [Message("user", "x"), Message("assistant", tool_calls=[call()])]
    got, lost = contents(turns, Target(model, "https://g"))
    assert bool(signatures(got[1]["parts"])) == dummy
    assert lost == (("thought_signature",) if dummy else ())


def test_what_another_provider_signed_is_never_sent() -> None:
    """BerriAI/litellm #26005."""
    foreign = [
        Reasoning("reasoning.text", text="secret thoughts", signature="ANTHROPICSIG", format="anthropic"),
        Reasoning("reasoning.encrypted", data="T1BFTg==", format="openai"),
        Reasoning("reasoning.encrypted", data="Tk9ORQ=="),
    ]
    turns = [
        Message("user", "x"),
        Message("assistant", "y", reasoning_content="secret thoughts", reasoning_details=foreign),
        Message("user", "z"),
    ]
    out = Google().request(ChatRequest("m", turns), b"", TARGET)
    assert out.lost == ("reasoning_details",)
    assert json.loads(out.body)["contents"][1] == {"role": "model", "parts": [{"text": "y"}]}


def test_a_signature_without_text_keeps_its_empty_part() -> None:
    detail = Reasoning("reasoning.encrypted", data="U0lH", format="google", index=3)
    got, lost = contents([Message("user", "x"), Message("assistant", reasoning_details=[detail])])
    assert got[1]["parts"] == [{"text": "", "thoughtSignature": "U0lH"}]
    assert lost == ()

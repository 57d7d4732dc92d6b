"""Thinking comes back unchanged and first, and nobody else's is ever sent (litellm #26005)."""

import json
from typing import Any

import msgspec
import pytest
from anthropic_traffic import ABSENT, Exchange, as_message, exchanges, feed, of

from sidecar.chat import ChatRequest, FunctionCall, Message, Reasoning, ToolCall
from sidecar.providers.anthropic import Anthropic
from sidecar.providers.base import Target

ADAPTER = Anthropic()
SIGNED = [e for e in exchanges() if b"signature" in e.body]


def next_turn(message: Message) -> tuple[list[dict[str, Any]], tuple[str, ...]]:
    """The blocks of `message` in the following request, after a trip through the caller's JSON."""
    chat = ChatRequest("m", [Message("user", "hi"), message, Message("user", "go on")])
    raw = msgspec.json.encode(chat)
    outgoing = ADAPTER.request(msgspec.json.decode(raw, type=ChatRequest), raw, Target("claude-opus-5", ""))
    return json.loads(outgoing.body)["messages"][1]["content"], outgoing.lost


@pytest.mark.skipif(not SIGNED, reason=ABSENT)
@pytest.mark.parametrize("exchange", SIGNED, ids=lambda e: e.id)
def test_recorded_thinking_goes_back_as_it_came(exchange: Exchange) -> None:
    if exchange.stream:
        answer = feed(ADAPTER.reader(ChatRequest("m", [])), [exchange.body])
        assert answer.details[0].signature
        wire = [{"type": "thinking", "thinking": answer.reasoning, "signature": answer.details[0].signature}]
        assert wire[0]["signature"].encode() in exchange.body
    else:
        answer = of(ADAPTER.response(exchange.body))
        wire = [block for block in json.loads(exchange.body)["content"] if block["type"] == "thinking"]
    blocks, lost = next_turn(as_message(answer))
    assert blocks[: len(wire)] == wire and lost == ()
    assert [block["type"] for block in blocks[len(wire) :]] == ["text"]


def test_every_kind_goes_back_first_and_in_order() -> None:
    thinking = [
        {"type": "thinking", "thinking": "a", "signature": "s"},
        {"type": "redacted_thinking", "data": "xyz"},
        {"type": "thinking", "thinking": "", "signature": "t"},
    ]
    call = {"type": "tool_use", "id": "c", "name": "f", "input": {}}
    content = [thinking[0], {"type": "text", "text": "hm"}, thinking[1], thinking[2], call]
    completion = ADAPTER.response(json.dumps({"content": content}).encode())
    message = completion.choices[0].message  # type: ignore[union-attr]
    blocks, lost = next_turn(message)
    assert blocks == [*thinking, {"type": "text", "text": "hm"}, call] and lost == ()


FOREIGN = [
    Reasoning("reasoning.text", "t", "s", format="google"),
    Reasoning("reasoning.text", "t", "s"),
    Reasoning("reasoning.text", "t", format="anthropic"),
    Reasoning("reasoning.encrypted", data="d", format="google"),
    Reasoning("reasoning.encrypted", format="anthropic"),
    Reasoning("reasoning.summary", "t", "s", format="anthropic"),
]


@pytest.mark.parametrize("detail", FOREIGN)
def test_what_others_signed_or_nobody_is_never_sent(detail: Reasoning) -> None:
    call = ToolCall("c", function=FunctionCall("f", "{}"))
    blocks, lost = next_turn(Message("assistant", "x", reasoning_details=[detail], tool_calls=[call]))
    assert [block["type"] for block in blocks] == ["text", "tool_use"]
    assert lost == ("reasoning_details",)


def test_thinking_without_details_is_named() -> None:
    blocks, lost = next_turn(Message("assistant", "x", reasoning_content="because"))
    assert blocks == [{"type": "text", "text": "x"}] and lost == ("reasoning_content",)

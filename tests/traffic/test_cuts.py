"""Streams that pass as they came, cut anywhere and framed in any way: what callers read is the same, or an error."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.chat import ChatRequest, Delta, FailureKind, Message, StreamOptions
from sidecar.providers.openai import OpenAI

from .exchanges import exchanges

STREAMS = [e for e in exchanges() if e.model == "test-openai" and e.stream and e.status == 200]
CHAT = ChatRequest("m", [Message("user", "x")], stream=True, stream_options=StreamOptions(True))
FRAMINGS = {
    "as it came": lambda body: body,
    "carriage returns": lambda body: body.replace(b"\n", b"\r\n"),
    "no space": lambda body: body.replace(b"data: ", b"data:"),
    "comments between": lambda body: body.replace(b"\n\n", b"\n\n: ping\n\n"),
    "event names": lambda body: body.replace(b"data: ", b"event: message\ndata: "),
}
pytestmark = pytest.mark.skipif(not STREAMS, reason="no recorded traffic")


def read(body: bytes, places: list[int]) -> list[Delta]:
    """All deltas of a body that came in pieces."""
    reader = OpenAI().reader(CHAT)
    ends = sorted(place % (len(body) + 1) for place in places)
    deltas: list[Delta] = []
    for start, end in zip([0, *ends], [*ends, len(body)], strict=True):
        deltas += reader.feed(body[start:end])
    return [*deltas, *reader.end()]


def values(deltas: list[Delta]) -> list[Any]:
    """What a caller's parser makes of the bytes; every event must be whole."""
    wire = b"".join(delta.wire or b"" for delta in deltas).replace(b"\r\n", b"\n")
    assert not wire or wire.endswith(b"\n\n")
    found = []
    for line in wire.split(b"\n"):
        if line.startswith(b"data:"):
            found.append(json.loads(line[5:]))
    return found


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_cut_and_framed_in_any_way_it_is_the_same(data: st.DataObject) -> None:
    exchange = data.draw(st.sampled_from(STREAMS))
    body = FRAMINGS[data.draw(st.sampled_from(list(FRAMINGS)))](exchange.body)
    deltas = read(body, data.draw(st.lists(st.integers(0, 100_000), max_size=12)))
    assert not [delta for delta in deltas if delta.failure is not None]
    assert values(deltas) == exchange.values
    usage = [value["usage"]["completion_tokens"] for value in exchange.values if value.get("usage")]
    assert [delta.usage.output_tokens for delta in deltas if delta.usage is not None][-1:] == usage[-1:]


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_ended_anywhere_it_is_never_a_success(data: st.DataObject) -> None:
    exchange = data.draw(st.sampled_from(STREAMS))
    body = FRAMINGS[data.draw(st.sampled_from(list(FRAMINGS)))](exchange.body)
    finish = next(v for v in exchange.values if v["choices"] and v["choices"][0]["finish_reason"])
    place = body.index(json.dumps(finish["choices"][0]["finish_reason"]).encode())
    end = data.draw(st.integers(0, place))
    deltas = read(body[:end], data.draw(st.lists(st.integers(0, 100_000), max_size=6)))
    assert deltas[-1].failure is not None and deltas[-1].failure.kind is FailureKind.TRUNCATED
    assert not [delta for delta in deltas[:-1] if delta.failure is not None]
    seen = values(deltas)
    assert seen == exchange.values[: len(seen)]

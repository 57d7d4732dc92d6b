"""Recorded answers: the adapter reads what the official SDK reads from the same bytes, over a real socket."""

import json
import warnings
from typing import Any

import anthropic
import pytest
from anthropic_traffic import ABSENT, Exchange, bytewise, cut, exchanges, feed, gather, of, serving
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.chat import ChatRequest, Failure, FailureKind, Message, Usage
from sidecar.providers.anthropic import Anthropic

ADAPTER = Anthropic()
CHAT = ChatRequest("m", [Message("user", "hi")], stream=True)
ALL = exchanges()
GOOD = [e for e in ALL if e.status == 200]
REFUSED_BY_SDK = "vercel-e5b4940e16"
"""The SDK refuses its second message_start; it has a test of its own below."""
STREAMS = [e for e in GOOD if e.stream]
pytestmark = pytest.mark.skipif(not ALL, reason=ABSENT)

FINISHES = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "refusal": "content_filter",
}


def official(exchange: Exchange) -> Any:
    """The SDK's Message of an exchange."""
    body = {"model": "claude-haiku-4-5", "max_tokens": 1, "messages": [{"role": "user", "content": "hi"}]}
    with serving(exchange) as url, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydantic's, for beta blocks that the SDK's own types do not list
        client = anthropic.Anthropic(api_key="k", base_url=url, max_retries=0)
        if not exchange.stream:
            return client.messages.create(**body)
        with client.messages.stream(**body) as stream:
            return stream.get_final_message()


def expected_usage(message: Any) -> Usage:
    wire = message.usage
    written, read = wire.cache_creation_input_tokens or 0, wire.cache_read_input_tokens or 0
    hour = wire.cache_creation.ephemeral_1h_input_tokens if wire.cache_creation else 0
    details = wire.output_tokens_details
    return Usage(
        input_tokens=wire.input_tokens + read + written,
        output_tokens=wire.output_tokens,
        cached_tokens=read,
        cache_write_5m_tokens=written - hour,
        cache_write_1h_tokens=hour,
        reasoning_tokens=details.thinking_tokens if details else 0,
    )


@pytest.mark.parametrize("exchange", [e for e in GOOD if e.id != REFUSED_BY_SDK], ids=lambda e: e.id)
def test_reads_what_the_official_sdk_reads(exchange: Exchange) -> None:
    message = official(exchange)
    if exchange.stream:
        answer = feed(ADAPTER.reader(CHAT), [exchange.body])
    else:
        answer = of(ADAPTER.response(exchange.body))
    assert answer.failure is None
    assert answer.text == "".join(b.text for b in message.content if b.type == "text")
    assert answer.reasoning == "".join(b.thinking for b in message.content if b.type == "thinking")
    wanted = [(b.id, b.name, b.input) for b in message.content if b.type == "tool_use"]
    assert [(id, name, json.loads(arguments)) for id, name, arguments in answer.calls] == wanted
    signed = [(b.thinking, b.signature) for b in message.content if b.type == "thinking"]
    assert [(d.text, d.signature) for d in answer.details] == signed
    assert all(d.format == "anthropic" and d.type == "reasoning.text" for d in answer.details)
    assert answer.finish == FINISHES[message.stop_reason]
    assert answer.usage == expected_usage(message)
    assert (answer.refusal is not None) == (message.stop_reason == "refusal")


@pytest.mark.parametrize("exchange", [e for e in GOOD if not e.stream], ids=lambda e: e.id)
def test_whole_answers_keep_names_and_the_bytes_of_arguments(exchange: Exchange) -> None:
    completion = ADAPTER.response(exchange.body)
    assert not isinstance(completion, Failure)
    wire = json.loads(exchange.body)
    assert (completion.id, completion.model) == (wire["id"], wire["model"])
    for _, _, arguments in of(completion).calls:
        assert f'"input": {arguments}'.encode() in exchange.body
    # A server that answers a stream request with one JSON body gives the same answer.
    assert feed(ADAPTER.reader(CHAT), bytewise(exchange.body)) == of(completion)


@pytest.mark.parametrize("exchange", STREAMS, ids=lambda e: e.id)
def test_a_stream_cut_anywhere_is_the_same_answer(exchange: Exchange) -> None:
    whole = feed(ADAPTER.reader(CHAT), [exchange.body])
    assert whole.failure is None and whole.finish is not None
    assert feed(ADAPTER.reader(CHAT), bytewise(exchange.body)) == whole
    assert feed(ADAPTER.reader(CHAT), [exchange.body.replace(b"\n", b"\r\n")]) == whole

    @settings(deadline=None, max_examples=40)
    @given(st.lists(st.integers(0, 1_000_000), max_size=30))
    def cut_anywhere(places: list[int]) -> None:
        assert feed(ADAPTER.reader(CHAT), cut(exchange.body, places)) == whole

    cut_anywhere()


@pytest.mark.parametrize("exchange", STREAMS, ids=lambda e: e.id)
def test_a_stream_that_ends_early_is_truncated_and_has_used_its_input(exchange: Exchange) -> None:
    end = exchange.body.index(b"event: message_stop")
    whole = feed(ADAPTER.reader(CHAT), [exchange.body])
    assert whole.usage is not None
    for size in {0, 40, end // 3, end // 2, end - 1, end, end + 20}:
        reader = ADAPTER.reader(CHAT)
        head = list(reader.feed(exchange.body[:size]))
        answer = gather([*head, *reader.end()])
        assert answer.failure is not None and answer.failure.kind is FailureKind.TRUNCATED, size
        assert whole.text.startswith(answer.text)
        if size > exchange.body.index(b"\n\n") + 1:
            # Told before anything else: a caller who hangs up has used it too.
            assert head[0].usage is not None and head[0].usage.input_tokens > 0


def test_a_second_message_start_changes_nothing() -> None:
    exchange = next(e for e in ALL if e.id == REFUSED_BY_SDK)
    answer = feed(ADAPTER.reader(CHAT), [exchange.body])
    assert (answer.text, answer.finish) == ("Hello, World!", "stop")
    assert answer.usage == Usage(input_tokens=17, output_tokens=227)


@pytest.mark.parametrize("exchange", [e for e in ALL if e.status != 200], ids=lambda e: e.id)
def test_recorded_errors(exchange: Exchange) -> None:
    with pytest.raises(anthropic.APIStatusError) as caught:
        official(exchange)
    failure = ADAPTER.failure(exchange.status, exchange.headers, exchange.body)
    error = caught.value.body["error"]  # type: ignore[index, call-overload]
    assert (failure.status, failure.message, failure.code) == (400, error["message"], error["type"])
    overflow = "prompt is too long" in error["message"]
    assert failure.kind is (FailureKind.CONTEXT_OVERFLOW if overflow else FailureKind.BAD_REQUEST)


def test_all_the_traffic_was_looked_at() -> None:
    assert (len(ALL), len(STREAMS)) == (28, 9)


@settings(deadline=None, max_examples=400)
@given(st.data())
def test_no_mutation_of_real_bytes_makes_the_reader_raise(data: st.DataObject) -> None:
    body = bytearray(data.draw(st.sampled_from(GOOD)).body)
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, max(0, len(body) - 1)))
        size = data.draw(st.integers(0, 8))
        body[at : at + size] = data.draw(st.binary(max_size=8) | st.sampled_from([b'"', b"{", b"null", b"-1", b"[]"]))
    places = data.draw(st.lists(st.integers(0, 1_000_000), max_size=5))
    answer = feed(ADAPTER.reader(CHAT), cut(bytes(body), places))
    assert answer.finish is not None or answer.failure is not None
    ADAPTER.response(bytes(body))
    failure = ADAPTER.failure(400, {}, bytes(body))
    assert len(failure.message) <= 2000

"""Answers that the recorded traffic has no example of: faults, odd blocks, counts."""

import json
from typing import Any

import pytest
from anthropic_traffic import Gathered, bytewise, feed, framed, of
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.chat import ChatRequest, Completion, Failure, FailureKind, Reasoning, Usage
from sidecar.providers.anthropic import Anthropic
from sidecar.providers.anthropic_models import traits

ADAPTER = Anthropic()
CHAT = ChatRequest("m", [], stream=True)
START = {"type": "message_start", "message": {"type": "message", "content": [], "usage": {"input_tokens": 5}}}
STOP = {"type": "message_stop"}


def begin(index: int, **block: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": index, "content_block": block}


def delta(index: int, kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind, **fields}}


def close(index: int) -> dict[str, Any]:
    return {"type": "content_block_stop", "index": index}


def ended(reason: str, usage: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    return {"type": "message_delta", "delta": {"stop_reason": reason, **more}, "usage": usage}


def stream(*events: dict[str, Any]) -> Gathered:
    return feed(ADAPTER.reader(CHAT), [framed([START, *events])])


def answer(content: Any, reason: str = "end_turn", **more: Any) -> Completion | Failure:
    return ADAPTER.response(json.dumps({"type": "message", "content": content, "stop_reason": reason, **more}).encode())


FINISHES = [
    ("end_turn", "stop"),
    ("stop_sequence", "stop"),
    ("pause_turn", "stop"),
    ("max_tokens", "length"),
    ("model_context_window_exceeded", "length"),
    ("tool_use", "tool_calls"),
    ("refusal", "content_filter"),
    ("compaction", "stop"),
]


@pytest.mark.parametrize(("reason", "finish"), FINISHES)
def test_stop_reasons(reason: str, finish: str) -> None:
    assert of(answer([], reason)).finish == finish
    assert stream(ended(reason), STOP).finish == finish


COUNTS = [
    ({"input_tokens": 3, "output_tokens": 4}, Usage(3, 4)),
    (
        {"input_tokens": 3, "output_tokens": 4, "cache_read_input_tokens": 10, "cache_creation_input_tokens": 7},
        Usage(20, 4, cached_tokens=10, cache_write_5m_tokens=7),
    ),
    (
        {
            "input_tokens": 3,
            "output_tokens": 4,
            "cache_creation_input_tokens": 7,
            "cache_creation": {"ephemeral_5m_input_tokens": 2, "ephemeral_1h_input_tokens": 5},
            "output_tokens_details": {"thinking_tokens": 2},
        },
        Usage(10, 4, cache_write_5m_tokens=2, cache_write_1h_tokens=5, reasoning_tokens=2),
    ),
    ({"input_tokens": 1, "cache_creation": {"ephemeral_1h_input_tokens": 5}}, Usage(6, cache_write_1h_tokens=5)),
    (
        {"cache_creation_input_tokens": 2, "cache_creation": {"ephemeral_1h_input_tokens": 5}},
        Usage(2, cache_write_1h_tokens=2),
    ),
    ({"input_tokens": -3, "output_tokens": None, "service_tier": "x", "server_tool_use": {}}, Usage()),
]


@pytest.mark.parametrize(("wire", "usage"), COUNTS)
def test_usage(wire: dict[str, Any], usage: Usage) -> None:
    assert of(answer([], usage=wire)).usage == usage
    body = framed([{"type": "message_start", "message": {"usage": wire}}, ended("end_turn"), STOP])
    assert feed(ADAPTER.reader(CHAT), [body]).usage == usage


def test_counts_of_a_stream_are_cumulative_and_come_in_pieces() -> None:
    start = {
        "input_tokens": 10,
        "cache_creation_input_tokens": 8,
        "cache_creation": {"ephemeral_5m_input_tokens": 5, "ephemeral_1h_input_tokens": 3},
        "output_tokens": 1,
    }
    later = {"input_tokens": 0, "cache_creation_input_tokens": 9, "cache_read_input_tokens": 4, "output_tokens": 20}
    body = framed([{"type": "message_start", "message": {"usage": start}}, ended("end_turn", later), STOP])
    assert feed(ADAPTER.reader(CHAT), [body]).usage == Usage(23, 20, 4, 6, 3)


def test_a_refusal_is_told_but_commits_nothing() -> None:
    details = {"type": "refusal", "category": "cyber", "explanation": "No."}
    assert of(answer([], "refusal", stop_details=details)).refusal == "No."
    body = framed([START, ended("refusal", stop_details=details), STOP])
    deltas = ADAPTER.reader(CHAT).feed(body)
    assert [d.refusal for d in deltas if d.refusal] == ["No."] and not any(d.content for d in deltas)


def test_input_of_a_call_comes_in_fragments_whole_or_not_at_all() -> None:
    got = stream(
        begin(0, type="server_tool_use", id="s", name="web_search", input={}),
        delta(0, "input_json_delta", partial_json='{"q": 1}'),
        close(0),
        begin(1, type="tool_use", id="a", name="f", input={}),
        delta(1, "input_json_delta", partial_json=""),
        delta(1, "input_json_delta", partial_json='{"x"'),
        begin(2, type="tool_use", id="b", name="g", input={"y": [1, 2]}),
        delta(1, "input_json_delta", partial_json=": 1}"),
        close(1),
        close(2),
        begin(3, type="tool_use", id="c", name="h", input={}),
        close(3),
        ended("tool_use"),
        STOP,
    )
    assert got.calls == [("a", "f", '{"x": 1}'), ("b", "g", '{"y": [1, 2]}'), ("c", "h", "{}")]
    assert got.finish == "tool_calls" and got.text == ""


def test_thinking_and_its_signature() -> None:
    got = stream(
        begin(0, type="thinking", thinking="", signature=""),
        delta(0, "thinking_delta", thinking="a"),
        delta(0, "thinking_delta", thinking="b"),
        delta(0, "signature_delta", signature="s"),
        close(0),
        begin(1, type="redacted_thinking", data="xyz"),
        close(1),
        begin(2, type="thinking", thinking="", signature=""),
        delta(2, "signature_delta", signature="t"),
        close(2),
        begin(3, type="text", text="hi"),
        delta(3, "text_delta", text=" you"),
        delta(3, "citations_delta", citation={"type": "x"}),
        close(3),
        ended("end_turn"),
        STOP,
    )
    assert (got.reasoning, got.text) == ("ab", "hi you")
    assert got.details == [
        Reasoning("reasoning.text", "ab", "s", format="anthropic", index=0),
        Reasoning("reasoning.encrypted", data="xyz", format="anthropic", index=1),
        Reasoning("reasoning.text", "", "t", format="anthropic", index=2),
    ]


UNKNOWN = [
    {"type": "newest", "delta": "text"},
    {"type": "ping"},
    {},
    begin(0, type="newest", text={"a": 1}, input=3),
    delta(0, "newest_delta", text=[1]),
    delta(9, "thinking_delta", thinking="lost"),
    delta(0, "text_delta", text=None),
    close(7),
]


@pytest.mark.parametrize("event", UNKNOWN)
def test_what_is_not_known_is_ignored(event: dict[str, Any]) -> None:
    body = b"data: " + json.dumps(event).encode() + b"\n\n"
    end = framed([delta(1, "text_delta", text="x"), ended("end_turn"), STOP])
    got = feed(ADAPTER.reader(CHAT), [body, end])
    assert (got.text, got.finish, got.failure) == ("x", "stop", None)


def test_blocks_that_are_not_known_are_ignored_in_whole_answers() -> None:
    blocks = [
        {"type": "newest", "text": 1, "data": {}, "input": []},
        {"type": "text", "text": "a", "citations": [{"type": "x"}]},
        {"type": "web_search_tool_result", "content": [{"type": "y"}]},
        {"type": "text", "text": "b"},
    ]
    assert of(answer(blocks)).text == "ab"


ERRORS = [
    ("overloaded_error", "Overloaded", FailureKind.OVERLOADED),
    ("rate_limit_error", "slow", FailureKind.RATE_LIMITED),
    ("api_error", "Internal server error", FailureKind.STREAM_ERROR),
    ("newest_error", "?", FailureKind.STREAM_ERROR),
    ("invalid_request_error", "prompt is too long: 2 tokens > 1 maximum", FailureKind.CONTEXT_OVERFLOW),
]


@pytest.mark.parametrize(("kind", "message", "expected"), ERRORS)
def test_an_error_inside_a_stream_ends_it(kind: str, message: str, expected: FailureKind) -> None:
    error = {"type": "error", "error": {"type": kind, "message": message}}
    got = stream(delta(0, "text_delta", text="x"), error, delta(0, "text_delta", text="y"), STOP)
    assert got.text == "x" and got.finish is None
    assert got.failure == Failure(expected, message, code=kind)
    assert got.usage == Usage(5)


def test_an_error_instead_of_a_stream_or_an_answer() -> None:
    body = b'{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}'
    expected = Failure(FailureKind.OVERLOADED, "Overloaded", code="overloaded_error")
    assert ADAPTER.response(body) == expected
    assert feed(ADAPTER.reader(CHAT), bytewise(b"\n" + body)).failure == expected


@pytest.mark.parametrize(
    "body", [b"", b"{", b"<html>", b"[]", b"null", b'{"content": 1}', b"{}", b'{"type":"message"}']
)
def test_an_answer_that_cannot_be_read_is_malformed(body: bytes) -> None:
    got = ADAPTER.response(body)
    assert isinstance(got, Failure) and got.kind is FailureKind.MALFORMED


STREAM_FAULTS = [
    (b"data: {\n\n", FailureKind.MALFORMED),
    (b'data: {"type":"content_block_delta","index":"x"}\n\n', FailureKind.MALFORMED),
    (b'data: {"x":' + b"[" * 100_000 + b"\n\n", FailureKind.MALFORMED),
    (b'data: {"type":"content_block_delta","index":0,"del', FailureKind.TRUNCATED),
    (b"", FailureKind.TRUNCATED),
    (b"<html>502</html>", FailureKind.TRUNCATED),
    (b'{"type":"message","content":[{"ty', FailureKind.TRUNCATED),
    (b"data: [DONE]\n\n", FailureKind.MALFORMED),
    (b"data: " + b"x" * (17 * 1024 * 1024), FailureKind.MALFORMED),
    (b"{" + b" " * (17 * 1024 * 1024), FailureKind.MALFORMED),
]


@pytest.mark.parametrize(("body", "kind"), STREAM_FAULTS, ids=lambda value: str(value)[:40])
def test_a_stream_that_cannot_be_read(body: bytes, kind: FailureKind) -> None:
    reader = ADAPTER.reader(CHAT)
    deltas = [*reader.feed(body), *reader.end()]
    assert len(deltas) == 1 and deltas[0].failure is not None and deltas[0].failure.kind is kind
    assert not reader.feed(framed([START])) and not reader.end()


PIECES = st.one_of(
    st.binary(max_size=40),
    st.sampled_from([b"data: ", b"\n\n", b"\r\n", b"event: error\n", b'{"type":"', b"message_stop", b"}", b"null"]),
    st.builds(
        lambda event: framed([event]),
        st.fixed_dictionaries(
            {
                "type": st.sampled_from(
                    [
                        "message_start",
                        "content_block_start",
                        "content_block_delta",
                        "content_block_stop",
                        "message_delta",
                        "message_stop",
                        "error",
                        "ping",
                        "x",
                    ]
                )
            },
            optional={
                name: st.recursive(
                    st.none() | st.integers() | st.text(max_size=5) | st.just("tool_use") | st.just("thinking"),
                    lambda inner: (
                        st.dictionaries(
                            st.sampled_from(
                                ["type", "text", "usage", "input", "id", "thinking", "input_tokens", "stop_reason"]
                            ),
                            inner,
                            max_size=4,
                        )
                        | st.lists(inner, max_size=2)
                    ),
                    max_leaves=6,
                )
                for name in ["index", "message", "content_block", "delta", "usage", "error"]
            },
        ),
    ),
)


@settings(deadline=None, max_examples=600)
@given(st.lists(PIECES, max_size=12))
def test_no_bytes_make_the_reader_raise(pieces: list[bytes]) -> None:
    got = feed(ADAPTER.reader(CHAT), pieces)
    assert (got.finish is None) != (got.failure is None)
    assert feed(ADAPTER.reader(CHAT), bytewise(b"".join(pieces))) == got
    ADAPTER.response(b"".join(pieces))


@pytest.mark.parametrize(
    ("model", "adaptive", "sampling", "quiet"),
    [
        ("claude-3-5-sonnet-20241022", False, True, ""),
        ("claude-3.7-sonnet", False, True, ""),
        ("claude-2.1", False, True, ""),
        ("claude-instant-1.2", False, True, ""),
        ("claude-opus-4-20250514", False, True, ""),
        ("claude-haiku-4-5-20251001", False, True, ""),
        ("claude-opus-4-6", True, True, ""),
        ("anthropic.claude-opus-4-6-v1", True, True, ""),
        ("anthropic/claude-opus-4.7", True, False, ""),
        ("claude-opus-5-20260701", True, False, "disabled"),
        ("claude-opus-5-5", True, False, None),
        ("claude-sonnet-5-5", True, False, "between_tools"),
        ("claude-haiku-5-5", True, False, "disabled"),
        ("claude-mythos-preview", True, False, None),
        ("MiniMax-M3", False, True, ""),
    ],
)
def test_what_a_models_name_says(model: str, adaptive: bool, sampling: bool, quiet: str | None) -> None:
    found = traits(model)
    assert (found.adaptive, found.sampling, found.quiet) == (adaptive, sampling, quiet)

"""Recorded answers of Gemini: what the adapter reads is what the official SDK reads from the same bytes."""

import json
from typing import Any

import pytest
from google.genai import types
from google_traffic import SHARED, Exchange, Gathered, exchanges, gather, of_completion, official, run
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.chat import ChatRequest, Completion, FailureKind, Message
from sidecar.providers.google import Google

ALL = exchanges()
GOOD = [exchange for exchange in ALL if exchange.status == 200]
STREAMS = [exchange for exchange in GOOD if exchange.stream]
CHAT = ChatRequest("m", [Message("user", "x")])

pytestmark = pytest.mark.skipif(not ALL, reason=f"no recorded traffic under {SHARED}")


def merged(chunks: list[types.GenerateContentResponse]) -> Gathered:
    """The SDK's chunks added up the way its own documentation does: texts joined, the last usage counts."""
    answer = Gathered()
    reason, calls = None, 0
    for chunk in chunks:
        answer.text += chunk.text or ""
        for part in chunk.parts or []:
            answer.reasoning += (part.text or "") if part.thought else ""
            calls += bool(part.function_call and part.function_call.name)
        for candidate in chunk.candidates or []:
            reason = candidate.finish_reason or reason
    assert reason is not None
    expected = {"STOP": "tool_calls" if calls else "stop", "MAX_TOKENS": "length"}
    answer.finish = expected[reason.value]
    return answer


def official_calls(chunks: list[types.GenerateContentResponse]) -> list[tuple[str, Any, str | None]]:
    """(name, arguments, signature) of the calls, pieces joined as Vertex documents them."""
    calls: list[list[Any]] = []
    for chunk in chunks:
        for part in chunk.parts or []:
            call = part.function_call
            if call is None:
                continue
            if call.name:
                signature = part.model_dump(mode="json")["thought_signature"]
                calls.append([call.name, dict(call.args or {}), signature])
            for piece in call.partial_args or []:
                name = (piece.json_path or "").removeprefix("$.")
                calls[-1][1][name] = calls[-1][1].get(name, "") + (piece.string_value or "")
    return [(name, args, signature) for name, args, signature in calls]


def ours(answer: Gathered) -> list[tuple[str, Any, str | None]]:
    """The same of the adapter's calls; base64 in the SDK's alphabet."""
    found = []
    for call in answer.calls:
        assert call.function is not None
        signature = (call.extra_content or {}).get("google", {}).get("thought_signature")
        plain = signature and signature.replace("+", "-").replace("/", "_")
        found.append((call.function.name, json.loads(call.function.arguments), plain))
    return found


def check(answer: Gathered, exchange: Exchange) -> None:
    """Text, thoughts, calls, finish reason and usage are the SDK's."""
    chunks = official(exchange)
    expected = merged(chunks)
    assert (answer.text, answer.reasoning, answer.finish) == (
        expected.text,
        expected.reasoning,
        expected.finish,
    )
    assert ours(answer) == official_calls(chunks)
    assert len({call.id for call in answer.calls}) == len(answer.calls)
    assert all(call.id for call in answer.calls)
    assert [call.index for call in answer.calls] == list(range(len(answer.calls)))
    wire = next((c.usage_metadata for c in reversed(chunks) if c.usage_metadata), None)
    assert wire is not None and answer.usage is not None
    thoughts = wire.thoughts_token_count or 0
    tools = wire.tool_use_prompt_token_count or 0
    assert answer.usage.input_tokens == (wire.prompt_token_count or 0) + tools
    assert answer.usage.output_tokens == (wire.candidates_token_count or 0) + thoughts
    assert answer.usage.reasoning_tokens == thoughts
    assert answer.usage.cached_tokens == (wire.cached_content_token_count or 0)
    assert answer.usage.input_tokens + answer.usage.output_tokens == wire.total_token_count
    assert not answer.usage.estimated


@pytest.mark.parametrize("exchange", [e for e in GOOD if not e.stream], ids=lambda e: e.id)
def test_whole_answers(exchange: Exchange) -> None:
    completion = Google().response(exchange.body)
    assert isinstance(completion, Completion)
    check(of_completion(completion), exchange)
    assert completion.model == exchange.values[0]["modelVersion"].removeprefix("models/")
    assert completion.id == exchange.values[0].get("responseId", "")
    assert not completion.empty
    [sdk] = official(exchange)
    assert completion.choices[0].message.content == sdk.text


@pytest.mark.parametrize("exchange", STREAMS, ids=lambda e: e.id)
def test_streams_whole_and_byte_by_byte(exchange: Exchange) -> None:
    whole = run(Google().reader(CHAT), exchange.body)
    answer = gather(whole)
    assert answer.failure is None
    assert answer.finishes == 1
    check(answer, exchange)
    single = gather(run(Google().reader(CHAT), exchange.body, range(len(exchange.body))))
    assert single == answer


@pytest.mark.skipif(not STREAMS, reason="no recorded traffic")
@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_streams_at_random_cuts(data: st.DataObject) -> None:
    exchange = data.draw(st.sampled_from(STREAMS))
    cuts = data.draw(st.lists(st.integers(0, len(exchange.body)), max_size=12))
    pieces = gather(run(Google().reader(CHAT), exchange.body, cuts))
    assert pieces == gather(run(Google().reader(CHAT), exchange.body))


@pytest.mark.skipif(not STREAMS, reason="no recorded traffic")
@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_a_stream_cut_short_is_never_a_success(data: st.DataObject) -> None:
    exchange = data.draw(st.sampled_from(STREAMS))
    end = exchange.body.rindex(b'"finishReason"')
    cut = data.draw(st.integers(0, end))
    answer = gather(run(Google().reader(CHAT), exchange.body[:cut]))
    assert answer.failure is not None
    assert answer.failure.kind is FailureKind.TRUNCATED
    assert answer.finish is None


@pytest.mark.parametrize("exchange", [e for e in ALL if e.status != 200], ids=lambda e: e.id)
def test_recorded_errors(exchange: Exchange) -> None:
    failure = Google().failure(exchange.status, {}, exchange.body)
    assert failure.kind is FailureKind.AUTHENTICATION
    assert failure.message == exchange.values[0]["error"]["message"]
    assert failure.status == 400

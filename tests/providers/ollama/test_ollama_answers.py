"""Answers of Ollama's /api/chat: the recorded ones, those of its API document, and faults."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ollama_traffic import SHARED, Exchange, Gathered, exchanges, gather, of_completion, run

from sidecar.chat import ChatRequest, Completion, Failure, FailureKind, Message
from sidecar.providers.ollama import Ollama

ALL = exchanges()
STREAMS = [exchange for exchange in ALL if exchange.stream]
CHAT = ChatRequest("m", [Message("user", "x")])
recorded = pytest.mark.skipif(not ALL, reason=f"no recorded traffic under {SHARED}")


def lines(*values: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(value).encode() + b"\n" for value in values)


def step(done: bool = False, reason: str | None = None, **message: Any) -> dict[str, Any]:
    value = {
        "model": "m",
        "created_at": "2025-07-07T20:22:19.184789Z",
        "message": {"role": "assistant", "content": "", **message},
        "done": done,
    }
    return {**value, "done_reason": reason or "stop", "prompt_eval_count": 26, "eval_count": 5} if done else value


def check(answer: Gathered, exchange: Exchange) -> None:
    """What the document says the fields mean, read here field by field."""
    messages = [value.get("message", {}) for value in exchange.values]
    assert answer.failure is None
    assert answer.text == "".join(message.get("content", "") for message in messages)
    calls = [call["function"] for message in messages for call in message.get("tool_calls", [])]
    assert [
        {"name": c.function.name, "arguments": json.loads(c.function.arguments)} for c in answer.calls if c.function
    ] == calls
    assert len({call.id for call in answer.calls} - {None}) == len(calls)
    last = exchange.values[-1]
    assert answer.finish == ("tool_calls" if calls else "stop")
    if "eval_count" in last:
        assert answer.usage is not None
        assert answer.usage.output_tokens == last["eval_count"]
        assert answer.usage.input_tokens == last.get("prompt_eval_count", 0)
        assert answer.usage.estimated == ("prompt_eval_count" not in last)
    else:
        assert answer.usage is None


@recorded
@pytest.mark.parametrize("exchange", [e for e in ALL if not e.stream], ids=lambda e: e.id)
def test_whole_answers(exchange: Exchange) -> None:
    completion = Ollama().response(exchange.body)
    assert isinstance(completion, Completion)
    check(of_completion(completion), exchange)
    assert completion.model == exchange.values[0]["model"]
    assert completion.created > 1_600_000_000
    assert completion.empty == (
        not exchange.values[0]["message"]["content"] and not completion.choices[0].message.tool_calls
    )


@recorded
@pytest.mark.parametrize("exchange", STREAMS, ids=lambda e: e.id)
def test_streams_whole_and_byte_by_byte(exchange: Exchange) -> None:
    answer = gather(run(Ollama().reader(CHAT), exchange.body))
    check(answer, exchange)
    assert answer == gather(run(Ollama().reader(CHAT), exchange.body, range(len(exchange.body))))


@recorded
@given(data=st.data())
@settings(max_examples=100, deadline=None)
def test_streams_at_random_cuts(data: st.DataObject) -> None:
    exchange = data.draw(st.sampled_from(STREAMS))
    cuts = data.draw(st.lists(st.integers(0, len(exchange.body)), max_size=12))
    check(gather(run(Ollama().reader(CHAT), exchange.body, cuts)), exchange)


@recorded
@given(data=st.data())
@settings(max_examples=100, deadline=None)
def test_a_stream_cut_short_is_never_a_success(data: st.DataObject) -> None:
    exchange = data.draw(st.sampled_from(STREAMS))
    body = exchange.body.rstrip()
    answer = gather(run(Ollama().reader(CHAT), body[: data.draw(st.integers(0, len(body) - 1))]))
    assert answer.failure is not None
    assert (answer.failure.kind, answer.finish) == (FailureKind.TRUNCATED, None)


def test_thinking_and_calls() -> None:
    call = {"function": {"index": 0, "name": "f", "arguments": {"city": "Tokyo", "n": None}}}
    kept = {"id": "call_x1", "function": {"name": "g", "arguments": {}}}
    stream = lines(
        step(thinking="Hm"), step(thinking="m."), step(tool_calls=[call]), step(tool_calls=[kept]), step(True)
    )
    answer = gather(run(Ollama().reader(CHAT), stream))
    whole = of_completion(Ollama().response(lines(step(True, thinking="Hmm.", tool_calls=[call, kept]))))
    for read in (answer, whole):
        assert (read.text, read.reasoning, read.finish) == ("", "Hmm.", "tool_calls")
        assert [(c.index, c.function and c.function.name) for c in read.calls] == [(0, "f"), (1, "g")]
        assert [c.function.arguments for c in read.calls if c.function] == ['{"city":"Tokyo","n":null}', "{}"]
        assert read.calls[1].id == "call_x1"
        assert read.calls[0].id is not None and read.calls[0].id.startswith("call_")


def test_made_ids_do_not_repeat_across_turns() -> None:
    call = {"function": {"name": "f", "arguments": {}}}
    first = step(True, tool_calls=[call, call])
    second = {**first, "created_at": "2025-07-07T20:22:19.184790Z"}
    ids = [c.id for v in (first, second) for c in of_completion(Ollama().response(lines(v))).calls]
    assert len(set(ids)) == 4


@pytest.mark.parametrize(
    ("reason", "expected"), [("stop", "stop"), ("length", "length"), ("load", "stop"), ("unload", "stop")]
)
def test_done_reasons(reason: str, expected: str) -> None:
    body = lines(step(True, reason, content="x"))
    assert of_completion(Ollama().response(body)).finish == expected
    assert gather(run(Ollama().reader(CHAT), body)).finish == expected


def test_a_count_that_was_left_out_is_marked_estimated() -> None:
    value = step(True, content="x")
    del value["prompt_eval_count"]
    answer = of_completion(Ollama().response(lines(value)))
    assert answer.usage is not None
    assert (answer.usage.input_tokens, answer.usage.output_tokens, answer.usage.estimated) == (0, 5, True)
    del value["eval_count"]
    assert of_completion(Ollama().response(lines(value))).usage is None


def test_logprobs() -> None:
    entries = [{"token": "x", "logprob": -0.5, "bytes": [120]}]
    expected = {"content": [{"token": "x", "logprob": -0.5, "bytes": [120], "top_logprobs": []}], "refusal": None}
    body = lines({**step(True, content="x"), "logprobs": entries})
    completion = Ollama().response(body)
    assert isinstance(completion, Completion)
    assert completion.choices[0].logprobs == expected
    assert [d.logprobs for d in run(Ollama().reader(CHAT), body)] == [expected]


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("an error was encountered while running the model: unexpected EOF", FailureKind.STREAM_ERROR),
        ("server busy, please try again.  maximum pending requests exceeded", FailureKind.OVERLOADED),
        ("the input length exceeds the context length", FailureKind.CONTEXT_OVERFLOW),
    ],
)
def test_an_error_line_in_the_stream(text: str, kind: FailureKind) -> None:
    body = lines(step(content="a"), {"error": text}, step(True))
    answer = gather(run(Ollama().reader(CHAT), body))
    assert answer.text == "a"
    assert answer.failure is not None
    assert (answer.failure.kind, answer.failure.message, answer.failure.status) == (kind, " ".join(text.split()), None)


def test_faults_of_the_body() -> None:
    def kind(body: bytes) -> FailureKind | None:
        failure = gather(run(Ollama().reader(CHAT), body)).failure
        return None if failure is None else failure.kind

    good = lines(step(content="a"), step(True))
    assert kind(good) is None
    assert kind(good.replace(b"\n", b"\r\n\r\n")) is None
    assert kind(good[:-1]) is None, "the last newline may be missing"
    assert kind(good + b"garbage\n") is None, "nothing is read after the end"
    assert kind(b"") is FailureKind.TRUNCATED
    assert kind(b"nonsense\n" + good) is FailureKind.MALFORMED
    assert kind(b'{"message": 7}\n' + good) is FailureKind.MALFORMED
    assert kind(b'{"model":"\xff"}\n') is FailureKind.MALFORMED
    assert kind(b'{"x":' + b"[" * 100_000 + b"\n") is FailureKind.MALFORMED


def test_an_endless_line_does_not_eat_the_memory() -> None:
    reader = Ollama().reader(CHAT)
    deltas = [d for _ in range(40) for d in reader.feed(b"x" * 1024 * 1024)]
    assert [d.failure.kind for d in deltas if d.failure] == [FailureKind.MALFORMED]


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (404, b'{"error":"model \'x\' not found"}', FailureKind.NOT_FOUND),
        (400, b'{"error":"\\"gemma3:1b\\" does not support thinking"}', FailureKind.BAD_REQUEST),
        (400, b'{"error":"the input length exceeds the context length"}', FailureKind.CONTEXT_OVERFLOW),
        (
            400,
            b'{"error":{"message":"prompt too long; exceeded max context length by 9 tokens","code":null}}',
            FailureKind.CONTEXT_OVERFLOW,
        ),
        (401, b'{"error":"unauthorized","signin_url":"https://ollama.com/connect"}', FailureKind.AUTHENTICATION),
        (429, b'{"error":"you have reached your weekly usage limit"}', FailureKind.QUOTA),
        (429, b'{"error":"too many requests"}', FailureKind.RATE_LIMITED),
        (500, b'{"error":"llama runner process has terminated"}', FailureKind.SERVER_ERROR),
        (502, b"<html><title>502 Bad Gateway</title></html>", FailureKind.BAD_GATEWAY),
        (503, b'{"error":"server busy, please try again.  maximum pending requests exceeded"}', FailureKind.OVERLOADED),
        (503, b"", FailureKind.OVERLOADED),
    ],
)
def test_failures(status: int, body: bytes, kind: FailureKind) -> None:
    failure = Ollama().failure(status, {"retry-after": "3"}, body)
    assert (failure.kind, failure.status, failure.retry_after) == (kind, status, 3.0)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", FailureKind.MALFORMED),
        (b"<html>", FailureKind.MALFORMED),
        (b"{}", FailureKind.MALFORMED),
        (b'{"x":' + b"[" * 100_000, FailureKind.MALFORMED),
        (b'{"error":"boom"}', FailureKind.SERVER_ERROR),
        (lines(step(content="half")), FailureKind.TRUNCATED),
    ],
)
def test_bodies_that_are_no_answer(body: bytes, kind: FailureKind) -> None:
    failure = Ollama().response(body)
    assert isinstance(failure, Failure)
    assert failure.kind is kind


SEEDS = [b"{", b"}", b"\n", b'"', b"\xff", b"[", lines(step(content="a")), lines(step(True)), b'{"error":7}\n']
BYTES = st.one_of(st.binary(max_size=300), st.lists(st.sampled_from(SEEDS), max_size=10).map(b"".join))


@given(body=BYTES, cuts=st.lists(st.integers(0, 300), max_size=5), status=st.integers(100, 599))
def test_nothing_raises_on_any_bytes(body: bytes, cuts: list[int], status: int) -> None:
    deltas = run(Ollama().reader(CHAT), body, [min(cut, len(body)) for cut in cuts])
    assert deltas and (deltas[-1].failure is not None or deltas[-1].finish_reason is not None)
    assert isinstance(Ollama().response(body), Completion | Failure)
    assert Ollama().failure(status, {}, body).status == status

"""Answers and streams that no recording holds: thoughts, filters, several candidates, faults."""

import json
from typing import Any

import pytest
from google_traffic import Gathered, framed, gather, of_completion, run
from hypothesis import given
from hypothesis import strategies as st

from sidecar.chat import ChatRequest, Completion, Failure, FailureKind, Message
from sidecar.providers.google import Google

CHAT = ChatRequest("m", [Message("user", "x")])
USAGE = {"promptTokenCount": 10, "candidatesTokenCount": 3, "thoughtsTokenCount": 4, "totalTokenCount": 17}


def chunk(*parts: dict[str, Any], finish: str | None = None, index: int = 0, **more: Any) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"parts": list(parts), "role": "model"}, "index": index}
    if finish is not None:
        candidate["finishReason"] = finish
    return {"candidates": [candidate], "usageMetadata": USAGE, "responseId": "r1", **more}


def both(*parts: dict[str, Any], finish: str = "STOP") -> list[Gathered]:
    """The same answer read whole, as one SSE event, and as a JSON array."""
    value = chunk(*parts, finish=finish)
    return [
        of_completion(Google().response(json.dumps(value).encode())),
        gather(run(Google().reader(CHAT), framed([value]))),
        gather(run(Google().reader(CHAT), json.dumps([value], indent=1).encode())),
    ]


def test_thoughts_never_reach_the_content() -> None:
    """BerriAI/litellm #22391: reasoning leaked into JSON output."""
    for answer in both({"text": "Let me think.", "thought": True, "thoughtSignature": "QUFB"}, {"text": '{"a":1}'}):
        assert answer.text == '{"a":1}'
        assert answer.reasoning == "Let me think."
        assert answer.details == [], "the signature of a thought has no text to go back on"
        assert answer.usage is not None
        assert (answer.usage.output_tokens, answer.usage.reasoning_tokens) == (7, 4)


def test_code_execution_does_not_reach_the_content() -> None:
    parts: list[dict[str, Any]] = [
        {"executableCode": {"language": "PYTHON", "code": "print(1)"}, "thoughtSignature": "AAAA"},
        {"codeExecutionResult": {"outcome": "OUTCOME_OK", "output": "1"}},
        {"inlineData": {"mimeType": "image/png", "data": "AAAA"}},
        {"text": "It is 1."},
    ]
    for answer in both(*parts):
        assert answer.text == "It is 1."
        assert answer.details == []
        assert answer.finish == "stop"


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("STOP", "stop"),
        ("MAX_TOKENS", "length"),
        ("SAFETY", "content_filter"),
        ("RECITATION", "content_filter"),
        ("BLOCKLIST", "content_filter"),
        ("PROHIBITED_CONTENT", "content_filter"),
        ("SPII", "content_filter"),
        ("IMAGE_SAFETY", "content_filter"),
        ("LANGUAGE", "content_filter"),
        ("OTHER", "stop"),
        ("FINISH_REASON_UNSPECIFIED", "stop"),
        ("SOMETHING_NEW", "stop"),
    ],
)
def test_finish_reasons(reason: str, expected: str) -> None:
    for answer in both({"text": "a"}, finish=reason):
        assert answer.failure is None
        assert answer.finish == expected


@pytest.mark.parametrize("reason", ["MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "MALFORMED_RESPONSE"])
def test_an_unusable_answer_is_a_failure_not_an_empty_success(reason: str) -> None:
    for answer in both(finish=reason):
        assert answer.failure is not None
        assert answer.failure.kind is FailureKind.MALFORMED
        assert reason in answer.failure.message
    assert both(finish=reason)[1].usage is not None, "it was billed all the same"


def test_a_blocked_prompt_is_a_filtered_answer() -> None:
    value = {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}, "usageMetadata": {"promptTokenCount": 9}}
    completion = Google().response(json.dumps(value).encode())
    assert isinstance(completion, Completion)
    assert completion.finish_reason == "content_filter"
    assert completion.choices[0].finish_reason == "content_filter"
    assert completion.empty
    answer = gather(run(Google().reader(CHAT), framed([value])))
    assert (answer.failure, answer.finish, answer.text) == (None, "content_filter", "")
    assert answer.usage is not None and answer.usage.input_tokens == 9


def test_calls_without_id_get_one_that_is_stable_and_does_not_repeat() -> None:
    call = {"functionCall": {"name": "f", "args": {"x": 1}}}
    ids = []
    for answer in both({"text": "hm"}, call, call):
        assert answer.finish == "tool_calls"
        assert [c.function.arguments for c in answer.calls if c.function] == ['{"x":1}', '{"x":1}']
        ids.append([c.id for c in answer.calls])
    assert ids[0] == ids[1] == ids[2]
    assert len(set(ids[0])) == 2
    other = of_completion(Google().response(json.dumps(chunk(call, finish="STOP", responseId="r2")).encode()))
    assert other.calls[0].id not in ids[0]
    assert all(i and len(i) <= 40 and i.replace("_", "").isalnum() for i in ids[0])


def test_ids_without_a_response_id_differ_between_turns() -> None:
    first = chunk({"functionCall": {"name": "f", "args": {}}}, finish="STOP")
    del first["responseId"]
    second = {**first, "usageMetadata": {**USAGE, "promptTokenCount": 30}}
    ids = {of_completion(Google().response(json.dumps(v).encode())).calls[0].id for v in (first, second)}
    assert len(ids) == 2


def test_googles_own_call_id_is_kept() -> None:
    for answer in both({"functionCall": {"name": "f", "id": "g98os1Jf"}}):
        assert [(c.id, c.function and c.function.arguments) for c in answer.calls] == [("g98os1Jf", "{}")]


def test_several_candidates() -> None:
    first, second = chunk({"text": "a"}, finish="STOP"), chunk({"text": "b"}, finish="MAX_TOKENS", index=1)
    value = {**first, "candidates": first["candidates"] + second["candidates"]}
    completion = Google().response(json.dumps(value).encode())
    assert [of_completion(completion, i).text for i in (0, 1)] == ["a", "b"]
    deltas = run(Google().reader(ChatRequest("m", [], n=2)), framed([first, second]))
    assert [(gather(deltas, i).text, gather(deltas, i).finish) for i in (0, 1)] == [
        ("a", "stop"),
        ("b", "length"),
    ]
    half = gather(run(Google().reader(ChatRequest("m", [], n=2)), framed([first, chunk({"text": "b"}, index=1)])))
    assert half.failure is not None and half.failure.kind is FailureKind.TRUNCATED


def test_stop_in_every_chunk_finishes_once() -> None:
    """Older models said STOP each time, and a call may follow."""
    values = [chunk({"text": "a"}, finish="STOP"), chunk({"functionCall": {"name": "f"}}, finish="STOP")]
    answer = gather(run(Google().reader(CHAT), framed(values)))
    assert (answer.text, answer.finish, answer.finishes) == ("a", "tool_calls", 1)


def test_the_last_usage_wins() -> None:
    values = [chunk({"text": "a"}), {**chunk({"text": "b"}, finish="STOP"), "usageMetadata": {"promptTokenCount": 1}}]
    answer = gather(run(Google().reader(CHAT), framed(values)))
    assert answer.usage is not None
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (1, 0)


def test_audio_tokens_and_cached_tokens() -> None:
    usage = {
        "promptTokenCount": 100,
        "cachedContentTokenCount": 60,
        "candidatesTokenCount": 5,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 70}, {"modality": "AUDIO", "tokenCount": 30}],
        "candidatesTokensDetails": [{"modality": "AUDIO", "tokenCount": 5}],
    }
    completion = Google().response(json.dumps({**chunk(finish="STOP"), "usageMetadata": usage}).encode())
    assert isinstance(completion, Completion) and completion.usage is not None
    read = completion.usage
    assert (read.input_tokens, read.cached_tokens, read.audio_input_tokens, read.audio_output_tokens) == (
        100,
        60,
        30,
        5,
    )


def test_logprobs_in_openais_shape() -> None:
    value = chunk({"text": "é"}, finish="STOP")
    value["candidates"][0]["logprobsResult"] = {
        "chosenCandidates": [{"token": "é", "tokenId": 5, "logProbability": -0.25}],
        "topCandidates": [
            {"candidates": [{"token": "é", "logProbability": -0.25}, {"token": "e", "logProbability": -2.5}]}
        ],
    }
    expected = {
        "content": [
            {
                "token": "é",
                "logprob": -0.25,
                "bytes": [195, 169],
                "top_logprobs": [
                    {"token": "é", "logprob": -0.25, "bytes": [195, 169]},
                    {"token": "e", "logprob": -2.5, "bytes": [101]},
                ],
            }
        ],
        "refusal": None,
    }
    completion = Google().response(json.dumps(value).encode())
    assert isinstance(completion, Completion)
    assert completion.choices[0].logprobs == expected
    streamed = run(Google().reader(CHAT), framed([value]))
    assert [delta.logprobs for delta in streamed if delta.logprobs] == [expected]


def test_an_error_inside_the_stream_is_a_failure() -> None:
    error = {"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}}
    for body in (framed([chunk({"text": "a"}), error]), json.dumps([chunk({"text": "a"}), error]).encode()):
        answer = gather(run(Google().reader(CHAT), body))
        assert answer.text == "a"
        assert answer.failure is not None
        assert (answer.failure.kind, answer.failure.status) == (FailureKind.OVERLOADED, None)
    after = Google().reader(CHAT)
    after.feed(framed([error]))
    assert not after.feed(framed([chunk({"text": "late"}, finish="STOP")]))
    assert not after.end()


def test_faults_of_the_body() -> None:
    def kind(body: bytes) -> FailureKind | None:
        failure = gather(run(Google().reader(CHAT), body)).failure
        return None if failure is None else failure.kind

    good = framed([chunk({"text": "a"}, finish="STOP")])
    assert kind(good) is None
    assert kind(good[:-4]) is None, "the blank line after the last event may be missing"
    assert kind(b"") is FailureKind.TRUNCATED
    assert kind(framed([chunk({"text": "a"})])) is FailureKind.TRUNCATED
    assert kind(b"data: {nonsense\n\n" + good) is FailureKind.MALFORMED
    assert kind(b'data: {"candidates": 7}\n\n' + good) is FailureKind.MALFORMED
    assert kind(b'data: {"responseId":"\xff"}\n\n' + good) is FailureKind.MALFORMED
    assert kind(b'data: {"x":' + b"[" * 100_000 + b"\n\n") is FailureKind.MALFORMED


def test_an_endless_line_does_not_eat_the_memory() -> None:
    for start in (b"data: ", b"["):
        reader = Google().reader(CHAT)
        reader.feed(start)
        deltas = [d for _ in range(40) for d in reader.feed(b'"' + b"x" * 1024 * 1024)]
        assert [d.failure.kind for d in deltas if d.failure] == [FailureKind.MALFORMED]


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b"", FailureKind.MALFORMED),
        (b"<html>", FailureKind.MALFORMED),
        (b"{}", FailureKind.MALFORMED),
        (b"[]", FailureKind.MALFORMED),
        (b"7", FailureKind.MALFORMED),
        (b'{"candidates":[{"content":7}]}', FailureKind.MALFORMED),
        (b'{"responseId":"\xff"}', FailureKind.MALFORMED),
        (b'{"x":' + b"[" * 100_000, FailureKind.MALFORMED),
        (b'{"error":{"code":500,"message":"x","status":"INTERNAL"}}', FailureKind.SERVER_ERROR),
    ],
)
def test_bodies_that_are_no_answer(body: bytes, kind: FailureKind) -> None:
    failure = Google().response(body)
    assert isinstance(failure, Failure)
    assert failure.kind is kind


def test_an_answer_without_text_is_marked_empty() -> None:
    completion = Google().response(json.dumps(chunk(finish="STOP")).encode())
    assert isinstance(completion, Completion)
    assert completion.empty
    assert completion.choices[0].message.content is None


def test_arguments_in_pieces_at_nested_paths() -> None:
    pieces: list[dict[str, Any]] = [
        {"name": "f", "id": "c1", "willContinue": True},
        {"partialArgs": [{"jsonPath": "$.a.b[0].c", "stringValue": "x", "willContinue": True}], "willContinue": True},
        {"partialArgs": [{"jsonPath": "$.a.b[0].c", "stringValue": "x"}], "willContinue": True},
        {"partialArgs": [{"jsonPath": "$.a.b[1]", "numberValue": 2}], "willContinue": True},
        {"partialArgs": [{"jsonPath": "$['k'][99999]", "boolValue": True}], "willContinue": True},
        {"partialArgs": [{"jsonPath": "$['']", "boolValue": True}, {"jsonPath": "$"}], "willContinue": True},
        {},
    ]
    answer = gather(
        run(Google().reader(CHAT), framed([chunk({"functionCall": p}) for p in pieces] + [chunk(finish="STOP")]))
    )
    [call] = answer.calls
    assert call.function is not None and call.id == "c1"
    read = json.loads(call.function.arguments)
    assert read["a"] == {"b": [{"c": "xx"}, 2.0]}
    assert answer.finish == "tool_calls"


BYTES = st.one_of(
    st.binary(max_size=300),
    st.lists(
        st.sampled_from(
            [
                b"data: ",
                b"\r\n\r\n",
                b"\n\n",
                b"[",
                b"]",
                b",",
                b"{",
                b"}",
                b'"',
                b"\xff",
                framed([chunk({"text": "a"})]),
                framed([chunk({"functionCall": {"partialArgs": [{"jsonPath": "$.a[0].b"}]}}, finish="STOP")]),
                json.dumps([chunk({"text": "a"}, finish="STOP")]).encode(),
                b'{"error":{"code":429,"details":[{"retryDelay":"xs"}]}}',
            ]
        ),
        max_size=12,
    ).map(b"".join),
)


@given(body=BYTES, cuts=st.lists(st.integers(0, 300), max_size=5), status=st.integers(100, 599))
def test_nothing_raises_on_any_bytes(body: bytes, cuts: list[int], status: int) -> None:
    deltas = run(Google().reader(CHAT), body, [min(cut, len(body)) for cut in cuts])
    assert deltas, "an end says how it ended"
    assert deltas[-1].failure is not None or deltas[-1].finish_reason is not None
    assert isinstance(Google().response(body), Completion | Failure)
    assert Google().failure(status, {}, body).status == status


@given(st.text(max_size=40), st.text(max_size=20))
def test_no_json_path_raises(path: str, value: str) -> None:
    piece = {"name": "f", "partialArgs": [{"jsonPath": "$" + path, "stringValue": value}]}
    body = json.dumps(chunk({"functionCall": piece}, finish="STOP"), ensure_ascii=True)
    if "\\ud" in body:  # a lone surrogate is no text
        return
    assert len(of_completion(Google().response(body.encode())).calls) == 1

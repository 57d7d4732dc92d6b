"""The OpenAI reader passes bytes on unchanged, whatever way the network cuts them."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from sidecar.chat import Delta, FailureKind
from sidecar.providers.openai import Reader

_CHUNK = (
    b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":'
    b'{"content":" w"},"logprobs":null,"finish_reason":null}],"usage":null}\n\n'
)
_ROLE = _CHUNK.replace(b'{"content":" w"}', b'{"role":"assistant","content":""}')
_LAST = _CHUNK.replace(b'"finish_reason":null', b'"finish_reason":"stop"')
_USAGE = b'data: {"id":"c","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":9}}\n\n'
_DONE = b"data: [DONE]\n\n"
_STREAM = b": ping\n\n" + _ROLE + _CHUNK * 9 + _LAST + _USAGE + _DONE


def _read(data: bytes, cuts: list[int], show_usage: bool = True) -> list[Delta]:
    reader, deltas = Reader(show_usage), []
    places = [0, *sorted(cut % (len(data) + 1) for cut in cuts), len(data)]
    for start, end in pairwise(places):
        if end > start:
            deltas += reader.feed(data[start:end])
    return [*deltas, *reader.end()]


def _wire(deltas: list[Delta]) -> bytes:
    return b"".join(delta.wire or b"" for delta in deltas)


@given(st.lists(st.integers(0, len(_STREAM)), max_size=40))
def test_bytes_pass_whatever_the_cuts(cuts: list[int]) -> None:
    deltas = _read(_STREAM, cuts)
    assert _wire(deltas) == _ROLE + _CHUNK * 9 + _LAST + _USAGE
    assert [d.finish_reason for d in deltas if d.finish_reason] == ["stop"]
    usage = next(d.usage for d in deltas if d.usage)
    assert (usage.input_tokens, usage.output_tokens) == (3, 9)
    assert not any(d.failure for d in deltas)


@given(st.lists(st.integers(0, len(_STREAM)), max_size=20))
def test_usage_that_was_not_asked_for_stays_with_the_gateway(cuts: list[int]) -> None:
    deltas = _read(_STREAM, cuts, show_usage=False)
    assert _USAGE not in _wire(deltas)
    assert any(d.usage for d in deltas)


def test_the_role_alone_commits_nothing() -> None:
    assert not any(d.content for d in Reader(True).feed(_ROLE))
    assert Reader(True).feed(_CHUNK)[0].content


@given(st.integers(0, len(_ROLE + _CHUNK * 9)))
def test_a_stream_cut_before_its_end_is_truncated(length: int) -> None:
    deltas = _read(_STREAM[8 : 8 + length], [])
    failure = deltas[-1].failure
    assert failure is not None
    assert failure.kind in (FailureKind.TRUNCATED, FailureKind.MALFORMED)


def test_an_error_event_after_content_is_a_failure_and_the_last_word() -> None:
    error = b'data: {"error":{"message":"boom","type":"server_error","code":null}}\n\n'
    deltas = _read(_ROLE + _CHUNK + error + _CHUNK, [])
    assert _wire(deltas) == _ROLE + _CHUNK
    assert deltas[-1].failure is not None
    assert deltas[-1].failure.message == "boom"


@given(st.binary(max_size=400), st.lists(st.integers(0, 400), max_size=6))
def test_any_bytes_are_read_without_raising(data: bytes, cuts: list[int]) -> None:
    _read(_CHUNK + data, cuts)

"""Scripted failures on real sockets: each fault in each protocol, as JSON and as a stream."""

import json
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

import httpx
import msgspec
import pytest
import yaml

from sidecar.config.schema import json_schemas, stale
from sidecar.emulator import Emulator, Faults, Script

from .conftest import ROOT, Live, http, live

PATHS = {
    "openai": "/v1/chat/completions",
    "anthropic": "/v1/messages",
    "google": "/v1beta/models/gemini-2.5-flash:generateContent",
    "google-array": "/v1beta/models/gemini-2.5-flash:generateContent",
    "ollama": "/api/chat",
}
AUTH = {"authorization": "Bearer k", "x-goog-api-key": "k", "anthropic-version": "2023-06-01"}
ENDS = {
    "openai": b"data: [DONE]\n\n",
    "anthropic": b'{"type":"message_stop"}\n\n',
    "google": b'"finishReason":"STOP"',
    "google-array": b"\n]\n",
    "ollama": b'"done":true',
}
WAIT = 0.4

protocols = pytest.mark.parametrize("protocol", PATHS)
streams = pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])


class Said(NamedTuple):
    status: int
    headers: httpx.Headers
    body: bytes
    fault: httpx.HTTPError | None

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@pytest.fixture(scope="module")
def breakable() -> Iterator[Live]:
    script = msgspec.convert({"replies": [{"text": "alpha beta gamma theta omega"}]}, Script)
    with live(script) as one:
        yield one


def faults(text: str) -> Faults:
    return msgspec.convert(yaml.safe_load(text), Faults)


def one(live: Live, fault: str) -> None:
    live.app.faults = faults(f"faults: [{fault}]")


def request(protocol: str, stream: bool, text: str = "hello") -> tuple[str, dict[str, Any]]:
    path = PATHS[protocol]
    if protocol.startswith("google"):
        body: dict[str, Any] = {"contents": [{"role": "user", "parts": [{"text": text}]}]}
        if stream:
            path = path.replace(":generate", ":streamGenerate") + "?alt=sse" * (protocol == "google")
    else:
        messages = [{"role": "user", "content": text}]
        body = {"model": "gpt-4o", "messages": messages, "stream": stream}
        body |= {"max_tokens": 500} if protocol == "anthropic" else {}
    return path, body


def ask(live: Live, protocol: str, stream: bool, text: str = "hello") -> Said:
    """One request, read to its end or break; whoever falls silent is left after 0.4 s."""
    path, body = request(protocol, stream, text)
    parts: list[bytes] = []
    status, headers = 0, httpx.Headers()
    try:
        with http.stream("POST", live.url + path, json=body, headers=AUTH, timeout=WAIT) as answer:
            status, headers = answer.status_code, answer.headers
            parts.extend(answer.iter_raw())
    except (httpx.TransportError, httpx.ReadTimeout) as fault:
        return Said(status, headers, b"".join(parts), fault)
    return Said(status, headers, b"".join(parts), None)


def left(live: Live) -> bool:
    end = time.monotonic() + 5
    while not live.app.requests[-1].disconnected and time.monotonic() < end:
        time.sleep(0.01)
    return live.app.requests[-1].disconnected


STATUSES = {
    "bad_request": (400, 400, 400, 400),
    "authentication": (401, 401, 400, 401),
    "permission": (403, 403, 403, 403),
    "not_found": (404, 404, 404, 404),
    "request_timeout": (408, 408, 408, 408),
    "too_large": (413, 413, 400, 413),
    "rate_limited": (429, 429, 429, 429),
    "quota": (429, 400, 429, 429),
    "server_error": (500, 500, 500, 500),
    "bad_gateway": (502, 502, 502, 502),
    "unavailable": (503, 503, 503, 503),
    "overloaded": (503, 529, 503, 503),
    "context_overflow": (400, 400, 400, 400),
}
WORDS = {
    ("openai", "authentication"): {"type": "invalid_request_error", "code": "invalid_api_key"},
    ("openai", "request_timeout"): {"type": "internal_error", "code": "request_timeout"},
    ("openai", "rate_limited"): {"type": "requests", "code": "rate_limit_exceeded"},
    ("openai", "quota"): {"type": "insufficient_quota", "code": "insufficient_quota"},
    ("openai", "context_overflow"): {"code": "context_length_exceeded", "param": "messages"},
    ("anthropic", "authentication"): {"type": "authentication_error", "message": "invalid x-api-key"},
    ("anthropic", "permission"): {"type": "permission_error"},
    ("anthropic", "request_timeout"): {"type": "timeout_error"},
    ("anthropic", "quota"): {"type": "invalid_request_error"},
    ("anthropic", "overloaded"): {"type": "overloaded_error", "message": "Overloaded"},
    ("google", "authentication"): {"status": "INVALID_ARGUMENT"},
    ("google", "too_large"): {"status": "INVALID_ARGUMENT"},
    ("google", "quota"): {"status": "RESOURCE_EXHAUSTED"},
    ("google", "unavailable"): {"status": "UNAVAILABLE"},
}


@streams
@protocols
@pytest.mark.parametrize("fault", STATUSES)
def test_an_error_instead_of_an_answer(breakable: Live, fault: str, protocol: str, stream: bool) -> None:
    one(breakable, f"{{fault: {fault}}}")
    said = ask(breakable, protocol, stream)
    provider = protocol.removesuffix("-array")
    assert said.status == STATUSES[fault][["openai", "anthropic", "google", "ollama"].index(provider)]
    if not said.headers["content-type"].startswith("application/json"):
        assert fault in ("bad_gateway", "request_timeout", "unavailable") and b"{" not in said.body
        return
    body = said.json[0] if protocol == "google-array" and stream else said.json
    error = body["error"]
    assert isinstance(error, str) if provider == "ollama" else error["message"]
    assert (body.get("type") == "error") == (provider == "anthropic")
    expected = WORDS.get((provider, fault), {})
    assert {name: error[name] for name in expected} == expected


@protocols
def test_what_a_provider_says_of_waiting(breakable: Live, protocol: str) -> None:
    one(breakable, "{fault: rate_limited, retry_after: 2s, message: 'slow {down}'}")
    said = ask(breakable, protocol, stream=False)
    assert (said.status, said.headers["retry-after"]) == (429, "2")
    assert b"slow {down}" in said.body
    assert (b'"retryDelay":"2s"' in said.body) == protocol.startswith("google")
    one(breakable, "{fault: unavailable, retry_after: 50ms}")
    assert ask(breakable, protocol, stream=False).headers["retry-after"] == "0.05"
    one(breakable, "{fault: rate_limited}")
    assert "retry-after" not in ask(breakable, protocol, stream=False).headers


def words(body: bytes) -> int:
    return sum(word in body for word in (b"alpha", b"beta", b"gamma", b"theta", b"omega"))


@pytest.mark.parametrize("after", [0, 1, 3, 99])
@protocols
@pytest.mark.parametrize("fault", ["stream_error", "truncated", "reset", "idle_timeout", "malformed"])
def test_a_stream_that_breaks(breakable: Live, fault: str, protocol: str, after: int) -> None:
    one(breakable, f"{{fault: {fault}, after: {after}}}")
    said = ask(breakable, protocol, stream=True)
    if fault == "reset" and after == 0:
        assert isinstance(said.fault, httpx.RemoteProtocolError) and said.status == 0
        assert breakable.app.requests[-1].status == 0
        return
    assert said.status == 200
    if fault == "malformed":
        with pytest.raises(UnicodeDecodeError):
            said.body.decode()
        return
    assert words(said.body) == min(after, 5)
    kinds = {"reset": httpx.RemoteProtocolError, "idle_timeout": httpx.ReadTimeout}
    assert isinstance(said.fault, kinds.get(fault, type(None)))
    ended = ENDS[protocol] in said.body
    assert ended == (fault == "stream_error" and protocol == "google-array")


@protocols
def test_an_error_within_a_stream_has_the_protocols_shape(breakable: Live, protocol: str) -> None:
    one(breakable, "{fault: stream_error, message: broken}")
    body = ask(breakable, protocol, stream=True).body
    if protocol == "google-array":
        error = json.loads(body)[-1]["error"]
    else:
        *_, head, line = [b"", *body.strip().splitlines()]
        assert (head == b"event: error") == (protocol == "anthropic")
        error = json.loads(line.removeprefix(b"data: "))["error"]
    assert (error if protocol == "ollama" else error["message"]) == "broken"


@protocols
@pytest.mark.parametrize("fault", ["stream_error", "truncated", "reset", "idle_timeout", "malformed"])
def test_a_whole_answer_that_breaks(breakable: Live, fault: str, protocol: str) -> None:
    one(breakable, f"{{fault: {fault}}}")
    said = ask(breakable, protocol, stream=False)
    assert said.status == 200
    kinds = {"reset": httpx.RemoteProtocolError, "idle_timeout": httpx.ReadTimeout}
    assert isinstance(said.fault, kinds.get(fault, type(None)))
    size = int(said.headers["content-length"])
    assert (len(said.body) < size) == (fault in kinds) and said.body
    if fault == "stream_error":
        assert said.json["error"]
    else:
        with pytest.raises(ValueError):
            json.loads(said.body)


@protocols
def test_a_whole_answer_that_never_comes(breakable: Live, protocol: str) -> None:
    one(breakable, "{fault: reset, after: 0}")
    said = ask(breakable, protocol, stream=False)
    assert isinstance(said.fault, httpx.RemoteProtocolError) and said.status == 0


@streams
@protocols
def test_silence_before_the_first_token(breakable: Live, protocol: str, stream: bool) -> None:
    one(breakable, "{fault: first_token_timeout}")
    said = ask(breakable, protocol, stream)
    assert isinstance(said.fault, httpx.ReadTimeout)
    assert (said.status, said.body) == (200 if stream else 0, b"")
    assert left(breakable)


LIMITS = {
    "openai": {"max_completion_tokens": 1, "stop": ["on"], "n": 2},
    "anthropic": {"max_tokens": 1, "stop_sequences": ["on"]},
    "google": {"generationConfig": {"maxOutputTokens": 1, "stopSequences": ["on"]}},
    "ollama": {"options": {"num_predict": 1, "stop": ["on"]}},
}


@protocols
def test_a_stream_without_end(breakable: Live, protocol: str) -> None:
    """Whatever the request says of an end, and each piece is as sound as the one before."""
    one(breakable, "{fault: total_timeout, delay: 1ms}")
    path, body = request(protocol, stream=True)
    body |= LIMITS[protocol.removesuffix("-array")]
    text = b""
    with http.stream("POST", breakable.url + path, json=body, headers=AUTH, timeout=5) as answer:
        assert answer.status_code == 200
        for part in answer.iter_raw():
            text += part
            if text.count(b"and so on, ") >= 50 or len(text) > 100_000:
                break
    assert left(breakable)
    assert text.count(b"and so on, ") >= 50
    assert ENDS[protocol] not in text
    events = text.decode().strip().removeprefix("[").split(",\r\n" if protocol == "google-array" else "\n")
    # The last may have been cut off in its middle.
    pieces = [json.loads(line.removeprefix("data: ")) for line in events[:-1] if line.strip() and line[:6] != "event:"]
    assert len(pieces) >= 24


@protocols
def test_a_whole_answer_without_end(breakable: Live, protocol: str) -> None:
    one(breakable, "{fault: total_timeout, delay: 1ms}")
    path, body = request(protocol, stream=False)
    with http.stream("POST", breakable.url + path, json=body, headers=AUTH, timeout=5) as answer:
        assert answer.status_code == 200 and "json" in answer.headers["content-type"]
        parts = answer.iter_raw()
        assert {next(parts) for _ in range(20)} == {b" "}
    assert left(breakable)


@streams
@protocols
def test_no_content(breakable: Live, protocol: str, stream: bool) -> None:
    one(breakable, "{fault: empty}")
    said = ask(breakable, protocol, stream)
    assert (said.status, words(said.body), said.fault) == (200, 0, None)
    finish = {"openai": b'"finish_reason":"stop"', "anthropic": b'"stop_reason":"end_turn"', "ollama": b'"stop"'}
    assert finish.get(protocol, b'"finishReason":"STOP"') in said.body
    if stream:
        assert ENDS[protocol] in said.body


@streams
@protocols
def test_a_filtered_answer(breakable: Live, protocol: str, stream: bool) -> None:
    one(breakable, "{fault: content_filter}")
    said = ask(breakable, protocol, stream)
    assert words(said.body) == 0
    expected = {
        "openai": (400, b'"code":"content_filter"'),
        "anthropic": (200, b'"stop_reason":"refusal"'),
        "ollama": (200, b"sorry" if stream else b"I'm sorry, but I can't help with that."),
    }
    status, mark = expected.get(protocol, (200, b'"finishReason":"SAFETY"'))
    assert said.status == status and mark in said.body


@streams
@protocols
def test_slowness(breakable: Live, protocol: str, stream: bool) -> None:
    one(breakable, "{fault: slow, delay: 100ms}")
    start = time.monotonic()
    said = ask(breakable, protocol, stream)
    assert time.monotonic() - start >= 0.1
    assert (said.status, words(said.body)) == (200, 5)


def test_nth_times_and_order(breakable: Live) -> None:
    breakable.app.faults = faults("""
kind: faults
faults:
- {fault: overloaded, match: {nth: 2}}
- {fault: server_error, match: {contains: boom}, times: 2}
- {fault: not_found, match: {provider: other}}
""")
    said = [ask(breakable, "openai", stream=False, text="boom").status for _ in range(5)]
    assert said == [500, 503, 500, 200, 200]
    breakable.app.faults = breakable.app.faults
    assert ask(breakable, "openai", stream=False, text="boom").status == 500
    breakable.app.faults = Faults()
    assert ask(breakable, "openai", stream=False, text="boom").status == 200


def test_draws_are_reproducible(breakable: Live) -> None:
    def drawn(seed: int, more: str = "") -> list[int]:
        breakable.app.faults = faults(f"{{seed: {seed}, faults: [{{fault: server_error, probability: 0.3}}{more}]}}")
        return [ask(breakable, "openai", stream=False).status for _ in range(60)]

    first = drawn(7)
    assert first == drawn(7)
    assert first != drawn(8)
    assert 8 < first.count(500) < 28
    # A fault added at the end changes nothing for those before it.
    mixed = drawn(7, ", {fault: not_found, probability: 0.5}")
    assert [status == 500 for status in mixed] == [status == 500 for status in first]
    assert 404 in mixed
    assert set(drawn(7)) == {200, 500}


def test_a_script_goes_on_beside_faults() -> None:
    script = msgspec.convert({"replies": [{"match": {"nth": 2}, "status": 418}, {"text": "scripted"}]}, Script)
    with live(script) as one_more:
        one_more.app.faults = faults("faults: [{fault: slow, delay: 10ms}]")
        said = [ask(one_more, "openai", stream=False) for _ in range(3)]
        assert [one.status for one in said] == [200, 418, 200]
        assert b"scripted" in said[0].body


@pytest.mark.parametrize(
    "text",
    [
        "faults: [{fault: nothing}]",
        "faults: [{}]",
        "faults: [{fault: slow}]",
        "faults: [{fault: reset, delay: 1s}]",
        "faults: [{fault: total_timeout, delay: 0ms}]",
        "faults: [{fault: total_timeout, message: no}]",
        "faults: [{fault: refused, message: no}]",
        "faults: [{fault: quota, after: 1}]",
        "faults: [{fault: quota, retry_after: 1s}]",
        "faults: [{fault: reset, message: no}]",
        "faults: [{fault: reset, times: 0}]",
        "faults: [{fault: reset, probability: 2}]",
        "faults: [{fault: reset, match: {nth: 0}}]",
    ],
)
def test_faults_that_make_no_sense_are_refused(text: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        faults(text)


def test_faults_are_given_at_the_start_too() -> None:
    given = faults("faults: [{fault: reset}]")
    assert Emulator(faults=given).faults is given


def test_the_schema_is_up_to_date() -> None:
    name = "faults.schema.json"
    assert stale(ROOT / "schemas", {name: json_schemas({"faults": Faults})[name]}) == []

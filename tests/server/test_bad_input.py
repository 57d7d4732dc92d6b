"""Bodies that are wrong: each is refused with a 4xx that says what and where, in OpenAI's envelope, by the gateway."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from gateway import KEY, MODELS, PROVIDERS, Rows, Served, Threaded, gateway, providers_environ, threaded
from house import CHAT, HELLO, UP_KEY, client, config, envelope, looped, upstream

from sidecar.chat import ChatRequest
from sidecar.emulator import Emulator
from sidecar.listen import listening

OK = {"model": "test-openai", "messages": HELLO}


@pytest.fixture(scope="module")
def served() -> Iterator[Threaded[Served]]:
    with threaded(lambda: listening(Emulator())) as upstream:
        environ = providers_environ(f"http://127.0.0.1:{upstream.value}")
        with threaded(lambda: gateway(PROVIDERS, environ)) as gate:
            yield gate
            assert '"event":"fault"' not in gate.value.log
            assert not gate.value.running.chat.watches


@pytest.fixture(scope="module")
def http(served: Threaded[Served]) -> Iterator[httpx.Client]:
    headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
    with httpx.Client(base_url=served.value.url, headers=headers, trust_env=False, verify=False, timeout=20) as client:
        yield client


def refused(http: httpx.Client, body: bytes | dict[str, Any], status: int = 400) -> dict[str, Any]:
    response = http.post(CHAT, content=body if isinstance(body, bytes) else json.dumps(body).encode())
    assert response.status_code == status, response.text
    return envelope(response)


NOT_JSON = {
    "empty": b"",
    "blank": b" \n",
    "word": b"hello",
    "cut": b'{"model": "test-openai", "messages": [{"role": "us',
    "two": b'{"model": "m", "messages": []} {}',
    "single-quotes": b"{'model': 'm'}",
    "trailing-comma": b'{"model": "m",}',
    "bom": b"\xef\xbb\xbf" + json.dumps(OK).encode(),
    "utf-16": json.dumps(OK).encode("utf-16"),
    "latin-1": '{"model": "test-openai", "messages": [{"role": "user", "content": "é"}]}'.encode("latin-1"),
    "raw-nul": b'{"model": "test-openai\x00", "messages": []}',
    "raw-line-end": b'{"model": "a\nb", "messages": []}',
    "nan": b'{"model": "test-openai", "messages": [{"role": "user", "content": "x"}], "temperature": NaN}',
    "infinity": b'{"model": "test-openai", "messages": [{"role": "user", "content": "x"}], "top_p": -Infinity}',
    "lone-surrogate": b'{"model": "test-openai", "messages": [{"role": "user", "content": "\\ud800"}]}',
    "lone-surrogate-in-model": b'{"model": "\\udfff", "messages": [{"role": "user", "content": "x"}]}',
    "lone-surrogate-in-unknown-field": json.dumps({**OK, "zz": "?"}).encode().replace(b"?", b"\\ud800\\u0041"),
    "deep-cut": b'{"a":' * 100_000,
    "deep-unknown-field": b'{"zz": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "deep-messages": b'{"model": "m", "messages": [{"role": "user", "cache_control": ' + b'{"a":' * 100_000,
}


@pytest.mark.parametrize("body", NOT_JSON.values(), ids=NOT_JSON.keys())
def test_what_is_no_json_is_said_to_be_none(http: httpx.Client, body: bytes) -> None:
    error = refused(http, body)
    assert error["type"] == "invalid_request_error"
    assert error["code"] == "invalid_json"


@pytest.mark.parametrize("body", [b"[]", b"null", b"5", b'"text"', b"true"])
def test_a_body_must_be_an_object(http: httpx.Client, body: bytes) -> None:
    assert refused(http, body)["code"] == "invalid_type"


WRONG: dict[str, Any] = {
    "model": 5,
    "messages": {"role": "user"},
    "stream": "yes",
    "stream_options": [True],
    "max_tokens": "many",
    "max_completion_tokens": 1.5,
    "temperature": "hot",
    "top_p": [1],
    "n": "2",
    "seed": 0.5,
    "stop": 5,
    "tools": {"type": "function"},
    "tool_choice": 1,
    "parallel_tool_calls": "no",
    "response_format": "json",
    "reasoning_effort": 3,
    "presence_penalty": "a",
    "frequency_penalty": {},
    "logprobs": 1,
    "top_logprobs": True,
    "user": {"id": 1},
}


def test_every_field_has_a_wrong_value_here() -> None:
    assert WRONG.keys() == set(ChatRequest.__struct_fields__)


@pytest.mark.parametrize("field", WRONG)
def test_a_field_of_the_wrong_type_is_named(http: httpx.Client, field: str) -> None:
    error = refused(http, {**OK, field: WRONG[field]})
    assert error["param"] == field
    assert error["code"] == "invalid_type"
    assert f"'{field}'" in error["message"]


NESTED = {
    "messages[0]": ["text"],
    "messages[0].role": [{"role": 5}],
    "messages[0].content": [{"role": "user", "content": 5}],
    "messages[1].content": [*HELLO, {"role": "user", "content": {"type": "text"}}],
    "messages[0].content[0]": [{"role": "user", "content": ["text"]}],
    "messages[0].content[0].text": [{"role": "user", "content": [{"type": "text", "text": 5}]}],
    "messages[0].content[0].image_url": [{"role": "user", "content": [{"type": "image_url", "image_url": 5}]}],
    "messages[0].content[0].image_url.url": [
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": 1}}]}
    ],
    "messages[0].tool_calls": [{"role": "assistant", "tool_calls": {}}],
    "messages[0].tool_calls[0].function.arguments": [
        {"role": "assistant", "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": {"a": 1}}}]}
    ],
    "messages[0].tool_call_id": [{"role": "tool", "tool_call_id": 1, "content": "x"}],
}


@pytest.mark.parametrize("path", NESTED)
def test_a_wrong_type_inside_a_message_is_named_by_its_path(http: httpx.Client, path: str) -> None:
    error = refused(http, {**OK, "messages": NESTED[path]})
    assert error["param"] == path
    assert error["code"] == "invalid_type"


@pytest.mark.parametrize(
    ("body", "param", "code"),
    [
        ({"messages": HELLO}, "model", "missing_required_parameter"),
        ({"model": "test-openai"}, "messages", "missing_required_parameter"),
        ({**OK, "messages": []}, "messages", "empty_array"),
        ({**OK, "messages": None}, "messages", "invalid_type"),
        ({**OK, "messages": [{}]}, "messages[0].role", "missing_required_parameter"),
        ({**OK, "messages": [{"role": "king", "content": "x"}]}, "messages[0].role", "invalid_value"),
        ({**OK, "messages": [*HELLO, {"role": "\x00"}]}, "messages[1].role", "invalid_value"),
        ({**OK, "messages": HELLO * 100_000}, "messages", "array_too_long"),
        ({**OK, "tools": [{"type": "function"}] * 5_000}, "tools", "array_too_long"),
        ({**OK, "model": ""}, "model", "invalid_value"),
        ({**OK, "model": "m" * 300}, "model", "invalid_value"),
        ({**OK, "n": 0}, "n", "invalid_value"),
        ({**OK, "n": -1}, "n", "invalid_value"),
        ({**OK, "n": 10**30}, "n", "invalid_value"),
        ({**OK, "max_tokens": -5}, "max_tokens", "invalid_value"),
        ({**OK, "max_tokens": 0}, "max_tokens", "invalid_value"),
        ({**OK, "tools": [{}]}, "tools[0].type", "missing_required_parameter"),
        (
            {**OK, "tools": [{"type": "function", "function": {}}]},
            "tools[0].function.name",
            "missing_required_parameter",
        ),
        ({**OK, "response_format": {}}, "response_format.type", "missing_required_parameter"),
    ],
)
def test_what_the_types_alone_do_not_tell(http: httpx.Client, body: dict[str, Any], param: str, code: str) -> None:
    error = refused(http, body)
    assert (error["param"], error["code"]) == (param, code)


@pytest.mark.parametrize("figure", ["1e400", "-1e400", "1" + "0" * 5000])
@pytest.mark.parametrize("field", ["temperature", "max_tokens", "seed", "n"])
def test_numbers_without_end_are_refused(http: httpx.Client, field: str, figure: str) -> None:
    body = json.dumps(OK)[:-1] + f', "{field}": {figure}}}'
    assert refused(http, body.encode())["param"] == field


@pytest.mark.parametrize(
    "model", ["nope", "test-openai\x00", "TEST-OPENAI", " test-openai", "../x", "openai/nope", "💥"]
)
def test_an_unknown_model_is_a_404(http: httpx.Client, model: str) -> None:
    error = refused(http, {**OK, "model": model}, 404)
    assert (error["param"], error["code"]) == ("model", "model_not_found")


@pytest.mark.parametrize("model", [*MODELS, "auto", "auto:cost"])
@pytest.mark.parametrize("figure", [2**31, 2**63, 10**30, 10**309, 10**4000], ids=["31", "63", "30", "309", "4000"])
def test_large_whole_numbers_break_nothing(http: httpx.Client, model: str, figure: int) -> None:
    for field in ("max_tokens", "seed", "top_logprobs"):
        response = http.post(CHAT, json={**OK, "model": model, field: figure})
        assert response.status_code < 500, response.text


def test_of_a_field_that_stands_twice_the_last_counts_everywhere(http: httpx.Client) -> None:
    body = b'{"model": "nope", "messages": [{"role": "user", "content": "x"}], "model": "test-openai"}'
    response = http.post(CHAT, content=body)
    assert response.status_code == 200, response.text
    assert response.headers["x-sidecar-model"] == "test-openai"
    body = b'{"model": "test-openai", "messages": [{"role": "user", "content": "x"}], "mod\\u0065l": "nope"}'
    assert refused(http, body, 404)["code"] == "model_not_found"


ODD = {
    "tool-call-without-function": [
        {"role": "assistant", "tool_calls": [{"id": "1"}]},
        {"role": "tool", "tool_call_id": "1", "content": "x"},
        *HELLO,
    ],
    "tool-call-with-broken-arguments": [
        *HELLO,
        {"role": "assistant", "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": "{not json"}}]},
        {"role": "tool", "tool_call_id": "1", "content": "x"},
    ],
    "tool-result-of-no-call": [*HELLO, {"role": "tool", "content": "x"}],
    "unknown-part": [{"role": "user", "content": [{"type": "hologram", "hologram": {"x": 1}}]}],
    "part-type-with-line-ends": [
        {"role": "user", "content": [{"type": "text", "text": "x"}, {"type": "a\r\nx-evil: 1\0"}]}
    ],
    "empty-parts": [{"role": "user", "content": []}],
    "no-content": [{"role": "user"}],
    "image-that-is-no-url": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "not a url"}}]}],
    "image-of-another-scheme": [
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "file:///etc/passwd"}}]}
    ],
    "data-url-that-is-not-base64": [
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,\x00§§"}}]}
    ],
    "data-url-without-comma": [
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64"}}]}
    ],
    "data-url-percent": [
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png,%ff%zz"}}]}
    ],
    "broken-ipv6-url": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://[::1"}}]}],
    "file-of-nothing": [{"role": "user", "content": [{"type": "file", "file": {}}]}],
    "audio-of-nothing": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": ""}}]}],
    "nul-in-text": [{"role": "user", "content": "a\x00b"}],
    "assistant-only": [{"role": "assistant", "content": " "}],
    "system-only": [{"role": "system", "content": "x"}],
    "deep-arguments": [
        *HELLO,
        {"role": "assistant", "tool_calls": [{"id": "1", "function": {"name": "f", "arguments": '{"a":' * 50_000}}]},
        {"role": "tool", "tool_call_id": "1", "content": '{"a":' * 50_000},
    ],
}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("case", ODD)
def test_odd_conversations_are_answered_or_refused_but_never_break(
    http: httpx.Client, model: str, case: str, stream: bool
) -> None:
    response = http.post(CHAT, json={"model": model, "messages": ODD[case], "stream": stream})
    assert "x-evil" not in response.headers
    if response.status_code == 200:
        assert response.headers["x-sidecar-model"] == model
    else:
        assert 400 <= response.status_code < 500, response.text
        envelope(response)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("name", ["a\r\nx-evil: 1", "nul\x00", "tab\t", "é\x85", "💥", "", ", ", "x" * 100_000])
def test_an_unknown_field_may_have_any_name(http: httpx.Client, model: str, name: str) -> None:
    response = http.post(CHAT, json={**OK, "model": model, name: 1})
    assert response.status_code == 200, response.text
    assert "x-evil" not in response.headers
    lost = response.headers.get("x-sidecar-warnings")
    assert (lost is None) == (model == "test-openai")
    assert len(lost or "") <= 2000


@pytest.mark.parametrize("model", MODELS)
def test_no_depth_of_nesting_breaks_anything(http: httpx.Client, served: Threaded[Served], model: str) -> None:
    """What one step can still decode may be too deep for the next: each depth around that edge is tried."""
    seen: set[int] = set()
    rows: Rows = []
    for depth in (50, 500, *range(950, 1005)):
        deep = '{"a":' * depth + "1" + "}" * depth
        spots = (
            f'"tools":[{{"type":"function","function":{{"name":"f","parameters":{deep}}}}}]',
            f'"response_format":{{"type":"json_schema","json_schema":{{"name":"f","strict":true,"schema":{deep}}}}}',
            f'"zz":{deep}',
        )
        for spot in spots:
            body = f'{{"model":"{model}","messages":[{{"role":"user","content":"x"}}],{spot}}}'
            response = http.post(CHAT, content=body.encode())
            assert response.status_code in (200, 400), (depth, spot[:30], response.text)
            seen.add(response.status_code)
            if response.status_code == 400:
                envelope(response)
                rows += served.call(served.value.rows(response.headers["x-request-id"], count=0))
    assert {row["outcome"] for row in rows} <= {"failed"}
    assert seen == {200, 400}


@looped
async def test_nor_does_any_depth_break_the_cache() -> None:
    async with upstream() as up:
        text = config({"up": up.url}, {"m1": "up"}, "kind: cache\n")
        async with gateway(text, {"UP_KEY": UP_KEY}) as served, client(served.url) as http:
            for depth in range(950, 1005):
                body = (
                    '{"model":"m1","messages":[{"role":"user","content":"x"}],"zz":' + "[" * depth + "]" * depth + "}"
                )
                response = await http.post(CHAT, content=body.encode())
                assert response.status_code in (200, 400), (depth, response.text)


@pytest.mark.parametrize(("method", "path", "status"), [
    ("GET", CHAT, 405), ("PUT", CHAT, 405), ("DELETE", CHAT, 405), ("POST", "/v1/chat", 404), ("GET", "/", 404),
    ("POST", "/v1/embeddings", 404), ("POST", "/v1/chat/completions/x", 404), ("GET", "/%00", 404),
    ("GET", "/" + "a" * 5_000, 404), ("POST", "/v1/models", 405), ("GET", "/..%2f..%2fetc/passwd", 404),
])  # fmt: skip
def test_wrong_methods_and_paths(http: httpx.Client, method: str, path: str, status: int) -> None:
    response = http.request(method, path)
    assert response.status_code == status
    assert len(envelope(response)["message"]) < 1000


def test_a_response_has_one_request_id_wherever_it_comes_from(http: httpx.Client) -> None:
    for method, path in (("POST", CHAT), ("GET", "/nope"), ("GET", "/ready"), ("GET", "/metrics"), ("GET", "/status")):
        response = http.request(method, path)
        assert len(response.headers.get_list("x-request-id")) == 1, (path, response.headers)


def test_a_trailing_slash_brings_no_second_request_id(http: httpx.Client) -> None:
    assert len(http.post(CHAT + "/").headers.get_list("x-request-id")) == 1


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", "gzip, identity", "x"])
def test_a_packed_body_is_refused(http: httpx.Client, encoding: str) -> None:
    response = http.post(CHAT, json=OK, headers={"content-encoding": encoding})
    assert response.status_code == 415
    assert envelope(response)["code"] == "unsupported_encoding"


def test_the_gateway_is_well_after_all_that(http: httpx.Client) -> None:
    for model in MODELS:
        response = http.post(CHAT, json={**OK, "model": model})
        assert response.status_code == 200, response.text

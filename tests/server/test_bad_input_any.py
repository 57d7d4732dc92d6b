"""Any body and any bytes at all: whatever hypothesis thinks of, no provider's translation breaks, nothing is a 5xx."""

import socket
from collections.abc import Iterator
from typing import Any

import httpx
import msgspec
import pytest
from gateway import KEY, MODELS, PROVIDERS, Served, Threaded, gateway, providers_environ, threaded
from house import CHAT, PATIENCE, envelope
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sidecar.emulator import Emulator
from sidecar.listen import listening

BOUNDED = settings(
    max_examples=120,
    deadline=None,
    database=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)


@pytest.fixture(scope="module")
def served() -> Iterator[Threaded[Served]]:
    with threaded(lambda: listening(Emulator())) as upstream:
        environ = providers_environ(f"http://127.0.0.1:{upstream.value}")
        with threaded(lambda: gateway(PROVIDERS, environ)) as gate:
            yield gate
            faults = [line for line in gate.value.log.splitlines() if '"event":"fault"' in line]
            assert not faults, faults[:3]


@pytest.fixture(scope="module")
def http(served: Threaded[Served]) -> Iterator[httpx.Client]:
    headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
    with httpx.Client(base_url=served.value.url, headers=headers, trust_env=False, verify=False, timeout=20) as client:
        yield client


text = st.text(max_size=12)
words = st.sampled_from(
    ["", " ", "\x00", "{}", "{", "data:image/png;base64,AAAA", "https://[::1", "data:,", "a\r\nb", "1"]
)
leaf = st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats(allow_nan=False) | text | words
anything = st.recursive(
    leaf, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3), max_leaves=6
)
some = text | words


def made(required: dict[str, Any], optional: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Mostly well-formed: an optional field is what it should be, and now and then anything."""
    return st.fixed_dictionaries(required, optional={n: st.none() | s for n, s in optional.items()})


function = made({"name": some}, {"arguments": some})
call = made(
    {"id": some},
    {
        "type": st.just("function"),
        "function": function,
        "index": st.integers(),
        "extra_content": st.dictionaries(text, anything, max_size=2),
    },
)
part = made(
    {"type": st.sampled_from(["text", "image_url", "input_audio", "file", "refusal", "hologram", ""])},
    {
        "text": some,
        "image_url": some | made({"url": some}, {"detail": some}),
        "input_audio": made({"data": some}, {"format": some}),
        "file": made({}, {"file_data": some, "file_id": some, "filename": some}),
        "refusal": some,
        "cache_control": st.dictionaries(text, anything, max_size=2),
    },
)
message = made(
    {"role": st.sampled_from(["system", "developer", "user", "assistant", "tool", "function"])},
    {
        "content": some | st.lists(part, max_size=3),
        "name": some,
        "tool_calls": st.lists(call, max_size=2),
        "tool_call_id": some,
        "function_call": function,
        "refusal": some,
        "reasoning_content": some,
        "reasoning_details": st.lists(
            made(
                {"type": some},
                {
                    "text": some,
                    "signature": some,
                    "data": some,
                    "format": st.sampled_from(["anthropic", "google", "x"]),
                },
            ),
            max_size=2,
        ),
    },
)
tool = made(
    {"type": st.sampled_from(["function", "web_search"])},
    {
        "function": made(
            {"name": some},
            {"description": some, "parameters": st.dictionaries(text, anything, max_size=3), "strict": st.booleans()},
        )
    },
)
schema = made(
    {"name": some},
    {
        "schema": st.dictionaries(
            st.sampled_from(["type", "properties", "items", "$ref", "anyOf", "enum"]), anything, max_size=3
        ),
        "strict": st.booleans(),
    },
)
numbers = st.floats(-3, 3) | st.integers(-(10**12), 10**12)
optional: dict[str, Any] = {
    "stream": st.booleans(),
    "stream_options": made({}, {"include_usage": st.booleans()}),
    "max_tokens": st.integers(1, 2**40),
    "max_completion_tokens": st.integers(1, 2**40),
    "temperature": numbers,
    "top_p": numbers,
    "n": st.integers(1, 3),
    "seed": st.integers(-(2**70), 2**70),
    "stop": some | st.lists(some, max_size=6),
    "tools": st.lists(tool, max_size=3),
    "tool_choice": some
    | st.sampled_from(["auto", "none", "required"])
    | made({"type": some}, {"function": made({"name": some}, {})}),
    "parallel_tool_calls": st.booleans(),
    "response_format": made(
        {"type": st.sampled_from(["text", "json_object", "json_schema", "x"])}, {"json_schema": schema}
    ),
    "reasoning_effort": some | st.sampled_from(["none", "minimal", "low", "high", "xhigh"]),
    "presence_penalty": numbers,
    "frequency_penalty": numbers,
    "logprobs": st.booleans(),
    "top_logprobs": st.integers(-1, 30),
    "user": some,
}
requests = st.builds(
    lambda well, odd: {**well, **odd},
    st.fixed_dictionaries({"messages": st.lists(message, min_size=1, max_size=4)}, optional=optional),
    st.just({}) | st.dictionaries(some | st.sampled_from([*optional]), anything, max_size=2),
)


def judge(response: httpx.Response) -> None:
    assert response.status_code < 500, response.text
    if response.status_code != 200:
        assert response.status_code >= 400, response.text
        envelope(response)
    assert len(response.headers.get_list("x-request-id")) == 1


@pytest.mark.parametrize("model", MODELS)
@given(request=requests)
@BOUNDED
def test_any_request_is_translated_or_refused(http: httpx.Client, model: str, request: dict[str, Any]) -> None:
    body = msgspec.json.encode({**request, "model": model})
    response = http.post(CHAT, content=body)
    judge(response)
    if response.status_code == 200 and response.headers["content-type"].startswith("text/event-stream"):
        assert response.text.endswith("data: [DONE]\n\n") or '"error"' in response.text


@given(body=st.binary(max_size=200) | anything.map(msgspec.json.encode))
@BOUNDED
def test_any_body_gets_an_answer(http: httpx.Client, body: bytes) -> None:
    response = http.post(CHAT, content=body)
    judge(response)
    assert response.status_code == 400


@given(
    start=st.sampled_from([b"", b"POST /v1/chat/completions HTTP/1.1\r\n", b"GET /v1/models HTTP/1.1\r\nhost: x\r\n"]),
    rest=st.lists(
        st.binary(max_size=30)
        | st.sampled_from(
            [
                b"\r\n",
                b"\r\n\r\n",
                b"host: x\r\n",
                b"content-length: 3\r\n",
                b"transfer-encoding: chunked\r\n",
                b": \r\n",
            ]
            + [
                b"content-length: -1\r\n",
                b"3\r\nabc\r\n",
                b"ffffffffffffffff\r\n",
                b"0\r\n\r\n",
                b"expect: 100-continue\r\n",
            ]
            + [b"connection: upgrade\r\nupgrade: websocket\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]
        ),
        max_size=8,
    ),
)
@BOUNDED
def test_any_bytes_on_the_socket_harm_nobody(served: Threaded[Served], start: bytes, rest: list[bytes]) -> None:
    port = int(served.value.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as link:
        try:
            link.sendall(start + b"".join(rest))
            link.shutdown(socket.SHUT_WR)
            data = b"".join(iter(lambda: link.recv(65536), b""))
        except ConnectionError:
            data = b""
    for answer in data.split(b"HTTP/1.1 ")[1:]:
        assert answer[:1] in b"1234", data


def test_the_gateway_answers_after_all_that(http: httpx.Client, served: Threaded[Served]) -> None:
    for model in MODELS:
        response = http.post(CHAT, json={"model": model, "messages": [{"role": "user", "content": "hello"}]})
        assert response.status_code == 200, response.text
    assert not served.value.running.chat.watches

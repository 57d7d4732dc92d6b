"""What the official Python SDK raises, for faults of the caller, of the gateway's policy and of the providers."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import msgspec
import openai
import pytest
from gateway import KEY, MODELS, PROVIDERS, Emulated, emulated, free_port, providers_environ

from sidecar.emulator import Script

HI: Any = [{"role": "user", "content": "hi"}]
KEYS = {"test-openai": "OPENAI_API_KEY", "test-anthropic": "ANTHROPIC_API_KEY", "test-google": "GEMINI_API_KEY"}
LIMITED = """\
kind: gateway
providers:
  openai:
    protocol: openai
    base_url: ${OPENAI_BASE_URL}
    api_key: ${OPENAI_API_KEY}
---
kind: rate_limit
limits: [{per: key, requests: 2/m}]
---
kind: authenticate
anonymous: never
keys:
  - name: app
    secret: ${SIDECAR_KEY}
"""


def sdk(both: Emulated, **more: Any) -> openai.OpenAI:
    return openai.OpenAI(**{"api_key": KEY, "base_url": both.v1, "max_retries": 0, **more})


@pytest.fixture(scope="module")
def failing() -> Iterator[Any]:
    """Starts, once for each reply, a gateway whose providers all answer with it."""
    with ExitStack() as stack:
        known: dict[str, Emulated] = {}

        def start(**reply: Any) -> Emulated:
            name = repr(reply)
            if name not in known:
                script = msgspec.convert({"kind": "emulator", "replies": [reply]}, Script)
                known[name] = stack.enter_context(emulated(script))
            return known[name]

        yield start


BAD_BODIES = {
    "no messages": ({"messages": []}, "messages"),
    "a role that does not exist": ({"messages": [{"role": "wizard", "content": "x"}]}, "messages[0].role"),
    "a wrong type": ({"messages": HI, "temperature": "hot"}, "temperature"),
    "no room for an answer": ({"messages": HI, "max_tokens": 0}, "max_tokens"),
    "too many answers": ({"messages": HI, "n": 1000}, "n"),
}


@pytest.mark.parametrize(("body", "param"), BAD_BODIES.values(), ids=BAD_BODIES)
def test_a_bad_request_names_the_field(body: dict[str, Any], param: str, client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model="test-openai", **body)
    error = caught.value
    assert (error.param, error.type) == (param, "invalid_request_error")
    assert error.request_id and param in error.message


@pytest.mark.parametrize("headers", [None, {"Authorization": openai.Omit()}], ids=["wrong", "none"])
def test_a_wrong_key_and_no_key(headers: Any, both: Emulated) -> None:
    with sdk(both, api_key="gw-wrong-key-of-nobody") as client:
        with pytest.raises(openai.AuthenticationError) as caught:
            client.chat.completions.create(model="test-openai", messages=HI, extra_headers=headers)
        assert "gw-wrong-key" not in caught.value.message
        with pytest.raises(openai.AuthenticationError):
            client.models.list(extra_headers=headers)


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
def test_an_unknown_model(client: openai.OpenAI, stream: bool) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        client.chat.completions.create(model="test-opena1", messages=HI, stream=stream)
    error = caught.value
    assert (error.code, error.param) == ("model_not_found", "model")
    assert "test-opena1" in error.message


def test_an_unknown_path(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError):
        client.batches.list()


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
@pytest.mark.parametrize("model", MODELS)
def test_a_provider_that_refuses_the_request(model: str, stream: bool, failing: Any) -> None:
    both = failing(status=400, error="Your picture is upside down.")
    with sdk(both) as client, pytest.raises(openai.BadRequestError) as caught:
        client.chat.completions.create(model=model, messages=HI, stream=stream)
    assert "Your picture is upside down." in caught.value.message
    [row] = both.rows(caught.value.request_id)
    assert (row["outcome"], row["failure"], row["cost_nano"]) == ("failed", "bad_request", 0)


@pytest.mark.parametrize("model", MODELS)
def test_a_provider_that_limits_the_rate(model: str, failing: Any) -> None:
    both = failing(status=429, error="Slow down.", headers={"retry-after": "7"})
    with sdk(both) as client, pytest.raises(openai.RateLimitError) as caught:
        client.chat.completions.create(model=model, messages=HI)
    assert caught.value.response.headers["retry-after"] == "7"
    assert "Slow down." in caught.value.message
    assert both.rows(caught.value.request_id)[0]["failure"] == "rate_limited"


@pytest.mark.parametrize("model", MODELS)
def test_a_provider_that_is_overloaded(model: str, failing: Any) -> None:
    both = failing(status=529 if model == "test-anthropic" else 503, error="Too busy.")
    with sdk(both) as client, pytest.raises(openai.InternalServerError) as caught:
        client.chat.completions.create(model=model, messages=HI)
    assert (caught.value.status_code, caught.value.type) == (503, "overloaded_error")
    assert "retry-after" in caught.value.response.headers


@pytest.mark.parametrize(("model", "variable"), KEYS.items())
def test_a_provider_that_refuses_the_gateways_key(model: str, variable: str, failing: Any) -> None:
    key = providers_environ("")[variable]
    both = failing(match={"provider": model.removeprefix("test-")}, status=401, error=f"Incorrect API key: {key}.")
    with sdk(both) as client, pytest.raises(openai.InternalServerError) as caught:
        client.chat.completions.create(model=model, messages=HI)
    assert (caught.value.status_code, caught.value.code) == (502, "provider_authentication")
    assert "Incorrect API key: ***" in caught.value.message
    assert both.rows(caught.value.request_id)[0]["failure"] == "authentication"
    assert key not in both.gateway.value.log


def test_a_provider_that_is_not_there() -> None:
    nobody = f"http://127.0.0.1:{free_port()}/v1"
    with emulated(None, PROVIDERS, OPENAI_BASE_URL=nobody) as both, sdk(both) as client:
        with pytest.raises(openai.InternalServerError) as caught:
            client.chat.completions.create(model="test-openai", messages=HI)
        assert caught.value.status_code == 502
        assert nobody[7:20] not in caught.value.message
        assert client.chat.completions.create(model="test-ollama", messages=HI).choices


def test_the_gateways_own_limit_and_the_sdks_retries() -> None:
    with emulated(None, LIMITED) as both, sdk(both) as client:
        create = client.chat.completions.with_raw_response.create
        for words in ("hi", "hello"):
            answer = create(model="gpt-4o-mini", messages=[{"role": "user", "content": words}])
        assert answer.headers["x-ratelimit-remaining-requests"] == "0"
        with pytest.raises(openai.RateLimitError) as caught:
            client.chat.completions.create(model="gpt-4o-mini", messages=HI)
        assert 0 < int(caught.value.response.headers["retry-after"]) <= 61  # to the next whole step
        assert len(both.emulator.requests) == 2


def test_the_sdk_tries_again_by_itself() -> None:
    once = {"match": {"nth": 1}, "status": 503, "error": "Too busy."}
    script = msgspec.convert({"kind": "emulator", "replies": [once]}, Script)
    with emulated(script) as both, sdk(both, max_retries=1) as client:
        answer = client.chat.completions.create(model="test-openai", messages=HI)
        assert answer.choices[0].finish_reason == "stop"
        assert [row["outcome"] for row in both.rows(count=2)] == ["failed", "answered"]

"""Recorded and reported errors, through the gateway: the SDK raises its own class, the message is the provider's."""

from typing import Any, NamedTuple

import openai
import pytest
from gateway import Served, Threaded

from .answers import ask, messages
from .exchanges import Exchange, exchanges, present

ALL = {exchange.id: exchange for exchange in exchanges()}
ERRORS = [exchange for exchange in ALL.values() if exchange.status != 200]


class Told(NamedTuple):
    """What a caller makes of an error, and what the ledger calls it."""

    raised: type[openai.APIStatusError]
    status: int
    code: str | None
    message: str
    failure: str


BAD, BUSY, BROKEN = openai.BadRequestError, openai.RateLimitError, openai.InternalServerError
EXPECTED = {
    "anthropic-0417cd5625": Told(BAD, 400, "invalid_request_error", "does not support effort level", "bad_request"),
    "anthropic-290c1ad6cc": Told(BAD, 400, "context_length_exceeded", "prompt is too long", "context_overflow"),
    # The gateway's own key is refused: nothing that the caller could mend.
    "google-f0deb6d7ce": Told(BROKEN, 502, "provider_authentication", "API key not valid", "authentication"),
    "ollama-f22c4902b1": Told(BAD, 400, "context_length_exceeded", "prompt too long", "context_overflow"),
    "openai-3f4f8c4199": Told(BAD, 400, "unsupported_value", "does not support 'system'", "bad_request"),
    "openai-cb4275554f": Told(BAD, 400, "unsupported_value", "does not support 'developer'", "bad_request"),
    "openai-e06faaf0e1": Told(BAD, 400, "invalid_value", "Invalid 'messages[3]'", "bad_request"),
    "openai-f6a4a53c5d": Told(openai.NotFoundError, 404, "model_not_found", "does not exist", "not_found"),
    "vercel-9c61d1841c": Told(BAD, 400, "unsupported_parameter", "Use 'max_completion_tokens'", "bad_request"),
    "reported-00": Told(BROKEN, 503, "provider_overloaded", "Overloaded", "overloaded"),
    "reported-02": Told(BUSY, 429, "provider_rate_limited", "would exceed the rate limit", "rate_limited"),
    "reported-03": Told(BUSY, 429, "insufficient_quota", "exceeded your current quota", "quota"),
    "reported-04": Told(BUSY, 429, "provider_rate_limited", "Rate limit reached for gpt-4.1", "rate_limited"),
    "reported-07": Told(BROKEN, 503, "provider_overloaded", "The model is overloaded", "overloaded"),
    "reported-10": Told(BUSY, 429, "provider_rate_limited", "Resource exhausted", "rate_limited"),
}
GOOD = {
    "test-openai": "openai-45aed01048",
    "test-anthropic": "anthropic-6bb09d5901",
    "test-google": "google-75728dafec",
    "test-ollama": "ollama-6ac2f6087e",
}


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
@pytest.mark.parametrize("exchange", ERRORS, ids=lambda e: e.id)
def test_the_sdk_raises_its_own_class(
    exchange: Exchange, stream: bool, client: openai.OpenAI, served: Threaded[Served]
) -> None:
    wanted = EXPECTED[exchange.id]
    with pytest.raises(openai.APIStatusError) as caught:
        client.chat.completions.create(model=exchange.model, messages=messages(exchange), stream=stream)
    error: Any = caught.value
    assert type(error) is wanted.raised
    assert (error.status_code, error.code) == (wanted.status, wanted.code)
    assert wanted.message in error.body["message"]
    if wanted.status == 400 and exchange.model == "test-openai":
        assert error.param == exchange.values[0]["error"].get("param")
    assert ("retry-after" in error.response.headers) == (wanted.status in (429, 503))
    assert (error.response.headers["x-sidecar-model"], error.response.headers["x-sidecar-attempts"]) == (
        exchange.model,
        "1",
    )
    [row] = served.call(served.value.rows(error.request_id))
    assert (row["outcome"], row["failure"], row["status"]) == ("failed", wanted.failure, exchange.status)
    assert (row["cost_nano"], row["output_tokens"]) == (0, 0)
    # One failure does no harm to the next request.
    assert ask(client, ALL[GOOD[exchange.model]], exchange.model).choices[0].finish == "stop"


def test_every_error_was_looked_at() -> None:
    present()
    assert {exchange.id for exchange in ERRORS} == set(EXPECTED)

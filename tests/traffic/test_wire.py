"""The form of what callers get for recorded answers: bytes that pass, chunks in their order, usage where asked for."""

from typing import Any

import openai
import pytest
from gateway import Served, Threaded

from .answers import messages
from .exchanges import Exchange, exchanges
from .replay import HALF

GOOD = [exchange for exchange in exchanges() if exchange.status == 200]
STREAMS = [exchange for exchange in GOOD if exchange.stream]
PASSED = [exchange for exchange in GOOD if not exchange.stream and exchange.model == "test-openai"]


def chunks_of(client: openai.OpenAI, exchange: Exchange, **more: Any) -> list[Any]:
    with client.chat.completions.create(
        model=exchange.model, messages=messages(exchange), stream=True, **more
    ) as stream:
        return list(stream)


@pytest.mark.parametrize("exchange", PASSED, ids=lambda e: e.id)
def test_an_answer_of_the_callers_protocol_passes_byte_for_byte(exchange: Exchange, client: openai.OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(model=exchange.model, messages=messages(exchange))
    assert raw.http_response.content == exchange.body
    assert raw.headers["content-type"] == "application/json"


@pytest.mark.parametrize("exchange", STREAMS, ids=lambda e: e.id)
def test_usage_is_in_one_last_chunk_for_those_who_asked(exchange: Exchange, client: openai.OpenAI) -> None:
    asked = chunks_of(client, exchange, stream_options={"include_usage": True})
    plain = chunks_of(client, exchange)
    figures = [chunk for chunk in asked if chunk.usage is not None and not chunk.choices]
    assert figures == [asked[-1]]
    assert not [chunk for chunk in plain if chunk.usage is not None and not chunk.choices]
    # Nothing else differs, but for the time and the id that are of the gateway's making.
    assert [told(chunk) for chunk in plain] == [told(chunk) for chunk in asked[:-1]]


@pytest.mark.parametrize("exchange", STREAMS, ids=lambda e: e.id)
def test_a_stream_has_one_role_first_and_one_finish_last(exchange: Exchange, client: openai.OpenAI) -> None:
    choices = [chunk.choices[0] for chunk in chunks_of(client, exchange) if chunk.choices]
    assert choices[0].delta.role == "assistant"
    finishes = [choice.finish_reason for choice in choices]
    assert finishes[-1] is not None and not any(finishes[:-1])
    if exchange.model != "test-openai":  # those that are passed as they are may say it in every chunk
        assert not [choice for choice in choices[1:] if choice.delta.role]


@pytest.mark.parametrize("exchange", STREAMS, ids=lambda e: e.id)
def test_half_a_stream_is_an_error_and_not_an_answer(
    exchange: Exchange, client: openai.OpenAI, served: Threaded[Served]
) -> None:
    """Portkey-AI/gateway #1797: a cut that is passed on as a clean end."""
    prompt: Any = [{"role": "user", "content": HALF.format(exchange.id)}]
    seen, request_id = [], ""
    with pytest.raises(openai.APIError) as caught:
        stream = client.chat.completions.create(model=exchange.model, messages=prompt, stream=True)
        request_id = stream.response.headers["x-request-id"]
        for chunk in stream:
            seen += [choice for choice in chunk.choices if choice.delta.content]
    if isinstance(caught.value, openai.APIStatusError):  # nothing had been shown yet
        assert caught.value.status_code == 502
        request_id = str(caught.value.request_id)
    assert any(word in caught.value.message for word in ("ended", "truncated"))
    [row] = served.call(served.value.rows(request_id))
    assert (row["outcome"], row["failure"]) == ("failed", "truncated")
    assert row["input_tokens"] > 0 or not seen
    # The model is not to rest: five failures in a row would send it to.
    assert chunks_of(client, exchange)


def told(chunk: Any) -> Any:
    return [choice.model_dump() for choice in chunk.choices]

"""A caller who leaves stops the meter: the provider sees it at once, and the ledger has the row."""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import openai
import pytest
from gateway import KEY, Emulated

SLOWLY: Any = [{"role": "user", "content": "Answer slowly, please"}]
LONG: Any = [{"role": "user", "content": "Please think long"}]


def until(condition: Callable[[], Any], patience: float = 3.0) -> Any:
    """What the condition gives, once it is true."""
    end = time.monotonic() + patience
    while not (met := condition()) and time.monotonic() < end:
        time.sleep(0.01)
    return met


def impatient(both: Emulated) -> openai.OpenAI:
    return openai.OpenAI(api_key=KEY, base_url=both.v1, max_retries=0, timeout=0.3)


async def _leave_in_the_middle(both: Emulated, model: str) -> str:
    async with openai.AsyncOpenAI(api_key=KEY, base_url=both.v1, max_retries=0) as sdk:
        stream = await sdk.chat.completions.create(model=model, messages=SLOWLY, stream=True)
        seen = 0
        async for chunk in stream:
            seen += bool(chunk.choices and chunk.choices[0].delta.content)
            if seen == 5:
                break
        await stream.close()
        return stream.response.headers["x-request-id"]


def test_leaving_a_stream_in_the_middle(both: Emulated, model: str) -> None:
    request_id = asyncio.run(_leave_in_the_middle(both, model))
    recorded = both.last
    assert until(lambda: recorded.disconnected)
    assert recorded.chunks < 200, "the provider went on for long"
    [row] = both.rows(request_id)
    assert (row["outcome"], row["failure"], row["model"], row["stream"]) == ("failed", "cancelled", model, 1)


BILLED = [
    "test-openai",
    "test-anthropic",
    "test-google",
    "test-ollama",
]


@pytest.mark.parametrize("model", BILLED)
def test_what_was_read_of_a_broken_stream_is_billed(both: Emulated, model: str) -> None:
    """BerriAI/litellm #30667: what a provider counted at the start of a stream is not what it sent until its end."""
    [row] = both.rows(asyncio.run(_leave_in_the_middle(both, model)))
    assert row["output_tokens"] >= 5 and row["input_tokens"] > 0
    assert row["estimated"] == 1
    assert model == "test-ollama" or row["cost_nano"] > 0


def test_leaving_before_the_answer(both: Emulated, model: str) -> None:
    seen = len(both.rows(count=0))
    with impatient(both) as sdk, pytest.raises(openai.APITimeoutError):
        sdk.chat.completions.create(model=model, messages=LONG)
    recorded = both.last
    assert until(lambda: recorded.disconnected)
    [row] = both.rows(count=seen + 1)[seen:]
    assert (row["failure"], row["model"], row["stream"]) == ("cancelled", model, 0)


def test_leaving_a_stream_before_its_first_token(both: Emulated) -> None:
    seen = len(both.rows(count=0))
    with impatient(both) as sdk, pytest.raises(openai.APITimeoutError):
        sdk.chat.completions.create(model="test-openai", messages=LONG, stream=True)
    recorded = both.last
    assert until(lambda: recorded.disconnected)
    [row] = both.rows(count=seen + 1)[seen:]
    assert (row["failure"], row["stream"]) == ("cancelled", 1)

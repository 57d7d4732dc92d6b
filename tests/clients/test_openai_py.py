"""The official Python SDK, unmodified: whole answers, streams, tools, structured output, images, lists."""

import asyncio
import base64
import json
from typing import Any, Literal

import openai
import pydantic
import pytest
from gateway import KEY, MODELS, Emulated

from .conftest import VERBATIM

pytestmark = pytest.mark.usefixtures("flawless")
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(range(64))).decode()
WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "unit": {"type": "string", "enum": ["C", "F"]}},
            "required": ["city", "unit"],
            "additionalProperties": False,
        },
    },
}


class Step(pydantic.BaseModel):
    """One line of a proof."""

    explanation: str
    output: str


class Proof(pydantic.BaseModel):
    """What `parse` is asked for."""

    steps: list[Step]
    answer: int
    verdict: Literal["right", "wrong"]
    note: str | None


class GetWeather(pydantic.BaseModel):
    """The weather of a city."""

    city: str
    days: int


def ask(text: str) -> list[Any]:
    return [{"role": "system", "content": "Be brief."}, {"role": "user", "content": text}]


def test_a_whole_answer(client: openai.OpenAI, model: str) -> None:
    answer = client.chat.completions.create(
        model=model, messages=ask("Say it verbatim"), temperature=0.2, max_tokens=900
    )
    assert (answer.object, len(answer.choices), answer.choices[0].index) == ("chat.completion", 1, 0)
    assert answer.choices[0].message.role == "assistant"
    assert answer.choices[0].message.content == VERBATIM
    assert answer.choices[0].finish_reason == "stop"
    assert answer.id and answer.created > 1_700_000_000 and answer.model
    usage = answer.usage
    assert usage is not None and usage.prompt_tokens_details is not None
    assert (usage.prompt_tokens, usage.completion_tokens, usage.total_tokens) == (1000, 200, 1200)
    # Ollama has no figure for what it read from its cache.
    assert usage.prompt_tokens_details.cached_tokens == (0 if model == "test-ollama" else 600)


def test_a_stream_without_usage(client: openai.OpenAI, model: str) -> None:
    chunks = list(client.chat.completions.create(model=model, messages=ask("Say it verbatim"), stream=True))
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == VERBATIM
    assert chunks[0].choices[0].delta.role == "assistant"
    assert [c.choices[0].finish_reason for c in chunks if c.choices[0].finish_reason] == ["stop"]
    assert len(chunks) > 3
    assert len({chunk.id for chunk in chunks}) == 1
    assert {chunk.object for chunk in chunks} == {"chat.completion.chunk"}
    assert all(chunk.usage is None for chunk in chunks)


def test_a_stream_with_usage(client: openai.OpenAI, model: str) -> None:
    options: Any = {"include_usage": True}
    made = client.chat.completions.create(
        model=model, messages=ask("Say it verbatim"), stream=True, stream_options=options
    )
    *chunks, last = list(made)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == VERBATIM
    assert last.choices == [] and last.usage is not None
    assert (last.usage.prompt_tokens, last.usage.completion_tokens) == (1000, 200)
    assert last.model_extra is not None and last.model_extra["sidecar"]["cost_usd"] >= 0


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
def test_parallel_tools_there_and_back(client: openai.OpenAI, model: str, stream: bool, both: Emulated) -> None:
    talk = ask("Call get_weather for both cities")
    first = _turn(client, stream, model=model, messages=talk, tools=[WEATHER], tool_choice="auto")
    assert first.finish_reason == "tool_calls"
    calls = first.message.tool_calls
    assert len(calls) == 2 and calls[0].id != calls[1].id
    for call in calls:
        assert (call.type, call.function.name) == ("function", "get_weather")
        assert set(json.loads(call.function.arguments)) == {"city", "unit"}
    talk.append(first.message.model_dump(exclude_none=True, exclude={"parsed"}))
    talk += [{"role": "tool", "tool_call_id": c.id, "content": f"sunny number {n}"} for n, c in enumerate(calls)]
    second = _turn(client, stream, model=model, messages=talk, tools=[WEATHER])
    assert second.finish_reason == "stop" and second.message.content and not second.message.tool_calls
    sent = both.last.raw.decode()
    assert sent.index("sunny number 0") < sent.index("sunny number 1")
    if model != "test-google":  # Gemini matches results by name and order
        assert all(sent.count(call.id) == 2 for call in calls)


def test_a_tool_by_name_and_no_tool(client: openai.OpenAI, model: str) -> None:
    def calls(choice: Any) -> list[Any]:
        prompt = ask("Hello get_weather")
        answer = client.chat.completions.create(model=model, messages=prompt, tools=[WEATHER], tool_choice=choice)
        return answer.choices[0].message.tool_calls or []

    assert len(calls({"type": "function", "function": {"name": "get_weather"}})) == 1
    assert calls("none") == []


def test_parse_gives_a_model(client: openai.OpenAI, model: str) -> None:
    answer = client.chat.completions.parse(model=model, messages=ask("Prove it"), response_format=Proof)
    proof = answer.choices[0].message.parsed
    assert isinstance(proof, Proof) and proof.verdict in ("right", "wrong")
    with client.chat.completions.stream(model=model, messages=ask("Prove it"), response_format=Proof) as stream:
        streamed = stream.get_final_completion().choices[0].message.parsed
    assert streamed == proof


def test_parse_gives_tool_arguments(client: openai.OpenAI, model: str) -> None:
    tool = openai.pydantic_function_tool(GetWeather)
    answer = client.chat.completions.parse(model=model, messages=ask("Use GetWeather"), tools=[tool])
    [call] = answer.choices[0].message.tool_calls or []
    assert isinstance(call.function.parsed_arguments, GetWeather)


def test_an_image_arrives(client: openai.OpenAI, model: str, both: Emulated) -> None:
    parts: Any = [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}", "detail": "low"}},
    ]
    answer = client.chat.completions.create(model=model, messages=[{"role": "user", "content": parts}])
    assert answer.choices[0].message.content
    assert PNG in both.last.raw.decode()


def test_stop_and_length(client: openai.OpenAI, model: str) -> None:
    stopped = client.chat.completions.create(model=model, messages=ask("Say it verbatim"), stop=["quoted"])
    assert stopped.choices[0].message.content == VERBATIM[: VERBATIM.index("quoted")]
    assert stopped.choices[0].finish_reason == "stop"
    cut = client.chat.completions.create(model=model, messages=ask("Tell me everything"), max_completion_tokens=3)
    assert cut.choices[0].finish_reason == "length"


def test_headers_of_the_raw_response(client: openai.OpenAI, model: str, both: Emulated) -> None:
    raw = client.chat.completions.with_raw_response.create(model=model, messages=ask("Say it verbatim"))
    headers, answer = raw.headers, raw.parse()
    assert answer.choices[0].message.content == VERBATIM
    assert headers["x-request-id"] == answer._request_id
    assert headers["x-sidecar-model"] == model
    assert headers["x-sidecar-provider"] == model.removeprefix("test-")
    assert headers["x-sidecar-attempts"] == "1"
    assert headers["x-sidecar-cache"] == "disabled"
    assert float(headers["x-sidecar-overhead-ms"]) >= 0
    [row] = both.rows(headers["x-request-id"])
    cached = 0 if model == "test-ollama" else 600
    assert (row["input_tokens"], row["cached_tokens"], row["output_tokens"]) == (1000, cached, 200)
    assert float(headers["x-sidecar-cost-usd"]) * 1e9 == pytest.approx(row["cost_nano"])
    assert headers["x-sidecar-policy"] == row["policy"] and len(row["policy"]) == 12


def test_what_is_lost_is_named(client: openai.OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(
        model="test-anthropic", messages=ask("Hi"), seed=1, logprobs=True
    )
    assert set(raw.headers["x-sidecar-warnings"].split(", ")) == {"seed", "logprobs"}
    raw = client.chat.completions.with_raw_response.create(model="test-openai", messages=ask("Hi"), seed=1)
    assert "x-sidecar-warnings" not in raw.headers


async def _async(both: Emulated, model: str) -> tuple[str, str]:
    async with openai.AsyncOpenAI(api_key=KEY, base_url=both.v1, max_retries=0) as sdk:
        whole = await sdk.chat.completions.create(model=model, messages=ask("Say it verbatim"))
        stream = await sdk.chat.completions.create(model=model, messages=ask("Say it verbatim"), stream=True)
        text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
    return whole.choices[0].message.content or "", text


def test_the_async_client(both: Emulated, model: str) -> None:
    assert asyncio.run(_async(both, model)) == (VERBATIM, VERBATIM)


def test_the_models_are_listed(client: openai.OpenAI) -> None:
    listed = [model.id for model in client.models.list()]
    assert set(MODELS) < set(listed) and "auto" in listed
    client.chat.completions.create(model=MODELS[0], messages=ask("Hi"))


def _turn(client: openai.OpenAI, stream: bool, **body: Any) -> Any:
    """One choice, streamed or whole."""
    if not stream:
        return client.chat.completions.create(**body).choices[0]
    with client.chat.completions.stream(**body) as running:
        return running.get_final_completion().choices[0]

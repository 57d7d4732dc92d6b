"""langchain-openai, unmodified: `ChatOpenAI` with nothing but another base URL."""

from typing import Any

import pydantic
import pytest
from gateway import KEY, Emulated
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI

from .conftest import VERBATIM

pytestmark = pytest.mark.usefixtures("flawless")


class Verdict(pydantic.BaseModel):
    """A verdict with its grounds."""

    right: bool
    grounds: str
    score: int


@tool
def get_weather(city: str) -> str:
    """The weather of a city."""
    return f"sunny in {city}"


@pytest.fixture
def chat(both: Emulated, model: str, monkeypatch: pytest.MonkeyPatch) -> ChatOpenAI:
    monkeypatch.setenv("LANGCHAIN_TRACING_V2", "false")
    return ChatOpenAI(model=model, api_key=pydantic.SecretStr(KEY), base_url=both.v1, max_retries=0, temperature=0)


def test_invoke(chat: ChatOpenAI, model: str) -> None:
    answer = chat.invoke([SystemMessage("Be brief."), HumanMessage("Say it verbatim")])
    assert answer.content == VERBATIM
    assert answer.response_metadata["finish_reason"] == "stop"
    assert answer.usage_metadata is not None
    assert (answer.usage_metadata["input_tokens"], answer.usage_metadata["output_tokens"]) == (1000, 200)
    cached = answer.usage_metadata["input_token_details"]["cache_read"]
    assert cached == (0 if model == "test-ollama" else 600)


def test_stream(chat: ChatOpenAI) -> None:
    whole: Any = None
    count = 0
    for chunk in chat.stream("Say it verbatim", stream_usage=True):
        whole = chunk if whole is None else whole + chunk
        count += 1
    assert whole.content == VERBATIM and count > 3
    assert whole.response_metadata["finish_reason"] == "stop"
    assert (whole.usage_metadata["input_tokens"], whole.usage_metadata["output_tokens"]) == (1000, 200)


@pytest.mark.parametrize("stream", [False, True], ids=["json", "stream"])
def test_bound_tools_there_and_back(chat: ChatOpenAI, stream: bool, both: Emulated) -> None:
    bound = chat.bind_tools([get_weather])
    talk: list[Any] = [HumanMessage("Call get_weather for both cities")]
    if stream:
        first, *others = bound.stream(talk)
        answer: Any = sum(others, first)
    else:
        answer = bound.invoke(talk)
    assert [call["name"] for call in answer.tool_calls] == ["get_weather"] * 2
    assert answer.invalid_tool_calls == []
    talk.append(answer)
    for call in answer.tool_calls:
        result = get_weather.invoke(call)
        assert isinstance(result, ToolMessage)
        talk.append(result)
    last = bound.invoke(talk)
    assert isinstance(last, AIMessage) and last.content and not last.tool_calls
    assert both.last.raw.decode().count("sunny in") == 2


@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
def test_structured_output(chat: ChatOpenAI, method: Any) -> None:
    answer = chat.with_structured_output(Verdict, method=method).invoke("Judge it with a Verdict")
    assert isinstance(answer, Verdict)


def test_a_batch_runs_at_once(chat: ChatOpenAI) -> None:
    answers = chat.batch(["Say it verbatim"] * 8)
    assert [answer.content for answer in answers] == [VERBATIM] * 8

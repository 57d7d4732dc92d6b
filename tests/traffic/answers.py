"""What an answer says, read in four ways: by the OpenAI SDK through the gateway, and by each provider's own SDK."""

import json
import warnings
from typing import Any

import anthropic
import msgspec
import openai
from google import genai
from google.genai import types
from openai.lib.streaming.chat import ChatCompletionStreamState

from .exchanges import Exchange
from .replay import PROMPT

ANTHROPIC_FINISH = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "tool_use": "tool_calls",
    "max_tokens": "length",
    "refusal": "content_filter",
}


CALLS_FROM_ONE = "vercel-4122370b2f"
"""A server that counts tool calls from 1. The SDK parses its chunks, and its helper falls over them."""


class Said(msgspec.Struct):
    """One choice. `calls` are (id, name, arguments); an id is None where the provider has none."""

    text: str = ""
    reasoning: str = ""
    calls: list[tuple[str | None, str, Any]] = []
    finish: str | None = None


class Counted(msgspec.Struct):
    """Tokens; the input includes what was cached and written."""

    input: int = 0
    output: int = 0
    cached: int = 0
    reasoning: int = 0
    written_5m: int = 0
    written_1h: int = 0

    @property
    def told(self) -> tuple[int, int, int, int, int]:
        """What a caller of the OpenAI surface is told: not how long a written cache entry lives."""
        return self.input, self.output, self.cached, self.reasoning, self.written_5m + self.written_1h


class Answer(msgspec.Struct):
    """All choices, and the usage where the provider counted. Through the gateway also what it adds."""

    choices: list[Said]
    usage: Counted | None
    request_id: str = ""
    cost: str | None = None


def messages(exchange: Exchange) -> list[Any]:
    """The prompt that has the exchange played back."""
    return [{"role": "user", "content": PROMPT.format(exchange.id)}]


def ask(client: openai.OpenAI, exchange: Exchange, model: str = "m") -> Answer:
    """The answer as the OpenAI SDK has it; a stream is added up by the SDK's own helper."""
    prompt, cost = messages(exchange), None
    if not exchange.stream:
        raw = client.chat.completions.with_raw_response.create(model=model, messages=prompt)
        answer, headers = of_completion(raw.parse()), raw.headers
        cost = headers.get("x-sidecar-cost-usd")
    else:
        state, usage = ChatCompletionStreamState(), {"include_usage": True}
        with client.chat.completions.create(model=model, messages=prompt, stream=True, stream_options=usage) as stream:
            for chunk in stream:
                cost = (chunk.model_extra or {}).get("sidecar", {}).get("cost_usd", cost)
                state.handle_chunk(_counted_from_zero(chunk) if exchange.id == CALLS_FROM_ONE else chunk)
            answer, headers = of_completion(state.current_completion_snapshot), stream.response.headers
    answer.request_id, answer.cost = headers.get("x-request-id", ""), cost and str(cost)
    return answer


def _counted_from_zero(chunk: Any) -> Any:
    for choice in chunk.choices:
        for call in choice.delta.tool_calls or ():
            call.index -= 1
    return chunk


def of_completion(completion: Any) -> Answer:
    """An OpenAI SDK's completion."""
    choices = []
    for choice in completion.choices:
        message = choice.message
        assert all(call.type == "function" for call in message.tool_calls or ())
        calls = [(c.id, c.function.name, _arguments(c.function.arguments)) for c in message.tool_calls or ()]
        reasoning = getattr(message, "reasoning_content", None) or ""
        choices.append(Said(message.content or "", reasoning, calls, choice.finish_reason))
    usage = completion.usage
    if usage is None or getattr(usage, "estimated", False):
        return Answer(choices, None)
    read, wrote = usage.prompt_tokens_details, usage.completion_tokens_details
    counted = Counted(
        usage.prompt_tokens,
        usage.completion_tokens,
        (read and read.cached_tokens) or 0,
        (wrote and wrote.reasoning_tokens) or 0,
        (read and read.cache_write_tokens) or 0,
    )
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    return Answer(choices, counted)


def of_anthropic(exchange: Exchange, replay: str) -> Answer:
    """Anthropic's SDK on the same bytes."""
    body: Any = {"model": "claude-haiku-4-5", "max_tokens": 1, "messages": messages(exchange)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydantic's, for beta blocks that the SDK's own types do not list
        client = anthropic.Anthropic(api_key="k", base_url=f"{replay}/anthropic", max_retries=0)
        if exchange.stream:
            with client.messages.stream(**body) as stream:
                message: Any = stream.get_final_message()
        else:
            message = client.messages.create(**body)
    wire = message.usage
    written, read = wire.cache_creation_input_tokens or 0, wire.cache_read_input_tokens or 0
    hour = wire.cache_creation.ephemeral_1h_input_tokens if wire.cache_creation else 0
    details = wire.output_tokens_details
    said = Said(
        "".join(b.text for b in message.content if b.type == "text"),
        "".join(b.thinking for b in message.content if b.type == "thinking"),
        [(b.id, b.name, b.input) for b in message.content if b.type == "tool_use"],
        ANTHROPIC_FINISH[message.stop_reason],
    )
    reasoning = details.thinking_tokens if details else 0
    total = wire.input_tokens + read + written
    return Answer([said], Counted(total, wire.output_tokens, read, reasoning, written - hour, hour))


def of_google(exchange: Exchange, replay: str) -> Answer:
    """Google's SDK on the same bytes; it streams SSE only, so a JSON array is framed for it."""
    base = f"{replay}/framed" if exchange.body.startswith(b"[") else f"{replay}/google"
    client = genai.Client(api_key="k", http_options=types.HttpOptions(base_url=base))
    prompt = PROMPT.format(exchange.id)
    if exchange.stream:
        chunks = list(client.models.generate_content_stream(model="m", contents=prompt))
    else:
        chunks = [client.models.generate_content(model="m", contents=prompt)]
    said = Said()
    reason = None
    for chunk in chunks:
        said.text += chunk.text or ""
        for part in chunk.parts or []:
            said.reasoning += (part.text or "") if part.thought else ""
            _google_call(said, part.function_call)
        for candidate in chunk.candidates or []:
            reason = candidate.finish_reason or reason
    assert reason is not None
    said.finish = {"STOP": "tool_calls" if said.calls else "stop", "MAX_TOKENS": "length"}[reason.value]
    wire = next(c.usage_metadata for c in reversed(chunks) if c.usage_metadata)
    thoughts = wire.thoughts_token_count or 0
    counted = Counted(
        (wire.prompt_token_count or 0) + (wire.tool_use_prompt_token_count or 0),
        (wire.candidates_token_count or 0) + thoughts,
        wire.cached_content_token_count or 0,
        thoughts,
    )
    assert counted.input + counted.output == wire.total_token_count
    return Answer([said], counted)


def _google_call(said: Said, call: Any) -> None:
    """One functionCall part; pieces of arguments (Vertex) are joined to the call before."""
    if call is None:
        return
    if call.name:
        said.calls.append((call.id, call.name, dict(call.args or {})))
    for piece in call.partial_args or []:
        name = (piece.json_path or "").removeprefix("$.")
        arguments = said.calls[-1][2]
        arguments[name] = arguments.get(name, "") + (piece.string_value or "")


def of_ollama(exchange: Exchange) -> Answer:
    """Ollama's native values, read as its API document says."""
    last = exchange.values[-1]
    assert last["done"]
    calls = [c["function"] for v in exchange.values for c in v["message"].get("tool_calls", ())]
    said = Said(
        "".join(v["message"].get("content", "") for v in exchange.values),
        "".join(v["message"].get("thinking", "") for v in exchange.values),
        [(None, call["name"], call["arguments"]) for call in calls],
        "tool_calls" if calls else last["done_reason"],
    )
    return Answer([said], Counted(last["prompt_eval_count"], last["eval_count"]))


def _arguments(text: str) -> Any:
    return json.loads(text) if text else {}

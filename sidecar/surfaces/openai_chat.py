"""OpenAI chat completions as spoken to callers: what the official SDKs send and parse.

Wire facts: the OpenAI OpenAPI document 2.3.0. Two additions that SDKs keep as extra fields: `reasoning_content`
(DeepSeek's name) and `reasoning_details` (OpenRouter's), so that thinking and its signatures can travel back.
"""

import re
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct

from ..chat import ChatRequest, Choice, Completion, Delta, FunctionCall, Problem, Reasoning, ToolCall, Usage
from .base import Invalid

MAX_MESSAGES = 10_000
MAX_TOOLS = 2_000
_ROLES = frozenset({"system", "developer", "user", "assistant", "tool", "function"})
_PATH = re.compile(r" - at `\$\.?(.*?)`$")
_NO_CHOICES = re.compile(rb'"choices"\s*:\s*(?:\[\s*\]|null)')

_decode = msgspec.json.Decoder(ChatRequest).decode
_encode = msgspec.json.Encoder().encode


class _CallFragment(Struct, omit_defaults=True):
    """A piece of a tool call: `type` with the first one, `arguments` with each, for clients that add them up."""

    index: int | None
    function: dict[str, str]
    id: str | None = None
    type: str | None = None
    extra_content: dict[str, Any] | None = None


class _ChunkDelta(Struct, omit_defaults=True):
    role: str | None = None
    content: str | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning_details: list[Reasoning] | None = None
    tool_calls: list[_CallFragment] | None = None


class _ChunkChoice(Struct):
    index: int
    delta: _ChunkDelta
    logprobs: Any = None
    finish_reason: str | None = None


class _Chunk(Struct):
    id: str
    created: int
    model: str
    choices: list[_ChunkChoice]
    usage: dict[str, Any] | None = None
    object: str = "chat.completion.chunk"


class OpenAIChat:
    """`POST /v1/chat/completions`."""

    protocol = "openai"

    def parse(self, body: bytes) -> ChatRequest | Invalid:
        """One decode; a fault names the field as OpenAI does."""
        try:
            chat = _decode(body)
        except msgspec.ValidationError as fault:
            return _invalid(str(fault))
        except (msgspec.DecodeError, UnicodeDecodeError) as fault:
            return Invalid(f"The body is not valid JSON: {fault}", code="invalid_json")
        except RecursionError:
            return Invalid("The body is nested too deeply.", code="invalid_json")
        return _bounded(chat) or chat

    def complete(self, completion: Completion, model: str, call_id: str, now: float) -> bytes:
        """The answer as `chat.completion`; a same-protocol answer as the provider wrote it."""
        if completion.wire is not None:
            return completion.wire
        return _encode(
            {
                "id": completion.id or f"chatcmpl-{call_id}",
                "object": "chat.completion",
                "created": completion.created or int(now),
                "model": completion.model or model,
                "choices": [_choice(c) for c in completion.choices],
                "usage": None if completion.usage is None else usage_body(completion.usage),
                **(completion.extra or {}),
            }
        )

    def encoder(self, chat: ChatRequest, model: str, call_id: str, now: float) -> "ChunkEncoder":
        """An encoder for one stream, with the usage chunk only when the caller asked for it."""
        return ChunkEncoder(f"chatcmpl-{call_id}", model, int(now), chat.include_usage)

    def problem(self, problem: Problem) -> bytes:
        """`{"error": {"message", "type", "param", "code"}}`."""
        return _encode(
            {
                "error": {
                    "message": problem.message,
                    "type": problem.kind,
                    "param": problem.param,
                    "code": problem.code,
                }
            }
        )


class ChunkEncoder:
    """Deltas to SSE chunks: role first, then content, finish, usage and `[DONE]`."""

    __slots__ = ("_created", "_id", "_model", "_show_usage", "_started", "_usage_wire")

    def __init__(self, id: str, model: str, created: int, show_usage: bool) -> None:
        self._id = id
        self._model = model
        self._created = created
        self._show_usage = show_usage
        self._started: set[int] = set()
        self._usage_wire: bytes | None = None

    def encode(self, deltas: Sequence[Delta]) -> bytes:
        """Chunks for these deltas; a same-protocol delta is passed as it came, its usage chunk kept for `done`."""
        if len(deltas) == 1 and deltas[0].wire is not None and deltas[0].usage is None:
            return deltas[0].wire
        out = []
        for delta in deltas:
            if delta.wire is not None:
                if delta.usage is not None and _without_choices(delta.wire):
                    self._usage_wire = delta.wire
                else:
                    out.append(delta.wire)
                continue
            if _visible(delta):
                out.append(self._chunk(delta))
        return b"".join(out)

    def error(self, problem: Problem) -> bytes:
        """An error event: the official SDKs raise APIError on it. No `[DONE]` follows."""
        return b"data: " + OpenAIChat().problem(problem) + b"\n\n"

    def done(self, usage: Usage | None, cost_usd: str | None) -> bytes:
        """The usage chunk, when asked for, with what it cost, and `[DONE]`."""
        end = b"data: [DONE]\n\n"
        if not self._show_usage or usage is None:
            return end
        cost = b"" if cost_usd is None else b',"sidecar":{"cost_usd":' + cost_usd.encode() + b"}"
        if self._usage_wire is not None:
            chunk = self._usage_wire.rstrip()
        else:
            body = _Chunk(self._id, self._created, self._model, [], usage_body(usage))
            chunk = b"data: " + _encode(body)
        return chunk[:-1] + cost + b"}\n\n" + end

    def _chunk(self, delta: Delta) -> bytes:
        first = delta.index not in self._started
        self._started.add(delta.index)
        body = _ChunkDelta(
            role="assistant" if first else None,
            content=delta.text,
            refusal=delta.refusal,
            reasoning_content=delta.reasoning,
            reasoning_details=delta.details,
            tool_calls=None if delta.tool_calls is None else [_fragment(call) for call in delta.tool_calls],
        )
        choice = _ChunkChoice(delta.index, body, delta.logprobs, delta.finish_reason)
        return b"data: " + _encode(_Chunk(self._id, self._created, self._model, [choice])) + b"\n\n"


def usage_body(usage: Usage) -> dict[str, Any]:
    """OpenAI's usage object; `estimated` is added only when the provider sent no figures."""
    body: dict[str, Any] = {
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": {
            "cached_tokens": usage.cached_tokens,
            "audio_tokens": usage.audio_input_tokens,
        },
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning_tokens,
            "audio_tokens": usage.audio_output_tokens,
        },
    }
    written = usage.cache_write_5m_tokens + usage.cache_write_1h_tokens
    if written:
        body["prompt_tokens_details"]["cache_write_tokens"] = written
    if usage.estimated:
        body["estimated"] = True
    return body


def _choice(choice: Choice) -> dict[str, Any]:
    message = msgspec.to_builtins(choice.message)
    message.setdefault("content", None)
    message.setdefault("refusal", None)
    for call in message.get("tool_calls") or ():
        call.setdefault("type", "function")
        call["function"].setdefault("arguments", "")
        call.pop("index", None)
    return {
        "index": choice.index,
        "message": message,
        "logprobs": choice.logprobs,
        "finish_reason": choice.finish_reason or "stop",
    }


def _fragment(call: ToolCall) -> _CallFragment:
    called = call.function or FunctionCall()
    function = {"name": called.name} if called.name else {}
    function["arguments"] = called.arguments
    kind = None if call.id is None else call.type
    return _CallFragment(call.index, function, call.id, kind, call.extra_content)


def _without_choices(wire: bytes) -> bool:
    """Whether a chunk is there for its usage alone. A quote inside of text is escaped, so text cannot look like it."""
    return b'"choices"' not in wire or _NO_CHOICES.search(wire) is not None


def _visible(delta: Delta) -> bool:
    return (
        delta.text is not None
        or delta.tool_calls is not None
        or delta.reasoning is not None
        or delta.details is not None
        or delta.finish_reason is not None
        or delta.refusal is not None
    )


def _invalid(text: str) -> Invalid:
    """msgspec's `Expected ..., got ... - at $.path` in the words of this wire."""
    path = _PATH.search(text)
    missing = re.match(r"Object missing required field `(.+?)`", text)
    where = path[1] if path else ""
    if missing:
        param = f"{where}.{missing[1]}".lstrip(".")
        return Invalid(f"Missing required parameter: '{param}'.", param, "missing_required_parameter")
    what = text[: path.start()] if path else text
    if not where:
        return Invalid(f"The body must be a JSON object: {what}.", None, "invalid_type")
    return Invalid(f"Invalid type for '{where}': {what}.", where, "invalid_type")


def _bounded(chat: ChatRequest) -> Invalid | None:
    """Bounds that the types do not hold."""
    if not chat.messages:
        return Invalid("'messages' must hold at least one message.", "messages", "empty_array")
    if len(chat.messages) > MAX_MESSAGES:
        return Invalid(f"'messages' may hold at most {MAX_MESSAGES:,} entries.", "messages", "array_too_long")
    if chat.tools is not None and len(chat.tools) > MAX_TOOLS:
        return Invalid(f"'tools' may hold at most {MAX_TOOLS:,} entries.", "tools", "array_too_long")
    if not 0 < len(chat.model) <= 256:
        return Invalid("'model' must be 1 to 256 characters.", "model", "invalid_value")
    for index, message in enumerate(chat.messages):
        if message.role not in _ROLES:
            return Invalid(
                f"Invalid value for 'messages[{index}].role': {message.role[:40]!r}.",
                f"messages[{index}].role",
                "invalid_value",
            )
    limit = chat.output_limit
    if limit is not None and limit < 1:
        return Invalid("'max_tokens' must be at least 1.", "max_tokens", "invalid_value")
    if chat.n is not None and not 1 <= chat.n <= 128:
        return Invalid("'n' must be between 1 and 128.", "n", "invalid_value")
    return None

"""A whole /v1/messages answer as a Completion; blocks, stop reasons and counts as `chat.py` knows them."""

import msgspec

from ..chat import (
    Choice,
    Completion,
    Failure,
    FailureKind,
    FinishReason,
    FunctionCall,
    Message,
    Reasoning,
    ToolCall,
    Usage,
)
from .anthropic_errors import errored
from .anthropic_messages import FORMAT
from .anthropic_wire import Answer, CacheCreation, Counts, Piece
from .base import service_tier

_FINISHES: dict[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "pause_turn": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
_answer = msgspec.json.Decoder(Answer)


def finish(reason: str | None) -> FinishReason:
    """A stop reason in the neutral words; one not heard of yet ended the answer all the same."""
    return _FINISHES.get(reason or "", "stop")


def usage(counts: Counts) -> Usage:
    """Counts with cached and written tokens inside `input_tokens`. Writes without a split live five minutes."""
    read, written = _count(counts.cache_read_input_tokens), _count(counts.cache_creation_input_tokens)
    split = counts.cache_creation or CacheCreation()
    hour = _count(split.ephemeral_1h_input_tokens)
    if counts.cache_creation_input_tokens is None:
        written = hour + _count(split.ephemeral_5m_input_tokens)
    hour = min(hour, written)
    details = counts.output_tokens_details
    return Usage(
        input_tokens=_count(counts.input_tokens) + read + written,
        output_tokens=_count(counts.output_tokens),
        cached_tokens=read,
        cache_write_5m_tokens=written - hour,
        cache_write_1h_tokens=hour,
        reasoning_tokens=0 if details is None else _count(details.thinking_tokens),
        service_tier=service_tier(counts.speed) or service_tier(counts.service_tier),
    )


def merged(first: Counts, later: Counts) -> Counts:
    """Counts of a stream: what a later event leaves out still holds, and cumulative figures never fall (some
    servers behind this wire send zeros at one end of the stream)."""
    return Counts(
        _most(first.input_tokens, later.input_tokens),
        _most(first.output_tokens, later.output_tokens),
        _most(first.cache_read_input_tokens, later.cache_read_input_tokens),
        _most(first.cache_creation_input_tokens, later.cache_creation_input_tokens),
        later.cache_creation or first.cache_creation,
        later.output_tokens_details or first.output_tokens_details,
        later.service_tier or first.service_tier,
        later.speed or first.speed,
    )


def thought(piece: Piece, index: int) -> Reasoning | None:
    """A thinking block in the shape that travels back; None when it holds nothing to send back or to show."""
    if piece.type == "redacted_thinking":
        data = word(piece.data)
        return Reasoning("reasoning.encrypted", data=data, format=FORMAT, index=index) if data else None
    text, signature = word(piece.thinking), word(piece.signature)
    if not text and not signature:
        return None
    return Reasoning("reasoning.text", text, signature or None, format=FORMAT, index=index)


def word(value: object) -> str:
    """A field of a block when it is text."""
    return value if isinstance(value, str) else ""


def arguments(given: msgspec.Raw) -> str:
    """A call's input as JSON text, byte for byte as the provider wrote it."""
    text = bytes(given).decode("utf-8", "replace")
    return "{}" if text in ("", "null") else text


def completion(body: bytes) -> Completion | Failure:
    """A whole body as a Completion, or the failure it holds."""
    try:
        answer = _answer.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
        return Failure(FailureKind.MALFORMED, f"the provider's answer cannot be read: {fault}")
    if answer.error is not None or answer.type == "error":
        return errored(answer.error, None, FailureKind.SERVER_ERROR)
    if answer.content is None:
        return Failure(FailureKind.MALFORMED, "the provider's answer has no `content`")
    message = _message(answer.content)
    reason = finish(answer.stop_reason)
    if answer.stop_reason == "refusal" and answer.stop_details is not None:
        message.refusal = answer.stop_details.explanation
    return Completion(
        usage=None if answer.usage is None else usage(answer.usage),
        id=answer.id or "",
        model=answer.model or "",
        choices=[Choice(message, finish_reason=reason)],
        finish_reason=reason,
        empty=not (message.content or message.tool_calls or message.refusal),
    )


def _message(pieces: list[Piece]) -> Message:
    texts: list[str] = []
    thoughts: list[str] = []
    details: list[Reasoning] = []
    calls: list[ToolCall] = []
    for piece in pieces:
        if piece.type == "text":
            texts.append(word(piece.text))
        elif piece.type in ("thinking", "redacted_thinking"):
            thoughts.append(word(piece.thinking))
            if (detail := thought(piece, len(details))) is not None:
                details.append(detail)
        elif piece.type == "tool_use":
            function = FunctionCall(word(piece.name), arguments(piece.input))
            calls.append(ToolCall(word(piece.id), function=function))
    return Message(
        "assistant",
        content="".join(texts) if texts else None,
        tool_calls=calls or None,
        reasoning_content="".join(thoughts) or None,
        reasoning_details=details or None,
    )


def _count(value: int | None) -> int:
    return max(0, value or 0)


def _most(one: int | None, other: int | None) -> int | None:
    return other if one is None else one if other is None else max(one, other)

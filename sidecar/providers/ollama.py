"""Ollama's native chat: POST /api/chat, one JSON object or a line of JSON a step."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from hashlib import blake2s
from typing import Any

import msgspec
from msgspec import Struct

from ..chat import (
    ChatRequest,
    Choice,
    Completion,
    Delta,
    Failure,
    FailureKind,
    FunctionCall,
    Message,
    Outgoing,
    ToolCall,
    Usage,
)
from .base import StreamReader, Target
from .failures import bounded, bounded_text, retry_after, status_kind
from .ollama_request import build
from .sse import MAX_EVENT

_OVERFLOW = re.compile(
    r"context (length|size|window)|available context|prompt (is )?too long|longer than the context", re.I
)
_BUSY = re.compile(r"server busy|maximum pending requests|overloaded", re.I)
_QUOTA = re.compile(r"usage limit|upgrade (your plan|for higher limits)", re.I)


class _Function(Struct):
    name: str = ""
    arguments: dict[str, Any] | str | None = None


class _Call(Struct):
    function: _Function
    id: str | None = None


class _Message(Struct):
    content: str | None = None
    thinking: str | None = None
    tool_calls: list[_Call] | None = None


class _Nested(Struct):
    message: str | None = None


class _Answer(Struct):
    model: str | None = None
    created_at: str | None = None
    message: _Message | None = None
    done: bool = False
    done_reason: str | None = None
    prompt_eval_count: int | None = None
    eval_count: int | None = None
    logprobs: list[Any] | None = None
    error: str | _Nested | None = None


_answer = msgspec.json.Decoder(_Answer)
_encode = msgspec.json.Encoder().encode


class Ollama:
    """Adapter for `protocol: ollama`: a local server, which needs no key, or Ollama's cloud, which does."""

    protocol = "ollama"

    def request(self, chat: ChatRequest, raw: bytes, target: Target) -> Outgoing:
        """The chat in Ollama's shape. `stream` is always said: Ollama streams when it is absent."""
        body, lost = build(chat, target.model, target.rejects)
        headers = {"content-type": "application/json", **target.headers}
        if target.key is not None:
            headers["authorization"] = f"Bearer {target.key.reveal()}"
        return Outgoing(f"{target.base_url}/api/chat", headers, _encode(body), tuple(dict.fromkeys(lost)))

    def response(self, body: bytes) -> Completion | Failure:
        """One object with the whole message."""
        try:
            answer = _answer.decode(body)
        except (ValueError, RecursionError) as fault:
            return Failure(FailureKind.MALFORMED, f"the provider's answer cannot be read: {fault}")
        if answer.error is not None:
            return _failure(answer.error, None, FailureKind.SERVER_ERROR)
        if answer.message is None:
            return Failure(FailureKind.MALFORMED, "the provider's answer has no `message`")
        if not answer.done:
            return Failure(FailureKind.TRUNCATED, "the provider's answer is not done")
        calls = _calls(answer.message, body, 0)
        message = Message(
            "assistant",
            content=answer.message.content,
            tool_calls=calls or None,
            reasoning_content=answer.message.thinking or None,
        )
        reason = _finish(answer.done_reason, bool(calls))
        return Completion(
            usage=_usage(answer),
            model=answer.model or "",
            created=_unix(answer.created_at),
            choices=[Choice(message, 0, reason, _logprobs(answer))],
            finish_reason=reason,
            empty=not (message.content or calls or message.reasoning_content),
        )

    def reader(self, chat: ChatRequest) -> StreamReader:
        """A fresh reader of one stream."""
        return Reader()

    def failure(self, status: int, headers: Mapping[str, str], body: bytes) -> Failure:
        """`{"error": "text"}`, and OpenAI's shape from what stands before a server."""
        kind = FailureKind.OVERLOADED if status == 503 else status_kind(status)
        after = retry_after(headers)
        try:
            error = _answer.decode(body).error
        except (ValueError, RecursionError):
            error = None
        if error is None:
            return Failure(kind, bounded_text(body), status, after)
        return _failure(error, status, kind, after)


class Reader:
    """Reads one NDJSON stream. `done` marks its end; tool calls come whole."""

    __slots__ = ("_called", "_done", "_held", "_size")

    def __init__(self) -> None:
        self._held: list[bytes] = []
        self._size = 0
        self._called = 0
        self._done = False

    def feed(self, data: bytes) -> Sequence[Delta]:
        """A Delta for each line these bytes complete."""
        if self._done:
            return ()
        out: list[Delta] = []
        *lines, rest = data.split(b"\n")
        if lines and self._held:
            # Joined once a line, not once a chunk: a long line in many small chunks stays linear.
            lines[0] = b"".join([*self._held, lines[0]])
            self._held, self._size = [], 0
        for line in lines:
            self._line(line, FailureKind.MALFORMED, out)
        if rest:
            self._held.append(rest)
            self._size += len(rest)
        if self._size > MAX_EVENT and not self._done:
            self._fail(Failure(FailureKind.MALFORMED, "a line of the stream is too long"), out)
        return out

    def end(self) -> Sequence[Delta]:
        """The last line, if it came without a newline; `truncated` when `done` never came."""
        out: list[Delta] = []
        # What cannot be read of an unfinished last line is a cut, not a fault of the sender.
        self._line(b"".join(self._held), FailureKind.TRUNCATED, out)
        if not self._done:
            self._fail(Failure(FailureKind.TRUNCATED, "the stream ended before `done`"), out)
        return out

    def _line(self, line: bytes, unreadable: FailureKind, out: list[Delta]) -> None:
        if self._done or not line or line.isspace():
            return
        try:
            answer = _answer.decode(line)
        except (ValueError, RecursionError) as fault:
            self._fail(Failure(unreadable, f"a line of the stream cannot be read: {fault}"), out)
            return
        if answer.error is not None:
            self._fail(_failure(answer.error, None, FailureKind.STREAM_ERROR), out)
            return
        message = answer.message or _Message()
        calls = _calls(message, line, self._called)
        self._called += len(calls)
        delta = Delta(
            content=bool(message.content or message.thinking or calls),
            text=message.content or None,
            reasoning=message.thinking or None,
            tool_calls=calls or None,
            logprobs=_logprobs(answer),
        )
        if answer.done:
            self._done = True
            delta.finish_reason = _finish(answer.done_reason, self._called > 0)
            delta.usage = _usage(answer)
        elif not delta.content and delta.logprobs is None:
            return
        out.append(delta)

    def _fail(self, failure: Failure, out: list[Delta]) -> None:
        self._done = True
        out.append(Delta(failure=failure))


def _calls(message: _Message, seed: bytes, first: int) -> list[ToolCall]:
    """The calls of a message. Older servers send no ids: one is made of the bytes, which hold the nanosecond of
    the answer, so that it differs from those of other turns."""
    calls: list[ToolCall] = []
    for index, call in enumerate(message.tool_calls or (), first):
        arguments = call.function.arguments
        text = arguments if isinstance(arguments, str) else _encode(arguments or {}).decode()
        made = call.id or f"call_{blake2s(seed, digest_size=10).hexdigest()}_{index}"
        calls.append(ToolCall(id=made, function=FunctionCall(call.function.name, text), index=index))
    return calls


def _finish(reason: str | None, called: bool) -> str:
    """`load` and `unload` come with an empty answer and are a stop as well."""
    if reason == "length":
        return "length"
    return "tool_calls" if called else "stop"


def _usage(answer: _Answer) -> Usage | None:
    """Ollama leaves a count out when it is 0, which a prompt's is when all of it was cached: then it is not
    known, and so marked. `eval_count` includes thinking."""
    if answer.prompt_eval_count is None and answer.eval_count is None:
        return None
    return Usage(
        input_tokens=answer.prompt_eval_count or 0,
        output_tokens=answer.eval_count or 0,
        estimated=not answer.prompt_eval_count,
    )


def _logprobs(answer: _Answer) -> dict[str, Any] | None:
    """An entry has the very shape of OpenAI's, but leaves an empty list out."""
    if not answer.logprobs:
        return None
    content = [{"top_logprobs": [], **entry} for entry in answer.logprobs if isinstance(entry, dict)]
    return {"content": content, "refusal": None}


def _unix(moment: str | None) -> int:
    try:
        return int(datetime.fromisoformat(moment or "").timestamp())
    except (ValueError, OverflowError):
        return 0


def _failure(error: str | _Nested, status: int | None, kind: FailureKind, after: float | None = None) -> Failure:
    message = bounded((error if isinstance(error, str) else error.message) or "")
    if _OVERFLOW.search(message):
        kind = FailureKind.CONTEXT_OVERFLOW
    elif _BUSY.search(message):
        kind = FailureKind.OVERLOADED
    elif _QUOTA.search(message):
        kind = FailureKind.QUOTA
    return Failure(kind, message or "the provider sent an error without a message", status, after)

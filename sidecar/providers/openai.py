"""OpenAI's chat completions, and every server that speaks them.

Caller and provider speak the same protocol, so bytes pass: a request is changed only where the gateway must
(model, usage in streams, fields the model refuses), an answer is read but never rebuilt. What the gateway needs
from a stream (content seen, finish, usage, errors) is found by looking for the few names that matter; only events
that hold one are decoded.

Wire facts: the OpenAI OpenAPI document 2.3.0, `CreateChatCompletionRequest` and `...StreamResponse`.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Raw, Struct

from ..chat import ChatRequest, Completion, Delta, Failure, FailureKind, Message, Outgoing, Usage, body_fields
from .base import Target, service_tier
from .failures import bounded_text, retry_after, status_kind

MAX_EVENT = 16 * 1024 * 1024
_OVERFLOW_CODES = frozenset({"context_length_exceeded", "string_above_max_length"})
_OVERFLOW_WORDS = re.compile(r"max(?:imum)? context length|available context size|context_length_exceeded")
"""OpenAI, vLLM and Groq; Ollama ("exceeded max context length"); llama.cpp; and what a proxy may wrap it in."""
_QUOTA_CODES = frozenset({"insufficient_quota", "billing_hard_limit_reached"})


class _Details(Struct):
    cached_tokens: int | None = 0
    cache_write_tokens: int | None = 0
    audio_tokens: int | None = 0
    image_tokens: int | None = 0
    reasoning_tokens: int | None = 0


class _Usage(Struct):
    prompt_tokens: int | None = 0
    completion_tokens: int | None = 0
    prompt_tokens_details: _Details | None = None
    completion_tokens_details: _Details | None = None


class _Text(Struct):
    content: Any = None
    tool_calls: Any = None
    function_call: Any = None
    refusal: Any = None
    reasoning_content: Any = None
    reasoning: Any = None
    audio: Any = None

    @property
    def filled(self) -> bool:
        return bool(
            self.content
            or self.tool_calls
            or self.function_call
            or self.refusal
            or self.reasoning_content
            or self.reasoning
            or self.audio
        )


class _Choice(Struct):
    message: _Text | None = None
    delta: _Text | None = None
    finish_reason: str | None = None


class _Error(Struct):
    message: Any = None
    type: Any = None
    param: Any = None
    code: Any = None


class _Answer(Struct):
    id: str | None = None
    model: str | None = None
    created: int | float | None = 0
    choices: list[_Choice] | None = None
    usage: _Usage | None = None
    service_tier: Any = None
    error: _Error | str | None = None


_NO_DETAILS = _Details()
_answer = msgspec.json.Decoder(_Answer)
_encode = msgspec.json.Encoder().encode


def _usage(wire: _Usage, tier: object) -> Usage:
    """Writes are billed at the short retention: the answer does not say which one was asked for."""
    read = wire.prompt_tokens_details or _NO_DETAILS
    written = wire.completion_tokens_details or _NO_DETAILS
    return Usage(
        input_tokens=wire.prompt_tokens or 0,
        output_tokens=wire.completion_tokens or 0,
        cached_tokens=read.cached_tokens or 0,
        cache_write_5m_tokens=read.cache_write_tokens or 0,
        reasoning_tokens=written.reasoning_tokens or 0,
        audio_input_tokens=read.audio_tokens or 0,
        audio_output_tokens=written.audio_tokens or 0,
        image_input_tokens=read.image_tokens or 0,
        image_output_tokens=written.image_tokens or 0,
        service_tier=service_tier(tier),
    )


def _failure(error: _Error | str, status: int | None, kind: FailureKind) -> Failure:
    if isinstance(error, str):
        return Failure(kind, bounded_text(error.encode()), status)
    code = str(error.code or error.type or "")
    message = bounded_text(str(error.message or code or "the provider sent an error without a message").encode())
    if code in _OVERFLOW_CODES or _OVERFLOW_WORDS.search(message):
        kind = FailureKind.CONTEXT_OVERFLOW
    elif code in _QUOTA_CODES or error.type in _QUOTA_CODES:
        kind = FailureKind.QUOTA
    elif code == "content_filter":
        kind = FailureKind.CONTENT_FILTER
    elif status is None and code in ("rate_limit_exceeded", "429"):
        kind = FailureKind.RATE_LIMITED
    elif status is None and code in ("server_overloaded", "overloaded_error", "503"):
        kind = FailureKind.OVERLOADED
    param = error.param if isinstance(error.param, str) else None
    return Failure(kind, message, status, param=param, code=code or None)


class OpenAI:
    """Adapter for `protocol: openai`: api.openai.com, vLLM, llama.cpp, Groq, DeepSeek, OpenRouter ..."""

    protocol = "openai"

    def request(self, chat: ChatRequest, raw: bytes, target: Target) -> Outgoing:
        """The caller's own body with the model's name and what the gateway must change; all else untouched."""
        fields = body_fields(raw)
        lost: list[str] = []
        fields["model"] = Raw(_encode(target.model))
        if chat.stream:
            fields["stream_options"] = _with_usage(fields.get("stream_options"))
        if chat.tools and target.tools_effort is not None and chat.reasoning_effort != target.tools_effort:
            # This model answers 400 to tools at any other effort, its own default included.
            fields["reasoning_effort"] = Raw(_encode(target.tools_effort))
            if chat.reasoning_effort is not None:
                lost.append("reasoning_effort")
        if target.rejects:
            _drop(fields, target.rejects, lost)
        if any(m.reasoning_details or m.tool_calls for m in chat.messages):
            messages = _without_signatures(chat.messages, lost)
            if messages is not None:
                fields["messages"] = messages
        headers = {"content-type": "application/json", **target.headers}
        if target.key is not None:
            headers["authorization"] = f"Bearer {target.key.reveal()}"
        return Outgoing(f"{target.base_url}/chat/completions", headers, _encode(fields), tuple(lost))

    def response(self, body: bytes) -> Completion | Failure:
        """The provider's bytes, with usage, finish reason and emptiness read from them."""
        try:
            answer = _answer.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
            return Failure(FailureKind.MALFORMED, f"the provider's answer cannot be read: {fault}")
        if answer.error is not None:
            return _failure(answer.error, None, FailureKind.SERVER_ERROR)
        if answer.choices is None:
            return Failure(FailureKind.MALFORMED, "the provider's answer has no `choices`")
        first = answer.choices[0] if answer.choices else _Choice()
        return Completion(
            usage=None if answer.usage is None else _usage(answer.usage, answer.service_tier),
            id=answer.id or "",
            model=answer.model or "",
            wire=body,
            finish_reason=first.finish_reason,
            empty=not any(c.message and c.message.filled for c in answer.choices),
        )

    def reader(self, chat: ChatRequest) -> "Reader":
        """A reader that passes events on, without the usage chunk when the caller did not ask for it."""
        return Reader(chat.include_usage)

    def failure(self, status: int, headers: Mapping[str, str], body: bytes) -> Failure:
        """`{"error": {...}}` or whatever else a server in between sent."""
        kind, after = status_kind(status), retry_after(headers)
        if status == 503:  # its error guide: the engine is overloaded, or traffic rose too fast
            kind = FailureKind.OVERLOADED
        try:
            error = _answer.decode(body).error
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            error = None
        if error is None:
            return Failure(kind, bounded_text(body), status, after)
        return msgspec.structs.replace(_failure(error, status, kind), retry_after=after)


def _with_usage(options: Raw | None) -> Raw:
    """stream_options with include_usage on, keeping what else the caller set."""
    given = msgspec.json.decode(options) if options is not None else None
    return Raw(_encode({**(given if isinstance(given, dict) else {}), "include_usage": True}))


def _drop(fields: dict[str, Raw], rejects: frozenset[str], lost: list[str]) -> None:
    """Leave out what the model refuses. Newer models know max_tokens only as max_completion_tokens."""
    if "max_tokens" in rejects and "max_tokens" in fields:
        limit = fields.pop("max_tokens")
        fields.setdefault("max_completion_tokens", limit)
    for name in rejects:
        if name in fields and fields[name] != b"null":
            del fields[name]
            lost.append(name)


def _without_signatures(messages: list[Message], lost: list[str]) -> Raw | None:
    """Messages without the thinking and signatures of other providers, or None when there are none.

    They are in the history because this gateway handed them out; this provider would refuse the fields.
    """
    changed = False
    clean: list[Message] = []
    for message in messages:
        calls = message.tool_calls
        if message.reasoning_details or any(c.extra_content for c in calls or ()):
            changed = True
            message = msgspec.structs.replace(
                message,
                reasoning_details=None,
                reasoning_content=None if message.reasoning_details else message.reasoning_content,
                tool_calls=calls and [msgspec.structs.replace(c, extra_content=None) for c in calls],
            )
        clean.append(message)
    if not changed:
        return None
    lost.append("reasoning_details")
    return Raw(_encode(clean))


_CUT = Failure(FailureKind.TRUNCATED, "the stream ended before its end marker")


class Reader:
    """Passes whole events of a stream on as they come, in blocks as large as the network gave them."""

    __slots__ = ("_committed", "_done", "_finish", "_held", "_marks", "_show_usage", "_size")

    def __init__(self, show_usage: bool) -> None:
        self._show_usage = show_usage
        self._held: list[bytes] = []
        self._size = 0
        self._committed = False
        self._marks = _COMPACT
        self._finish: str | None = None
        self._done = False

    def feed(self, data: bytes) -> Sequence[Delta]:
        """One Delta for a block of plain events; events that matter are decoded one by one."""
        if self._done:
            return ()
        if self._held:
            self._held.append(data)
            self._size += len(data)
            if b"\n" not in data:  # joined once a line, not once a chunk: small chunks stay linear
                return self._too_long() if self._size > MAX_EVENT else ()
            data = b"".join(self._held)
        cut = data.rfind(b"\n\n") + 2
        if cut == 1:
            cut = data.rfind(b"\r\n\r\n") + 4
            if cut == 3:
                self._held, self._size = [data], len(data)
                return self._too_long() if len(data) > MAX_EVENT else ()
        rest = data[cut:]
        self._held, self._size = [rest] if rest else [], len(rest)
        block = data[:cut]
        if self._committed and _plain(block, self._marks):
            return (Delta(wire=block, content=True),)
        return self._events(block)

    def end(self) -> Sequence[Delta]:
        """What was still open; `truncated` when neither `[DONE]` nor a finish reason came."""
        rest = b"".join(self._held)
        self._held = []
        self._committed = False  # what has no delimiter may be half an event: it is read, never passed as it came
        deltas = self._events(rest) if rest.strip() and not self._done else []
        failure = deltas[-1].failure if deltas else None
        if failure is not None and failure.kind is FailureKind.MALFORMED:
            deltas[-1] = Delta(failure=_CUT)
        elif failure is None and not self._done and self._finish is None:
            deltas.append(Delta(failure=_CUT))
        self._done = True
        return deltas

    def _too_long(self) -> Sequence[Delta]:
        self._done = True
        return (Delta(failure=Failure(FailureKind.MALFORMED, "an event of the stream is too long")),)

    def _events(self, block: bytes) -> list[Delta]:
        """Events up to the commit point, and those that matter after it, one by one; runs of others as they came."""
        if b"\r" in block:
            block = block.replace(b"\r\n", b"\n")
        out: list[Delta] = []
        place = 0
        while place < len(block) and not self._done:
            if self._committed:
                mark = _first(block, place, self._marks)
                plain = block.rfind(b"\n\n", place, mark) + 2 if mark >= 0 else _last_event(block)
                if plain > max(place, 1):
                    out.append(Delta(wire=block[place:plain], content=True))
                    place = plain
                    continue
            end = block.find(b"\n\n", place)
            end = len(block) if end < 0 else end
            payload = _payload(block[place:end])
            place = end + 2
            if payload == b"[DONE]":
                self._done = True
            elif payload is not None:
                out.append(self._event(payload))
                self._done = out[-1].failure is not None
        return out

    def _event(self, payload: bytes) -> Delta:
        try:
            answer = _answer.decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as fault:
            return Delta(failure=Failure(FailureKind.MALFORMED, f"a chunk of the stream cannot be read: {fault}"))
        if answer.error is not None:
            return Delta(failure=_failure(answer.error, None, FailureKind.STREAM_ERROR))
        choices = answer.choices or ()
        usage = None if answer.usage is None else _usage(answer.usage, answer.service_tier)
        finish = next((c.finish_reason for c in choices if c.finish_reason), None)
        self._finish = finish or self._finish
        filled = any((c.delta or c.message or _Text()).filled for c in choices)
        if filled and not self._committed:
            self._committed = True
            self._marks = _SPACED if b'"choices": ' in payload else _COMPACT
        # A chunk with usage and no choices exists because the gateway asked for it; not every caller did.
        shown = bool(choices) or usage is None or self._show_usage
        wire = b"data: " + payload + b"\n\n" if shown else None
        return Delta(wire=wire, content=filled, finish_reason=finish, usage=usage)


def _payload(event: bytes) -> bytes | None:
    """The data of one SSE event, or None for a comment or a blank."""
    if event.startswith(b"data: ") and b"\n" not in event:
        return event[6:].strip()
    lines = [line[5:].lstrip() for line in event.split(b"\n") if line.startswith(b"data:")]
    if not lines:
        # A server that answers a stream request with one JSON body, or an error without framing.
        return event.strip() if event.lstrip().startswith(b"{") else None
    return b"\n".join(lines).strip()


class _Marks(Struct, frozen=True):
    """What events hold that the gateway must look into, as a server writes JSON: with or without spaces.

    A search through a whole block costs a microsecond or more, so only what may stand anywhere is searched for
    everywhere. A finish reason and `[DONE]` matter where they are the last thing said: the tail tells.
    """

    anywhere: tuple[bytes, ...]
    last: tuple[bytes, ...]


_COMPACT = _Marks((b'"usage":{', b'"error"', b"\r"), (b'"finish_reason":"', b"[DONE]"))
_SPACED = _Marks((b'"usage": {', b'"error"', b"\r"), (b'"finish_reason": "', b"[DONE]"))


def _plain(block: bytes, marks: _Marks) -> bool:
    """Whether a block of whole events may pass as it is. Of its events only the last is looked at closely."""
    for mark in marks.anywhere:
        if mark in block:
            return False
    start = _last_event(block)
    tail = block[start:]
    whole = tail.startswith(b"data:") and tail.endswith(b"}\n\n")
    return whole and marks.last[0] not in tail and marks.last[1] not in tail


def _last_event(block: bytes) -> int:
    """Where the last event of a block begins."""
    place = block.rfind(b"\n\n", 0, -2)
    return place + 2 if place >= 0 else 0


def _first(block: bytes, start: int, marks: _Marks) -> int:
    """Where the first of the marks stands, or -1."""
    places = [place for mark in (*marks.anywhere, *marks.last) if (place := block.find(mark, start)) >= 0]
    return min(places) if places else -1

"""Prompts and answers for traces, when the policy asks for them: shortened at once, redacted before they leave.

The shape is that of the semantic conventions' `gen_ai.input.messages` and `gen_ai.output.messages`.
"""

from collections.abc import Iterable, Iterator

import msgspec
from msgspec import Struct

from ..chat import ChatRequest, Message, ToolCall
from ..telemetry.redact import redacted, shortened

LIMIT = 16_000
"""Characters kept of a prompt, and as many of an answer."""
MAX_BODY = 1024 * 1024
"""Bytes of an answer that is taken apart."""


class Part(Struct, frozen=True, omit_defaults=True):
    """A piece of a message: `text`, `tool_call` or `tool_call_response`."""

    type: str
    content: str | None = None
    id: str | None = None
    name: str | None = None
    arguments: str | None = None
    result: str | None = None


class Said(Struct, frozen=True, omit_defaults=True):
    """One message."""

    role: str
    parts: list[Part]
    finish_reason: str | None = None


class _Delta(Struct):
    content: str | None = None
    tool_calls: list[ToolCall] | None = None


class _Choice(Struct):
    index: int = 0
    message: _Delta | None = None
    delta: _Delta | None = None
    finish_reason: str | None = None


class _Answer(Struct):
    choices: list[_Choice] = []


def prompt(chat: ChatRequest) -> list[Said]:
    """What was asked: the newest messages, as far as they fit. Images, sound and documents are left out."""
    left, found = LIMIT, []
    for message in reversed(chat.messages):
        parts = list(_parts(message, left))
        left -= sum(len(part.content or part.arguments or part.result or "") for part in parts)
        found.append(Said(message.role[:32], parts))
        if left <= 0:
            break
    return found[::-1]


def answer(body: bytes, stream: bool) -> list[Said]:
    """What was answered: `body` as the caller got it. Empty when it cannot be read, or is too long to be."""
    if len(body) > MAX_BODY:
        return []
    choices: dict[int, Said] = {}
    calls: dict[tuple[int, int], ToolCall] = {}
    texts: dict[int, list[str]] = {}
    for choice in _choices(body, stream):
        said = choice.message or choice.delta or _Delta()
        texts.setdefault(choice.index, []).append(said.content or "")
        for place, call in enumerate(said.tool_calls or ()):
            known = calls.setdefault((choice.index, place if call.index is None else call.index), call)
            if known is not call and known.function is not None and call.function is not None:
                known.function.arguments += call.function.arguments
        reason = choice.finish_reason or (choices[choice.index].finish_reason if choice.index in choices else None)
        choices[choice.index] = Said("assistant", [], reason)
    left = LIMIT
    for index, message in choices.items():
        whole = "".join(texts[index])
        if whole:
            message.parts.append(Part("text", content=shortened(whole, left)))
        message.parts.extend(_call(call, left) for (owner, _), call in calls.items() if owner == index)
        left = max(0, left - len(whole))
    return list(choices.values())


def shown(messages: list[Said]) -> str:
    """The messages as JSON, with what looks like a secret or a person's data taken out."""
    for message in messages:
        message.parts[:] = [_redacted(part) for part in message.parts]
    return msgspec.json.encode(messages).decode()


def _redacted(part: Part) -> Part:
    hidden = {name: redacted(text) for name in ("content", "arguments", "result") if (text := getattr(part, name))}
    return msgspec.structs.replace(part, **hidden)


def _parts(message: Message, limit: int) -> Iterator[Part]:
    if message.role == "tool":
        yield Part("tool_call_response", id=_short(message.tool_call_id), result=_text(message, limit))
    elif whole := _text(message, limit):
        yield Part("text", content=whole)
    yield from (_call(call, limit) for call in message.tool_calls or ())


def _text(message: Message, limit: int) -> str:
    content = message.content
    if isinstance(content, list):
        content = "\n".join(part.text for part in content if part.text)
    return shortened(content or "", limit)


def _call(call: ToolCall, limit: int) -> Part:
    function = call.function
    name, arguments = (function.name, function.arguments) if function is not None else (None, "")
    return Part("tool_call", id=_short(call.id), name=_short(name), arguments=shortened(arguments, limit))


def _short(name: str | None) -> str | None:
    return None if name is None else name[:128]


def _choices(body: bytes, stream: bool) -> Iterable[_Choice]:
    pieces = [line[6:] for line in body.split(b"\n") if line.startswith(b"data: {")] if stream else [body]
    for piece in pieces:
        try:
            yield from _decode(piece).choices
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return


_decode = msgspec.json.Decoder(_Answer).decode

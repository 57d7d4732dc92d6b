"""A case's request as a gateway would receive it: JSON, parsed by the surface that parses live traffic."""

from typing import Any

import msgspec

from ..chat import ChatRequest
from ..engine.trial import Asked
from ..features import extract
from ..surfaces.base import Invalid
from ..surfaces.openai_chat import OpenAIChat
from .spec import Request

_FILLER = "."
"""No word: no rule or pattern finds anything in it."""


class UnfitError(ValueError):
    """What is written cannot be asked; `path` is the field, counted from the case."""

    def __init__(self, text: str, *path: str) -> None:
        super().__init__(text)
        self.path = path


def asked(spec: Request) -> Asked:
    """The request. Raises UnfitError when no gateway would take it, or it is longer than it says."""
    messages = [dict(message) for message in spec.messages]
    if not messages:
        messages.append({"role": "user", "content": "Hello." if spec.prompt is None else spec.prompt})
    tools = [_tool(number) for number in range(spec.tools)] if isinstance(spec.tools, int) else list(spec.tools)
    body: dict[str, Any] = {"model": spec.model, "messages": messages}
    more = {"tools": tools, "stream": spec.stream, "max_tokens": spec.max_tokens}
    body |= {name: value for name, value in more.items() if value} | spec.body
    if spec.last_tokens is not None:
        _fill_last(messages, spec.last_tokens)
    if spec.tokens is not None:
        _fill_up(body, messages, spec.tokens)
    raw = msgspec.json.encode(body)
    return Asked(_parsed(raw), raw, {name.lower(): value for name, value in spec.headers.items()})


def _parsed(raw: bytes) -> ChatRequest:
    chat = OpenAIChat().parse(raw)
    if isinstance(chat, Invalid):
        raise UnfitError(f"no gateway would take this request: {chat.message}", "request")
    return chat


def _fill_last(messages: list[dict[str, Any]], tokens: int) -> None:
    """Lengthen the last message of the user to this many tokens, as `features.estimate` counts."""
    last = next((message for message in reversed(messages) if message.get("role") == "user"), None)
    if last is None or not isinstance(last.get("content"), str):
        raise UnfitError("there is no message of the user, as a text, to fill up", "request", "last_tokens")
    missing = 4 * (tokens - 1) - len(last["content"].encode())
    if missing <= -4:
        raise UnfitError("the last message is longer than that already", "request", "last_tokens")
    last["content"] += _FILLER * missing


def _fill_up(body: dict[str, Any], messages: list[dict[str, Any]], tokens: int) -> None:
    """Put a system message first, as long as is needed."""
    system = {"role": "system", "content": ""}
    messages.insert(0, system)
    missing = tokens - extract(_parsed(msgspec.json.encode(body)), {}).tokens
    if missing < 0:
        raise UnfitError(f"the request has {tokens - missing} tokens without being filled up", "request", "tokens")
    system["content"] = _FILLER * (4 * missing)


def _tool(number: int) -> dict[str, Any]:
    return {"type": "function", "function": {"name": f"tool_{number + 1}", "parameters": {"type": "object"}}}

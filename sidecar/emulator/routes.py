"""Which wire and which action a URL means. Matched from the end, so that any prefix may stand before it."""

import re
from collections.abc import Mapping
from typing import Literal, NamedTuple

from .anthropic import Anthropic
from .google import Google
from .ollama import Ollama
from .openai import OpenAI
from .wire import Target, Wire

Action = Literal["chat", "models", "version", "requests", "unknown", "method"]

_OPENAI, _ANTHROPIC, _GOOGLE, _OLLAMA = OpenAI(), Anthropic(), Google(), Ollama()
_VERSION = re.compile(r"^v\d+[a-z0-9]*$")
_MODEL = re.compile(r"^(?P<prefix>.*)/models/(?P<model>[^/]+):(?P<verb>generateContent|streamGenerateContent)$")
_ENDINGS: tuple[tuple[str, Wire, Action, str], ...] = (
    ("/chat/completions", _OPENAI, "chat", "POST"),
    ("/messages", _ANTHROPIC, "chat", "POST"),
    ("/api/chat", _OLLAMA, "chat", "POST"),
    ("/api/tags", _OLLAMA, "models", "GET"),
    ("/api/version", _OLLAMA, "version", "GET"),
)
REQUESTS = "/_emulator/requests"


class Route(NamedTuple):
    """Where a request goes."""

    wire: Wire
    action: Action
    target: Target


def find(method: str, path: str, query: Mapping[str, str], headers: Mapping[str, str]) -> Route:
    """The route; an unknown path is answered in the protocol it looks like."""
    if path == REQUESTS:
        return Route(_OPENAI, "requests" if method == "GET" else "method", Target("emulator"))
    called = _MODEL.match(path)
    if called:
        stream = called["verb"] == "streamGenerateContent"
        provider = _provider(called["prefix"]) or _GOOGLE.name
        target = Target(provider, called["model"], stream, query.get("alt") == "sse")
        return Route(_GOOGLE, "chat" if method == "POST" else "method", target)
    for ending, wire, action, verb in _ENDINGS:
        if path.endswith(ending):
            provider = _provider(path.removesuffix(ending)) or wire.name
            return Route(wire, action if method == verb else "method", Target(provider))
    wire = _dialect(path, query, headers)
    if path.endswith("/models"):
        provider = _provider(path.removesuffix("/models")) or wire.name
        return Route(wire, "models" if method == "GET" else "method", Target(provider))
    return Route(wire, "unknown", Target(_provider(path) or wire.name))


def _provider(prefix: str) -> str:
    """The first segment before the route, unless it is a version: the name the script knows the provider by."""
    first = prefix.strip("/").partition("/")[0]
    return "" if _VERSION.match(first) else first


def _dialect(path: str, query: Mapping[str, str], headers: Mapping[str, str]) -> Wire:
    """`/v1/models` is spoken by three providers: the headers tell them apart."""
    if "anthropic-version" in headers or "x-api-key" in headers:
        return _ANTHROPIC
    if "x-goog-api-key" in headers or "key" in query or "/v1beta" in path:
        return _GOOGLE
    return _OLLAMA if "/api/" in path else _OPENAI

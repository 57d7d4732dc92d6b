"""What every provider's adapter is: pure functions between `chat.py` and one wire, no I/O, no clock, no state.

A stream reader is the one object with state, and it lives for one answer.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

import msgspec
from msgspec import Struct

from ..chat import ChatRequest, Completion, Delta, Failure, FunctionSpec, Outgoing, Tool
from ..spec import Secret

MAX_MESSAGE = 2000
"""Characters of a provider's error text that are kept."""
_SERVICE_TIERS = frozenset({"batch", "flex", "priority", "fast", "ultrafast"})


class Target(Struct, frozen=True):
    """Where one attempt goes: a model at a provider, with what the translation must know about it.

    `base_url` has no trailing slash. `model` is the provider's own name. `key` is None for a local provider.
    `rejects` are request fields the model refuses; `max_output` fills a wire's mandatory output limit.
    `tools_effort` is the only reasoning_effort the provider takes together with function tools, if it is so limited.
    """

    model: str
    base_url: str
    key: Secret | None = None
    headers: Mapping[str, str] = {}
    capabilities: frozenset[str] = frozenset()
    rejects: frozenset[str] = frozenset()
    max_output: int = 4096
    tools_effort: str | None = None


class StreamReader(Protocol):
    """Reads one streamed answer. Feed it network chunks of any size, cut anywhere; it never raises."""

    def feed(self, data: bytes) -> Sequence[Delta]:
        """Deltas completed by these bytes, in order. After a Delta with `failure` nothing more comes."""

    def end(self) -> Sequence[Delta]:
        """Called once at end of body: what was still open, and a `truncated` failure if the provider's own
        terminal marker never came."""


class Adapter(Protocol):
    """One provider protocol. `protocol` is its name in gateway.yaml and equals a surface's when bytes may pass."""

    protocol: str

    def request(self, chat: ChatRequest, raw: bytes, target: Target) -> Outgoing:
        """The HTTP request for `chat`. `raw` is the caller's body, for unknown fields on same-protocol calls."""

    def response(self, body: bytes) -> Completion | Failure:
        """A whole 2xx body. An error object inside it is a Failure; so is a body that cannot be read."""

    def reader(self, chat: ChatRequest) -> StreamReader:
        """A fresh reader for a 2xx streamed body."""

    def failure(self, status: int, headers: Mapping[str, str], body: bytes) -> Failure:
        """A non-2xx answer (header names in lower case) as one of the closed list of failures."""


def accepted(chat: ChatRequest, rejects: frozenset[str]) -> tuple[ChatRequest, list[str]]:
    """The request without the fields that a model refuses, and the names of those that were given."""
    fields = rejects.intersection(chat.__struct_fields__) - {"model", "messages", "stream"}
    given = sorted(name for name in fields if getattr(chat, name) is not None)
    return (msgspec.structs.replace(chat, **dict.fromkeys(given)) if given else chat), given


def service_tier(said: object) -> str:
    """A service tier with a price of its own as an answer names it; empty for the standard one and for any other."""
    tier = said.lower() if isinstance(said, str) else ""
    return tier if tier in _SERVICE_TIERS else ""


def functions(tools: Sequence[Tool], lost: list[str]) -> list[FunctionSpec]:
    """The functions among the tools, for wires that know neither other tools nor `strict`; those are named as lost."""
    found = []
    for tool in tools:
        if tool.function is None:
            lost.append("tools")
            continue
        if tool.function.strict:
            lost.append("strict")
        found.append(tool.function)
    return found

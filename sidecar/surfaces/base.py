"""What every caller's wire is: bytes in to `chat.py`, and answers, streams and errors back out."""

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from ..chat import ChatRequest, Completion, Delta, Problem, Usage


class Invalid(Struct, frozen=True):
    """A body the surface cannot take: what is wrong, and in which field."""

    message: str
    param: str | None = None
    code: str | None = None


class Encoder(Protocol):
    """Writes one streamed answer."""

    def encode(self, deltas: Sequence[Delta]) -> bytes:
        """The bytes these deltas become; may be empty."""

    def error(self, problem: Problem) -> bytes:
        """The terminal error event of a stream that cannot go on."""

    def done(self, usage: Usage | None, cost_usd: str | None) -> bytes:
        """The end: final usage and cost where the wire and the caller want them, and the end marker."""


class Surface(Protocol):
    """One protocol spoken to callers. `protocol` equals an adapter's when bytes may pass unchanged."""

    protocol: str

    def parse(self, body: bytes) -> ChatRequest | Invalid:
        """One decode of the caller's body, with every bound checked."""

    def complete(self, completion: Completion, model: str, call_id: str, now: float) -> bytes:
        """A whole answer. `now` is Unix time in seconds, for wires that ask for a creation time."""

    def encoder(self, chat: ChatRequest, model: str, call_id: str, now: float) -> Encoder:
        """An encoder for one stream."""

    def problem(self, problem: Problem) -> bytes:
        """An error body in this wire's envelope."""

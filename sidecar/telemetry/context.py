"""W3C trace context: who asked, and what the request and its attempts are called in a trace.

https://www.w3.org/TR/trace-context/ level 1. What does not hold to it is ignored: the request then begins a trace of
its own.
"""

import os
import re
from collections.abc import Mapping
from random import Random

from msgspec import Struct

_TRACEPARENT = re.compile(
    r"(?!ff)(?P<version>[0-9a-f]{2})-(?P<trace>(?!0{32})[0-9a-f]{32})-(?P<span>(?!0{16})[0-9a-f]{16})"
    r"-(?P<flags>[0-9a-f]{2})(?P<more>-.*)?"
)
_TRACESTATE = re.compile(r"[ -~\t]{1,512}")
_random = Random(os.urandom(32))  # noqa: S311  ids must be unique, and no system call each; they open nothing
_bits = _random.getrandbits


class Context(Struct, gc=False):
    """A request's place in a trace. `span` is its own id, `parent` its caller's or empty; both in hexadecimal.

    `state` is the caller's `tracestate`, passed on as it came.
    """

    trace: str
    span: str
    parent: str
    sampled: bool
    state: str

    def descend(self, headers: dict[str, str]) -> str:
        """A new span below this one, written to the headers of the request that it stands for; returns its id."""
        span = span_id()
        headers["traceparent"] = f"00-{self.trace}-{span}-{'01' if self.sampled else '00'}"
        if self.state:
            headers["tracestate"] = self.state
        return span


def begin(headers: Mapping[str, str], share: float) -> Context:
    """The context of a request with these headers (names in lower case). Whether it is sampled is its caller's
    decision; where there is none, `share` of the requests are (0 to 1)."""
    found = _TRACEPARENT.fullmatch(headers["traceparent"].strip(" \t")) if "traceparent" in headers else None
    if found is None or (found["more"] and found["version"] == "00"):
        sampled = share >= 1 or _random.random() < share
        return Context(f"{_bits(128) or 1:032x}", span_id(), "", sampled, "")
    state = headers.get("tracestate", "")
    if _TRACESTATE.fullmatch(state) is None:
        state = ""
    return Context(found["trace"], span_id(), found["span"], bool(int(found["flags"], 16) & 1), state)


def span_id() -> str:
    """A new span's id."""
    return f"{_bits(64) or 1:016x}"

"""Reading a request from ASGI within bounds: headers, body, and who is calling."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from ..chat import Problem
from ..engine.deadline import Deadline

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]

MAX_HEADER = 16 * 1024
_SINGLE = frozenset({"authorization", "x-api-key", "content-length", "content-type", "host"})
_LOOPBACK = ("127.", "::1", "::ffff:127.")


class HungUpError(Exception):
    """The caller went away before its request was complete: there is nobody to answer."""


def read_headers(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, str] | Problem:
    """Headers by lower-case name. A header that may stand once and stands twice is refused, not guessed at."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in raw:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        known = headers.setdefault(name, value)
        if known is not value:
            if name in _SINGLE and known != value:
                return _invalid(f"The header `{name}` stands twice with different values.")
            headers[name] = f"{known}, {value}" if name not in _SINGLE else known
        if len(value) > MAX_HEADER:
            return _invalid(f"The header `{name[:64]}` is too long.")
    return headers


async def read_body(receive: Receive, headers: Mapping[str, str], limit: int, deadline: Deadline) -> bytes | Problem:
    """The whole body, at most `limit` bytes, before `deadline`. Raises HungUpError when the caller is gone."""
    if headers.get("content-encoding", "identity") != "identity":
        return Problem(415, "invalid_request_error", "Send the body without content-encoding.", "unsupported_encoding")
    declared = headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limit:
        return _too_large(limit)
    parts: list[bytes] = []
    size = 0
    try:
        with deadline:
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise HungUpError
                part = message.get("body", b"")
                size += len(part)
                if size > limit:
                    return _too_large(limit)
                parts.append(part)
                if not message.get("more_body", False):
                    return parts[0] if len(parts) == 1 else b"".join(parts)
    except TimeoutError:
        return Problem(
            408, "invalid_request_error", f"The body did not arrive within {deadline.seconds:g} s.", "body_timeout"
        )


def client_ip(scope: Scope) -> str:
    """The peer's address. Forwarding headers are not believed: a sidecar's caller is next to it."""
    client = scope.get("client")
    return str(client[0]) if client else ""


def is_loopback(address: str) -> bool:
    """Whether an address is this machine's own."""
    return address.startswith(_LOOPBACK)


def credential(headers: Mapping[str, str]) -> str:
    """The gateway key the caller sent: a bearer token, or `x-api-key`."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return token.strip()
    return headers.get("x-api-key", "").strip()


def _invalid(message: str) -> Problem:
    return Problem(400, "invalid_request_error", message, "invalid_header")


def _too_large(limit: int) -> Problem:
    message = f"The body is larger than {limit:,} bytes."
    return Problem(413, "invalid_request_error", message, "request_too_large")

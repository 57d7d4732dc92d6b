"""Reading a request from ASGI within bounds: headers, body, and who is calling."""

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

from ..chat import Problem

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]

MAX_HEADER = 16 * 1024
_TIMEOUT = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)(s|ms|)")
_LONGEST = 86400.0
_SINGLE = frozenset({"authorization", "x-api-key", "content-length", "content-type", "host"})
_LOOPBACK = ("127.", "::1", "::ffff:127.")
_TWO_CREDENTIALS = Problem(
    401,
    "authentication_error",
    "`Authorization` and `x-api-key` hold different credentials, and only one can be meant: send one of them.",
    "conflicting_credentials",
)


class HungUpError(Exception):
    """The caller went away before its request was complete: there is nobody to answer."""


def read_headers(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, str] | Problem:
    """Headers by lower-case name. A header that may stand once and stands twice is refused, not guessed at, and so are
    two credentials of which only one can be meant."""
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
    if "x-api-key" in headers and "authorization" in headers:
        token, key = _bearer(headers), _api_key(headers)
        if token and key and token != key:
            return _TWO_CREDENTIALS
    return headers


def unreadable(headers: Mapping[str, str], limit: int) -> Problem | None:
    """Why a body with these headers will not be read."""
    if headers.get("content-encoding", "identity") != "identity":
        return Problem(415, "invalid_request_error", "Send the body without content-encoding.", "unsupported_encoding")
    return _too_large(limit) if announced(headers) > limit else None


def announced(headers: Mapping[str, str]) -> int:
    """The body's length as its sender gives it, or -1."""
    length = headers.get("content-length", "")
    return int(length) if length.isdecimal() and len(length) < 20 else -1


def complete(message: Mapping[str, Any], headers: Mapping[str, str], limit: int) -> bytes | None:
    """The body, if all of it is in the first message. All that was announced is enough: the server's word that nothing
    follows need not be waited for."""
    body: bytes = message.get("body", b"")
    if len(body) <= limit and (len(body) == announced(headers) or not message.get("more_body", True)):
        return body
    return None


async def read_body(first: Mapping[str, Any], receive: Receive, limit: int) -> bytes | Problem:
    """The whole body, at most `limit` bytes, of which `first` is here. Raises HungUpError when the caller is gone."""
    parts: list[bytes] = []
    size = 0
    message = first
    while True:
        if message["type"] == "http.disconnect":
            raise HungUpError
        part = message.get("body", b"")
        size += len(part)
        if size > limit:
            return _too_large(limit)
        parts.append(part)
        if not message.get("more_body", False):
            return b"".join(parts)
        message = await receive()


def too_slow(seconds: float) -> Problem:
    """The answer to a body that did not arrive in time."""
    message = f"The body did not arrive within {seconds:g} s."
    return Problem(408, "invalid_request_error", message, "body_timeout")


def deadline(headers: Mapping[str, str]) -> float | Problem | None:
    """The seconds that the caller gives its request: `x-request-timeout: 20`, `1.5` or `800ms`; None when it does not
    say."""
    text = headers.get("x-request-timeout")
    if text is None:
        return None
    found = _TIMEOUT.fullmatch(text.strip())
    value = float(found[1]) / (1000 if found[2] == "ms" else 1) if found else 0.0
    if not 0 < value <= _LONGEST:
        return _invalid("The header `x-request-timeout` is a number of seconds, such as 30, 1.5 or 800ms.")
    return value


def client_ip(scope: Scope) -> str:
    """The peer's address. Forwarding headers are not believed: a sidecar's caller is next to it."""
    client = scope.get("client")
    return str(client[0]) if client else ""


def is_loopback(address: str) -> bool:
    """Whether an address is this machine's own."""
    return address.startswith(_LOOPBACK)


def credential(headers: Mapping[str, str]) -> str:
    """The gateway key the caller sent: a bearer token, or `x-api-key`."""
    return _bearer(headers) or _api_key(headers)


def credential_of(scope: Scope) -> str | Problem:
    """The same of a request that is not read further: headers that contradict each other are refused everywhere."""
    headers = read_headers(scope["headers"])
    return headers if isinstance(headers, Problem) else credential(headers)


def _bearer(headers: Mapping[str, str]) -> str:
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _api_key(headers: Mapping[str, str]) -> str:
    return headers.get("x-api-key", "").strip()


def _invalid(message: str) -> Problem:
    return Problem(400, "invalid_request_error", message, "invalid_header")


def _too_large(limit: int) -> Problem:
    message = f"The body is larger than {limit:,} bytes."
    return Problem(413, "invalid_request_error", message, "request_too_large")

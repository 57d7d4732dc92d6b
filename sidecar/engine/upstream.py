"""The one HTTP client of the data plane: sends an `Outgoing`, hands back an answer or raises one of FAULTS.

aiohttp, because a caller who hangs up must stop the meter: cancelling or closing ends the connection at once
(docs/architecture.md has the measurements).
"""

import os
import ssl
from collections.abc import Awaitable, Coroutine, Mapping
from typing import Any

import aiohttp

from ..chat import Failure, FailureKind, Outgoing
from ..spec import Secret
from ..telemetry.redact import HIDDEN, KEY_LIKE

_PROXY_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
MAX_ERROR_BODY = 64 * 1024
FAULTS = (aiohttp.ClientError, OSError, ValueError)
"""What asking and reading may raise; `network_failure` says what it means."""


Answer = aiohttp.ClientResponse
"""A provider's response once its headers are here. `release` it when read to its end, else `close` it."""


class Upstream:
    """A pool of connections shared by all graphs. Create and close it on the event loop."""

    def __init__(self) -> None:
        environ = {name.upper() for name in os.environ}
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ttl_dns_cache=60, keepalive_timeout=30),
            timeout=aiohttp.ClientTimeout(total=None),
            trust_env=any(name in environ for name in _PROXY_VARIABLES),
            cookie_jar=aiohttp.DummyCookieJar(),
            max_line_size=64 * 1024,
            max_field_size=64 * 1024,
            skip_auto_headers=("User-Agent",),
        )
        self._timeouts: dict[float, aiohttp.ClientTimeout] = {}

    def post(self, outgoing: Outgoing, connect: float) -> Awaitable[Answer]:
        """Send, and wait for the response's headers; a connection must stand within `connect` seconds.

        Redirects are not followed: they would carry the provider's key elsewhere. Awaiting raises one of FAULTS.
        Not a coroutine of its own, like all here that every request passes.
        """
        timeout = self._timeouts.get(connect)
        if timeout is None:
            timeout = self._timeouts[connect] = aiohttp.ClientTimeout(total=None, connect=None, sock_connect=connect)
        return self._session.post(
            outgoing.url, data=outgoing.body, headers=outgoing.headers, allow_redirects=False, timeout=timeout
        )

    async def close(self) -> None:
        """Close every connection."""
        await self._session.close()


def chunk(answer: Answer) -> Coroutine[Any, Any, bytes]:
    """The next bytes as the network gave them; empty at the end of the body. Raises one of FAULTS."""
    return answer.content.readany()


def arrived(answer: Answer, limit: int) -> bytes | None:
    """The whole body if it is here already, as that of a short answer is; None when it must be waited for."""
    content = answer.content
    return content.read_nowait() if content.is_eof() and content.total_bytes <= limit else None


async def read(answer: Answer, limit: int) -> bytes | Failure:
    """The whole body, at most `limit` bytes, however small it was packed. Raises one of FAULTS."""
    length = answer.content_length
    if length is not None and length > limit:
        return _too_large(limit)
    parts: list[bytes] = []
    size = 0
    while part := await answer.content.readany():
        parts.append(part)
        size += len(part)
        if size > limit:
            return _too_large(limit)
    return b"".join(parts)


def headers_of(answer: Answer) -> Mapping[str, str]:
    """Header names in lower case."""
    return {name.lower(): value for name, value in answer.headers.items()}


def network_failure(fault: Exception) -> Failure:
    """A network fault in our own words: theirs hold addresses."""
    match fault:
        case aiohttp.ConnectionTimeoutError() | aiohttp.ServerTimeoutError():
            return Failure(FailureKind.CONNECT_TIMEOUT, "no connection within the time limit")
        case aiohttp.ClientConnectorDNSError():
            return Failure(FailureKind.DNS, "the provider's host name cannot be resolved")
        case aiohttp.ClientConnectorCertificateError() | aiohttp.ClientSSLError() | ssl.SSLError():
            return Failure(FailureKind.TLS, "no trusted TLS connection to the provider")
        case aiohttp.ClientConnectorError():
            return Failure(FailureKind.REFUSED, "the provider refused the connection")
        case aiohttp.ClientPayloadError():
            return Failure(FailureKind.TRUNCATED, "the provider's answer broke off")
        case aiohttp.InvalidURL():
            return Failure(FailureKind.NOT_FOUND, "the provider's base URL is not a URL")
        case aiohttp.ClientResponseError():
            return Failure(FailureKind.MALFORMED, "the provider did not answer in HTTP")
    return Failure(FailureKind.RESET, "the provider closed the connection")


def _too_large(limit: int) -> Failure:
    return Failure(FailureKind.MALFORMED, f"the provider's answer is larger than {limit} bytes")


def sanitised(text: str, key: Secret | None, base_url: str) -> str:
    """A provider's words without the key that was sent, things that look like keys, and the upstream's address."""
    if key is not None:
        text = text.replace(key.reveal(), "***")
    host = base_url.partition("://")[2].partition("/")[0]
    if host:
        text = text.replace(host, "upstream")
    return KEY_LIKE.sub(HIDDEN, text)

"""The one HTTP client of the data plane: sends an `Outgoing`, hands back an answer or a Failure, never an exception.

aiohttp, because a caller who hangs up must stop the meter: cancelling or closing ends the connection at once
(docs/architecture.md has the measurements).
"""

import asyncio
import os
import re
import ssl
from collections.abc import Coroutine, Mapping
from typing import Any

import aiohttp

from ..chat import Failure, FailureKind, Outgoing
from ..spec import Secret
from .deadline import Deadline

_PROXY_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
MAX_ERROR_BODY = 64 * 1024
FAULTS = (aiohttp.ClientError, OSError)
"""What reading an answer may raise; `network_failure` says what it means."""
_KEY_LIKE = re.compile(
    r"(?:sk|gw|pk|rk|org|proj)[-_][A-Za-z0-9_*-]{8,}"
    r"|AIza[A-Za-z0-9_-]{10,}|[Bb]earer +[^\s\"']{6,}|eyJ[A-Za-z0-9_.-]{20,}"
)


class Answer:
    """A provider's response once its headers are here. Closed exactly once, whatever happens."""

    __slots__ = ("_response", "status")

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.status = response.status

    @property
    def headers(self) -> Mapping[str, str]:
        """Header names in lower case."""
        return {name.lower(): value for name, value in self._response.headers.items()}

    @property
    def complete(self) -> bool:
        """Whether the whole body is here already."""
        return self._response.content.is_eof()

    def chunk(self) -> Coroutine[Any, Any, bytes]:
        """The next bytes as the network gave them; empty at the end of the body. Raises one of FAULTS.

        Not a coroutine of its own: it is awaited for every chunk of every stream.
        """
        return self._response.content.readany()

    async def body(self, limit: int) -> bytes | Failure:
        """The whole body, at most `limit` bytes, however small it was packed."""
        length = self._response.content_length
        if length is not None and length > limit:
            return _too_large(limit)
        if length is not None and "content-encoding" not in self._response.headers:
            try:
                return await self._response.read()
            except FAULTS as fault:
                return network_failure(fault)
        parts: list[bytes] = []
        size = 0
        try:
            while part := await self.chunk():
                parts.append(part)
                size += len(part)
                if size > limit:
                    return _too_large(limit)
        except FAULTS as fault:
            return network_failure(fault)
        return b"".join(parts)

    def release(self) -> None:
        """Give the connection back when the body was read to its end, else close it."""
        self._response.release()

    def close(self) -> None:
        """End the connection now; a read that waits is woken."""
        self._response.close()


class Upstream:
    """A pool of connections shared by all graphs. Create and close it on the event loop."""

    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
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

    async def send(self, outgoing: Outgoing, connect: float, headers_by: float) -> Answer | Failure:
        """Send, and wait at most `headers_by` seconds for the response's headers. Redirects are not followed:
        they would carry the provider's key elsewhere."""
        timeout = self._timeouts.get(connect)
        if timeout is None:
            timeout = self._timeouts[connect] = aiohttp.ClientTimeout(total=None, connect=None, sock_connect=connect)
        try:
            with Deadline(self.loop, headers_by):
                response = await self._session.post(
                    outgoing.url,
                    data=outgoing.body,
                    headers=outgoing.headers,
                    allow_redirects=False,
                    timeout=timeout,
                )
        except (aiohttp.ConnectionTimeoutError, aiohttp.ServerTimeoutError):
            return Failure(FailureKind.CONNECT_TIMEOUT, f"no connection within {connect:g} s")
        except TimeoutError:
            return Failure(FailureKind.FIRST_TOKEN_TIMEOUT, f"no answer within {headers_by:g} s")
        except (aiohttp.ClientError, OSError, ValueError) as fault:
            return network_failure(fault)
        return Answer(response)

    async def close(self) -> None:
        """Close every connection."""
        await self._session.close()


def network_failure(fault: Exception) -> Failure:
    """A network fault in our own words: theirs hold addresses."""
    match fault:
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
    return _KEY_LIKE.sub("***", text)

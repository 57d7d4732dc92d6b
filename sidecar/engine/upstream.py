"""The one HTTP client of the data plane: sends an `Outgoing`, hands back an answer or raises one of FAULTS.

aiohttp, because a caller who hangs up must stop the meter: cancelling or closing ends the connection at once. Its pool,
TLS and parser; the request, one block of bytes to one of a few URLs, is written here, for its session spends a request
object, two header maps, a writer and a task on each (docs/architecture.md has the measurements). What is out of the
ordinary (a proxy, a user in the URL, a URL that is none) takes the session's way.
"""

import asyncio
import os
import ssl
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, NamedTuple

import aiohttp
from aiohttp.connector import Connection
from aiohttp.http_exceptions import HttpProcessingError
from yarl import URL

from ..chat import Failure, FailureKind, Outgoing
from ..spec import Secret
from ..telemetry.redact import HIDDEN, KEY_LIKE

_PROXY_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
MAX_ERROR_BODY = 64 * 1024
FAULTS = (aiohttp.ClientError, HttpProcessingError, OSError, ValueError)
"""What asking and reading may raise; `network_failure` says what it means."""
_MAX_FIELD = 64 * 1024
"""Bytes of a status line or of one header."""
_MAX_PLACES = 1024
_SMALL = 64 * 1024
"""Bytes of a body that is copied behind its headers: one piece is written faster than two."""
_BEFORE = frozenset(range(100, 200)) - {101}
"""Statuses that come before the answer's own."""


class Answer:
    """A provider's response once its headers are here. `release` it when read to its end, else `close` it."""

    __slots__ = ("close", "content", "headers", "release", "status")

    def __init__(
        self,
        status: int,
        headers: Mapping[str, str],
        content: aiohttp.StreamReader,
        ends: aiohttp.ClientResponse | Connection,
    ) -> None:
        self.status = status
        self.headers = headers
        self.content = content
        self.release: Callable[[], object] = ends.release
        self.close: Callable[[], object] = ends.close


class _Place(NamedTuple):
    """Where requests go. `key` tells the pool which connections may be used; `head` is what all requests begin with."""

    key: aiohttp.ClientRequest
    head: bytes


class Upstream:
    """A pool of connections shared by all graphs. Create and close it on the event loop."""

    def __init__(self) -> None:
        environ = {name.upper() for name in os.environ}
        self._loop = asyncio.get_running_loop()
        self._connector = aiohttp.TCPConnector(limit=0, ttl_dns_cache=60, keepalive_timeout=30)
        self._proxied = any(name in environ for name in _PROXY_VARIABLES)
        self._session = aiohttp.ClientSession(
            connector=self._connector,
            timeout=aiohttp.ClientTimeout(total=None),
            trust_env=self._proxied,
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("User-Agent",),
            max_line_size=_MAX_FIELD,
            max_field_size=_MAX_FIELD,
        )
        self._timeouts: dict[float, aiohttp.ClientTimeout] = {}
        self._places: dict[str, _Place | None] = {}

    async def post(self, outgoing: Outgoing, connect: float) -> Answer:
        """Send, and wait for the response's headers; a connection must stand within `connect` seconds.

        Redirects are not followed: they would carry the provider's key elsewhere. Raises one of FAULTS.
        """
        timeout = self._timeouts.get(connect)
        if timeout is None:
            timeout = self._timeouts[connect] = aiohttp.ClientTimeout(total=None, connect=None, sock_connect=connect)
        url, body = outgoing.url, outgoing.body
        place = self._places[url] if url in self._places else self._place(url)
        if place is None:
            headers = outgoing.headers
            told = await self._session.post(url, data=body, headers=headers, allow_redirects=False, timeout=timeout)
            return Answer(told.status, told.headers, told.content, told)
        head = b"%bcontent-length: %d\r\n%b\r\n" % (place.head, len(body), _lines(outgoing.headers))
        try:
            connection = await self._connector.connect(place.key, [], timeout)
        except TimeoutError as fault:
            raise aiohttp.ConnectionTimeoutError("no connection") from fault
        answer: Answer | None = None
        try:
            protocol = connection.protocol
            if protocol is None or protocol.transport is None:
                raise aiohttp.ServerDisconnectedError
            protocol.set_response_params(read_until_eof=True, max_line_size=_MAX_FIELD, max_field_size=_MAX_FIELD)
            if len(body) <= _SMALL:
                protocol.transport.write(head + body)
            else:
                protocol.transport.writelines((head, body))
            message, content = await protocol.read()
            while message.code in _BEFORE:
                message, content = await protocol.read()
            answer = Answer(message.code, message.headers, content, connection)
        finally:
            if answer is None:
                connection.close()
        return answer

    def _place(self, text: str) -> _Place | None:
        if len(self._places) >= _MAX_PLACES:
            self._places.clear()
        place = None
        if not self._proxied:
            try:
                url = URL(text)
            except ValueError:
                url = URL()
            if url.scheme in ("http", "https") and url.raw_host and url.raw_user is None and url.raw_password is None:
                key = aiohttp.ClientRequest("POST", url, loop=self._loop)
                head = f"POST {url.raw_path_qs} HTTP/1.1\r\nhost: {url.host_port_subcomponent}\r\n"
                place = _Place(key, f"{head}accept: */*\r\naccept-encoding: gzip, deflate\r\n".encode())
        self._places[text] = place
        return place

    async def close(self) -> None:
        """Close every connection."""
        await self._session.close()


def _lines(headers: Mapping[str, str]) -> bytes:
    """Headers as they are sent."""
    text = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
    if not text.count("\r") == text.count("\n") == len(headers) or "\0" in text:
        raise ValueError("a header with a line break")
    return text.encode()


def chunk(answer: Answer) -> Coroutine[Any, Any, bytes]:
    """The next bytes as the network gave them; empty at the end of the body. Raises one of FAULTS."""
    return answer.content.readany()


def arrived(answer: Answer, limit: int) -> bytes | None:
    """The whole body if it is here already, as that of a short answer is; None when it must be waited for."""
    content = answer.content
    return content.read_nowait() if content.is_eof() and content.total_bytes <= limit else None


async def read(answer: Answer, limit: int) -> bytes | Failure:
    """The whole body, at most `limit` bytes, however small it was packed. Raises one of FAULTS."""
    length = answer.headers.get("content-length", "")
    if length.isdecimal() and int(length[:20]) > limit:
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
        case aiohttp.ClientResponseError() | HttpProcessingError():
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

"""Pages from the network: from the hosts that a scraper names, where robots.txt lets us, bounded in everything.

HTTPS, and plain HTTP on this machine alone. A redirect is followed to a listed host and nowhere else.
"""

import asyncio
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from hashlib import sha256
from time import time
from urllib.parse import urljoin, urlsplit

import httpx
from msgspec import Struct
from protego import Protego
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt, wait_random_exponential

from .. import __version__
from .finding import QuarantineError, Reason
from .spec import PageType, Scraper, Source

AGENT = f"sidecar-registry/{__version__}"
MAX_BYTES = 8 * 2**20
MAX_ROBOTS = 512 * 1024
MAX_REDIRECTS = 3
TRIES = 3
LONGEST_PAUSE = 60.0
"""Seconds between two tries; a server that wants more is asked another day."""
TIMEOUT = httpx.Timeout(20.0, connect=10.0)
TOTAL = 60.0
"""Seconds for one try, the whole page."""

_TYPES: Mapping[PageType, tuple[str, ...]] = {
    "html": ("text/html", "application/xhtml+xml"),
    "json": ("application/json", "text/json"),
    "markdown": ("text/markdown", "text/x-markdown", "text/plain"),
}
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


class Known(Struct, frozen=True):
    """What the last answer of a URL said, to ask only for something newer."""

    etag: str | None = None
    last_modified: str | None = None


class Fetched(Struct, frozen=True):
    """A page as it was served; `page` is None when it is still the one that is known."""

    page: bytes | None
    sha256: str
    known: Known


class _AgainError(Exception):
    """Worth another try, after `pause` seconds if the server says so."""

    def __init__(self, fault: QuarantineError, pause: float | None = None) -> None:
        super().__init__(fault.message)
        self.fault = fault
        self.pause = pause


class Fetcher:
    """Asks for the pages of one scraper; `requested` are the URLs that were asked for. An async context."""

    def __init__(self, scraper: Scraper) -> None:
        self._hosts = frozenset(_host(source.url) for source in scraper.sources)
        self._robots: dict[str, Protego | QuarantineError] = {}
        self.requested: list[str] = []
        # Plain HTTP is this machine's own: no proxy of the environment has a part in it.
        self._client = httpx.AsyncClient(
            timeout=TIMEOUT,
            follow_redirects=False,
            headers={"accept-encoding": "gzip"},
            mounts={"http://": httpx.AsyncHTTPTransport()},
        )

    async def __aenter__(self) -> "Fetcher":
        await self._client.__aenter__()
        return self

    async def __aexit__(self, *fault: object) -> None:
        await self._client.aclose()

    async def fetch(self, source: Source, known: Known = Known()) -> Fetched:  # noqa: B008  immutable
        """A source's page. Raises QuarantineError with why there is none."""
        own = {name.lower(): value for name, value in source.headers.items()}
        headers = {"accept": ", ".join((*_TYPES[source.type], "*/*;q=0.1")), **own, "user-agent": AGENT}
        if known.etag is not None:
            headers["if-none-match"] = known.etag
        if known.last_modified is not None:
            headers["if-modified-since"] = known.last_modified
        self._allowed(source.url)
        await self._polite(source.url)
        response, body = await self._get(source.url, headers, MAX_BYTES)
        if response.status_code == 304 and known != Known():
            return Fetched(None, "", known)
        if response.status_code != 200:
            raise QuarantineError(Reason.BAD_ANSWER, f"{response.url} answered {response.status_code}")
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind not in _TYPES[source.type] and not (source.type == "json" and kind.endswith("+json")):
            raise QuarantineError(Reason.WRONG_CONTENT, f"{response.url} is `{kind[:60]}`, not {source.type}")
        said = Known(response.headers.get("etag"), response.headers.get("last-modified"))
        return Fetched(body, sha256(body).hexdigest(), said)

    def _allowed(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOOPBACK):
            raise QuarantineError(Reason.UNLISTED_HOST, f"{url[:200]}: only https, and http on this machine")
        if _host(url) not in self._hosts:
            raise QuarantineError(Reason.UNLISTED_HOST, f"{_host(url)} is not the host of a source")

    async def _polite(self, url: str) -> None:
        """Raises QuarantineError unless the host's robots.txt lets us have this URL."""
        parts = urlsplit(url)
        root = f"{parts.scheme}://{parts.netloc}"
        if root not in self._robots:
            self._robots[root] = await self._rules(f"{root}/robots.txt")
        rules = self._robots[root]
        if isinstance(rules, QuarantineError):
            raise rules
        if not rules.can_fetch(url, AGENT):
            raise QuarantineError(Reason.ROBOTS, f"{root}/robots.txt does not let {AGENT} read {url[:200]}")

    async def _rules(self, url: str) -> Protego | QuarantineError:
        """A host's rules. None at all (4xx) lets everybody in; rules that cannot be had let nobody in (RFC 9309)."""
        try:
            response, body = await self._get(url, {"user-agent": AGENT}, MAX_ROBOTS, robots=True)
        except QuarantineError as fault:
            return fault
        if 400 <= response.status_code < 500:
            return Protego.parse("")
        if response.status_code != 200:
            return QuarantineError(Reason.ROBOTS, f"{url} answered {response.status_code}: what it allows is not known")
        return Protego.parse(body.decode("utf-8", "replace"))

    async def _get(
        self, url: str, headers: Mapping[str, str], most: int, *, robots: bool = False
    ) -> tuple[httpx.Response, bytes]:
        """The answer at the end of all redirects. Raises QuarantineError."""
        for _ in range(MAX_REDIRECTS + 1):
            response, body = await self._retried(url, headers, most)
            if not response.has_redirect_location:
                return response, body
            try:
                url = urljoin(url, response.headers["location"])
                self._allowed(url)
            except ValueError:
                raise QuarantineError(Reason.BAD_ANSWER, f"{url} leads to what is no URL") from None
            if not robots:
                await self._polite(url)
        raise QuarantineError(Reason.BAD_ANSWER, f"more than {MAX_REDIRECTS} redirects, the last to {url[:200]}")

    async def _retried(self, url: str, headers: Mapping[str, str], most: int) -> tuple[httpx.Response, bytes]:
        jitter = wait_random_exponential(multiplier=0.5, max=LONGEST_PAUSE)

        def wait(state: RetryCallState) -> float:
            fault = state.outcome.exception() if state.outcome is not None else None
            return max(jitter(state), getattr(fault, "pause", None) or 0.0)

        retrying = AsyncRetrying(
            stop=stop_after_attempt(TRIES),
            wait=wait,
            retry=retry_if_exception(_worth),
            reraise=True,
        )
        try:
            return await retrying(self._once, url, headers, most)
        except _AgainError as fault:
            raise fault.fault from None

    async def _once(self, url: str, headers: Mapping[str, str], most: int) -> tuple[httpx.Response, bytes]:
        self.requested.append(url)
        parts, size = [], 0
        try:
            async with asyncio.timeout(TOTAL), self._client.stream("GET", url, headers=headers) as response:
                if response.status_code >= 500 or response.status_code == 429:
                    fault = QuarantineError(Reason.BAD_ANSWER, f"{url} answered {response.status_code}")
                    raise _AgainError(fault, _pause(response.headers.get("retry-after", "")))
                async for part in response.aiter_bytes():
                    parts.append(part)
                    size += len(part)
                    if size > most:
                        raise QuarantineError(Reason.PAGE_TOO_LARGE, f"{url} is larger than {most:,} bytes")
        except (httpx.TransportError, httpx.DecodingError, TimeoutError) as fault:
            raise _AgainError(QuarantineError(Reason.UNREACHABLE, f"{url}: {type(fault).__name__}")) from None
        except (httpx.InvalidURL, UnicodeError) as fault:
            raise QuarantineError(Reason.BAD_ANSWER, f"{url[:200]}: {type(fault).__name__}") from None
        return response, b"".join(parts)


def _worth(fault: BaseException) -> bool:
    return isinstance(fault, _AgainError) and (fault.pause or 0.0) <= LONGEST_PAUSE


def _host(url: str) -> str:
    """Host and port in one form: a host's other port is another server."""
    parts = urlsplit(url)
    try:
        port = parts.port or (443 if parts.scheme == "https" else 80)
    except ValueError:
        port = 0
    return f"{parts.hostname}:{port}"


def _pause(text: str) -> float | None:
    """Seconds that `retry-after` asks for, as a number or a date."""
    if text.isascii() and text.isdecimal():
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time())
    except (ValueError, TypeError, OverflowError):
        return None

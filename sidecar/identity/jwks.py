"""Key sets that issuers publish (`jwks_url`): fetched by one task beside the traffic, never while a request is judged.

A set is asked for again every `refresh`, and at once when a token names a key that is not in it: whatever callers send,
no sooner than `PAUSE` after the last time. While its URL cannot be reached the last one serves on for `grace`.
"""

import asyncio
import random
import ssl
from collections.abc import Callable, Collection, Mapping
from hashlib import sha256
from time import time
from typing import TYPE_CHECKING

from msgspec import Struct

from .jwt import KeySet, UnfitKeyError, key_set
from .secrets import MissingError, Resolve

if TYPE_CHECKING:
    import httpx

Report = Callable[[str, str, dict[str, object]], None]
"""Writes one line to the log: level, event, fields."""

MAX_BYTES = 256 * 1024
TIMEOUT = 10.0
PAUSE = 10.0
"""Seconds between two requests to one URL that answers."""
_AFTER_FAILURE = (2.0, 4.0, 8.0, 16.0, 32.0, 60.0)
_ACCEPT = {"accept": "application/jwk-set+json, application/json", "accept-encoding": "identity"}


class Source(Struct, frozen=True):
    """Where a key set is published. `ca` and `token` are references to secrets, read anew for each request because
    Kubernetes renews them; `refresh` and `grace` are seconds."""

    url: str
    ca: str | None
    token: str | None
    refresh: float
    grace: float


class RemoteKeys(KeySet):
    """A key set that is fetched. Empty, and good for nothing, until the first time."""

    def __init__(self, source: Source) -> None:
        super().__init__()
        self.source = source
        self.until = 0.0
        self.wanted = asyncio.Event()
        self._print = b""

    def ask(self) -> None:
        """Fetch soon."""
        self.wanted.set()

    def put(self, body: bytes, now: float) -> None:
        """Take over a set that was fetched. Tokens verified with the one before are judged anew only if it changed.

        Raises UnfitKeyError."""
        keys, fingerprint = key_set(body), sha256(body).digest()
        if fingerprint != self._print:
            self.keys, self._print = keys, fingerprint
            self.version += 1
        self.until = now + self.source.refresh + self.source.grace


class RemoteKeySets:
    """The key sets of the policy in use. They outlive it: the next one begins with the keys that are here."""

    def __init__(self) -> None:
        self.changed = asyncio.Event()
        self.used: Mapping[Source, RemoteKeys] = {}
        self._new: dict[Source, RemoteKeys] = {}

    def get(self, source: Source) -> RemoteKeys:
        """The set from this source: the one in use, or a new one, the same for all who ask before `use`."""
        return self.used.get(source) or self._new.setdefault(source, RemoteKeys(source))

    def use(self, sets: Collection[RemoteKeys]) -> None:
        """These are fetched from now on, and no others."""
        self.used = {keys.source: keys for keys in sets}
        self._new = {}
        self.changed.set()

    async def run(self, resolve: Resolve, report: Report) -> None:
        """Keep every set in use up to date, until cancelled."""
        tasks: dict[RemoteKeys, asyncio.Task[None]] = {}
        async with asyncio.TaskGroup() as group:
            while True:
                self.changed.clear()
                used = set(self.used.values())
                for keys in tasks.keys() - used:
                    tasks.pop(keys).cancel()
                for keys in used - tasks.keys():
                    tasks[keys] = group.create_task(_keep(keys, resolve, report))
                await self.changed.wait()


async def _keep(keys: RemoteKeys, resolve: Resolve, report: Report) -> None:
    """Fetch one set again and again. What is wrong with it is told when that changes."""
    source, said, failed = keys.source, None, 0
    while True:
        keys.wanted.clear()
        problem = await _refresh(keys, resolve)
        if problem != said:
            level = "info" if problem is None else "warning"
            report(level, "jwks", {"url": source.url, "problem": problem or "mended"})
        said, pause = problem, source.refresh
        if problem is None:
            failed = 0
        else:
            pause = min(pause, _AFTER_FAILURE[failed])
            failed = min(failed + 1, len(_AFTER_FAILURE) - 1)
        # Gateways that started together must not all come at once.
        pause *= random.uniform(0.9, 1.0)  # noqa: S311  no secret
        least = min(pause, PAUSE)
        await asyncio.sleep(least)
        try:
            async with asyncio.timeout(pause - least):
                await keys.wanted.wait()
        except TimeoutError:
            continue


async def _refresh(keys: RemoteKeys, resolve: Resolve) -> str | None:
    """Fetch a set once; what went wrong, in words of our own."""
    try:
        async with asyncio.timeout(TIMEOUT):
            keys.put(await _fetch(keys.source, resolve), time())
    except (MissingError, UnfitKeyError, _FetchError) as fault:
        return str(fault)
    except TimeoutError:
        return f"no answer within {TIMEOUT:g} s"
    return None


class _FetchError(Exception):
    """No key set came; the text says why."""


async def _fetch(source: Source, resolve: Resolve) -> bytes:
    client = await asyncio.to_thread(_client, source, resolve)
    # Here, because it is 50 ms that a gateway without JWKS does not pay; the thread has loaded it by now.
    import httpx

    parts, size = [], 0
    try:
        async with client, client.stream("GET", source.url) as response:
            # Redirects are not followed: they could lead, with the token, to another host.
            if response.status_code != 200:
                raise _FetchError(f"it answered {response.status_code}")
            async for part in response.aiter_raw():
                parts.append(part)
                size += len(part)
                if size > MAX_BYTES:
                    raise _FetchError(f"it is larger than {MAX_BYTES:,} bytes")
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as fault:
        raise _FetchError(f"it cannot be reached: {type(fault).__name__}") from None
    return b"".join(parts)


def _client(source: Source, resolve: Resolve) -> "httpx.AsyncClient":
    """A client for one request. Made in a thread, for it reads files. Raises MissingError and _FetchError."""
    # Here, for the reason given above.
    import httpx

    ca = None if source.ca is None else resolve(source.ca)
    token = None if source.token is None else resolve(source.token)
    try:
        context = ssl.create_default_context(cadata=None if ca is None else ca.reveal())
    except (ssl.SSLError, TypeError):  # the latter for a text that is not ASCII
        raise _FetchError("the CA is not a certificate in PEM form") from None
    headers = _ACCEPT if token is None else {**_ACCEPT, "authorization": f"Bearer {token.reveal()}"}
    # A plain URL is one of this machine: no proxy has a part in it.
    proxied = source.url.startswith("https:")
    try:
        return httpx.AsyncClient(verify=context, headers=headers, trust_env=proxied, timeout=TIMEOUT)
    except (ValueError, ImportError):
        raise _FetchError("no request can be made with its token and the proxy of the environment") from None

"""What goes wrong below HTTP: a provider with such faults gets a door, a port of its own before the emulator's.

What a connection meets is drawn before it comes: an attempt that is kept out leaves no trace in the process, so a
door that is to be shut before the n-th connection shuts when the one before it has come in.
"""

import asyncio
import re
import socket
import ssl
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple
from zlib import crc32

from msgspec import structs

from ..listen import reserved
from ..spec import seconds
from .faults import BELOW, SHUT, Fault, Faults, Strikes
from .prompt import Prompt

PROVIDERS = ("openai", "anthropic", "google", "ollama")
"""The providers that a fault is for which names none; their doors have the first ports, in this order."""

_BUFFER = 65536
_BACKLOG = 128
_PAUSE = 1.0
_HOP = re.compile(rb"\r\n(?:connection|keep-alive):[^\r\n]*", re.IGNORECASE)
_NOT_TLS = b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


class Entrances(NamedTuple):
    """Base URLs, without a path, of the providers that are not reached by the emulator's own; and the file with the
    authority that clients of an `https` one have to trust."""

    urls: Mapping[str, str]
    authority: Path | None


@asynccontextmanager
async def entrances(faults: Faults, host: str, port: int, first: int = 0) -> AsyncIterator[Entrances]:
    """Plays the faults below HTTP before the emulator at `port`, while the context lasts.

    A provider's door has the port `first` and its place among `PROVIDERS`, then among those named in the faults; 0
    picks free ones. A name that is not known needs no door. Raises `OSError` when a port is taken, or the system
    cannot play a fault.
    """
    named = (fault.match.provider for fault in faults.faults if fault.fault in BELOW)
    names = dict.fromkeys((*PROVIDERS, *(name for name in named if name is not None)))
    kinds = {name: _kinds(faults, name) for name in names}
    if sys.platform != "linux" and any("connect_timeout" in some for some in kinds.values()):
        raise OSError("`connect_timeout` needs Linux: only there a full queue keeps connections waiting")
    urls: dict[str, str] = {}
    async with AsyncExitStack() as stack:
        secure, authority = None, None
        if any("tls" in some for some in kinds.values()):
            from .certificate import issued  # cryptography behind it costs 60 ms, for this fault alone

            folder = stack.enter_context(TemporaryDirectory(prefix="sidecar-emulate-"))
            secure, authority = issued(Path(folder), host)
        for place, name in enumerate(names):
            if "dns" in kinds[name]:
                urls[name] = "http://nowhere.invalid"
            elif kinds[name]:
                tls = secure if "tls" in kinds[name] else None
                door = Door(_place(stack, name, host, first and first + place), (host, port), tls)
                await stack.enter_async_context(door.open(faults, name))
                urls[name] = f"{'http' if tls is None else 'https'}://{host}:{door.port}"
        yield Entrances(urls, authority)


def _kinds(faults: Faults, name: str) -> frozenset[str]:
    return frozenset(one.fault for one in faults.faults if one.fault in BELOW and one.match.provider in (None, name))


def _place(stack: AsyncExitStack, name: str, host: str, port: int) -> socket.socket:
    try:
        return stack.enter_context(reserved(host, port))
    except (OSError, OverflowError) as fault:
        why = fault if isinstance(fault, OSError) else "no such port"
        raise OSError(f"the door of `{name}`, port {port}: {why}") from fault


class Door:
    """A port that is open, shut (nobody listens) or full (nobody accepts), as the next connection is to find it.

    One that is let in is relayed to the emulator for one request, over TLS where the door is `secure`.
    """

    def __init__(self, place: socket.socket, target: tuple[str, int], secure: ssl.SSLContext | None) -> None:
        self.port = int(place.getsockname()[1])
        self._place = place
        self._target = target
        self._secure = secure
        self._stand = ExitStack()
        self._listener: socket.socket | None = None
        self._inside: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def open(self, faults: Faults, provider: str) -> AsyncIterator[None]:
        """Stands as the first connection is to find it, and goes on while the context lasts."""
        # Other draws at every door, or they would all fail together.
        own = structs.replace(faults, seed=faults.seed ^ crc32(provider.encode()))
        strikes = Strikes(own, below=True)
        visitor = Prompt(protocol="", provider=provider, model="")
        with self._stand:
            fault = strikes.next(visitor)
            self._turn(fault)
            task = asyncio.create_task(self._serve(fault, strikes, visitor))
            try:
                yield
            finally:
                await _ended(task)
            if not task.cancelled():
                task.result()

    async def _serve(self, fault: Fault | None, strikes: Strikes, visitor: Prompt) -> None:
        try:
            while True:
                if fault is not None and fault.fault in SHUT:
                    if fault.lasting is None:
                        break
                    await asyncio.sleep(seconds(fault.lasting))
                    self._turn(None)
                task = self._let_in(await self._accepted(), fault)
                fault = strikes.next(visitor)
                self._turn(fault)
                if fault is not None and fault.fault in SHUT:
                    # Whoever asks one thing after the other knocks again when this is done: the time runs from then.
                    await asyncio.wait((task,))
            if self._inside:
                await asyncio.wait(self._inside)
        finally:
            await _ended(*self._inside)

    def _turn(self, fault: Fault | None) -> None:
        """What the next connection finds."""
        if fault is not None and fault.fault in SHUT:
            while self._listener is not None and (waiting := _next(self._listener)):
                # In the queue already: closing would reset it, which is another fault.
                self._let_in(waiting, None)
            self._stand.close()
            self._listener = None
            if fault.fault == "connect_timeout":
                self._fill()
        elif self._listener is None:
            self._stand.close()
            self._listener = self._listening(_BACKLOG)

    async def _accepted(self) -> socket.socket:
        if self._listener is None:
            raise RuntimeError("the door is shut")
        while True:
            try:
                connection, _ = await asyncio.get_running_loop().sock_accept(self._listener)
            except OSError:
                # Too many open files: they may become fewer.
                await asyncio.sleep(_PAUSE)
            else:
                return connection

    def _let_in(self, connection: socket.socket, fault: Fault | None) -> asyncio.Task[None]:
        broken = fault is not None and fault.fault == "tls"
        task = asyncio.create_task(_broken(connection) if broken else self._relayed(connection))
        self._inside.add(task)
        task.add_done_callback(self._inside.discard)
        return task

    async def _relayed(self, connection: socket.socket) -> None:
        # The caller left, spoke no TLS or no HTTP; or the emulator broke off, as it may have been told to.
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            reader, writer = await _streams(connection, self._secure)
            try:
                head = await reader.readuntil(b"\r\n\r\n")
                # One request a connection, so that connections count as requests.
                head = _HOP.sub(b"", head)[:-2] + b"connection: close\r\n\r\n"
                with socket.socket(self._place.family) as far:
                    far.setblocking(False)
                    await asyncio.get_running_loop().sock_connect(far, self._target)
                    await _exchanged(reader, writer, far, head)
            finally:
                writer.transport.abort()

    def _fill(self) -> None:
        """A queue that is full: what knocks then is not answered at all, neither let in nor refused."""
        full = self._listening(0)
        for _ in range(2):
            filler = self._stand.enter_context(socket.socket(full.family))
            filler.setblocking(False)
            filler.connect_ex(full.getsockname())

    def _listening(self, backlog: int) -> socket.socket:
        listener = self._stand.enter_context(socket.socket(self._place.family))
        # The mode in which the port is held, so that it is nobody else's while nobody listens.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.setblocking(False)
        listener.bind(self._place.getsockname())
        listener.listen(backlog)
        return listener


async def _broken(connection: socket.socket) -> None:
    """A TLS handshake answered in plain HTTP."""
    loop = asyncio.get_running_loop()
    with connection, suppress(OSError):
        connection.setblocking(False)
        await loop.sock_recv(connection, _BUFFER)
        await loop.sock_sendall(connection, _NOT_TLS)


async def _streams(
    connection: socket.socket, secure: ssl.SSLContext | None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """An accepted connection as streams, after the handshake where it is `secure`."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    transport, _ = await loop.connect_accepted_socket(lambda: protocol, connection, ssl=secure)
    return reader, asyncio.StreamWriter(transport, protocol, reader, loop)


async def _exchanged(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, far: socket.socket, head: bytes
) -> None:
    """Passes bytes on both ways until the answer is out or the caller gone."""
    up, down = asyncio.create_task(_asked(reader, far, head)), asyncio.create_task(_answered(far, writer))
    try:
        await asyncio.wait((up, down), return_when=asyncio.FIRST_COMPLETED)
        if down.done():
            writer.close()
            await writer.wait_closed()
    finally:
        await _ended(up, down)


async def _asked(reader: asyncio.StreamReader, far: socket.socket, piece: bytes) -> None:
    with suppress(OSError):
        while piece:
            # The emulator may refuse a body in its middle; what it says of that is still to be passed on.
            with suppress(OSError):
                await asyncio.get_running_loop().sock_sendall(far, piece)
            piece = await reader.read(_BUFFER)


async def _answered(far: socket.socket, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while piece := await asyncio.get_running_loop().sock_recv(far, _BUFFER):
            writer.write(piece)
            await writer.drain()


def _next(listener: socket.socket) -> socket.socket | None:
    try:
        return listener.accept()[0]
    except OSError:
        return None


async def _ended(*tasks: asyncio.Task[None]) -> None:
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)

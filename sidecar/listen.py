"""Runs an ASGI application on Granian inside the running event loop: the gateway, the emulator, and tests.

One process, so that signals, draining and every task are ours to order: measured beside a worker process of its own,
the embedded server is as fast and needs 17 MB less. What it leaves open when it stops is closed here.
"""

import asyncio
import os
import socket
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from granian.constants import HTTPModes, Interfaces
from granian.server.embed import Server

from .threads import into_background

Application = Callable[..., Awaitable[Any]]


@runtime_checkable
class Cancellable(Protocol):
    """An application that knows its running requests: Granian waits for them without end when it stops."""

    def __call__(self, scope: Any, receive: Any, send: Any) -> Awaitable[Any]:
        """Serve one request."""

    def cancel(self) -> None:
        """Cancel every request that is still running."""


_BACKLOG = 1024
_PATIENCE = 10.0
_POLL = 0.005
_WIND_DOWN = 1.0


@asynccontextmanager
async def listening(app: Application, host: str = "127.0.0.1", port: int = 0, grace: float = 1.0) -> AsyncIterator[int]:
    """Serves `app` while the context lasts and yields the bound port; 0 picks a free one.

    At its end, requests under way have `grace` seconds to finish before they are cancelled. Raises `OSError` when
    the port is taken and `RuntimeError` when the server does not come up.
    """
    before = _threads()
    with reserved(host, port) as place:
        bound = int(place.getsockname()[1])
        tracked = app if isinstance(app, Cancellable) else Tracked(app)
        server = Server(
            tracked,
            host,
            bound,
            interface=Interfaces.ASGI,
            http=HTTPModes.http1,
            websockets=False,
            backlog=_BACKLOG,
            log_enabled=False,
        )
        task = asyncio.create_task(server.serve())
        own: set[str] = set()
        try:
            await _up(task, host, bound)
            own = _threads() - before - {str(thread.native_id) for thread in threading.enumerate()}
            for thread in own:
                into_background(int(thread))
            yield bound
        finally:
            server.stop()  # type: ignore[no-untyped-call]  # granian ships it without types
            if not (await asyncio.wait((task,), timeout=grace))[0]:
                tracked.cancel()
                await asyncio.wait((task,))
            # Read, so that a fault of the server is not reported a second time when the task is collected.
            if not task.cancelled():
                task.exception()
            await _wound_down(own)


class Tracked:
    """An application that does not know its running requests, with those known."""

    def __init__(self, app: Application) -> None:
        self._app = app
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[Any]] = set()

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        task = asyncio.current_task(self._loop)
        if task is None or scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        self._tasks.add(task)
        try:
            await self._app(scope, receive, send)
        finally:
            self._tasks.discard(task)

    def cancel(self) -> None:
        """Cancels every request that is still running."""
        for task in self._tasks:
            task.cancel()


def reserved(host: str, port: int) -> socket.socket:
    """A socket that holds the port, without listening, for as long as the server lives. Raises `OSError` when it is
    taken.

    Granian binds by itself, with SO_REUSEPORT, and cannot say which port it got. So the port is taken here first,
    in the same sharing mode: nobody else can be given it meanwhile, and connections go to the one who listens.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    if port:
        # SO_REUSEPORT would let two servers share the port and each get half the requests: an exclusive bind
        # first finds out whether one is there already.
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            if sys.platform != "win32":
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    place = socket.socket(family, socket.SOCK_STREAM)
    try:
        if sys.platform != "win32":
            place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        place.bind((host, port))
    except OSError:
        place.close()
        raise
    return place


async def _up(task: asyncio.Task[None], host: str, port: int) -> None:
    """Waits until the server accepts connections."""
    # What listens everywhere is asked at home.
    target = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104
    end = asyncio.get_running_loop().time() + _PATIENCE
    while not task.done():
        try:
            _, writer = await asyncio.open_connection(target, port)
        except OSError as fault:
            if asyncio.get_running_loop().time() > end:
                raise RuntimeError(f"nothing answers on {target}:{port} after {_PATIENCE:g} s") from fault
            await asyncio.sleep(_POLL)
            continue
        writer.close()
        await writer.wait_closed()
        return
    raise RuntimeError(f"the server on {host}:{port} did not start") from task.exception()


async def _wound_down(own: set[str]) -> None:
    """Waits for the threads of Granian's runtime to end, some milliseconds after the server says it has stopped.

    An interpreter that exits in between takes the GIL from under them, and the process aborts.
    """
    end = asyncio.get_running_loop().time() + _WIND_DOWN
    while own & _threads() and asyncio.get_running_loop().time() < end:  # noqa: ASYNC110  # nobody tells
        await asyncio.sleep(_POLL)
    if not own:
        await asyncio.sleep(10 * _POLL)


def _threads() -> set[str]:
    """The process's native threads; empty where the system does not list them."""
    try:
        names = os.listdir("/proc/self/task")  # noqa: PTH208  # names only, and of a kernel list
    except OSError:
        return set()
    return {name for name in names if not _comm(name).startswith("notify-rs")}  # a file watcher's, not Granian's


def _comm(thread: str) -> str:
    try:
        return Path("/proc/self/task", thread, "comm").read_text()
    except OSError:
        return ""

"""A real gateway on a real socket inside a test, and whatever it talks to.

- `async with gateway(entry, environ) as served:` in the test's own event loop
- `with threaded(lambda: gateway(entry, environ)) as served:` in a thread, for synchronous SDKs; the same for
  `listening(app)`, which serves any ASGI application (the emulator, a replay)
- `with emulated(script) as both:` a threaded gateway before a threaded emulator of all four providers
- `with process(entry, environ) as url:` as `sidecar run` in a process of its own
"""

import asyncio
import io
import os
import socket
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import httpx

from sidecar.emulator import Emulator, Recorded, Script
from sidecar.engine.log import Log, Style
from sidecar.listen import listening
from sidecar.policy import load
from sidecar.server.app import build
from sidecar.server.state import Running, running

ROOT = Path(__file__).resolve().parents[1]
PROVIDERS = ROOT / "examples" / "providers" / "gateway.yaml"
KEY = "gw-key-of-the-tests"
MODELS = ("test-openai", "test-anthropic", "test-google", "test-ollama")
T = TypeVar("T")
Rows = list[dict[str, Any]]


@dataclass
class Served:
    """A gateway that answers. `log` is what it wrote; the ledger is at `database`."""

    url: str
    running: Running
    database: Path
    sink: io.BytesIO = field(default_factory=io.BytesIO)

    @property
    def v1(self) -> str:
        """The base URL as OpenAI's SDKs want it."""
        return f"{self.url}/v1"

    @property
    def log(self) -> str:
        return self.sink.getvalue().decode()

    async def rows(self, request_id: str | None = None, count: int = 1, patience: float = 2.0) -> Rows:
        """Ledger rows from the file, of one request or all, once there are `count` (or patience ran out)."""
        end = time.monotonic() + patience
        while True:
            await self.running.ledger.flush()
            found = read_rows(self.database, request_id)
            if len(found) >= count or time.monotonic() > end:
                return found
            await asyncio.sleep(0.01)


@asynccontextmanager
async def gateway(
    entry: Path | str, environ: Mapping[str, str] | None = None, style: Style | None = None
) -> AsyncIterator[Served]:
    """The gateway of a `gateway.yaml`, a folder that holds one, or its YAML text. Its environment is `environ` alone;
    `style` is that of its log.

    Without SIDECAR_DATABASE_URL the ledger goes to a folder of its own, never beside the configuration.
    """
    with tempfile.TemporaryDirectory(prefix="gateway-") as folder:
        environ = {"SIDECAR_DATABASE_URL": f"sqlite:///{folder}/ledger.db", **(environ or {})}
        path = _entry(entry, Path(folder))
        loaded = load(path, environ, strict=True)
        assert loaded.graph is not None, loaded.text
        sink = io.BytesIO()
        async with (
            running(path, loaded, environ, Log(sink, time.time, style)) as gateway,
            listening(build(gateway)) as port,
        ):
            yield Served(f"http://127.0.0.1:{port}", gateway, gateway.ledger.path, sink)


def providers_environ(base: str, **more: str) -> dict[str, str]:
    """What `examples/providers/gateway.yaml` reads, with all four providers at `base` (the emulator's paths)."""
    return {
        "SIDECAR_KEY": KEY,
        "OPENAI_BASE_URL": f"{base}/openai/v1",
        "ANTHROPIC_BASE_URL": f"{base}/anthropic",
        "GOOGLE_BASE_URL": f"{base}/google",
        "OLLAMA_BASE_URL": f"{base}/ollama",
        "OPENAI_API_KEY": "sk-provider-openai-0123456789",
        "ANTHROPIC_API_KEY": "sk-ant-provider-0123456789",
        "GEMINI_API_KEY": "provider-google-0123456789",
        **more,
    }


def read_rows(database: Path, request_id: str | None = None) -> Rows:
    """The ledger's rows, oldest first."""
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=5) as db:
        db.row_factory = sqlite3.Row
        where, values = ("WHERE request_id = ?", (request_id,)) if request_id is not None else ("", ())
        found = db.execute(f"SELECT * FROM request_logs {where} ORDER BY id", values).fetchall()
    db.close()
    return [dict(row) for row in found]


@dataclass
class Threaded(Generic[T]):
    """What runs in the thread, and a way to run more there."""

    value: T
    loop: asyncio.AbstractEventLoop

    def call(self, coroutine: Coroutine[Any, Any, Any], timeout: float = 10) -> Any:
        """The result of a coroutine that runs on the thread's event loop."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(timeout)


@contextmanager
def threaded(open_: Callable[[], AbstractAsyncContextManager[T]]) -> Iterator[Threaded[T]]:
    """Holds an async context open in a thread with an event loop of its own."""
    loop = asyncio.new_event_loop()
    started, values, faults = threading.Event(), [], []
    down = asyncio.Event()

    async def main() -> None:
        try:
            async with open_() as value:
                values.append(value)
                started.set()
                await down.wait()
        except BaseException as fault:  # noqa: BLE001  handed to the test, whatever it is
            faults.append(fault)
        finally:
            started.set()

    thread = threading.Thread(target=lambda: loop.run_until_complete(main()), daemon=True)
    thread.start()
    assert started.wait(20), "it did not start"
    if faults:
        thread.join(5)
        raise faults[0]
    try:
        yield Threaded(values[0], loop)
    finally:
        loop.call_soon_threadsafe(down.set)
        thread.join(20)
        assert not thread.is_alive(), "it did not stop"
        loop.close()
    if faults:
        raise faults[0]


class Emulated(NamedTuple):
    """The gateway of examples/providers before an emulator; both in threads of their own."""

    emulator: Emulator
    gateway: Threaded[Served]

    def rows(self, request_id: str | None = None, count: int = 1) -> Rows:
        """What the ledger's file says."""
        rows: Rows = self.gateway.call(self.gateway.value.rows(request_id, count))
        return rows

    @property
    def v1(self) -> str:
        return self.gateway.value.v1

    @property
    def last(self) -> Recorded:
        """The request that came upstream last."""
        return self.emulator.requests[-1]


@contextmanager
def emulated(script: Script | None = None, entry: Path | str = PROVIDERS, **environ: str) -> Iterator[Emulated]:
    """A gateway (by default with a model of each provider) and the emulator that stands for them all."""
    emulator = Emulator(script)
    with threaded(lambda: listening(emulator)) as port:
        variables = providers_environ(f"http://127.0.0.1:{port.value}", **environ)
        with threaded(lambda: gateway(entry, variables)) as served:
            yield Emulated(emulator, served)


@contextmanager
def process(entry: Path, environ: Mapping[str, str] | None = None, port: int = 0) -> Iterator[str]:
    """`sidecar run` in a process of its own, ready; yields its URL. It must drain and exit with 0 on SIGTERM."""
    port = port or free_port()
    with tempfile.TemporaryDirectory(prefix="gateway-") as folder:
        log = Path(folder, "log")
        variables = {"PATH": os.environ["PATH"], "SIDECAR_DATABASE_URL": f"sqlite:///{folder}/ledger.db"}
        variables |= {**(environ or {}), "SIDECAR_PORT": str(port)}
        command = [sys.executable, "-m", "sidecar", "run", str(entry)]
        with log.open("wb") as sink:
            server = subprocess.Popen(command, env=variables, stdout=sink, stderr=sink, cwd=ROOT)
        try:
            _ready(server, f"http://127.0.0.1:{port}", log)
            yield f"http://127.0.0.1:{port}"
            server.terminate()
            assert server.wait(20) == 0, log.read_text()
        finally:
            if server.poll() is None:
                server.kill()
                server.wait(10)


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        return int(place.getsockname()[1])


def _ready(server: "subprocess.Popen[bytes]", url: str, log: Path) -> None:
    end = time.monotonic() + 20
    with httpx.Client(trust_env=False) as http:
        while time.monotonic() < end:
            assert server.poll() is None, log.read_text()
            try:
                if http.get(f"{url}/ready").status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.05)
    raise AssertionError(f"not ready: {log.read_text()}")


def _entry(entry: Path | str, folder: Path) -> Path:
    if isinstance(entry, Path):
        return entry / "gateway.yaml" if entry.is_dir() else entry
    path = folder / "gateway.yaml"
    path.write_text(entry, encoding="utf-8")
    return path

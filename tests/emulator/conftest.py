"""The emulator on a real socket, in a thread of its own, so that the SDKs' synchronous clients can talk to it."""

import asyncio
import gzip
import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import msgspec
import pytest
import yaml

from sidecar.emulator import Emulator, Script, running

ROOT = Path(__file__).resolve().parents[2]
DATA = Path(os.environ.get("SIDECAR_SHARED_DATA", ROOT.parent / "shared" / "data"))

http = httpx.Client(trust_env=False, verify=False)
"""One client for all: a new one for every request would spend most of the tests' time on reading certificates."""


class Live(NamedTuple):
    app: Emulator
    url: str


@contextmanager
def live(script: Script | None = None) -> Iterator[Live]:
    app = Emulator(script)
    ready: list[int] = []
    up, down = threading.Event(), None
    loop = asyncio.new_event_loop()

    async def main() -> None:
        nonlocal down
        down = asyncio.Event()
        async with running(app) as port:
            ready.append(port)
            up.set()
            await down.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(main()), daemon=True)
    thread.start()
    assert up.wait(10), "the emulator did not start"
    try:
        yield Live(app, f"http://127.0.0.1:{ready[0]}")
    finally:
        assert down is not None
        loop.call_soon_threadsafe(down.set)
        thread.join(10)
        assert not thread.is_alive()
        loop.close()


@pytest.fixture(scope="session")
def _plain() -> Iterator[Live]:
    with live() as one:
        yield one


@pytest.fixture
def emulator(_plain: Live) -> Live:
    """An emulator without a script; its record starts empty in every test."""
    _plain.app.requests.clear()
    return _plain


@pytest.fixture
def scripted() -> Iterator[Callable[[str], Live]]:
    """Starts an emulator with a script, given as YAML as a user would write it."""
    with ExitStack() as stack:
        yield lambda text: stack.enter_context(live(msgspec.convert(yaml.safe_load(text), Script)))


@pytest.fixture(scope="session")
def data() -> Path:
    if not DATA.is_dir():
        pytest.skip(f"no shared data at {DATA} (set SIDECAR_SHARED_DATA)")
    return DATA


@pytest.fixture(scope="session")
def openai_schema(data: Path) -> dict[str, Any]:
    return json.loads(gzip.decompress((data / "specs" / "openai-openapi-2.3.0.json.gz").read_bytes()))


@pytest.fixture(scope="session")
def anthropic_schema(data: Path) -> dict[str, Any]:
    text = gzip.decompress((data / "specs" / "anthropic-openapi-2026-08-18.yaml.gz").read_bytes())
    return yaml.load(text, Loader=yaml.CSafeLoader)


@pytest.fixture(scope="session")
def google_discovery(data: Path) -> dict[str, Any]:
    path = data / "specs" / "google-generativelanguage-v1beta_rev20260327.json.gz"
    return json.loads(gzip.decompress(path.read_bytes()))

"""One replay and one gateway before it, for all tests of recorded traffic."""

from collections.abc import Iterator

import openai
import pytest
from gateway import KEY, PROVIDERS, Emulated, Served, Threaded, emulated, gateway, providers_environ, threaded

from sidecar.listen import listening

from .exchanges import exchanges
from .replay import Replay


@pytest.fixture(scope="session")
def replay() -> Iterator[str]:
    """Its base URL."""
    with threaded(lambda: listening(Replay(exchanges()))) as port:
        yield f"http://127.0.0.1:{port.value}"


@pytest.fixture(scope="session")
def served(replay: str) -> Iterator[Threaded[Served]]:
    with threaded(lambda: gateway(PROVIDERS, providers_environ(replay))) as running:
        yield running


@pytest.fixture(scope="session")
def client(served: Threaded[Served]) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(api_key=KEY, base_url=served.value.v1, max_retries=0) as sdk:
        yield sdk


@pytest.fixture(scope="session")
def both() -> Iterator[Emulated]:
    """A gateway before the emulator instead: it answers what was never recorded."""
    with emulated() as running:
        yield running

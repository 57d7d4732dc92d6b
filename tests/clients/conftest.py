"""One gateway before one emulator for all clients, and proof that nothing failed on the way."""

from collections.abc import Iterator

import msgspec
import openai
import pytest
from gateway import KEY, MODELS, Emulated, emulated

from sidecar.emulator import Script

VERBATIM = 'Grüße, 東京 \u2028 "quoted" \\ back\n\n`code` 🗼 end'
"""What the emulator answers to a prompt with the word `verbatim`: all that a translation may trip over."""
SCRIPT = {
    "kind": "emulator",
    "replies": [
        {
            "match": {"contains": "verbatim"},
            "text": VERBATIM,
            "usage": {"input": 1000, "output": 200, "cached": 600},
        },
        {"match": {"contains": "slowly"}, "text": "word " * 400, "chunks": 400, "chunk_delay": "20ms"},
        {"match": {"contains": "think long"}, "delay": "30s"},
    ],
}


@pytest.fixture(scope="session")
def both() -> Iterator[Emulated]:
    with emulated(msgspec.convert(SCRIPT, Script)) as running:
        yield running


@pytest.fixture(scope="session")
def client(both: Emulated) -> Iterator[openai.OpenAI]:
    """OpenAI's SDK as it comes, without retries that would hide a fault."""
    with openai.OpenAI(api_key=KEY, base_url=both.v1, max_retries=0) as sdk:
        yield sdk


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest) -> str:
    """Each provider's model in turn."""
    return str(request.param)


@pytest.fixture
def flawless(both: Emulated) -> Iterator[None]:
    """Every attempt that the test caused was answered, and there was at least one."""
    seen = len(both.rows(count=0))
    yield
    rows = both.rows(count=seen + 1)[seen:]
    assert rows, "no request reached a provider"
    assert [(row["model"], row["failure"]) for row in rows if row["outcome"] != "answered"] == []
    assert not [row for row in rows if row["estimated"]]

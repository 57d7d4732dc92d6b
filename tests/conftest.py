"""What all tests share: goldens are rewritten by `pytest --update-golden` and reviewed as a diff."""

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

# A job that a shell runs in the background is born deaf to Ctrl-C, and so are its children: those that tests start
# must hear it wherever the tests are run.
signal.signal(signal.SIGINT, signal.default_int_handler)

Golden = Callable[[Path, str], None]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="rewrite the golden files from what is produced")


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Golden:
    """`golden(path, text)` asserts that the file holds the text byte for byte, or writes it."""

    def compare(path: Path, text: str) -> None:
        if request.config.getoption("--update-golden"):
            path.write_bytes(text.encode())
            return
        assert path.exists(), f"{path} is missing; write it with --update-golden"
        assert text == path.read_bytes().decode()

    return compare

"""The one option all tests share: goldens are rewritten by `pytest --update-golden` and reviewed as a diff."""

from collections.abc import Callable
from pathlib import Path

import pytest

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

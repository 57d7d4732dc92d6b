"""The command line as tests call it."""

import io
import sys
from typing import NamedTuple, Protocol

import pytest

from sidecar.cli import main


class Ran(NamedTuple):
    """What one call of the command line did."""

    code: int
    out: str
    err: str


class Sidecar(Protocol):
    """`sidecar("validate", "x.yaml", stdin=b"...")` as in a shell."""

    def __call__(self, *arguments: str, stdin: bytes = b"") -> Ran: ...


@pytest.fixture
def sidecar(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Sidecar:
    def run(*arguments: str, stdin: bytes = b"") -> Ran:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8"))
        try:
            code = main(arguments)
        except SystemExit as exit_:
            code = exit_.code if isinstance(exit_.code, int) else 1
        return Ran(code, *capsys.readouterr())

    return run

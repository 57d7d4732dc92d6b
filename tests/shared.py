"""What a test needs and the repository does not hold: shared data and tools. Absent means skipped, in CI failed."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import pytest

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("SIDECAR_SHARED_DATA", ROOT.parent / "shared" / "data"))


def absent(what: str) -> NoReturn:
    """Skips the running test; where `CI` is true nothing may be missing, and it fails."""
    if os.environ.get("CI", "").lower() in ("1", "true"):
        pytest.fail(f"CI has everything, but {what}", pytrace=False)
    pytest.skip(what)


def shared(*parts: str) -> Path:
    """A file or folder of the shared data."""
    path = DATA.joinpath(*parts)
    if not path.exists():
        absent(f"{path} is not here (SIDECAR_SHARED_DATA says where)")
    return path


def tool(name: str) -> str:
    """The path of a program."""
    path = shutil.which(name)
    if path is None:
        absent(f"`{name}` is not installed")
    return path


@contextmanager
def unprivileged() -> Iterator[None]:
    """Without root's right to read everything, where the tests run as root (a container's CI does)."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)

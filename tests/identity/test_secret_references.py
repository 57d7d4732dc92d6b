"""Where secrets come from, and what is said when they are not there. Their text is never in what is said."""

import os
from pathlib import Path

import pytest

from sidecar.identity.secrets import MAX_BYTES, MissingError, resolve


def text(reference: str, **environ: str) -> str | None:
    secret = resolve(reference, environ)
    return None if secret is None else secret.reveal()


def test_from_the_environment() -> None:
    assert text("${KEY}", KEY=" the key\n") == "the key"
    assert text("env:KEY", KEY="the key") == "the key"
    assert text("${KEY:-}", KEY="the key") == "the key"
    assert text("${KEY:-}") is None
    assert text("${KEY:-}", KEY="  ") is None


@pytest.mark.parametrize("environ", [{}, {"KEY": ""}, {"KEY": " \n"}])
@pytest.mark.parametrize("reference", ["${KEY}", "env:KEY"])
def test_one_that_is_not_set_is_named(reference: str, environ: dict[str, str]) -> None:
    with pytest.raises(MissingError, match="^'?KEY is not set'?$"):
        resolve(reference, environ)


def test_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("\n the key \n")
    assert text(f"file:{path}") == "the key"


@pytest.mark.parametrize(
    ("data", "why"),
    [(b"", "empty"), (b" \n", "empty"), (b"\xff\xfe", "not UTF-8"), (b"x" * (MAX_BYTES + 1), "too large")],
)
def test_a_file_that_holds_no_secret_is_named_with_the_reason(tmp_path: Path, data: bytes, why: str) -> None:
    path = tmp_path / "key"
    path.write_bytes(data)
    with pytest.raises(MissingError, match=why) as raised:
        resolve(f"file:{path}", {})
    assert str(path) in str(raised.value)
    assert "xxx" not in str(raised.value)


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(MissingError, match=str(path)):
            resolve(f"file:{path}", {})


def test_a_secret_cannot_be_shown(tmp_path: Path) -> None:
    secret = resolve("${KEY}", {"KEY": "hunter2-hunter2"})
    assert secret is not None
    for shown in (
        str(secret),
        repr(secret),
        f"{secret}",
        f"{secret!r}",
        str([secret]),
        str({"k": secret}),
    ):
        assert "hunter2" not in shown
    assert "hunter2" not in str(os.environ)

"""Reading models.json: the file, its backup, the bundled one, and never an exception for bad content."""

import json
import os
from pathlib import Path
from typing import Any

import pytest
from shared import unprivileged

from sidecar.registry import load as module
from sidecar.registry.load import BUNDLED, load, parse

CARD = {"id": "a", "provider": "p", "context": 1000, "max_output": 10}


def catalogue(*cards: dict[str, Any]) -> bytes:
    return json.dumps(
        {"version": 1, "generated": "2026-11-20", "models": [{**CARD, **card} for card in cards]}
    ).encode()


def test_no_path_means_the_bundled_file() -> None:
    loaded = load()
    assert (loaded.source, loaded.problem) == ("bundled", None)
    assert len(loaded.catalogue.models) >= 40


def test_a_good_file_is_used_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "models.json"
    path.write_bytes(catalogue({}))
    loaded = load(path)
    assert (loaded.source, loaded.problem) == ("file", None)
    assert [card.id for card in loaded.catalogue.models] == ["a"]


def test_a_broken_file_falls_back_to_its_backup_and_says_so(tmp_path: Path) -> None:
    path = tmp_path / "models.json"
    path.write_bytes(b'{"version": 1,')
    (tmp_path / "models.json.bak").write_bytes(catalogue({}))
    loaded = load(path)
    assert loaded.source == "backup"
    assert [card.id for card in loaded.catalogue.models] == ["a"]
    assert loaded.problem == f"{path} is not JSON: Input data was truncated; using {path}.bak"


def test_without_a_usable_backup_the_bundled_file_stands_in(tmp_path: Path) -> None:
    path = tmp_path / "models.json"
    path.write_bytes(b"[]")
    (tmp_path / "models.json.bak").write_bytes(b"null")
    loaded = load(path)
    assert loaded.source == "bundled"
    assert loaded.catalogue == load().catalogue
    assert loaded.problem is not None
    for part in (f"{path} does not fit the schema", f"{path}.bak does not fit the schema", "using the bundled"):
        assert part in loaded.problem


def test_an_absent_file_is_named_with_the_reason(tmp_path: Path) -> None:
    loaded = load(tmp_path / "none.json")
    assert loaded.source == "bundled"
    assert f"{tmp_path / 'none.json'} cannot be read: No such file or directory" in (loaded.problem or "")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is not JSON"),
        (b"\xff\xfe\x00", "is not JSON"),
        (b'{"version": 1, "generated": "2026-11-20", "notes": "\xff", "models": []}', "is not JSON"),
        (b"[" * 200_000, "does not fit the schema"),
        (b'{"version": 1, "generated": "2026-11-20", "models": ' + b"[" * 200_000, "does not fit the schema"),
        (b'{"version": 2, "generated": "2026-11-20", "models": []}', "does not fit the schema"),
        (catalogue({"contxt": 1}), "unknown field `contxt`"),
        (catalogue({"prices": [{"input": 3_000, "output": 1}]}), "<= 2000"),
        (catalogue({"prices": [{"input": -1, "output": 1}]}), ">= 0"),
        (catalogue({"quality": {"value": 101}}), "<= 100"),
        (catalogue({}, {}), "two models are called `a`: `a` and `a`"),
        (catalogue({}, {"id": "b", "aliases": ["a"]}), "two models are called `a`: `a` and `b`"),
        (catalogue({"aliases": ["x"]}, {"id": "p/x", "provider": "q"}), "two models are called `p/x`: `a` and `p/x`"),
        (catalogue({"max_output": 2000}), "model `a`: max_output: is larger than the context"),
        (
            catalogue({"prices": [{"input": 1, "output": 1, "valid_from": "2026-01-01"}, {"input": 1, "output": 1}]}),
            "model `a`: prices: must be oldest first",
        ),
    ],
)
def test_bad_content_has_a_reason_and_never_raises(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "models.json"
    path.write_bytes(content)
    loaded = load(path)
    assert loaded.source == "bundled"
    assert reason in (loaded.problem or "")
    assert parse(content) in (loaded.problem or "")  # type: ignore[operator]


def test_a_file_that_is_too_large_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", 2 * 2**20)
    path = tmp_path / "models.json"
    path.write_bytes(b" " * (2 * 2**20 + 1))
    assert "is larger than 2 MiB" in (load(path).problem or "")


def test_only_plain_files_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe", Path("/dev/zero")):
        assert f"{path} is not a plain file" in (load(path).problem or "")
    assert load(tmp_path / "nul\0name").source == "bundled"


def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = tmp_path / "models.json"
    path.write_bytes(catalogue({}))
    path.chmod(0)
    with unprivileged():
        assert "Permission denied" in (load(path).problem or "")

    assert BUNDLED.stat().st_size < 512 * 1024

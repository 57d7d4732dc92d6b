"""Folders to texts: what is read, in which order, what is skipped, and that nothing raises."""

import os
from pathlib import Path

import pytest
from shared import unprivileged

from sidecar.config.codes import Code
from sidecar.config.diagnostic import Place
from sidecar.config.loader import Sources, read_folder

HERE = Place("gateway.yaml", 3, 5, 9)


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def names(sources: Sources, folder: Path) -> list[str]:
    return [os.path.relpath(path, folder) for path in sources.texts]


def test_the_entry_first_then_what_it_includes_sorted(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "gateway.yaml": "port: 1",
            "policies/b.yaml": "kind: b",
            "policies/a.yml": "kind: a",
            "policies/sub/c.yaml": "kind: c",
            "policies/route_test.yaml": "no",
            "policies/.hidden.yaml": "no",
            "policies/..data/d.yaml": "no",
            "policies/notes.txt": "no",
            "other/x.yaml": "no",
        },
    )
    sources = read_folder(tmp_path / "gateway.yaml", {"policies": HERE, "./policies": HERE})
    assert names(sources, tmp_path) == ["gateway.yaml", "policies/a.yml", "policies/b.yaml", "policies/sub/c.yaml"]
    documents, findings = sources.documents()
    assert [document.kind for document in documents] == ["gateway", "a", "b", "c"] and not findings


def test_a_mounted_config_map(tmp_path: Path) -> None:
    write(tmp_path, {"policies/..2026_01/route.yaml": "kind: a"})
    (tmp_path / "policies/..data").symlink_to("..2026_01")
    (tmp_path / "policies/route.yaml").symlink_to("..data/route.yaml")
    assert names(read_folder(tmp_path / "policies", {}), tmp_path) == ["policies/route.yaml"]


def test_a_loop_of_links_ends(tmp_path: Path) -> None:
    write(tmp_path, {"policies/a.yaml": "kind: a"})
    (tmp_path / "policies/loop").symlink_to(".")
    (tmp_path / "policies/self.yaml").symlink_to("self.yaml")
    sources = read_folder(tmp_path / "policies", {})
    assert names(sources, tmp_path) == ["policies/a.yaml"]
    assert [finding.code for finding in sources.findings] == [Code.UNREADABLE]


def test_the_digest_is_of_names_and_bytes_and_not_of_where(tmp_path: Path) -> None:
    def digest(folder: str, files: dict[str, str]) -> str:
        write(tmp_path / folder, {"gateway.yaml": "", **files})
        return read_folder(tmp_path / folder / "gateway.yaml", {"p": HERE}).digest

    one = digest("one", {"p/a.yaml": "x", "p/b.yaml": "y"})
    assert one == digest("two", {"p/b.yaml": "y", "p/a.yaml": "x"})
    assert one != digest("three", {"p/a.yaml": "x", "p/b.yaml": "z"})
    assert one != digest("four", {"p/a.yaml": "x", "p/c.yaml": "y"})
    assert one != digest("five", {"p/a.yaml": "xy", "p/b.yaml": ""})


def test_an_include_that_is_not_there_is_found_where_it_is_named(tmp_path: Path) -> None:
    write(tmp_path, {"gateway.yaml": ""})
    for include in ("none", "a\0b", "x" * 5000):
        (finding,) = read_folder(tmp_path / "gateway.yaml", {include: HERE}).findings
        assert finding.code == Code.UNREADABLE and finding.place == HERE


def test_what_cannot_be_read_is_a_finding(tmp_path: Path) -> None:
    assert [finding.code for finding in read_folder(tmp_path / "none.yaml", {}).findings] == [Code.UNREADABLE]
    write(tmp_path, {"gateway.yaml": "", "p/big.yaml": "#" * 2_000_000, "p/good.yaml": "kind: a"})
    (tmp_path / "p/bytes.yaml").write_bytes(b"\xff")
    os.mkfifo(tmp_path / "p/pipe.yaml")
    sources = read_folder(tmp_path / "gateway.yaml", {"p": HERE})
    assert names(sources, tmp_path) == ["gateway.yaml", "p/good.yaml"]
    assert sorted(finding.code for finding in sources.findings) == [Code.TOO_LARGE, Code.UNREADABLE, Code.UNREADABLE]


def test_a_closed_folder(tmp_path: Path) -> None:
    write(tmp_path, {"p/a.yaml": "kind: a"})
    (tmp_path / "p").chmod(0)
    with unprivileged():
        assert [finding.code for finding in read_folder(tmp_path / "p", {}).findings] == [Code.UNREADABLE]
    (tmp_path / "p").chmod(0o700)


def test_too_many_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidecar.config.loader.MAX_PATHS", 3)
    write(tmp_path, {f"{number}.yaml": "" for number in range(9)})
    assert [finding.code for finding in read_folder(tmp_path, {}).findings] == [Code.TOO_LARGE]

"""`sidecar init`: what it writes validates, passes its own tests, and never replaces anything."""

from pathlib import Path

import pytest

from sidecar.cli import main


def test_a_new_folder_validates_and_its_tests_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("SIDECAR_CONFIG", raising=False)
    assert main(["init", str(tmp_path / "gateway")]) == 0
    assert "cd " in capsys.readouterr().out
    monkeypatch.chdir(tmp_path / "gateway")
    assert main(["validate", "--deny-warnings"]) == 0
    assert main(["test"]) == 0
    # Here, and again: what is there stays.
    edited = Path("policies", "fallback.yaml")
    edited.write_text("kind: fallback\nretries: 3\n")
    Path("gateway.yaml").unlink()
    assert main(["init"]) == 1
    assert f"{edited}: is there already" in capsys.readouterr().err
    assert edited.read_text() == "kind: fallback\nretries: 3\n"
    assert not Path("gateway.yaml").exists()


def test_a_folder_that_is_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert main(["init", str(tmp_path / "file")]) == 2
    assert "sidecar init:" in capsys.readouterr().err

"""What `examples/ci`, `examples/gitops` and the pre-commit hooks say can be run as it stands."""

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import yaml

from sidecar.cli import VERBS, main

ROOT = Path(__file__).parents[2]
PIPELINES = sorted((ROOT / "examples" / "ci").iterdir())
MANIFESTS = sorted((ROOT / "examples" / "gitops").glob("*.yml"))
HOOKS = ROOT / ".pre-commit-hooks.yaml"
DOC = ROOT / "docs" / "diff.md"


def commands(text: str) -> list[list[str]]:
    """Every call of sidecar, up to what the shell makes of the rest."""
    found = re.findall(r"(?:run: |entry: |- |^|\$ )(sidecar [a-z][^\n|>]*)", text, re.MULTILINE)
    return [shlex.split(command, comments=True) for command in found]


@pytest.mark.parametrize("path", [*PIPELINES, HOOKS, DOC], ids=lambda path: path.name)
def test_every_command_is_accepted(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = commands(path.read_text(encoding="utf-8"))
    assert said
    for _, verb, *arguments in said:
        assert verb in VERBS
        # The parser is the real one; what it would start is not.
        monkeypatch.setattr(f"sidecar.cli.{verb}.action", lambda options: 0)
        assert main([verb, *arguments]) == 0


@pytest.mark.parametrize("path", PIPELINES, ids=lambda path: path.name)
def test_pipelines_validate_test_and_diff_and_hold_no_secret(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert [verb for _, verb, *_ in commands(text)] == ["validate", "test", "diff"]
    assert "pip install llm-sidecar\n" in text and 'name = "llm-sidecar"' in (ROOT / "pyproject.toml").read_text()
    assert not re.search(r"(?i)secrets\.|gh[ps]_\w|glpat-|bearer ", text)
    assert isinstance(yaml.safe_load(text), dict)


def test_hooks_are_what_pre_commit_takes() -> None:
    hooks: list[dict[str, Any]] = yaml.safe_load(HOOKS.read_text())
    assert [hook["id"] for hook in hooks] == ["sidecar-validate", "sidecar-test"]
    for hook in hooks:
        assert {"id", "name", "entry", "language"} <= hook.keys() and hook["language"] == "python"
        assert main([*hook["entry"].split()[1:], *hook.get("args", ()), str(ROOT / "gateway.yaml")]) == 0


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_manifests_are_objects(path: Path) -> None:
    for document in yaml.safe_load_all(path.read_text()):
        assert {"apiVersion", "kind"} <= document.keys()


def test_the_config_map_holds_every_file_of_the_policy() -> None:
    folder = ROOT / "examples" / "gitops"
    generated = yaml.safe_load((folder / "kustomization.yml").read_text())["configMapGenerator"][0]
    assert sorted(generated["files"]) == sorted(f"config/{path.name}" for path in (folder / "config").iterdir())
    deployment = yaml.safe_load((folder / "deployment.yml").read_text())["spec"]["template"]["spec"]
    assert {"name": "config", "configMap": {"name": generated["name"]}} in deployment["volumes"]

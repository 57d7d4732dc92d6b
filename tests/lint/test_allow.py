"""`# sidecar: allow CODE`: the way out, and what is said when it is not needed."""

from pathlib import Path

import pytest

from sidecar.policy import load

RULE = "  - {name: never, when: tokens < 0, tier: simple}"


@pytest.fixture
def lint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    monkeypatch.chdir(tmp_path)

    def found(text: str) -> list[str]:
        Path("p.yaml").write_text(text, encoding="utf-8")
        return [f"{f.code}:{f.place.line}" for f in load(Path("p.yaml"), {}, strict=False).findings]

    return found


@pytest.mark.parametrize(
    ("rules", "left"),
    [
        (RULE, ["dead-rule:3"]),
        (f"{RULE} # sidecar: allow dead-rule", []),
        (f"  # sidecar: allow dead-rule\n{RULE}", []),
        (f"  #sidecar:allow dead-rule\n{RULE}", []),
        (f"  # sidecar: allow dead-rule\n  # until the move\n{RULE}", []),
        (f"{RULE} # sidecar: allow dead-rule until the move", []),
        (f"  # sidecar: allow shadowed-rule, dead-rule\n{RULE}", ["unused-allow:3"]),
        (f"  # sidecar: allow dead-rule\n\n{RULE}", ["unused-allow:3", "dead-rule:5"]),
        (f"{RULE} # sidecar: allow dead\n", ["dead-rule:3", "unused-allow:3"]),
        (f"{RULE} # mycar#sidecar: allow dead-rule\n", ["dead-rule:3"]),
        # A comment after a value is about that line only.
        (f"{RULE} # sidecar: allow dead-rule\n{RULE.replace('never', 'nor')}", ["dead-rule:4"]),
    ],
)
def test_what_is_left(lint, rules: str, left: list[str]) -> None:  # type: ignore[no-untyped-def]
    assert lint(f"kind: classify\nrules:\n{rules}\n") == left


def test_an_error_is_not_allowed_away(lint) -> None:  # type: ignore[no-untyped-def]
    text = "kind: classify\nrules:\n  - {name: a, when: 'true', tier: top} # sidecar: allow unknown-tier\n"
    assert lint(text) == ["unknown-tier:3"]


def test_warnings_of_other_sorts_are_allowed_away(lint) -> None:  # type: ignore[no-untyped-def]
    text = "kind: score\ndefault:\n  models: ['nobody-*'] # sidecar: allow no-candidates\n"
    assert lint(text) == []

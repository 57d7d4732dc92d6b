"""The page about lints tells of all of them; none fires on what is shipped."""

from pathlib import Path

import pytest

from sidecar.config.lints import LINTS
from sidecar.policy import load

ROOT = Path(__file__).parents[2]
SHIPPED = [ROOT / "gateway.yaml", *sorted((ROOT / "examples").rglob("gateway.yaml"))]


def first(text: str) -> str:
    """The first paragraph, in one line."""
    return " ".join(text.partition("\n\n")[0].split())


def test_the_page_has_the_first_paragraph_of_each() -> None:
    page = (ROOT / "docs" / "lints.md").read_text(encoding="utf-8")
    rows = [f"| `{code}` | {first(text)} |" for code, text in LINTS.items()]
    assert [line for line in page.splitlines() if line.startswith("| `")] == rows


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.parent.name)
def test_none_fires_on_what_is_shipped(path: Path) -> None:
    assert len(SHIPPED) > 3
    found = load(path, {}, strict=False).findings
    assert [finding for finding in found if finding.code in LINTS] == []

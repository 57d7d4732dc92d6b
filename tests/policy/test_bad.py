"""Every fault of a configuration as a person sees it: each case in `config/bad/` against its `.txt`, byte for byte.

A case is a file, or a folder with a gateway.yaml and what it includes, named after the code it is about. Cases whose
name ends in `-strict` are read as `sidecar run` reads them, secrets included; others as `sidecar validate` does, their
`*_test.yaml` included.
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from sidecar.cases.suite import files_beside, read_suites
from sidecar.config.codes import EXPLAIN, Code
from sidecar.config.render import render_text
from sidecar.engine.open import Stores, open_graph
from sidecar.policy import load
from sidecar.stores.health import LiveHealth
from sidecar.stores.memory import MemoryCounters

ROOT = Path(__file__).parents[2]
BAD = ROOT / "tests" / "config" / "bad"
CASES = sorted(path for path in BAD.iterdir() if path.suffix != ".txt")
ENVIRON = {"SHORT_KEY": "too-short"}


def code_of(case: Path) -> Code | None:
    """The code a case is named after: the longest that its name begins with."""
    return max((code for code in Code if f"{case.stem}-".startswith(f"{code}-")), key=len, default=None)


def report(case: Path) -> tuple[str, set[Code]]:
    """What a person is shown, and the codes in it."""
    if case.stem.endswith("_test"):
        suites = read_suites([case], None)
        return render_text(suites.findings, suites.texts), {finding.code for finding in suites.findings}
    strict = case.stem.endswith("-strict")
    loaded = load(case / "gateway.yaml" if case.is_dir() else case, ENVIRON, strict=strict)
    more = []
    if strict and loaded.policy is not None and loaded.graph is not None:
        opened = open_graph(loaded.policy, loaded.graph, Stores(MemoryCounters(), LiveHealth()), ENVIRON)
        more = opened if isinstance(opened, list) else []
    if case.is_dir() and loaded.policy is not None:
        suites = read_suites(files_beside(case, loaded.policy.gateway.spec.policies), loaded)
        more += suites.findings
        loaded.sources.texts.update(suites.texts)
    every = [*loaded.findings, *more, *(finding for one in loaded.candidates.values() for finding in one.findings)]
    return loaded.render(more) + loaded.candidates_text, {finding.code for finding in every}


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_what_is_said(case: Path, golden: Callable[[Path, str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(BAD)
    text, codes = report(case.relative_to(BAD))
    assert code_of(case) in codes, text
    golden(case.parent / f"{case.stem}.txt", text)


def test_every_code_has_a_case_an_explanation_and_a_place_that_raises_it() -> None:
    sources = "".join(
        path.read_text(encoding="utf-8") for path in (ROOT / "sidecar").rglob("*.py") if path.name != "codes.py"
    )
    assert {code_of(case) for case in CASES} == set(Code)
    assert set(EXPLAIN) == set(Code)
    assert [code for code in Code if f"Code.{code.name}" not in sources] == []


def test_no_golden_without_its_case() -> None:
    assert {path.stem for path in BAD.glob("*.txt")} == {case.stem for case in CASES}

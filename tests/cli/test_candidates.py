"""Policies on trial on the command line: explained, compared and tested before they take any traffic."""

import asyncio
import json
from pathlib import Path

import pytest

from sidecar.stores.sqlite import SQLiteLedger

from .conftest import Sidecar
from .test_test import CLASSIFY, GATEWAY, GOOD, SCORE

ROLLOUT = "rollout:\n  shadow: {policies: [next]}\n  canary: {policies: [next], percent: 5}\n"
NEXT = CLASSIFY.replace("last_tokens < 20", "last_tokens < 2").replace("name: short", "name: tiny")
THEIRS = """\
kind: test
cases:
  - {name: hardly anything is short, request: {prompt: Hello.}, expect: {tier: expert, model: large}}
  - {name: but one token is, request: {prompt: a}, expect: {rule: tiny}}
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A gateway with policies in use and others on trial, each with their cases."""
    for name in ("SIDECAR_CONFIG", "HOUSE_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gateway.yaml").write_text(GATEWAY + ROLLOUT)
    for folder, classify, cases in (("policies", CLASSIFY, GOOD), ("next", NEXT, THEIRS)):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "classify.yaml").write_text(classify)
        (tmp_path / folder / "score.yaml").write_text(SCORE)
        (tmp_path / folder / "route_test.yaml").write_text(cases)
    return tmp_path


def test_their_cases_are_tried_on_them_and_on_nothing_else(here: Path, sidecar: Sidecar) -> None:
    ran = sidecar("test")
    assert (ran.code, ran.err) == (0, ""), ran
    assert ran.out.startswith("ok: 3 cases")
    assert sidecar("test", "next/route_test.yaml").out.startswith("ok: 2 cases")
    assert sidecar("test", "policies").out.startswith("ok: 1 case,")
    (here / "next" / "route_test.yaml").write_text(GOOD)
    ran = sidecar("test", "--run", "short")
    assert ran.code == 1
    assert "next/route_test.yaml:5:34: error[unknown-rule]: `short` is not a rule of this policy" in ran.err
    assert sidecar("validate").code == 1


def test_cases_beside_the_gateway_are_for_the_policies_in_use(here: Path, sidecar: Sidecar) -> None:
    (here / "gateway_test.yaml").write_text(GOOD)
    assert sidecar("test").out.startswith("ok: 4 cases")
    ran = sidecar("validate", "--deny-warnings")
    assert "unknown-rule" not in ran.out


def test_a_broken_candidate_fails_the_run(here: Path, sidecar: Sidecar) -> None:
    (here / "next" / "classify.yaml").write_text(NEXT.replace("when: last", "wen: last"))
    ran = sidecar("test")
    assert ran.code == 1 and "next/classify.yaml:4:18: error[unknown-field]" in ran.err


@pytest.mark.parametrize("role", ["canary", "shadow"])
def test_explain_walks_the_candidate(here: Path, sidecar: Sidecar, role: str) -> None:
    assert "tier      simple (rule short)" in sidecar("explain", "Hello.").out
    ran = sidecar("explain", "--candidate", role, "Hello.")
    assert ran.code == 0 and "chain     large\n" in ran.out and "tiny" in ran.out


def test_diff_compares_it_with_the_policies_in_use(here: Path, sidecar: Sidecar) -> None:
    ran = sidecar("diff", "--candidate", "canary", "--exit-code")
    assert ran.code == 1
    assert "(gateway.yaml -> rollout.canary)" in ran.out.splitlines()[0]
    assert "rules.short" in ran.out and "rules.tiny" in ran.out
    assert "simple: small -> expert: large" in ran.out
    assert sidecar("diff", "--candidate", "canary", "HEAD").code == 2


def test_replay_takes_past_requests_through_it(here: Path, sidecar: Sidecar) -> None:
    """An empty ledger is enough to see which policy it is."""

    async def made() -> None:
        await SQLiteLedger(here / "sidecar.db").close()

    asyncio.run(made())
    hashes = [
        json.loads(sidecar("replay", *of, "--format", "json").out)["policy"] for of in ((), ("--candidate", "shadow"))
    ]
    assert hashes[1] == sidecar("explain", "--candidate", "shadow", "Hello.").out.split()[1] != hashes[0]


@pytest.mark.parametrize("verb", [("explain", "Hello."), ("diff",), ("replay",)], ids=lambda verb: verb[0])
def test_where_nothing_is_on_trial_it_is_said(here: Path, sidecar: Sidecar, verb: tuple[str, ...]) -> None:
    (here / "gateway.yaml").write_text(GATEWAY)
    ran = sidecar(*verb, "--candidate", "canary")
    assert ran.code == 2 and "gateway.yaml has no `rollout: canary:`" in ran.err

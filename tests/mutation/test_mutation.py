"""A sample of `python -m tests.mutation`: small enough for every run, and the same mutants every time."""

from pathlib import Path

import pytest

from .judge import caught_by, copied, found, shipped
from .mutants import mutants

EVERY = 12
KNOWN = {
    "policies/classify.yaml: rules 0 and 1 swapped",  # no request has two tags
    *(  # no two candidates change places with the share of the output
        f"policies/score.yaml: tiers.{tier}.output_tokens = {figure}"
        for tier, figures in (("moderate", (0, 3200)), ("complex", (0, 8000)), ("expert", (0, 16000)))
        for figure in figures
    ),
}


@pytest.fixture(scope="module")
def folder():  # type: ignore[no-untyped-def]
    with copied() as path:
        yield path


def test_without_a_mistake_nothing_is_found(folder: Path) -> None:
    assert found(folder) is None


def test_there_are_enough_and_no_two_alike() -> None:
    names = [mutant.name for mutant in mutants(shipped())]
    assert len(names) > 200 and len(set(names)) == len(names) and set(names) >= KNOWN


@pytest.mark.parametrize(
    "mutant", [m for m in mutants(shipped()) if m.name not in KNOWN][::EVERY], ids=lambda m: m.name
)
def test_a_mistake_is_noticed(mutant, folder: Path) -> None:  # type: ignore[no-untyped-def]
    assert caught_by(mutant, folder) is not None

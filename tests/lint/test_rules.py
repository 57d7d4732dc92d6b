"""What is said of rules is true: no request contradicts it. And what can be told is told."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.conditions import Condition, FirstMatch
from sidecar.config.codes import Code
from sidecar.features import Features

from .policies import classify, warnings

MARKS = st.sampled_from(["<", "<=", ">", ">=", "==", "!="])
NUMBERS = st.sampled_from(["0", "1", "2", "3", "7", "2.5"])
COMPARISONS = st.one_of(
    st.builds("{} {} {}".format, st.sampled_from(["tokens", "turns"]), MARKS, NUMBERS),
    st.builds("{} {} {}".format, NUMBERS, MARKS, st.just("temperature")),
    st.builds('task {} "{}"'.format, st.sampled_from(["==", "!="]), st.sampled_from("ab")),
    st.sampled_from(['task in ["a", "b"]', "turns in [1, 2]", "has_code", "!stream", "true", "has_code == false"]),
)  # fmt: skip
CONDITIONS = st.recursive(
    COMPARISONS,
    lambda inner: st.one_of(
        st.builds("({} && {})".format, inner, inner),
        st.builds("({} || {})".format, inner, inner),
        st.builds("!({})".format, inner),
    ),
    max_leaves=5,
)
GRID = [
    Features(tokens=tokens, turns=turns, temperature=temperature, task=task, has_code=code, stream=stream)
    for tokens in (0, 1, 2, 3, 4, 7, 8)
    for turns in (0, 1, 2, 3, 4, 7, 8)
    for temperature in (-1.0, 0.0, 0.5, 1.0, 1.5, 2.0, 2.2, 2.5, 2.7, 3.0, 5.0, 7.0, 8.0)
    for task in ("", "a", "b")
    for code in (False, True)
    for stream in (False, True)
]
"""A request for each combination of what the generated conditions can tell apart."""


def place_of(line: int) -> int:
    return line - 4


@settings(max_examples=60, deadline=None)
@given(st.lists(CONDITIONS, min_size=1, max_size=4))
def test_never_decides_means_that_no_request_is_decided_by_it_and_none_is_missed(conditions: list[str]) -> None:
    found = warnings(classify(*conditions))
    silent = {place_of(f.place.line) for f in found if f.code in (Code.DEAD_RULE, Code.SHADOWED_RULE)}
    first = FirstMatch([Condition(source) for source in conditions], {})
    deciding = {first.index(features) for features in GRID}
    assert silent == set(range(len(conditions))) - deciding


@settings(max_examples=60, deadline=None)
@given(st.lists(CONDITIONS, min_size=2, max_size=3))
def test_an_overlap_has_a_request_that_both_hold_for(conditions: list[str]) -> None:
    for finding in warnings(classify(*conditions)):
        if finding.code is Code.OVERLAPPING_RULES:
            assert finding.also is not None
            pair = [Condition(conditions[place_of(p.line)]) for p in (finding.place, finding.also[0])]
            first = FirstMatch(pair, {})
            both = [[c.holds(first.context(features)) for c in pair] for features in GRID]
            assert [True, True] in both
            assert [True, False] in both
            assert [False, True] in both


@pytest.mark.parametrize(
    ("conditions", "said"),
    [
        (("tokens > 9", "tokens > 8"), ""),
        (("tokens > 8", "tokens > 9"), "shadowed-rule"),
        (('task == "a"', 'task == "b"'), ""),
        (('key == "ci"', 'key == "ci" && stream'), "shadowed-rule"),
        (("choices > max_tokens",), ""),
        (("proof", "proof && tokens > 2"), "shadowed-rule"),
        (('text.contains("x")', 'text.contains("x") && text.contains("y")'), "shadowed-rule"),
        (('text.contains("x")', 'text.contains("y")'), ""),
        (('labels.team == "a"', 'labels.team == "b"', 'labels.team == "a" && tokens > 3'), "shadowed-rule"),
        (('claims.groups.exists(g, g == "x")', '"x" in claims.groups'), "shadowed-rule"),
        (('claims.groups.exists(g, g == "x")', '"y" in claims.groups'), ""),
        (('text.matches("^x{3}$") && text.size() > 5',), ""),
        (('"a" in headers', '"a" in headers && proof'), "shadowed-rule"),
        (("tokens + turns > 5", "proof"), ""),
        (('user.startsWith("a") && user == "b"',), "dead-rule"),
    ],
)  # fmt: skip
def test_what_is_found(conditions: tuple[str, ...], said: str) -> None:
    found = warnings(classify(*conditions, patterns="{proof: proof}"))
    assert [f.code for f in found] == ([said] if said else []), found


def test_samples_are_the_same_each_time() -> None:
    text = classify('text.contains("x")', 'text.contains("x") && stream')
    assert warnings(text) == warnings(text)
    assert re.search(r"in 2,000 sampled requests it held \d+ times", warnings(text)[0].message)


def test_many_rules_are_looked_at_in_bounds() -> None:
    """Steps, not seconds: far more pairs than the search for several rules may take."""
    last = "tokens > 40 && turns > 2 && stream"
    found = warnings(classify(*(f'task == "t{n}" && tokens > {n}' for n in range(300)), "tokens > 40 && stream", last))
    assert [(f.code, f.place.line) for f in found] == [(Code.SHADOWED_RULE, 305)]

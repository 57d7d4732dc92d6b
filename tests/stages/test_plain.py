"""Plain conditions run as Python: whatever is translated must say what the CEL evaluator says."""

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.conditions import Condition, FirstMatch, context
from sidecar.features import Features
from sidecar.plain import first_of, tree_of

PATTERNS = {"shouts": re.compile("[A-Z]{3}"), "asks": re.compile(r"\?$")}
NAMES = ("tokens", "tools", "stream", "has_code", "task", "tenant", "temperature", "text", "headers", "labels")

numbers = st.integers(-3, 12).map(str) | st.sampled_from(["0.5", "1.0", "-2.25"])
texts = st.sampled_from(['"a"', "'b'", '""', "'a b'"])
number = st.sampled_from(["tokens", "tools"]) | st.integers(-3, 12).map(str)
text = st.sampled_from(["task", "tenant"]) | texts
relations = st.one_of(
    st.builds("{} {} {}".format, number, st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), number),
    st.builds("{}{}{}".format, text, st.sampled_from(["==", " != "]), text),
    st.builds("{} in [{}]".format, text, st.lists(texts, min_size=1, max_size=4).map(", ".join)),
    st.builds("tokens in [{}]".format, st.lists(st.integers(0, 9).map(str), min_size=1).map(",".join)),
    st.builds("temperature {} {}".format, st.sampled_from(["<", ">="]), numbers.filter(lambda n: "." in n)),
    st.sampled_from(["stream", "has_code", "true", "false", "shouts", "asks", "stream == has_code", "!asks"]),
)
key = st.sampled_from(["labels.plan", 'labels["plan"]', "headers['x-app']", 'headers["x-app"]'])
reads = st.one_of(
    st.builds("{} {} {}".format, key, st.sampled_from(["==", "!="]), texts),
    st.builds("{} in [{}]".format, key, st.lists(texts, min_size=1, max_size=3).map(", ".join)),
)
"""Absent keys: where they are read the evaluator fails, so only `&&` and `||` may be around them."""
sources = st.recursive(
    relations,
    lambda inner: st.one_of(
        st.builds("({})".format, inner),
        st.builds("!({})".format, inner),
        st.builds("{} && {}".format, inner, inner),
        st.builds("{} || {}".format, inner, inner),
    ),
    max_leaves=6,
)
joined = st.recursive(
    st.one_of(sources, reads, st.builds("{} in {}".format, texts, st.sampled_from(["labels", "headers"]))),
    lambda inner: st.one_of(
        st.builds("({})".format, inner),
        st.builds("{} && {}".format, inner, inner),
        st.builds("{} || {}".format, inner, inner),
    ),
    max_leaves=5,
)
requests = st.builds(
    Features,
    tokens=st.integers(0, 10),
    tools=st.integers(0, 3),
    stream=st.booleans(),
    has_code=st.booleans(),
    task=st.sampled_from(["", "a", "b", "a b"]),
    tenant=st.sampled_from(["a", "x"]),
    temperature=st.sampled_from([0.0, 0.5, 1.0]),
    text=st.sampled_from(["", "HELP", "what?", "HELP?"]),
    labels=st.dictionaries(st.sampled_from(["plan", "a"]), st.sampled_from(["a", "b", ""])),
    headers=st.dictionaries(st.sampled_from(["x-app", "a"]), st.sampled_from(["a", "b", ""])),
)


@settings(max_examples=400, deadline=None)
@given(st.lists(joined, min_size=1, max_size=5), requests)
def test_python_says_what_the_evaluator_says(rules: list[str], features: Features) -> None:
    conditions = [Condition(rule, PATTERNS) for rule in rules]
    assert first_of(rules, frozenset(PATTERNS)) is not None, "all of these are plain"
    found = {name: pattern.search(features.text) is not None for name, pattern in PATTERNS.items()}
    shared = context(features, NAMES, found)
    wanted = next((place for place, one in enumerate(conditions) if one.holds(shared)), -1)
    assert FirstMatch(conditions, PATTERNS).index(features) == wanted


@pytest.mark.parametrize(
    "source",
    [
        '!(headers["x"] == "a")', 'text.contains("a")', "tokens + 1 > 2", "tokens -1 > 2", "tokens > 1 ? true : false",
        "size(text) > 3", r'task == "\\n"', "labels.team == task", "tokens", "1 < tokens < 3", "task < 'b'",
        "stream > 1", "tokens in labels", "labels.team", "labels.team == 'a' == true", "true != (labels.team != 'a')",
        "labels.team.size() > 1", 'labels["a"]["b"] == "c"', "claims.team == 'a'", "!(tokens > 1 || labels.a == 'b')",
        "headers.exists(name, name == 'a')", "labels.a == 1", "labels.a < 'b'", "tokens in ['a']",
        "tokens == 'a'", "!tokens", "stream && tokens",
        "(tokens", "tokens >",
        "tokens > 1 // few", "unknown",
        "task in []", "tokens in [tools]", "1u < 2u", "__class__", "features", "found",
    ],
)  # fmt: skip
def test_what_is_not_plain_is_left_to_the_evaluator(source: str) -> None:
    assert first_of([source], frozenset()) is None


def test_lints_reason_over_features_alone() -> None:
    assert tree_of("tokens > 1", frozenset()) is not None
    assert tree_of('"a" in labels', frozenset()) is None
    assert tree_of('labels.a == "b"', frozenset()) is None


def test_one_that_is_not_plain_goes_to_the_evaluator_in_its_turn() -> None:
    rules = ["tokens > 100", 'headers["x"].startsWith("a")', "stream", "shouts && !(labels.a == 'b')", "tools > 0"]
    first = FirstMatch([Condition(rule, PATTERNS) for rule in rules], PATTERNS)
    assert first.index(Features(stream=True)) == 2
    assert first.index(Features(stream=True, headers={"x": "ab"})) == 1
    assert first.index(Features(tokens=101, headers={"x": "ab"})) == 0
    assert first.index(Features(text="HELP", labels={"a": "c"}, tools=1)) == 3
    assert first.index(Features(text="HELP", tools=1)) == 4


def test_a_pattern_is_searched_for_when_a_rule_comes_to_ask() -> None:
    rules = ["tokens > 100", 'headers["x"].startsWith("a")', "shouts", "asks"]
    first = FirstMatch([Condition(rule, PATTERNS) for rule in rules], PATTERNS)
    known: dict[str, bool] = {}
    assert first.index(Features(text="what", headers={"x": "a"}), known) == 1
    assert known == {}
    assert first.index(Features(text="HELP"), known) == 2
    assert known == {"[A-Z]{3}": True}

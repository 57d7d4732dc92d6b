"""Which regular expressions can take exponentially long."""

import re
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.lint.ambiguity import is_exponential

from .policies import classify, warnings


@pytest.mark.parametrize(
    "pattern",
    [
        "(a+)+$", "(a*)*b", "(a|aa)+$", "(.*a){20}", r"(\w+\s?)*!", r"([a-z]+)*\d", "(?:a?b?)*c", "(a|b|ab)*c",
        "(a{1,3})*b", "(a{2,20}){2,20}b", r"x(?=(a+)+b)", "((a+)|b)*c", "(.|\n)*z(.|\\s)*q",
        r"([^,]+,?)*;", r"(\d+[^x]?)+x",
    ],
)  # fmt: skip
def test_slow(pattern: str) -> None:
    assert is_exponential(pattern)


@pytest.mark.parametrize(
    "pattern",
    [
        "a+b", "(ab)*c", "(a|b)*c", "(a|a)*b", r"(\w+\s)*!", r"\w+(?:\s\w+)*\s?!", r"([a-z]+\d)*x", "(a{3})*b",
        r"(\d{1,3}\.){3}\d",
        "(?>a+)+b", "(?:a+)++b", "(a?)*b", "(ab?c)+", r"(?i)\b(prove|proof|derive|theorem)\b", ".*a.*b", "([ab][cd])*e",
        "(?i)(a|A)*b", r"(\w|[a-f])*-",  # read as one set of characters
        "", "(?:)*", r"(a)\1*b", "(x+x+)?y", r"[^,]+(,[^,]+)*;",
    ],
)  # fmt: skip
def test_quick(pattern: str) -> None:
    assert not is_exponential(pattern)


PARTS = st.recursive(
    st.sampled_from(["a", "b", "[ab]", "."]),
    lambda inner: st.one_of(
        st.builds("{}{}".format, inner, inner),
        st.builds("(?:{}|{})".format, inner, inner),
        st.builds("(?:{})?".format, inner),
        st.builds("(?:{})*".format, inner),
        st.builds("(?:{})+".format, inner),
        st.builds("(?:{}){{1,2}}".format, inner),
    ),
    max_leaves=5,
)


def readings(pattern: str, text: str) -> int:
    """In how many ways `(?:pattern){n}` can be laid over the text for any n: cut into pieces that each match whole."""
    ways = [1] + [0] * len(text)
    piece = re.compile(pattern)
    for end in range(1, len(text) + 1):
        ways[end] = sum(ways[begin] for begin in range(end) if piece.fullmatch(text, begin, end))
    return ways[-1]


@settings(max_examples=150, deadline=None)
@given(PARTS)
def test_what_can_be_cut_in_many_ways_is_slow(pattern: str) -> None:
    """Cuts are some of the readings, and those of a word that is there n times are at least the n-th power."""
    for size in (1, 2, 3):
        for letters in product("ab", repeat=size):
            word = "".join(letters)
            if readings(pattern, word) > 1:
                assert is_exponential(f"(?:{pattern})*c"), (pattern, word)


def test_a_huge_pattern_is_not_judged() -> None:
    assert warnings(classify(patterns="{huge: '" + "(a|b|c)*" * 3000 + "'}").replace("rules:\n", "")) == []

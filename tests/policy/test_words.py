"""Looking for words before a pattern is searched for must never change what is found."""

import re
import string
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.conditions import Condition, FirstMatch
from sidecar.features import Features
from sidecar.words import folded, needed

PATTERNS = (
    r"(?i)\b(prove|proof|derive|theorem|formally)\b",
    r"(?i)\b(architecture|design a|trade-?offs|refactor|root cause|migration plan)\b",
    r"SELECT\s+.+\s+FROM",
    r"(?i)(?:ask|kiss)(?:ing)?",
    r"(?x) sum (?: mary | mer ) # of it",
    r"(?i)stra(ß|ss)e",
    r"(?>ab)+c|xy{2,3}z",
    r"(?i:Mixed)Case",
    r"^\s*def \w+\(",
    r"(?<!un)known|(?=some)somewhere",
    r"(in|on|at) time",
    r"[a-f]{3}",
    r"a|b",
    r"",
)
DISGUISES = {"i": "iI\u0130\u0131", "k": "kK\u212a", "s": "sS\u017f"}


@pytest.mark.parametrize("source", PATTERNS)
@given(data=st.data())
def test_every_text_that_matches_is_found(source: str, data: st.DataObject) -> None:
    pattern = re.compile(source)
    text = data.draw(st.from_regex(pattern))
    for place, letter in enumerate(text):
        others = DISGUISES.get(letter.lower(), letter.lower() + letter.upper())
        other = text[:place] + data.draw(st.sampled_from(others)) + text[place + 1 :]
        text = other if pattern.search(other) else text
    words = needed(pattern)
    assert not words or any(word in folded(text) for word in words)
    assert _holds(source, text)


@given(st.sampled_from(PATTERNS), st.text(st.sampled_from("prove theorem straße SELECT ab\u0130\u017f\u212a(\n")))
def test_a_condition_holds_where_the_expression_is_found(source: str, text: str) -> None:
    assert _holds(source, text) is (re.search(source, text) is not None)


def test_no_letter_of_any_script_is_taken_for_one_that_the_folded_text_lacks() -> None:
    every = "".join(chr(code) for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000)
    for letter in string.ascii_lowercase:
        for found in re.finditer(letter, every, re.IGNORECASE):
            assert letter in folded(found.group()), hex(ord(found.group()))


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (PATTERNS[0], ("derive", "formally", "proof", "prove", "theorem")),
        (PATTERNS[2], ("select",)),
        (r"foo\b bar", ("foo bar",)),
        (r"(?:foo)?bar+", ("ba",)),
        (r"x?(long|s)", ()),
        (r"\d+", ()),
        (r"(a)\1xyz", ("xyz",)),
    ],
)
def test_the_words_of_a_pattern(source: str, words: tuple[str, ...]) -> None:
    assert needed(re.compile(source)) == words


def _holds(source: str, text: str) -> bool:
    features = Features("auto")
    features.text = text
    return FirstMatch([Condition("p", {"p": source})], {"p": re.compile(source)}).index(features) == 0

"""A provider's words without keys and addresses, whatever surrounds them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.engine.upstream import sanitised
from sidecar.spec import Secret

KEY = "no-known-shape-0123456789"
URL = "http://10.1.2.3:8443/v1"


@given(before=st.text(max_size=30), after=st.text(max_size=30), times=st.integers(1, 3))
def test_the_key_and_the_address_never_stand_in_it(before: str, after: str, times: int) -> None:
    text = f"{before}{(KEY + '10.1.2.3:8443') * times}{after}"
    clean = sanitised(text, Secret(KEY), URL)
    assert KEY not in clean
    assert "10.1.2.3:8443" not in clean


@pytest.mark.parametrize(
    "key",
    [
        "sk-proj-abcdefghijklmnop",
        "sk-ant-api03-abcdefghijk",
        "gw_abcdefghijklmnopqrstuvwxyz",
        "AIzaSyA1234567890abcdefghijk",
        "Bearer abcdefghijk",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc",
        "sk-ab***********************wxyz",
    ],
)
def test_what_looks_like_a_key_goes_too(key: str) -> None:
    clean = sanitised(f"Incorrect API key provided: {key}. You can", None, URL)
    assert clean.startswith("Incorrect API key provided: ***")
    assert key.split()[-1] not in clean


@pytest.mark.parametrize(
    "text", ["max_tokens is too large: 5", "The model `gpt-4o-mini` does not exist", "", "task-force risk-averse"]
)
def test_other_words_stay(text: str) -> None:
    assert sanitised(text, Secret(KEY), URL) == text


def test_an_empty_address_replaces_nothing() -> None:
    assert sanitised("abc", None, "") == "abc"

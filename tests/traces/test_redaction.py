"""What is taken out of prompts and answers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.telemetry.redact import redacted, shortened


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("nothing of the kind, 42 and 2026", "nothing of the kind, 42 and 2026"),
        ("key sk-proj-abcdefgh1234!", "key ***!"),
        ("Authorization: Bearer abcdef123456", "Authorization: ***"),
        ("AKIAIOSFODNN7EXAMPLE", "***"),
        ("ghp_abcdefghijklmnop1234", "***"),
        ("xoxb-1234567890-abc", "***"),
        ("mail ada.l+x@mail.example.org.", "mail ***."),
        ("card 4111-1111-1111-1111, tel. +49 30 123456", "card ***, tel. +***"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\nabc\n-----END RSA PRIVATE KEY----- end", "*** end"),
        ("-----BEGIN PRIVATE KEY-----\nMIIE cut", "***"),
    ],
)
def test_redacted(text: str, wanted: str) -> None:
    assert redacted(text) == wanted


@given(st.text(max_size=200), st.sampled_from(["ada@example.org", "sk-abcdefgh1234", "4111 1111 1111 1111"]))
def test_a_secret_is_hidden_wherever_it_stands(around: str, secret: str) -> None:
    assert secret not in redacted(f"{around} {secret} {around}")


@given(st.integers(0, 60), st.sampled_from(["ada@example.org", "sk-abcdefgh1234", "4111 1111 1111 1111"]))
def test_no_half_of_a_secret_is_left_where_a_text_is_cut(limit: int, secret: str) -> None:
    text = f"some words before {secret} and some behind"
    left = redacted(shortened(text, limit))
    assert not any(piece in left for piece in ("ada", "exam", "sk-a", "4111", "1111"))


@given(st.text(), st.integers(0, 50))
def test_a_short_text_is_left_alone_and_a_long_one_is_cut(text: str, limit: int) -> None:
    short = shortened(text, limit)
    assert short == text if len(text) <= limit else len(short) <= limit + 4


def test_a_long_text_costs_no_more_than_its_length() -> None:
    for text in ("a" * 100_000, "a." * 50_000, "1 " * 50_000, "-----BEGIN " * 10_000, "a@" * 50_000, "sk-" * 30_000):
        redacted(text)

"""Whatever the text: no exception, a finding wherever there is no Spec, places inside the file, printable output."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.config.diagnostic import Severity
from sidecar.config.document import decode
from sidecar.config.nodes import split_lines
from sidecar.config.render import render_github, render_json, render_text

from .toys import complain, read

GOOD = """\
kind: gateway
port: ${PORT:-8787}
open: true
greeting: &hello "good ${DAY}"
kitchens:
  north: {url: https://north.example, api_key: "${KEY}", share: 0.5}
tables: [1, 2]
pair:
  - 3
  - *hello
step: 1.5
---
kind: menu
name: lunch
courses:
  - kind: hot
    plates: [soup, bread]
    until: 1h30m
  - {kind: cold, minutes: 7}
size: small
"""
PIECES = [
    *"\t\n :-[]{}&*!|>'\"%@`#,?$\\\0\x1b\x85\u2028\ufeff\U0001f600\ud800é",
    *("---", "<<: ", "!!int ", "${", "${A}", "${A:-", "$$", "*hello", "&hello ", "null", "true", ".nan", "-.inf"),
    *("1e999", "9" * 400, "0x" + "f" * 300, "kind: menu", "kind: 1", "- " * 70, "[" * 70, "\n  ", "? ", ": ", "- "),
]
texts = st.one_of(
    st.text(max_size=60),
    st.lists(st.sampled_from(PIECES), max_size=12).map("".join),
    st.lists(st.sampled_from([*PIECES, *GOOD.split()]), max_size=30).map(" ".join),
)
edits = st.lists(
    st.tuples(st.integers(0, len(GOOD)), st.integers(0, 25), st.one_of(st.just(""), st.sampled_from(PIECES), texts)),
    min_size=1,
    max_size=4,
)


def edited(changes: list[tuple[int, int, str]]) -> str:
    text = GOOD
    for start, length, insert in changes:
        text = text[:start] + insert + text[start + length :]
    return text


def hold(text: str) -> None:
    for strict in (True, False):
        specs, findings = read(text, {"DAY": "\ud800\x1b", "A": "[}"}, strict=strict)
        assert all(specs) or any(finding.severity is Severity.ERROR for finding in findings)
        lines = split_lines(text.removeprefix("\ufeff"))
        for finding in findings:
            for place in (finding.place, *(finding.also or ())[:1]):
                assert 1 <= place.line <= len(lines)
                assert 1 <= place.column < place.end_column
                assert place.column <= len(lines[place.line - 1]) + 1
        rendered = render_text(findings, {"gateway.yaml": text}) + render_github(findings)
        assert all(line.isprintable() for line in rendered.split("\n"))
        assert render_json(findings).isascii()


@settings(deadline=None, max_examples=300)
@given(texts)
def test_any_text(text: str) -> None:
    hold(text)


@settings(deadline=None, max_examples=300)
@given(edits)
def test_any_mutation_of_a_good_text(changes: list[tuple[int, int, str]]) -> None:
    hold(edited(changes))


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    text, findings = decode(data, "gateway.yaml")
    assert not (text and findings)
    hold(text)


@pytest.mark.parametrize(
    "text",
    [
        'greeting: "' + "${" * 400_000 + '"',
        'greeting: "' + "${A:-" * 180_000 + '"',
        "kitchens:\n" + "".join(f"  k{n}: {{url: '${{X{n}}}', api_key: sk-{n}}}\n" for n in range(15_000)),
        "{" + ",".join(f"k{n}: 1" for n in range(70_000)) + "}",
        "token" + " " * 900_000 + "x: [",
        "a: 1\n" * 90_000,
        "[" * 900_000,
    ],
    ids=["open", "default", "unset", "wide", "spaces", "twice", "deep"],
)
def test_a_hostile_megabyte_is_read_to_its_end(text: str) -> None:
    assert complain(text)


def test_the_good_text_is_good() -> None:
    specs, findings = read(GOOD, {"DAY": "morning"})
    assert all(specs) and not findings

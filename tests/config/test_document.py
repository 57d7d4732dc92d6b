"""YAML text to data and places: the core schema of YAML 1.2, nothing that surprises, nothing unbounded."""

import math
from pathlib import Path
from typing import Any

import pytest

from sidecar.config.codes import Code
from sidecar.config.document import MAX_BYTES, decode, parse, read

from .toys import only


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on", "on"),
        ("yes", "yes"),
        ("Off", "Off"),
        ("1:30", "1:30"),
        ("1_000", "1_000"),
        ("2026-01-31", "2026-01-31"),
        ("0b1", "0b1"),
        ("=", "="),
        ("0777", 777),
        ("0o17", 15),
        ("0xfF", 255),
        ("-12", -12),
        ("+3", 3),
        ("1.", 1.0),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("-1.5E-2", -0.015),
        (".inf", math.inf),
        ("-.INF", -math.inf),
        ("true", True),
        ("FALSE", False),
        ("tRue", "tRue"),
        ("null", None),
        ("~", None),
        ("", None),
        ("'true'", "true"),
        ('"12"', "12"),
        ("|\n  12\n", "12\n"),
        (">-\n  a\n  b\n", "a b"),
        ("9" * 301, 1e301),
    ],
)
def test_scalars(text: str, value: Any) -> None:
    found = only(f"a: {text}").data["a"]
    assert found == value and type(found) is type(value)


def test_not_a_number() -> None:
    assert math.isnan(only("a: .nan").data["a"])


def test_aliases_share_their_value() -> None:
    assert only("a: &x [1, {b: 2}]\nc: *x\n").data == {"a": [1, {"b": 2}], "c": [1, {"b": 2}]}


def test_deep_aliases_are_as_deep_as_what_they_stand_for() -> None:
    text = "a0: &a0 [" + "[" * 40 + "]" * 41 + "\na1: &a1 [" + "[" * 40 + "*a0" + "]" * 41
    assert [finding.code for finding in parse(text, "x.yaml")[1]] == [Code.TOO_LARGE]


def test_several_documents_and_the_kind_that_a_file_name_implies() -> None:
    documents, findings = parse("a: 1\n---\nkind: menu\n---\n---\nb: 1\n", "etc/gateway.yaml")
    assert not findings
    assert [(document.index, document.kind) for document in documents] == [(0, "gateway"), (1, "menu"), (3, None)]
    assert parse("a: 1", "other.yaml")[0][0].kind is None


def test_a_byte_order_mark_moves_no_column() -> None:
    (document,), findings = parse("\ufeffa: 1", "x.yaml")
    assert not findings and document.data == {"a": 1}
    assert document.place(("a",)).column == 4


@pytest.mark.parametrize(
    ("path", "key", "where"),
    [
        (("a", "b"), False, (2, 6, 7)),
        (("a", "b"), True, (2, 3, 4)),
        (("a",), False, (2, 3, 4)),  # a block mapping is shown by its first key
        (("list", 1), False, (6, 5, 10)),
        (("list", 1), True, (6, 5, 10)),
        (("list", 9), False, (5, 3, 4)),
        (("empty",), False, (7, 1, 6)),  # nothing to point at but the key
        (("text",), False, (8, 7, 8)),
        (("é", "x"), False, (11, 8, 9)),
        (("a", "none"), False, (2, 3, 4)),
        (("a", "none"), True, (1, 1, 2)),
        (("a", 0, "b"), False, (2, 3, 4)),
        ((), False, (1, 1, 2)),
        (("flow",), False, (12, 7, 8)),
    ],
)
def test_places(path: tuple[str | int, ...], key: bool, where: tuple[int, int, int]) -> None:
    document = only(
        "a:\n  b: 1\n  c: 2\nlist:\n  - one\n  - 'two'\nempty:\ntext: |\n  x\n  y\né: {x: 1}\nflow: [1,\n 2]\n"
    )
    place = document.place(path, key)
    assert (place.line, place.column, place.end_column) == where


@pytest.mark.parametrize(
    ("data", "code", "where"),
    [
        (b"a: \xff", Code.UNREADABLE, (1, 4)),
        ("a: é\nb: ".encode() + b"\xe9", Code.UNREADABLE, (2, 4)),
        ("a: 1".encode("utf-16"), Code.UNREADABLE, (1, 1)),
        (b"#" * (MAX_BYTES + 1), Code.TOO_LARGE, (1, 1)),
    ],
)
def test_bytes_that_are_no_text(data: bytes, code: Code, where: tuple[int, int]) -> None:
    text, (finding,) = decode(data, "x.yaml")
    assert text == "" and finding.code == code
    assert (finding.place.line, finding.place.column) == where


def test_reading_never_raises(tmp_path: Path) -> None:
    (tmp_path / "big.yaml").write_bytes(b"#" * (MAX_BYTES + 1))
    for name in ("none.yaml", "", "a\0b", "big.yaml"):
        data, findings = read(tmp_path / name, name)
        assert data == b"" and len(findings) == 1


def test_too_many_values() -> None:
    documents, (finding,) = parse("a: [" + "1," * 200_001 + "]", "x.yaml")
    assert finding.code == Code.TOO_LARGE and not documents


def test_too_long_a_text() -> None:
    assert parse("#" * (MAX_BYTES + 1), "x.yaml")[1][0].code == Code.TOO_LARGE

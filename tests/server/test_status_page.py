"""Status -> HTML, without a gateway: whatever stands in a field stays text, and figures read well."""

from typing import Any, get_args, get_origin

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pages import Page

from sidecar.server.charts import ceiling
from sidecar.server.page import Html, join, tag
from sidecar.server.panels_traffic import dollars_exactly
from sidecar.server.status_data import Status
from sidecar.server.status_page import refused, render, render_catalogue
from sidecar.server.status_words import milliseconds, money, span

HOSTILE = "\"'><script>alert(1)</script><img src=x onerror=alert(1)>&lt;\x00\x1b[31m\ud800\u2028"


def hostile(kind: Any) -> Any:
    """A value of a type with HOSTILE in every text that may be any text."""
    if get_origin(kind) is not None and type(None) in get_args(kind):
        kind = next(k for k in get_args(kind) if k is not type(None))
    if hasattr(kind, "__metadata__"):
        kind = kind.__origin__
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        # Amounts are exact text, and only figures can be in them.
        fields = msgspec.structs.fields(kind)
        return kind(**{f.name: "1.5" if f.name.endswith("_usd") else hostile(f.type) for f in fields})
    match get_origin(kind):
        case None:
            return {str: HOSTILE, int: 7, float: 7.5, bool: True}[kind]
        case origin if origin is list:
            return [hostile(get_args(kind)[0])]
        case origin if origin is tuple:
            return tuple(hostile(part) for part in get_args(kind) if part is not ...)
        case origin if origin is dict:
            return {HOSTILE: HOSTILE}
    return get_args(kind)[0] if isinstance(get_args(kind)[0], str) else hostile(get_args(kind)[0])


@pytest.mark.parametrize("outcome", ["refused", "loaded", HOSTILE])
def test_no_text_of_any_field_becomes_markup(outcome: str) -> None:
    status = hostile(Status)
    status = msgspec.structs.replace(status, reload=msgspec.structs.replace(status.reload, outcome=outcome))
    for drawn in (render(status), render_catalogue(status)):
        _harmless(drawn.encode("utf-8", "replace").decode())


def _harmless(text: str) -> None:
    page = Page(text)
    assert "alert(1)" in page.text
    assert "img" not in {name for name, _ in page.elements}
    assert all(script == {"src": "/status.js", "defer": None} for script in page.of("script"))
    assert all(not key.startswith("on") for _, attributes in page.elements for key in attributes)
    assert not set(text) & {"\x00", "\x1b", "\ud800"}


def test_the_refusal_escapes_too() -> None:
    assert "<script" not in refused(HOSTILE)


def test_elements_escape_text_and_keep_markup() -> None:
    assert tag("p", "a<b", tag("b", "&")) == "<p>a&lt;b<b>&amp;</b></p>"
    assert tag("a", "x", href='"><x', class_=None, hidden=True) == '<a href="&quot;&gt;&lt;x" hidden>x</a>'
    assert tag("br") == "<br>"
    assert join("<", None, ["<", Html("<br>")]) == "&lt;&lt;<br>"


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(-5, "0 s"), (0, "0 s"), (59.9, "59 s"), (60, "1 min"), (3599, "59 min"), (3600, "1 h 0 min"), (90061, "1 d 1 h")],
)
def test_lengths_of_time(seconds: float, shown: str) -> None:
    assert span(seconds) == shown


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("0", "$0.00"),
        ("0.0000000001", "<$0.000001"),
        ("0.000318", "$0.000318"),
        ("0.01", "$0.01"),
        ("1234.567", "$1,234.57"),
    ],
)
def test_amounts(text: str, shown: str) -> None:
    assert money(text) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0.0, "$0"),
        (0.00005, "$0.00005"),
        (0.0015000000000000002, "$0.0015"),
        (0.015, "$0.015"),
        (0.25, "$0.25"),
        (4.5, "$4.50"),
        (3000.0, "$3,000"),
        (15000.0, "$15k"),
        (1_500_000.0, "$1,500k"),
        (0.00123, "$0.001230"),
        (12345.67, "$12,345.67"),
    ],
)
def test_amounts_in_a_chart(value: float, shown: str) -> None:
    assert dollars_exactly(value) == shown


@given(st.floats(1e-8, 1e7))
def test_the_lines_of_an_axis_are_told_apart_and_fit_beside_it(value: float) -> None:
    top = ceiling(value)
    shown = [dollars_exactly(top * part / 4) for part in range(5)]
    assert len(set(shown)) == 5
    assert value <= 1e-4 or max(map(len, shown)) <= 8


@pytest.mark.parametrize(("value", "shown"), [(None, "–"), (1.23, "1.2 ms"), (99.6, "100 ms"), (1234.0, "1.23 s")])
def test_times(value: float | None, shown: str) -> None:
    assert milliseconds(value) == shown

"""A line of the log as text: short, and whatever it holds, one line that a terminal prints and does not obey."""

import json
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from sidecar.engine.log_text import text_line

HEAD = {"time": "2026-11-20T23:17:51.094Z", "level": "info"}


def shown(fields: dict[str, Any], **head: str) -> str:
    return text_line(json.dumps({**HEAD, **head, **fields}).encode(), colored=False)


def test_an_event() -> None:
    line = shown({"host": "127.0.0.1", "port": 8787, "none": "", "a": "two words"}, event="listening")
    assert line == '23:17:51.094 info    listening host=127.0.0.1 port=8787 a="two words"\n'


def test_a_refused_configuration_stands_below_as_validate_prints_it() -> None:
    line = shown({"outcome": "refused", "findings": "a.yaml:1:1: error\n  1 | x\n"}, event="reload", level="error")
    assert line == "23:17:51.094 error   reload outcome=refused\n    a.yaml:1:1: error\n      1 | x\n"


def test_a_request() -> None:
    row = {
        "ts": 1.0, "request_id": "req_1", "attempt": 2, "outcome": "answered", "surface": "chat", "tenant": "t",
        "requested_model": "auto", "key_name": "app", "model": "m1", "provider": "p", "tier": "simple", "rule": "q",
        "input_tokens": 120, "output_tokens": 45, "cost_nano": 26_000, "latency_ms": 812.4, "http_status": 200,
    }  # fmt: skip
    assert shown(row, event="request") == (
        "23:17:51.094 info    200  auto -> m1  simple/q  812 ms  0.000026 USD  120+45 tokens  attempt 2  app  req_1\n"
    )
    refused = {"request_id": "req_2", "outcome": "turned_away", "failure": "invalid_json", "http_status": 400}
    assert shown(refused, event="request") == "23:17:51.094 info    400  turned away invalid_json  req_2\n"


VALUES = st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda v: st.lists(v, max_size=3))


@given(st.dictionaries(st.text(st.characters(codec="ascii", categories=["L"]), min_size=1), VALUES, max_size=5))
def test_any_fields_make_one_line_that_a_terminal_does_not_obey(fields: dict[str, Any]) -> None:
    line = shown({name: value for name, value in fields.items() if name not in (*HEAD, "event")}, event="x")
    assert line.endswith("\n") and line[:-1].isprintable()


def test_the_colour_is_the_levels() -> None:
    data = msgspec.json.encode({**HEAD, "level": "error", "event": "fault", "id": "r"})
    assert text_line(data, colored=True) == "23:17:51.094 \x1b[31merror  \x1b[0m fault id=r\n"

"""`traceparent` and `tracestate`, well-formed and not."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.telemetry.context import begin

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
HEX = string.digits + "abcdef"


@pytest.mark.parametrize(
    ("value", "sampled"),
    [
        (f"00-{TRACE}-{SPAN}-01", True),
        (f"00-{TRACE}-{SPAN}-00", False),
        (f"00-{TRACE}-{SPAN}-03", True),
        (f"00-{TRACE}-{SPAN}-fe", False),
        (f"  00-{TRACE}-{SPAN}-01\t", True),
        (f"cc-{TRACE}-{SPAN}-01", True),
        (f"cc-{TRACE}-{SPAN}-01-what-comes-one-day", True),
    ],
)
def test_a_callers_context_is_taken_over(value: str, sampled: bool) -> None:
    context = begin({"traceparent": value}, 0.0)
    assert (context.trace, context.parent, context.sampled) == (TRACE, SPAN, sampled)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "00",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE}-{SPAN}-01.",
        f"cc-{TRACE}-{SPAN}-01.more",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE[:-1]}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-0x",
        f"00-{TRACE}-{SPAN}-01, 00-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01\n",
        f"٠٠-{TRACE}-{SPAN}-01",
    ],
)
def test_what_is_not_well_formed_begins_a_trace_of_its_own(value: str) -> None:
    context = begin({"traceparent": value, "tracestate": "a=b"}, 1.0)
    assert context.trace != TRACE
    assert (context.parent, context.state, context.sampled) == ("", "", True)


@pytest.mark.parametrize("state", ["a=b\r\nx-evil: 1", "a" * 513, "ä=b", "a\x00b"])
def test_a_state_that_could_not_be_sent_on_is_left_out(state: str) -> None:
    assert begin({"traceparent": f"00-{TRACE}-{SPAN}-01", "tracestate": state}, 1.0).state == ""


@given(st.text(max_size=80), st.text(max_size=80))
def test_no_header_breaks_it_and_what_is_sent_on_is_well_formed(parent: str, state: str) -> None:
    headers: dict[str, str] = {}
    context = begin({"traceparent": parent, "tracestate": state}, 1.0)
    span = context.descend(headers)
    assert begin(headers, 0.0).parent == span
    assert begin(headers, 0.0).trace == context.trace


@given(st.text(HEX, min_size=32, max_size=32).filter(lambda t: t != "0" * 32), st.sampled_from(["00", "01"]))
def test_what_one_gateway_sends_the_next_reads(trace: str, flags: str) -> None:
    headers: dict[str, str] = {}
    first = begin({"traceparent": f"00-{trace}-{SPAN}-{flags}", "tracestate": "a=b,c=d"}, 0.5)
    span = first.descend(headers)
    second = begin(headers, 0.5)
    assert (second.trace, second.parent, second.sampled, second.state) == (trace, span, flags == "01", "a=b,c=d")


def test_a_share_is_sampled() -> None:
    sampled = sum(begin({}, 0.25).sampled for _ in range(4000))
    assert 700 < sampled < 1300
    assert not any(begin({}, 0.0).sampled for _ in range(100))
    assert all(begin({}, 1.0).sampled for _ in range(100))

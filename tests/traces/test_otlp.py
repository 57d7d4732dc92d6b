"""Spans as bytes, read by OpenTelemetry's own protobuf classes; and what a collector may answer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from sidecar.telemetry.otlp import (
    CLIENT,
    SERVER,
    flag,
    form,
    integer,
    number,
    numbers,
    place,
    rejected,
    request,
    span,
    text,
    texts,
)

TRACE, SPAN, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", "00f067aa0ba902b7"
ANY_TEXT = st.text(st.characters(), max_size=300)
KEYS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=200)
TIMES = st.integers(0, 2**64 - 1)


def read(*spans: bytes) -> ExportTraceServiceRequest:
    return ExportTraceServiceRequest.FromString(request({"service.name": "sidecar"}, ("sidecar", "1"), spans))


def as_read(value: str) -> str:
    """Half of a surrogate pair cannot be sent."""
    return value.encode("utf-8", "replace").decode()


@given(KEYS, ANY_TEXT, st.lists(ANY_TEXT, max_size=4), st.integers(), st.floats(allow_nan=False), st.booleans())
def test_every_attribute_is_read_as_it_was_told(
    key: str, said: str, several: list[str], whole: int, real: float, yes: bool
) -> None:
    told = [text(key, said), texts(key, *several), integer(key, whole), number(key, real), flag(key, yes)]
    told.append(numbers(key)(real))
    written = span(form("a", SERVER, told[:3], False), place(TRACE, SPAN, "", ""), 1, 2, b"".join(told[3:]))
    found = read(written).resource_spans[0].scope_spans[0].spans[0].attributes
    assert [pair.key for pair in found] == [key] * 6
    by_kind = {pair.value.WhichOneof("value"): pair.value for pair in found}
    assert by_kind["string_value"].string_value == as_read(said)
    assert [item.string_value for item in by_kind["array_value"].array_value.values] == [as_read(t) for t in several]
    assert by_kind["int_value"].int_value == min(max(whole, 1 - 2**63), 2**63 - 1)
    assert [pair.value.double_value for pair in found if pair.value.HasField("double_value")] == [real, real]
    assert by_kind["bool_value"].bool_value is yes


@pytest.mark.parametrize("whole", [0, 127, 128, 16383, 16384, 2**63 - 1])
def test_numbers_at_the_ends_of_their_bytes(whole: int) -> None:
    written = span(form("a", SERVER, [], False), place(TRACE, SPAN, "", ""), 1, 2, integer("n", whole))
    [attribute] = read(written).resource_spans[0].scope_spans[0].spans[0].attributes
    assert attribute.value.int_value == whole


def test_half_a_surrogate_pair_does_not_have_the_export_refused() -> None:
    assert text("a", "b\ud800c").endswith(b"b?c")


@given(ANY_TEXT, TIMES, TIMES, st.sampled_from(["", PARENT]), st.sampled_from(["", "a=b,c=d"]), st.booleans())
def test_a_span_is_read_as_it_was_told(name: str, start: int, end: int, parent: str, state: str, failed: bool) -> None:
    written = span(form(name, CLIENT, [], failed), place(TRACE, SPAN, parent, state), start, end, b"")
    [resource] = read(written, written).resource_spans
    assert {pair.key: pair.value.string_value for pair in resource.resource.attributes} == {"service.name": "sidecar"}
    [scope] = resource.scope_spans
    assert (scope.scope.name, scope.scope.version) == ("sidecar", "1")
    assert resource.schema_url == scope.schema_url != ""
    first, second = scope.spans
    assert first == second
    assert (first.trace_id.hex(), first.span_id.hex(), first.parent_span_id.hex()) == (TRACE, SPAN, parent)
    assert (first.name, first.kind, first.trace_state) == (as_read(name), CLIENT, state)
    assert (first.start_time_unix_nano, first.end_time_unix_nano) == (start, end)
    assert first.status.code == (2 if failed else 0)


@given(st.integers(0, 2**63 - 1), st.text(st.characters(exclude_categories=["Cs"]), max_size=20))
def test_what_a_collector_rejects_is_read(count: int, message: str) -> None:
    partial = ExportTracePartialSuccess(rejected_spans=count, error_message=message)
    assert rejected(ExportTraceServiceResponse(partial_success=partial).SerializeToString()) == count


@given(st.binary(max_size=60))
def test_no_answer_breaks_the_reading(answer: bytes) -> None:
    assert 0 <= rejected(answer) < 2**63


def test_fewer_than_none_are_none() -> None:
    partial = ExportTracePartialSuccess(rejected_spans=-1)
    assert rejected(ExportTraceServiceResponse(partial_success=partial).SerializeToString()) == 0

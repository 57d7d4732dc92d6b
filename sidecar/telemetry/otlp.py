"""OTLP/HTTP's JSON: spans as bytes. https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding

Ids are hexadecimal, 64-bit integers are text, enums are numbers.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from .names import SCHEMA_URL

SERVER: Final = 2
CLIENT: Final = 3
ERROR: Final = 2
_MOST: Final = 2**63 - 1


class Value(Struct, frozen=True, gc=False, rename="camel", omit_defaults=True):
    """An attribute's value: one of the fields is set."""

    string_value: str | UnsetType = UNSET
    int_value: str | UnsetType = UNSET
    double_value: float | UnsetType = UNSET
    bool_value: bool | UnsetType = UNSET
    array_value: "dict[str, list[Value]] | UnsetType" = UNSET


class Attribute(Struct, frozen=True, gc=False):
    """One attribute."""

    key: str
    value: Value


class Status(Struct, frozen=True, gc=False, omit_defaults=True):
    """How a span ended; 0 is nothing special."""

    code: int = 0


class Span(Struct, frozen=True, rename="camel", omit_defaults=True):
    """One span. Times are nanoseconds of Unix time, as text."""

    trace_id: str
    span_id: str
    name: str
    kind: int
    start_time_unix_nano: str
    end_time_unix_nano: str
    attributes: list[Attribute]
    parent_span_id: str = ""
    trace_state: str = ""
    status: Status = Status()


encoded = msgspec.json.Encoder().encode
"""Any of these structs as JSON."""


def text(key: str, value: str) -> Attribute:
    """An attribute that is text."""
    return Attribute(key, Value(string_value=value))


known_text = lru_cache(maxsize=4096)(text)
"""The same for what comes from the configuration: the same few again and again."""


def integer(key: str, value: int) -> Attribute:
    """An attribute that is a whole number; one that 64 bits do not hold would have the whole export refused."""
    return Attribute(key, Value(int_value=str(max(-_MOST, min(value, _MOST)))))


def number(key: str, value: float) -> Attribute:
    """An attribute that is a number."""
    return Attribute(key, Value(double_value=value))


def flag(key: str, value: bool) -> Attribute:
    """An attribute that is true or false."""
    return Attribute(key, Value(bool_value=value))


@lru_cache(maxsize=256)
def texts(key: str, *values: str) -> Attribute:
    """An attribute that is a list of texts out of a closed list."""
    return Attribute(key, Value(array_value={"values": [Value(string_value=value) for value in values]}))


def request(resource: Mapping[str, str], scope: tuple[str, str], spans: Sequence[Raw]) -> bytes:
    """An export request: spans, each encoded already, of a resource and an instrumentation scope (name, version)."""
    attributes = [text(key, value) for key, value in resource.items()]
    scope_spans = {"scope": {"name": scope[0], "version": scope[1]}, "spans": spans, "schemaUrl": SCHEMA_URL}
    return encoded(
        {
            "resourceSpans": [
                {"resource": {"attributes": attributes}, "scopeSpans": [scope_spans], "schemaUrl": SCHEMA_URL}
            ]
        }
    )

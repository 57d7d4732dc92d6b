"""OTLP/HTTP's JSON: spans as bytes. https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding

Ids are hexadecimal, 64-bit integers are text, enums are numbers.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final

import msgspec
from msgspec import Raw, Struct

from .names import SCHEMA_URL

SERVER: Final = 2
CLIENT: Final = 3
ERROR: Final = 2
_MOST: Final = 2**63 - 1


Attribute = Raw
"""A name and a value, as JSON: they are written as they are made, without an object for each."""


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
    return Raw(b'%b{"stringValue":%b}}' % (_head(key), encoded(value)))


known_text = lru_cache(maxsize=4096)(text)
"""The same for what comes from the configuration: the same few again and again."""


def integer(key: str, value: int) -> Attribute:
    """An attribute that is a whole number; one that 64 bits do not hold would have the whole export refused."""
    return Raw(b'%b{"intValue":"%d"}}' % (_head(key), max(-_MOST, min(value, _MOST))))


def number(key: str, value: float) -> Attribute:
    """An attribute that is a number."""
    return Raw(b'%b{"doubleValue":%b}}' % (_head(key), encoded(value)))


def flag(key: str, value: bool) -> Attribute:
    """An attribute that is true or false."""
    return Raw(b'%b{"boolValue":%b}}' % (_head(key), encoded(value)))


@lru_cache(maxsize=256)
def texts(key: str, *values: str) -> Attribute:
    """An attribute that is a list of texts out of a closed list."""
    listed = b",".join(b'{"stringValue":%b}' % encoded(value) for value in values)
    return Raw(b'%b{"arrayValue":{"values":[%b]}}}' % (_head(key), listed))


@lru_cache(maxsize=256)
def _head(key: str) -> bytes:
    return b'{"key":%b,"value":' % encoded(key)


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

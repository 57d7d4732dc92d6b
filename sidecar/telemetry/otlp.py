"""OTLP/HTTP's JSON: spans as text. https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding

Ids are hexadecimal, 64-bit integers are text, enums are numbers. Attributes are text too, several with commas between:
without an object for each. What is the same for many spans is written once, as a form.
"""

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from .names import SCHEMA_URL

SERVER: Final = 2
CLIENT: Final = 3
_FAILED: Final = ',"status":{"code":2}'
_MOST: Final = 2**63 - 1


Form = tuple[str, str, str]
"""What many spans have in common: the text before their start, between their end and what else is told, and after."""


def form(name: str, kind: int, attributes: Iterable[str], failed: bool) -> Form:
    """The form of spans; `name` is what is `inside` a text."""
    before = f'"name":"{name}","kind":{kind},"startTimeUnixNano":"'
    return before, f'","attributes":[{",".join(attributes)}', f"]{_FAILED if failed else ''}}}"


def span(form: Form, place: str, start: int, end: int, told: str) -> str:
    """A span, at a `place` in a trace. Times are nanoseconds of Unix time; `told` are attributes with commas before."""
    before, attributes, after = form
    return f'{{{place}{before}{start}","endTimeUnixNano":"{end}{attributes}{told}{after}'


def place(trace: str, span: str, parent: str, state: str) -> str:
    """Where a span is in a trace: `parent` is the span above it, `state` the `tracestate`; either may be empty."""
    above = f'"parentSpanId":"{parent}",' if parent else ""
    more = f'"traceState":"{inside(state)}",' if state else ""
    return f'"traceId":"{trace}","spanId":"{span}",{above}{more}'


def inside(value: str) -> str:
    """A text as it stands between the quotation marks of JSON."""
    return _encode(value)[1:-1].decode()


def text(key: str, value: str) -> str:
    """An attribute that is text."""
    return f"{open_text(key)}{inside(value)}{END}"


def integer(key: str, value: int) -> str:
    """An attribute that is a whole number; one that 64 bits do not hold would have the whole export refused."""
    return f"{open_integer(key)}{bounded(value)}{END}"


def number(key: str, value: float) -> str:
    """An attribute that is a number."""
    return f"{open_number(key)}{value!r}{NUMBER_END}"


def flag(key: str, value: bool) -> str:
    """An attribute that is true or false."""
    return f'{{"key":"{key}","value":{{"boolValue":{"true" if value else "false"}}}}}'


def texts(key: str, *values: str) -> str:
    """An attribute that is a list of texts."""
    listed = ",".join(f'{{"stringValue":"{inside(value)}"}}' for value in values)
    return f'{{"key":"{key}","value":{{"arrayValue":{{"values":[{listed}]}}}}}}'


def open_text(key: str) -> str:
    """An attribute up to what is `inside` its text; `END` follows."""
    return f'{{"key":"{key}","value":{{"stringValue":"'


def open_integer(key: str) -> str:
    """An attribute up to its whole number, which is `bounded`; `END` follows."""
    return f'{{"key":"{key}","value":{{"intValue":"'


def open_number(key: str) -> str:
    """An attribute up to its number, which is finite; `NUMBER_END` follows."""
    return f'{{"key":"{key}","value":{{"doubleValue":'


END: Final = '"}}'
"""Ends an attribute that is text or a whole number."""
NUMBER_END: Final = "}}"


def bounded(value: int) -> int:
    """The nearest number that 64 bits hold."""
    return value if -_MOST <= value <= _MOST else _MOST if value > 0 else -_MOST


def request(resource: Mapping[str, str], scope: tuple[str, str], spans: Iterable[str]) -> bytes:
    """An export request: spans, written already, of a resource and an instrumentation scope (name, version)."""
    schema = f'"schemaUrl":"{SCHEMA_URL}"'
    attributes = ",".join(text(key, value) for key, value in resource.items())
    name, version = map(inside, scope)
    before = (
        f'{{"resourceSpans":[{{"resource":{{"attributes":[{attributes}]}},'
        f'"scopeSpans":[{{"scope":{{"name":"{name}","version":"{version}"}},"spans":['
    )
    # Joined once: an export may be megabytes.
    parts = [before.encode()]
    for span in spans:
        parts += (span.encode(), b",")
    parts[-1] = f"],{schema}}}],{schema}}}]}}".encode()
    return b"".join(parts)


_encode = msgspec.json.Encoder().encode

"""OTLP/HTTP's binary encoding: spans as bytes. https://opentelemetry.io/docs/specs/otlp/#binary-protobuf-encoding

Field numbers are those of opentelemetry-proto 1.x: trace.proto, common.proto, resource.proto, trace_service.proto.
Attributes are bytes too, several one after the other: without an object for each. What is the same for many spans is
written once, as a form.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache, partial
from struct import Struct
from typing import Final

from .names import SCHEMA_URL
from .protobuf import BYTES, FIXED64, VARINT, field, fields, utf8, varint

SERVER: Final = 2
CLIENT: Final = 3
_MOST: Final = 2**63 - 1
_FAILED: Final = field(15, b"\x18\x02")
_TEXT, _FLAG, _INTEGER, _NUMBER, _LIST = 1, 2, 3, 4, 5
_WIRE_TYPES: Final = {_TEXT: BYTES, _FLAG: VARINT, _INTEGER: VARINT, _NUMBER: FIXED64, _LIST: BYTES}
"""Of AnyValue's fields."""
_times = Struct("<BQBQ").pack
_double = Struct("<d").pack


def form(name: str, kind: int, attributes: Iterable[bytes], failed: bool) -> bytes:
    """What many spans have in common: name, kind, attributes, and whether they are failures."""
    return b"".join([field(5, utf8(name)), bytes((6 << 3, kind)), *attributes, _FAILED if failed else b""])


def span(form: bytes, place: bytes, start: int, end: int, told: bytes) -> bytes:
    """A span, at a `place` in a trace. Times are nanoseconds of Unix time; `told` are attributes beside its form's."""
    size = varint(len(place) + 18 + len(told) + len(form))
    return b"".join((b"\x12", size, place, _times(7 << 3 | FIXED64, start, 8 << 3 | FIXED64, end), told, form))


def place(trace: str, span: str, parent: str, state: str) -> bytes:
    """Where a span is in a trace: `parent` is the span above it, `state` the `tracestate`; either may be empty. Ids
    are hexadecimal."""
    found = bytes.fromhex(f"0a10{trace}1208{span}2208{parent}" if parent else f"0a10{trace}1208{span}")
    return found + field(3, utf8(state)) if state else found


def text(key: str, value: str) -> bytes:
    """An attribute that is text."""
    data = utf8(value)
    return _opened(key, _TEXT, len(data)) + data


def integer(key: str, value: int) -> bytes:
    """An attribute that is a whole number, or the nearest that 64 bits hold: any other would have the whole export
    refused."""
    data = varint(value if 0 <= value <= _MOST else min(max(value, -_MOST), _MOST) % 2**64)
    return _opened(key, _INTEGER, len(data)) + data


def number(key: str, value: float) -> bytes:
    """An attribute that is a number."""
    return _opened(key, _NUMBER, 8) + _double(value)


def flag(key: str, value: bool) -> bytes:
    """An attribute that is true or false."""
    return _opened(key, _FLAG, 1) + bytes((value,))


def texts(key: str, *values: str) -> bytes:
    """An attribute that is a list of texts."""
    data = b"".join([field(1, field(_TEXT, utf8(value))) for value in values])
    return _opened(key, _LIST, len(data)) + data


def numbers(key: str) -> Callable[[float], bytes]:
    """Makes attributes that are numbers, all with this key."""
    head = _opened(key, _NUMBER, 8)
    return partial(Struct(f"<{len(head)}sd").pack, head)


@lru_cache(maxsize=1024)
def _opened(key: str, kind: int, size: int) -> bytes:
    """An attribute of a span up to what is in its value: `size` bytes of AnyValue's field `kind`."""
    wire = _WIRE_TYPES[kind]
    value = bytes((kind << 3 | wire,)) + (varint(size) if wire == BYTES else b"")
    pair = field(1, utf8(key)) + bytes((2 << 3 | BYTES,)) + varint(len(value) + size) + value
    return bytes((9 << 3 | BYTES,)) + varint(len(pair) + size) + pair


def request(resource: Mapping[str, str], scope: tuple[str, str], spans: Sequence[bytes]) -> bytes:
    """An export request: spans, written already, of a resource and an instrumentation scope (name, version)."""
    # Attributes are field 9 of a span and field 1 of a resource; either tag is one byte.
    attributes = b"".join([bytes((1 << 3 | BYTES,)) + text(key, value)[1:] for key, value in resource.items()])
    name, version = scope
    scoped = field(1, field(1, utf8(name)) + field(2, utf8(version)))
    schema = field(3, utf8(SCHEMA_URL))
    inner = len(scoped) + sum(map(len, spans)) + len(schema)
    before = field(1, attributes) + bytes((2 << 3 | BYTES,)) + varint(inner)
    whole = bytes((1 << 3 | BYTES,)) + varint(len(before) + inner + len(schema))
    # Joined once: an export may be megabytes.
    return b"".join((whole, before, scoped, *spans, schema, schema))


def rejected(answer: bytes) -> int:
    """Spans that a collector did not want, as its answer says; none when that is nonsense."""
    try:
        partial = fields(answer).get(1, b"")
        count = fields(partial).get(1, 0) if isinstance(partial, bytes) else 0
    except ValueError:
        return 0
    return count if isinstance(count, int) and count <= _MOST else 0

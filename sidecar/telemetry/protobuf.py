"""Protobuf's wire format, as much of it as OTLP needs. https://protobuf.dev/programming-guides/encoding/"""

from functools import lru_cache
from typing import Final

VARINT: Final = 0
FIXED64: Final = 1
BYTES: Final = 2
FIXED32: Final = 5
_SIZES: Final = {FIXED64: 8, FIXED32: 4}


@lru_cache(maxsize=4096)
def varint(value: int) -> bytes:
    """A number of 0 to 2**64 - 1, seven bits a byte."""
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    found.append(value)
    return bytes(found)


def field(number: int, data: bytes) -> bytes:
    """A field (of 1 to 15) that is bytes, text, or another message."""
    return b"".join((bytes((number << 3 | BYTES,)), varint(len(data)), data))


def utf8(value: str) -> bytes:
    """A text as it is sent. Half of a surrogate pair has no UTF-8; a message with one would be refused as a whole."""
    return value.encode("utf-8", "replace")


def fields(message: bytes) -> dict[int, int | bytes]:
    """The fields of a message by number, the last of each: numbers, or bytes. Raises ValueError when it is none."""
    found: dict[int, int | bytes] = {}
    at = 0
    while at < len(message):
        tag, at = _number(message, at)
        kind = tag & 7
        if kind == VARINT:
            found[tag >> 3], at = _number(message, at)
            continue
        if kind == BYTES:
            size, at = _number(message, at)
        elif kind in _SIZES:
            size = _SIZES[kind]
        else:
            raise ValueError(f"there is no wire type {kind}")
        if size > len(message) - at:
            raise ValueError("it is cut off")
        found[tag >> 3] = message[at : at + size]
        at += size
    return found


def _number(message: bytes, at: int) -> tuple[int, int]:
    """The number that is written there, and where it ends."""
    value = 0
    for shift, byte in enumerate(message[at : at + 10]):
        value |= (byte & 127) << 7 * shift
        if byte < 128:
            return value, at + shift + 1
    raise ValueError("a number does not end")

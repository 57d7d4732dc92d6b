"""The base of everything a user writes: one frozen Struct and the scalars of the YAML files.

A *Spec* is what the user wrote, valid by itself. Structs are the only source of truth: JSON Schemas, editor
completion and the reference are generated from them, so every bound stands here and nowhere else.
"""

import re
from datetime import UTC, datetime
from decimal import Decimal
from math import ceil
from typing import Annotated

import msgspec
from msgspec import Meta


class Spec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Base of all specs: immutable; an unknown field is an error."""


Name = Annotated[
    str,
    Meta(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/@+-]*$",
        max_length=128,
        description="A name: letters, digits and . _ : / @ + -",
        examples=["name"],
    ),
]
Ratio = Annotated[float, Meta(ge=0, le=1, description="A share between 0 and 1.")]
Percent = Annotated[float, Meta(ge=0, le=100, description="A figure between 0 and 100.")]
Count = Annotated[int, Meta(ge=0, le=1_000_000_000)]
Port = Annotated[int, Meta(ge=0, le=65535, description="A TCP port; 0 picks a free one.", examples=[8787])]
URL = Annotated[
    str,
    Meta(
        pattern=r"^https?://[^\s]+$",
        max_length=2048,
        description="An http(s) URL.",
        examples=["https://api.example.com/v1"],
    ),
]
Duration = Annotated[
    str,
    Meta(
        pattern=r"^(0|([0-9]+(\.[0-9]+)?(ms|s|m|h|d))+)$",
        max_length=32,
        description="A length of time: 250ms, 30s, 5m, 1h30m, 7d.",
        examples=["30s"],
    ),
]
Moment = Annotated[
    str,
    Meta(
        pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}(T[0-9]{2}:[0-9]{2}(:[0-9]{2})?Z)?$",
        description="A day, meaning its first second, or a time; both UTC: 2027-01-31, 2027-01-31T18:00:00Z.",
        examples=["2027-01-31"],
    ),
]
Size = Annotated[
    str,
    Meta(
        pattern=r"^[0-9]+(\.[0-9]+)?(B|KB|MB|GB|KiB|MiB|GiB)?$",
        max_length=32,
        description="A size in bytes: 512KB, 64MiB.",
        examples=["1MB"],
    ),
]
Condition = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=4096,
        description="A CEL expression over the request's features; it must yield true or false.",
        examples=["true"],
        extra_json_schema={"x-cel": True},
    ),
]
SecretRef = Annotated[
    str,
    Meta(
        pattern=r"^(\$\{[A-Za-z_][A-Za-z0-9_]*(:-)?\}|env:[A-Za-z_][A-Za-z0-9_]*|file:/.+"
        r"|vault:[A-Za-z0-9][A-Za-z0-9._:/@+-]{0,127})$",
        max_length=1024,
        description="Where a secret is, never the secret itself: ${NAME}, env:NAME, file:/path, vault:NAME; ${NAME:-} "
        "if optional.",
        examples=["${OPENAI_API_KEY}"],
        extra_json_schema={"x-secret": True},
    ),
]

_UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_UNIT_BYTES = {"": 1, "B": 1, "KB": 1000, "MB": 10**6, "GB": 10**9, "KiB": 1024, "MiB": 2**20, "GiB": 2**30}


def seconds(text: str) -> float:
    """Seconds of a `Duration`, for example ``seconds("1m30s") == 90.0``."""
    return sum(float(n) * _UNIT_SECONDS[unit] for n, unit in re.findall(r"([0-9.]+)(ms|s|m|h|d)", text))


def in_words(length: float) -> str:
    """A length in seconds as a person reads it: ``in_words(33_317) == "9 h 16 min"``. Rounded up, never to nothing."""
    if length < 120:
        return f"{max(length, 0.001):.3g} s"
    minutes = ceil(length / 60)
    if minutes < 120:
        return f"{minutes} min"
    hours, rest = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {rest} min" if rest else f"{hours} h"
    return f"{ceil(minutes / 1440)} days"


def unix_time(text: str) -> float:
    """Unix seconds of a `Moment`. Raises ValueError for a day or an hour that there is not."""
    return datetime.fromisoformat(text.removesuffix("Z")).replace(tzinfo=UTC).timestamp()


def byte_count(text: str) -> int:
    """Bytes of a `Size`, for example ``byte_count("64KiB") == 65536``."""
    match = re.fullmatch(r"([0-9.]+)([A-Za-z]*)", text)
    if match is None:
        raise ValueError(f"not a size: {text!r}")
    return int(Decimal(match[1]) * _UNIT_BYTES[match[2]])


class Secret:
    """A value that cannot be printed: `str`, `repr`, formatting and pickling never show it.

    `reveal()` is the only way to the text, so that a search for that word finds every use.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        self._text = text

    def reveal(self) -> str:
        """The secret itself: for the header of one upstream request, nothing else."""
        return self._text

    def __repr__(self) -> str:
        return "Secret(***)"

    __str__ = __repr__

    def __reduce__(self) -> tuple[type["Secret"], tuple[str]]:
        raise TypeError("a secret is not pickled")

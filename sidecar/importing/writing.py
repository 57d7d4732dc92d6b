"""Data -> YAML text, of the plain kind that people edit: block mappings, short lists in brackets."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_PLAIN = re.compile(r"[A-Za-z_/][A-Za-z0-9_./@+-]*(:[A-Za-z0-9_./@+-]+)*")
_AMOUNT = re.compile(r"[0-9]+(\.[0-9]+)?(s|d|MB|/m)")
_REFERENCE = re.compile(r"\$\{[A-Za-z0-9_]+\}")
_WORDS = frozenset({"true", "false", "null"})


def text(data: Mapping[str, Any]) -> str:
    """A mapping as a YAML document."""
    return "\n".join(_lines(data, 0)) + "\n"


def _lines(data: Mapping[str, Any], depth: int) -> Iterator[str]:
    pad = "  " * depth
    for key, value in data.items():
        if isinstance(value, dict) and value:
            yield f"{pad}{scalar(key)}:"
            yield from _lines(value, depth + 1)
        elif isinstance(value, list) and any(isinstance(one, dict) for one in value):
            yield f"{pad}{scalar(key)}:"
            for one in value:
                first, *rest = _lines(one, depth + 2)
                yield f"{pad}  - {first.strip()}"
                yield from rest
        else:
            yield f"{pad}{scalar(key)}: {scalar(value)}"


def scalar(value: Any) -> str:
    """One value on one line. JSON is YAML: what is not plainly a word is quoted."""
    if isinstance(value, str):
        plain = _PLAIN.fullmatch(value) and value.lower() not in _WORDS
        return (
            value
            if plain or _AMOUNT.fullmatch(value) or _REFERENCE.fullmatch(value)
            else json.dumps(value, ensure_ascii=False)
        )
    if isinstance(value, Sequence):
        return f"[{', '.join(scalar(one) for one in value)}]"
    if isinstance(value, float):
        return f"{value:.10f}".rstrip("0").rstrip(".")
    return json.dumps(value)

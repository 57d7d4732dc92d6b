"""A log line for people: made of its JSON by the thread that writes it, so that no request waits for looks.

Names may come from callers: whatever a terminal would act on is shown as an escape.
"""

from typing import Any

import msgspec

from ..registry.price import usd

_COLORS = {"debug": "2", "info": "32", "warning": "33", "error": "31"}
_BLOCKS = frozenset({"findings"})
"""Texts of several lines that stand below, as they are."""


def text_line(line: bytes, *, colored: bool) -> str:
    """One JSON line of the log as text, its line feed included."""
    fields: dict[str, Any] = msgspec.json.decode(line)
    time, level, event = (str(fields.pop(name)) for name in ("time", "level", "event"))
    head = f"{level:<7}"
    if colored:
        head = f"\x1b[{_COLORS[level]}m{head}\x1b[0m"
    blocks = "".join(_block(fields.pop(name)) for name in _BLOCKS & fields.keys())
    said = _request(fields) if event == "request" else " ".join([event, *_pairs(fields)])
    return f"{time[11:23]} {head} {said}\n{blocks}"


def _request(fields: dict[str, Any]) -> str:
    """What one wants to see of a request, in the order in which it happened; the JSON line has the rest."""
    told = [str(fields["http_status"])]
    if "requested_model" in fields:
        model = fields.get("model")
        told.append(_printable(fields["requested_model"] or "-") + (f" -> {_printable(model)}" if model else ""))
    if "tier" in fields:
        told.append(_printable(f"{fields['tier']}/{fields.get('rule', 'default')}"))
    if fields["outcome"] != "answered":
        told.append(_printable(" ".join([fields["outcome"].replace("_", " "), fields.get("failure") or ""]).strip()))
    if "latency_ms" in fields:
        told.append(f"{fields['latency_ms']:.0f} ms")
    if fields.get("cost_nano"):
        told.append(f"{usd(fields['cost_nano'])} USD")
    if fields.get("input_tokens") or fields.get("output_tokens"):
        told.append(f"{fields.get('input_tokens', 0)}+{fields.get('output_tokens', 0)} tokens")
    if fields.get("attempt", 0) > 1:
        told.append(f"attempt {fields['attempt']}")
    if fields.get("key_name"):
        told.append(_printable(fields["key_name"]))
    return "  ".join([*told, fields["request_id"]])


def _pairs(fields: dict[str, Any]) -> list[str]:
    return [f"{name}={_value(value)}" for name, value in fields.items() if value not in ("", [])]


def _value(value: Any) -> str:
    if isinstance(value, str):
        return _printable(value) if value and " " not in value else f'"{_printable(value)}"'
    if isinstance(value, list):
        return "[" + ", ".join(_printable(str(each)) for each in value) + "]"
    return _printable(str(value))


def _block(text: str) -> str:
    return "".join(f"    {_printable(line)}\n" for line in text.splitlines())


def _printable(text: str) -> str:
    return text if text.isprintable() else "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)

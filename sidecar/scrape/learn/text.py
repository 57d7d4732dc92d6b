"""A proposal as YAML that a person reads before it is used."""

import json
import re
from typing import Any

from ...config.render import printable
from .propose import NOWHERE, Learned, Proposal

SCHEMA = "../schemas/scraper.schema.json"
_PLAIN = re.compile(r"[A-Za-z_][\w ./()-]*[\w)]|[A-Za-z_]")
_WORDS = frozenset(["true", "false", "null", "yes", "no", "on", "off", "y", "n"])
_WIDE = 110
_SHOWN = 12


def as_yaml(found: Proposal, page: str, today: str) -> str:
    """The scraper with the editor's line, and in comments what speaks for it and against it."""
    of = len(found.agreeing) + len(found.differing)
    said = [
        f"Proposed by `sidecar scrape --learn` from {page} on {today}. Read it before you use it.",
        f"Confidence {found.confidence:.2f}: {len(found.agreeing)} of {of} known models have their known prices here.",
        f"It reads {len(found.read.rows)} models from the page, and quarantines {len(found.read.findings)} rows.",
        *_wrapped("Agreeing: ", sorted(found.agreeing)),
    ]
    for each in found.differences[:_SHOWN]:
        said.append(f"Differs: {each.model} {each.field} is {each.page:g} on the page, known as {each.known:g}")
    if len(found.differences) > _SHOWN:
        said.append(f"Differs: {len(found.differences) - _SHOWN} more")
    reasons = sorted({str(finding.reason) for finding in found.read.findings})
    if reasons:
        said.append(f"Quarantined for: {', '.join(reasons)}")
    if found.document["sources"][0]["url"] == NOWHERE:
        said.append("The page does not say its address: put the `url` in.")
    lines = [f"# yaml-language-server: $schema={SCHEMA}", *(f"# {printable(line)}" for line in said)]
    return "\n".join([*lines, "kind: scraper", *_block(found.document, "")]) + "\n"


def refusal(learned: Learned, page: str, known: int) -> str:
    """What was looked at in vain."""
    looked = ", ".join(f"{count} {kind}" for kind, count in learned.looked.items()) or "no table and no list"
    return f"{page}: no known prices found: looked at {looked} for the figures of {known} models\n"


def _wrapped(label: str, names: list[str]) -> list[str]:
    lines = [label]
    for name in names:
        if len(lines[-1]) + len(name) > _WIDE:
            lines.append("  ")
        lines[-1] += f"{name} "
    return [line.rstrip() for line in lines]


def _block(value: dict[str, Any], indent: str) -> list[str]:
    """A mapping: what is short on one line, the rest below its key."""
    lines = []
    for key, child in value.items():
        flow = _flow(child)
        if len(indent) + len(key) + len(flow) <= _WIDE and not _deep(child):
            lines.append(f"{indent}{_scalar(key)}: {flow}")
        elif isinstance(child, dict):
            lines += [f"{indent}{_scalar(key)}:", *_block(child, f"{indent}  ")]
        elif isinstance(child, list) and child and isinstance(child[0], dict):
            lines.append(f"{indent}{_scalar(key)}:")
            for each in child:
                first, *rest = _block(each, f"{indent}    ")
                lines += [f"{indent}  - {first.lstrip()}", *rest]
        else:
            lines.append(f"{indent}{_scalar(key)}: {flow}")
    return lines


def _deep(value: Any) -> bool:
    """Whether a value holds values that hold values."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return any(isinstance(each, dict | list) for each in inner)


def _flow(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_scalar(key)}: {_flow(child)}" for key, child in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return _scalar(value)


def _scalar(value: str | float | bool | None) -> str:
    """A text plain where YAML cannot take it for anything else, then in single quotes, then as JSON."""
    if isinstance(value, bool) or value is None:
        return json.dumps(value)
    if isinstance(value, int | float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    if _PLAIN.fullmatch(value) and value.lower() not in _WORDS:
        return value
    if value.isprintable() and value.isascii():
        return "'" + value.replace("'", "''") + "'"
    return json.dumps(value)

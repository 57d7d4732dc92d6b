"""A document checked against the Spec of its kind: every fault at once, or the Spec.

msgspec goes first. It is fast and its word counts: what it accepts is right, and no schema is made. It stops at the
first fault, though; so when it refuses, jsonschema lists them all, and msgspec's own is added if it is not among them.
"""

import re
from collections.abc import Mapping
from typing import Any

import msgspec

from ..spec import Spec
from .codes import Code
from .diagnostic import Diagnostic, Severity, error
from .document import DataPath, Document
from .environment import expand
from .schema import check_schema
from .wording import Wording, field, listed, nearest

_AT = re.compile(r" - at `(?:key` in `)?\$(?P<path>[^`]*)`$")
_STEP = re.compile(r"\.(?P<name>[^.\[\]]+)|\[(?P<index>[0-9]+)\]|(?P<unknown>\[\.\.\.\])")
# How msgspec's own sentences start; any other is the text of a ValueError that a Spec's __post_init__ raised.
_OWN_WORDS = ("Expected ", "Invalid ", "Object ", "Number ", "Integer ", "Unsupported ")


def check(
    document: Document, kinds: Mapping[str, type[Spec]], environ: Mapping[str, str], *, strict: bool = True
) -> tuple[Spec | None, list[Diagnostic]]:
    """The document as the Spec of its kind, or None beside at least one error; findings sorted by place.

    A Spec type may say what documents of its kind are called with a class variable `noun`, such as "stage"; messages
    then speak of stage `fallback`. An unset variable is an error when `strict`, else a warning and a stand-in is
    used. Never raises, whatever the text was.
    """
    spec = kinds.get(document.kind or "")
    if spec is None:
        return None, [_no_kind(document, kinds)]
    data = document.data
    findings: list[Diagnostic] = []
    if "$" in document.text:
        data, findings = expand(document, check_schema(spec), environ, strict)
    data = _with_kind(data, spec, document.kind)
    value: Spec | None = None
    try:
        value = msgspec.convert(data, spec)
    except msgspec.ValidationError as refusal:
        findings += _explain(document, data, spec, str(refusal))
    findings.sort(key=lambda finding: (finding.place, finding.code))
    refused = any(finding.severity is Severity.ERROR for finding in findings)
    return (None if refused else value), findings


def _no_kind(document: Document, kinds: Mapping[str, type[Spec]]) -> Diagnostic:
    if "kind" not in document.data:
        help = f"add `kind: ...`, one of {listed(kinds)}"
        return error(Code.MISSING_FIELD, "`kind` is missing in the document", document.place(()), help)
    place = document.place(("kind",))
    if document.kind is None:
        return error(Code.WRONG_TYPE, "`kind` must be a string", place, f"it is one of {listed(kinds)}")
    help = nearest(document.kind, kinds) or f"the kinds are {listed(kinds)}"
    return error(Code.UNKNOWN_KIND, f"there is no kind `{document.kind}`", place, help)


def _with_kind(data: Mapping[str, Any], spec: type[Spec], kind: str | None) -> dict[str, Any]:
    """The data with its `kind`, stated or implied, if the Spec has a field or tag for it; else without."""
    rest = {key: value for key, value in data.items() if key != "kind"}
    has_kind = spec.__struct_config__.tag_field == "kind" or "kind" in spec.__struct_encode_fields__
    return {"kind": kind, **rest} if has_kind else rest


def _explain(document: Document, data: Mapping[str, Any], spec: type[Spec], refusal: str) -> list[Diagnostic]:
    from .faults import find  # jsonschema behind it costs 75 ms that a sound start need not pay

    schema = check_schema(spec)
    title = f"{getattr(spec, 'noun', 'kind')} `{document.kind}`"
    faults = Wording(document, schema, title).findings(find(schema, data))
    findings = [finding for _, finding in faults]
    at = _AT.search(refusal)
    path = _data_path(at["path"]) if at else ()
    if any(_related(path, known) for known, _ in faults):
        return findings
    text = refusal[: at.start()] if at else refusal
    if text.startswith(_OWN_WORDS):
        text = f"{field(path)}: {text[0].lower()}{text[1:]}"
    code = Code.WRONG_TYPE if ", got " in text else Code.BAD_VALUE
    return [*findings, error(code, text, document.place(path))]


def _data_path(text: str) -> DataPath:
    """The path in msgspec's ``$.stages[0].kind``, up to the key of a mapping, which msgspec writes as ``[...]``."""
    path: list[str | int] = []
    for step in _STEP.finditer(text):
        if step["unknown"]:
            break
        path.append(step["name"] if step["index"] is None else int(step["index"]))
    return tuple(path)


def _related(one: DataPath, other: DataPath) -> bool:
    return all(a == b for a, b in zip(one, other, strict=False))

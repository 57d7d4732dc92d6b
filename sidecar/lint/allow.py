"""The way out: `# sidecar: allow CODE` on a line, or on the line above it, silences the warnings of that code there."""

import re
from collections.abc import Iterator, Mapping, Sequence

from msgspec import Struct

from ..config.codes import Code
from ..config.diagnostic import Diagnostic, Place, Severity
from ..config.nodes import split_lines
from ..config.wording import nearest

_ALLOW = re.compile(r"(?:^|(?<=\s))#\s*sidecar:\s*allow\s+(?P<codes>[a-z][a-z-]*(?:[ \t]*,[ \t]*[a-z][a-z-]*)*)")
_WORD = re.compile(r"[a-z-]+")


class _Allowance(Struct, frozen=True):
    """One code of one comment. `line` is the line it is about."""

    code: str
    line: int
    place: Place


def allowed(findings: Sequence[Diagnostic], texts: Mapping[str, str], *, whole: bool) -> list[Diagnostic]:
    """The findings that no comment silences; errors always stay.

    With `whole` every finding that there can be is there, and a comment that silences none is a finding itself.
    """
    given = [allowance for file, text in texts.items() if "sidecar:" in text for allowance in _allowances(file, text)]
    if not given:
        return list(findings)
    used: set[_Allowance] = set()
    kept = []
    for finding in findings:
        silent = [a for a in given if finding.severity is Severity.WARNING and _is_about(a, finding)]
        used.update(silent)
        if not silent:
            kept.append(finding)
    return [*kept, *(_unused(a) for a in given if a not in used)] if whole else kept


def _allowances(file: str, text: str) -> Iterator[_Allowance]:
    """Of comments. One that has a line to itself is about the next line that is no comment."""
    lines = split_lines(text)
    for number, line in enumerate(lines, 1):
        found = _ALLOW.search(line)
        if found is None:
            continue
        about = number
        if not line[: found.start()].strip():
            after = range(number + 1, len(lines) + 1)
            about = next((n for n in after if not lines[n - 1].lstrip().startswith("#")), number)
        for word in _WORD.finditer(line, found.start("codes"), found.end("codes")):
            yield _Allowance(word[0], about, Place(file, number, word.start() + 1, word.end() + 1))


def _is_about(allowance: _Allowance, finding: Diagnostic) -> bool:
    place = finding.place
    return (allowance.code, allowance.place.file, allowance.line) == (finding.code, place.file, place.line)


def _unused(allowance: _Allowance) -> Diagnostic:
    if allowance.code in set(Code):
        message, help_ = f"there is no `{allowance.code}` here to allow", "take the comment out"
    else:
        message, help_ = f"`{allowance.code}` is not a code", nearest(allowance.code, list(Code)) or "see docs/lints.md"
    return Diagnostic(Code.UNUSED_ALLOW, Severity.WARNING, message, allowance.place, help_)

"""Findings as text for people, JSON for programs and annotations for GitHub.

Files may be hostile: no character of theirs that moves a cursor, turns the direction of writing or starts an escape
sequence reaches the terminal. Files may also hold a secret by mistake: it is not printed into a build log.
"""

import json
import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

from .diagnostic import Diagnostic, Place, Severity
from .nodes import split_lines

_WIDTH = 100
_LONGEST = 600
_TAB = "    "
_COLORS = {Severity.ERROR: "1;31", Severity.WARNING: "1;33"}
# A field whose name says secret, with a value that is not a reference to one.
_SECRET = re.compile(
    r"(?i)(?:api[_-]?key|secret|passw(?:or)?d|(?<!first_)token)[\"']?\s*:\s+"
    r"(?![\"']?(?:\$\{|env:|file:|vault:))(?P<value>\S.*)"
)


def render_text(findings: Sequence[Diagnostic], sources: Mapping[str, str], color: bool = False) -> str:
    """The findings by place, each with its source line and caret, then a line that counts them; "" for none.

    `sources` is the text of every file that was looked at, by the name the findings use.
    """
    if not findings:
        return ""
    page = _Page(sources, [finding.place for finding in findings if finding.masked], color)
    blocks = [page.finding(finding) for finding in _sorted(findings)]
    counts = [sum(finding.severity is severity for finding in findings) for severity in Severity]
    total = f"{_counted(counts[0], 'error')}, {_counted(counts[1], 'warning')} in {_counted(len(sources), 'file')}"
    return "\n".join([*blocks, total]) + "\n"


def render_json(findings: Sequence[Diagnostic]) -> str:
    """One JSON object: `findings` by place, and how many are `errors` and `warnings`."""
    rows = [
        {
            "code": finding.code,
            "severity": finding.severity,
            "message": finding.message,
            "help": finding.help,
            **_place_row(finding.place),
            "also": {"label": finding.also[1], **_place_row(finding.also[0])} if finding.also else None,
        }
        for finding in _sorted(findings)
    ]
    errors = sum(finding.severity is Severity.ERROR for finding in findings)
    return json.dumps({"findings": rows, "errors": errors, "warnings": len(rows) - errors}, indent=2) + "\n"


def render_github(findings: Sequence[Diagnostic]) -> str:
    """One workflow command a finding, which GitHub shows beside the line in a pull request."""
    return "".join(
        github_command(
            finding.severity,
            finding.place,
            finding.code,
            finding.message + (f" ({finding.help})" if finding.help else ""),
        )
        for finding in _sorted(findings)
    )


def github_command(level: str, place: Place, title: str, message: str) -> str:
    """A line that GitHub's runner makes an annotation of; `level` is error, warning or notice."""
    properties = {
        "file": place.file,
        "line": place.line,
        "col": place.column,
        "endColumn": place.end_column,
        "title": title,
    }
    named = ",".join(f"{name}={_github(str(value), ':,')}" for name, value in properties.items())
    return f"::{level} {named}::{_github(_sentence(message))}\n"


def printable(text: str) -> str:
    """The text with every character that is not simply shown written as an escape."""
    if text.isprintable():
        return text
    return "".join(_shown(character) for character in text)


class _Page:
    """Renders findings over the lines of their files."""

    def __init__(self, sources: Mapping[str, str], masks: Iterable[Place], color: bool) -> None:
        self._sources = sources
        self._color = color
        self._lines: dict[str, list[str]] = {}
        for place in masks:
            if place.line <= len(lines := self._source(place.file)):
                lines[place.line - 1] = _masked(lines[place.line - 1], place.column - 1, place.end_column - 1)

    def finding(self, finding: Diagnostic) -> str:
        head = self._paint(f"{finding.severity}[{finding.code}]:", _COLORS[finding.severity])
        rows = [f"{self._position(finding.place)} {head} {_sentence(finding.message)}"]
        rows += self._excerpt(finding.place, finding.help, _COLORS[finding.severity])
        if finding.also is not None:
            place, label = finding.also
            rows.append(f"{self._position(place)} {self._paint('note:', '1;36')} {printable(label)}")
            rows += self._excerpt(place, None, "1;36")
        return "\n".join(rows)

    def _position(self, place: Place) -> str:
        return self._paint(f"{printable(place.file)}:{place.line}:{place.column}:", "1")

    def _excerpt(self, place: Place, help: str | None, color: str) -> list[str]:
        lines = self._source(place.file)
        source = lines[place.line - 1] if place.line <= len(lines) else ""
        if not source.strip():
            return [f"  help: {_sentence(help)}"] if help else []
        before, marked, after = _cut(source, place.column - 1, place.end_column - 1)
        caret = self._paint("^" * max(_columns(marked), 1), color)
        gutter = f"  {place.line} |"
        note = f" {_sentence(help)}" if help else ""
        row = f"{gutter} {before}{marked}{after}".rstrip()
        return [row, f"{' ' * (len(gutter) - 1)}| {' ' * _columns(before)}{caret}{note}"]

    def _source(self, file: str) -> list[str]:
        """The file's lines, without what looks like a secret."""
        if file not in self._lines:
            self._lines[file] = [_discreet(line) for line in split_lines(self._sources.get(file, ""))]
        return self._lines[file]

    def _paint(self, text: str, color: str) -> str:
        return f"\x1b[{color}m{text}\x1b[0m" if self._color else text


def _masked(source: str, start: int, end: int) -> str:
    return source[:start] + "*" * len(source[start:end]) + source[end:]


def _discreet(source: str) -> str:
    match = _SECRET.search(source)
    return _masked(source, *match.span("value")) if match else source


def _cut(source: str, start: int, end: int) -> tuple[str, str, str]:
    """What is shown before, in and after the span; of a wide line only the part around the span."""
    # Not more is made printable than can be shown: a hostile line may be a megabyte long and full of faults.
    before = printable(source[max(0, start - _WIDTH) : start])
    marked = printable(source[start : min(end, start + _WIDTH)])
    after = printable(source[end : end + _WIDTH])
    if _columns(before + marked + after) <= _WIDTH:
        return before, marked, after
    if len(before) > _WIDTH // 2:
        before = "…" + before[-_WIDTH // 2 :]
    if len(marked) > _WIDTH // 2:
        return before, marked[: _WIDTH // 2], "…"
    room = _WIDTH - len(before) - len(marked)
    return before, marked, after if len(after) <= room else after[:room] + "…"


def _columns(text: str) -> int:
    """How many columns of a terminal a printable text takes: East Asian wide ones two, combining marks none."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    return len(text) + wide - sum(unicodedata.combining(character) > 0 for character in text)


def _shown(character: str) -> str:
    if character == "\t":
        return _TAB
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def _sentence(text: str) -> str:
    """A message; it may name a key of the file, and that may be of any length."""
    return printable(text if len(text) <= _LONGEST else text[:_LONGEST] + "…")


def _github(text: str, also: str = "") -> str:
    """Escaped as the runner's command syntax asks; line ends would start a new command."""
    return "".join(f"%{ord(character):02X}" if character in "%" + also else character for character in printable(text))


def _sorted(findings: Sequence[Diagnostic]) -> list[Diagnostic]:
    return sorted(findings, key=lambda finding: (finding.place, finding.code, finding.message))


def _place_row(place: Place) -> dict[str, str | int]:
    return {"file": place.file, "line": place.line, "column": place.column, "end_column": place.end_column}


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"

"""What the YAML parser says, in words that tell how to mend it.

libyaml describes its own state ("did not find expected key"), not the user's mistake. The table below names the
mistake that usually lies behind each; a sentence that is not in it is passed on as it is.
"""

import re
from typing import NamedTuple

import yaml

from .codes import Code
from .diagnostic import Diagnostic, Place, Severity, error

# What YAML calls printable, but for the byte order mark: the parser would refuse the same, less clearly.
_UNPRINTABLE = re.compile("[^\t\n\r -~\x85\xa0-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]")


class _Mistake(NamedTuple):
    sign: str
    message: str
    help: str
    at_context: bool = False  # the mistake was made where the parser began, not where it gave up


_MISTAKES = (
    _Mistake(
        "mapping values are not allowed",
        "a `: ` where no key can stand",
        "a text with `: ` in it needs quotes; a nested key goes on its own line",
    ),
    _Mistake("found a tab character", "a tab in the indentation", "YAML indents with spaces only"),
    _Mistake("cannot start any token", "this character cannot start a value", "put the value in quotes: '...'"),
    _Mistake("unexpected end of stream", "a quoted text is never closed", "add the closing quote", at_context=True),
    _Mistake("unexpected document indicator", "a quoted text is never closed", "add the closing quote", True),
    _Mistake(
        "expected ',' or ']'",
        "a `[` is not closed, or a `,` is missing in it",
        "separate its entries with `,` and end them with `]`",
        True,
    ),
    _Mistake(
        "expected ',' or '}'",
        "a `{` is not closed, or a `,` is missing in it",
        "separate its fields with `,` and end them with `}`",
        True,
    ),
    _Mistake(
        "expected node content", "a value is missing", "write the value, and close every bracket", at_context=True
    ),
    _Mistake("could not find expected ':'", "a key without `:`", "write it as `key: value`", at_context=True),
    _Mistake(
        "did not find expected key",
        "the indentation does not fit the lines before it",
        "fields of one mapping start in the same column",
    ),
    _Mistake(
        "did not find expected '-' indicator",
        "the indentation does not fit the list before it",
        "entries of one list start with `- ` in the same column",
    ),
    _Mistake(
        "unknown escape character",
        "not an escape that YAML knows",
        "in double quotes write a backslash as `\\\\`, or use single quotes",
    ),
    _Mistake("incompatible YAML document", "this version of YAML is not known", "leave the `%YAML` line out"),
)


def syntax_error(failure: yaml.YAMLError, file: str, lines: list[str]) -> Diagnostic:
    """The finding for what the YAML parser raised; `lines` is the file's text."""
    problem = str(getattr(failure, "problem", None) or getattr(failure, "reason", None) or "not readable")
    mark = getattr(failure, "problem_mark", None)
    context = getattr(failure, "context_mark", None)
    noticed = _place(mark or context, file, lines)
    for mistake in _MISTAKES:
        if mistake.sign in problem:
            at = lines[noticed.line - 1][max(0, noticed.column - 2) : noticed.column]
            if at == "${":
                help = "put it in quotes: '...', or give it a line of its own"
                return error(Code.SYNTAX, "a `${` inside `[...]` or `{...}` needs quotes", noticed, help)
            if at.endswith("\t"):
                return error(Code.SYNTAX, "a tab in the indentation", noticed, "YAML indents with spaces only")
            made = _place(context, file, lines) if mistake.at_context and context else noticed
            also = (noticed, "noticed only here") if noticed.line != made.line else None
            return Diagnostic(Code.SYNTAX, Severity.ERROR, mistake.message, made, mistake.help, also)
    return error(Code.SYNTAX, f"not YAML: {problem}", noticed)


def unprintable(file: str, lines: list[str]) -> Diagnostic | None:
    """The finding for the first character that YAML forbids (NUL, escape, a lone surrogate), if there is one."""
    for number, line in enumerate(lines, 1):
        if match := _UNPRINTABLE.search(line):
            place = Place(file, number, match.start() + 1, match.start() + 2)
            message = f"the character U+{ord(match[0]):04X} cannot stand in YAML"
            return error(Code.SYNTAX, message, place, 'delete it, or write it as an escape in double quotes: "\\u..."')
    return None


def _place(mark: yaml.Mark | None, file: str, lines: list[str]) -> Place:
    """The mark as a place; the end of a file lies one line after its last, where nothing can be shown."""
    if mark is None:
        return Place(file)
    line, column = mark.line, mark.column
    if line >= len(lines) or (line == len(lines) - 1 and not lines[line]):
        line = max((number for number, text in enumerate(lines) if text.strip()), default=0)
        column = len(lines[line])
    return Place(file, line + 1, column + 1, column + 2)

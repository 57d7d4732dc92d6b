"""A finding about configuration: data, not a string. The CLI, `/status` and the log render the same object."""

from enum import StrEnum

from msgspec import Struct

from .codes import Code

MOST_FINDINGS = 500
"""After so many of one sort a document is hopeless, or hostile, and the rest is left unsaid."""


class Severity(StrEnum):
    """An error refuses the configuration; a warning does not, unless `--deny-warnings` says so."""

    ERROR = "error"
    WARNING = "warning"


class Place(Struct, frozen=True, order=True):
    """A span in a file. Lines and columns count from 1; `end_column` is exclusive, on the same line."""

    file: str
    line: int = 1
    column: int = 1
    end_column: int = 2


class Diagnostic(Struct, frozen=True):
    """One finding; `also` is a second place with its own label.

    `masked` says that the text at `place` may be a secret: renderers show asterisks instead of it.
    """

    code: Code
    severity: Severity
    message: str
    place: Place
    help: str | None = None
    also: tuple[Place, str] | None = None
    masked: bool = False


def error(code: Code, message: str, place: Place, help: str | None = None) -> Diagnostic:
    """A plain finding of severity error."""
    return Diagnostic(code, Severity.ERROR, message, place, help)

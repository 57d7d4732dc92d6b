"""What a lint may look at: a policy that is linked and compiled, document by document."""

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from msgspec import Struct

from ..config.codes import Code
from ..config.diagnostic import Diagnostic
from ..gateway import Gateway
from ..link import Linked
from ..stages.base import PartSpec, Problem, Scope

P = TypeVar("P", bound=PartSpec)


class LintContext(Struct, frozen=True):
    """All documents of a sound policy."""

    gateway: Linked[Gateway]
    parts: Sequence[Linked[Any]]
    scope: Scope

    def of(self, kind: type[P]) -> Iterator[Linked[P]]:
        """The documents of one kind, in the order they were read."""
        return (linked for linked in self.parts if isinstance(linked.spec, kind))


def warning(
    linked: Linked[Any], path: tuple[str | int, ...], code: Code, message: str, help: str | None = None
) -> Diagnostic:
    """A warning at a path of a document."""
    return linked.from_problem(Problem(path, code, message, help, warning=True))

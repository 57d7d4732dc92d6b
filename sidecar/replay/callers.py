"""Who may call under a candidate policy: gateway keys by name, those of its documents and those of the database."""

from collections.abc import Iterable
from pathlib import Path

from ..engine.trial import known_callers
from ..spec import Spec
from ..stores.base import Principal
from ..stores.keys import holders


def callers(specs: Iterable[Spec], database: Path) -> dict[str, Principal]:
    """The holders, by the name of their key. Keys of the database are taken to be good, whatever became of them since:
    then they were. Raises sqlite3.Error."""
    return {**holders(database), **known_callers(specs)}

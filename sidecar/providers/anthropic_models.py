"""What a Claude model takes, by its name: the Messages API is one wire with a different contract every few models.

Sources: the deprecation notes of the Anthropic OpenAPI document (2026-08-18), the recorded traffic, Anthropic's
migration guides. A name that is not Claude's (another vendor behind this wire) is treated like the oldest.
"""

import re
from functools import lru_cache

from msgspec import Struct

_NEW = re.compile(r"claude-([a-z]+)(?:-(\d{1,2})(?:[.-](\d{1,2}))?(?!\d))?", re.IGNORECASE)
_OLD = re.compile(r"claude-(\d)(?:[.-](\d))?(?:-|$)", re.IGNORECASE)

_LATEST = (99, 0)
_ALWAYS = (0, 0)
_NEVER = (1000, 0)

_Versions = dict[str, tuple[int, int]]

# From which version on, by family; a family that is not listed is newer than this table.
_ADAPTIVE: _Versions = {"opus": (4, 6), "sonnet": (4, 6), "haiku": (5, 0)}
_NO_SAMPLING: _Versions = {"opus": (4, 7), "sonnet": (5, 0), "haiku": (5, 0)}
_NEVER_FORCED: _Versions = {"opus": (5, 5), "sonnet": (5, 5), "haiku": _NEVER, "fable": (5, 1)}
_THINKS_UNASKED: _Versions = {"opus": (5, 0), "sonnet": (5, 0), "haiku": (5, 0)}
_NO_DISABLED: _Versions = {"opus": (5, 5), "sonnet": (5, 5), "haiku": _NEVER}


class Traits(Struct, frozen=True):
    """One model's contract.

    `adaptive`: thinking is `adaptive` with an effort, not a token budget. `fine_effort`: knows effort xhigh.
    `quiet`: the thinking type to send for no thinking, "" when leaving it out does, None when nothing does.
    `sampling`: temperature and top_p are taken. `both`: they are taken together. `forced`: tool_choice may
    force a call. `structured`: output_config.format and strict tools are known.
    """

    adaptive: bool = False
    fine_effort: bool = False
    quiet: str | None = ""
    sampling: bool = True
    both: bool = True
    forced: bool = True
    structured: bool = False


@lru_cache(maxsize=512)
def traits(model: str) -> Traits:
    """The contract of a model, for example ``traits("claude-haiku-4-5").adaptive == False``."""
    old = _OLD.search(model)
    new = None if old else _NEW.search(model)
    if new is None:
        return Traits()
    family = new[1].lower()
    if family == "instant":
        return Traits()
    version = (int(new[2]), int(new[3] or 0)) if new[2] else _LATEST

    def since(table: _Versions) -> bool:
        return version >= table.get(family, _ALWAYS)

    newest = since(_NO_SAMPLING)
    return Traits(
        adaptive=since(_ADAPTIVE),
        fine_effort=newest,
        quiet=_quiet(family, since(_THINKS_UNASKED), since(_NO_DISABLED)),
        sampling=not newest,
        both=version < (4, 1),
        forced=not since(_NEVER_FORCED),
        structured=version >= (4, 5),
    )


def _quiet(family: str, thinks_unasked: bool, no_disabled: bool) -> str | None:
    if not thinks_unasked:
        return ""
    if not no_disabled:
        return "disabled"
    return "between_tools" if family == "sonnet" else None

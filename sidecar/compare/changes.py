"""Facts of two policies -> what differs, in a stable order: added, removed, changed, moved."""

from collections.abc import Iterator, Sequence
from difflib import SequenceMatcher
from typing import Any, Literal

from msgspec import Struct

from ..config.diagnostic import Place
from .facts import Part, labels, shown

_ORDERED = "rules"
"""The list of named entries in which the order counts: the first that holds decides."""


class Change(Struct, frozen=True):
    """One difference. `part` is a stage, `providers`, `key NAME` and so on, `kind` says of a stage what it is; `path`
    leads to the fact, and is empty for the whole part. `place` is where the new policy has it."""

    what: Literal["added", "removed", "changed", "moved"]
    part: str
    kind: str
    path: tuple[str, ...]
    old: Any = None
    new: Any = None
    place: Place | None = None

    @property
    def field(self) -> str:
        """The path as it is shown."""
        return ".".join(self.path)


def changes(old: dict[str, Part], new: dict[str, Part]) -> list[Change]:
    """All differences, part by part in the order of the new policy, what is gone last."""
    found: list[Change] = []
    for name in dict.fromkeys((*new, *old)):
        before, after = old.get(name), new.get(name)
        if before is not None and after is not None and before.kind == after.kind:
            rows = _edges(before, after) if name == "edges" else _differences((), before.data, after.data)
            found += [
                Change(what, name, after.kind, path, shown(a), shown(b), after.place(path)) for what, path, a, b in rows
            ]
            continue
        if before is not None:
            found.append(Change("removed", name, before.kind, (), shown(before.data), None))
        if after is not None:
            found.append(Change("added", name, after.kind, (), None, shown(after.data), after.place(())))
    return found


_What = Literal["added", "removed", "changed", "moved"]
_Row = tuple[_What, tuple[str, ...], Any, Any]


def _differences(path: tuple[str, ...], old: Any, new: Any) -> Iterator[_Row]:
    if isinstance(old, list) and isinstance(new, list):
        before, after = _named(old), _named(new)
        if before is not None and after is not None:
            yield from _differences(path, before, after)
            if path[-1:] == (_ORDERED,):
                yield from _moved(path, list(before), list(after))
            return
    if not (isinstance(old, dict) and isinstance(new, dict)):
        if old != new:
            yield "changed", path, old, new
        return
    for name in dict.fromkeys((*new, *old)):
        if name not in old:
            yield "added", (*path, name), None, new[name]
        elif name not in new:
            yield "removed", (*path, name), old[name], None
        else:
            yield from _differences((*path, name), old[name], new[name])


def _named(items: Sequence[Any]) -> dict[str, Any] | None:
    """The entries by their labels; None when they have none."""
    if not items:
        return {}
    names = labels(items)
    return None if names is None else dict(zip(names, items, strict=True))


def _moved(path: tuple[str, ...], old: list[str], new: list[str]) -> Iterator[_Row]:
    """Entries that both have, out of the longest stretches that kept their order; each with who is before it."""
    before, after = [n for n in old if n in new], [n for n in new if n in old]
    kept = {
        name
        for block in SequenceMatcher(None, before, after, autojunk=False).get_matching_blocks()
        for name in before[block.a : block.a + block.size]
    }
    for name in after:
        if name not in kept:
            yield "moved", (*path, name), _after(old, name), _after(new, name)


def _after(names: list[str], name: str) -> str:
    index = names.index(name)
    return f"after {names[index - 1]}" if index else "first"


def _edges(old: Part, new: Part) -> Iterator[_Row]:
    """Edges of nodes that both have; outcomes of one node that changed alike are one change."""
    together: dict[tuple[str, _What, Any, Any], list[str]] = {}
    for node in new.data:
        if node in old.data:
            for what, path, before, after in _differences((), old.data[node], new.data[node]):
                together.setdefault((node, what, before, after), []).append(path[0])
    for (node, what, before, after), outcomes in together.items():
        yield what, (node, " | ".join(outcomes)), before, after

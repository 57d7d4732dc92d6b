"""Texts that must never come out, and how one is found again: as it is, or in the clothes that software puts on it."""

import base64
import gc
import json
from collections import deque
from collections.abc import Iterator, Mapping
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any
from urllib.parse import quote, quote_plus

MIN_CORE = 16
"""Characters of base64 that are no accident."""


def forms(text: str) -> frozenset[str]:
    """A text, its JSON, percent-encoded, hexadecimal and base64 forms; these wherever in a longer text it begins."""
    raw = text.encode()
    found = {text, json.dumps(text)[1:-1], quote(text, safe=""), quote(text), quote_plus(text), raw.hex()}
    for before in range(3):
        whole = base64.b64encode(b"\0" * before + raw).decode()
        # What its neighbours have a part in is left off at both ends.
        core = whole[-(-8 * before // 6) : (before + len(raw)) * 8 // 6]
        assert len(core) >= MIN_CORE, text
        found |= {core, core.replace("+", "-").replace("/", "_")}
    return frozenset(found)


class Planted:
    """Secrets by name; `find` tells which of them stands in what came out."""

    def __init__(self, texts: Mapping[str, str]) -> None:
        self.texts = dict(texts)
        self._forms = {name: forms(text) for name, text in texts.items()}

    def add(self, name: str, text: str) -> str:
        """One that was made on the way."""
        self.texts[name] = text
        self._forms[name] = forms(text)
        return text

    def find(self, said: str, but: frozenset[str] = frozenset()) -> list[str]:
        """Each that is found, with what stands around it."""
        found = []
        for name, shapes in self._forms.items():
            places = [place for shape in shapes if (place := said.find(shape)) >= 0] if name not in but else []
            if places:
                found.append(f"{name}: {said[max(0, min(places) - 200) : min(places) + 100]!r}")
        return found


def inside(*roots: Any) -> Iterator[Any]:
    """Everything of the package's own classes that can be reached from these objects, themselves included."""
    seen, waiting = set(), deque(roots)
    while waiting:
        one = waiting.popleft()
        if id(one) in seen or isinstance(one, (type, ModuleType, FunctionType, BuiltinFunctionType)):
            continue
        seen.add(id(one))
        waiting.extend(gc.get_referents(one))
        if type(one).__module__.startswith("sidecar."):
            yield one

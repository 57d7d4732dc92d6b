"""Conditions written in CEL: compiled once, checked for unknown names, run with one shared context a request.

The extension module is loaded past its package's `__init__`, which drags in a command line of its own
(typer and rich: about 0.4 s and 20 MB that a proxy has no use for).
"""

import importlib.machinery
import importlib.util
import re
from collections.abc import Iterable, Mapping
from typing import Any

from .features import FEATURES, Features


def _load_cel() -> Any:
    package = importlib.util.find_spec("cel")
    if package is None:
        raise ImportError("package `common-expression-language` is not installed")
    spec = importlib.machinery.PathFinder.find_spec("cel.cel", package.submodule_search_locations)
    if spec is None or spec.loader is None:
        raise ImportError("package `common-expression-language` has no extension module for this Python")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_cel = _load_cel()

_SAMPLES: tuple[Features, ...] = (
    Features(),
    Features(
        tokens=10**6, last_tokens=10**6, max_tokens=10**6, messages=100, turns=50, tools=9, tool_results=9, images=9,
        documents=9, audio=9, has_code=True, json_object=True, json_schema=True, reasoning=True, stream=True,
        reasoning_effort="high", text="x" * 100, task="x", strategy="x", conversation="x", tenant="x", key="x",
    ),
)  # fmt: skip


class Condition:
    """One compiled expression. `names` are the features it reads."""

    __slots__ = ("_program", "names", "source")

    def __init__(self, source: str, patterns: Iterable[str] = ()) -> None:
        """Raises ValueError with a text for people when the source does not parse, uses a name that does not exist,
        compares types that do not compare, or does not yield true or false."""
        self.source = source
        try:
            self._program = _cel.compile(source)
        except ValueError as fault:
            raise ValueError(_short(str(fault))) from None
        known = set(patterns)
        self.names: frozenset[str] = frozenset(self._program.variables())
        for name in sorted(self.names - known - FEATURES.keys() - _bound(source)):
            raise ValueError(f"`{name}` is not a feature")
        self._try_out(known)

    def holds(self, context: Any) -> bool:
        """True when the expression is true. A key that a map lacks makes it false, never an error."""
        try:
            return self._program.execute(context) is True
        except (KeyError, TypeError, ValueError, RuntimeError):
            return False

    def _try_out(self, patterns: set[str]) -> None:
        for sample in _SAMPLES:
            try:
                result = self._program.execute(context(sample, self.names, dict.fromkeys(patterns, True)))
            except (KeyError, ValueError, RuntimeError) as fault:
                # A missing map key depends on the request; an undefined function does not.
                if "Undefined" in str(fault):
                    raise ValueError(_short(str(fault))) from None
                continue
            except TypeError as fault:
                raise ValueError(_short(str(fault).split(". CEL does not")[0])) from None
            if not isinstance(result, bool):
                raise ValueError(f"yields {type(result).__name__}, but a condition must yield true or false")


def context(features: Features, names: Iterable[str], patterns: Mapping[str, bool]) -> Any:
    """The variables of one request, built once and shared by all its rules; only `names` are copied."""
    values = {name: getattr(features, name) for name in names if name in FEATURES}
    values.update(patterns)
    return _cel.Context(values)


def _bound(source: str) -> set[str]:
    """Names that a macro binds (`x` in `list.exists(x, ...)`): the parser reports them like variables."""
    return set(re.findall(r"\.(?:all|exists|exists_one|map|filter)\(\s*([A-Za-z_]\w*)\s*,", source))


def _short(text: str) -> str:
    """The parser's message without its own drawing: the diagnostic draws source and caret itself."""
    line = text.splitlines()[0]
    return line.split("Syntax error: ")[-1].split(" expecting ")[0].rstrip(".")

"""Conditions written in CEL: compiled once, checked for unknown names, run with one shared context a request.

The extension module is loaded past its package's `__init__`, which drags in a command line of its own
(typer and rich: about 0.4 s and 20 MB that a proxy has no use for).
"""

import importlib.machinery
import importlib.util
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

import msgspec

from .features import FEATURES, Features
from .plain import Test, first_of, is_plain
from .words import folded, needed


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

_LARGE = Features(
    tokens=10**6, system_tokens=10**6, last_tokens=10**6, max_tokens=10**6, messages=100, turns=50, tools=9,
    tool_results=9, images=9, documents=9, audio=9, choices=9, has_code=True, json_object=True, json_schema=True,
    reasoning=True, stream=True, temperature=2.0,
)  # fmt: skip
_TEXTS = tuple(name for name, kind in FEATURES.items() if kind is str)
_MOST_WORDS = 16
_LITERAL = re.compile(r"\"((?:[^\"\\]|\\.)*)\"|'((?:[^'\\]|\\.)*)'")
_MACROS = r"\.(?:all|exists|exists_one|map|filter)\("
_HEADER = re.compile(r"(?<![.\w])headers\[[\"']([^\"']*[A-Z][^\"']*)[\"']\]")
_OUTSIDE = frozenset({"labels", "claims", "key", "tenant", "conversation"})


class ConditionError(ValueError):
    """A condition that cannot hold or cannot be read. `unknown` is a name it uses that does not exist."""

    def __init__(self, text: str, help: str | None = None, unknown: str | None = None) -> None:
        super().__init__(text)
        self.help = help
        self.unknown = unknown


class Condition:
    """One compiled expression. `names` are the features it reads."""

    __slots__ = ("_program", "names", "source")

    def __init__(self, source: str, patterns: Iterable[str] = ()) -> None:
        """Raises ConditionError with a text for people when the source does not parse, uses a name that does not exist,
        compares types that do not compare, or does not yield true or false."""
        self.source = source
        try:
            self._program = _cel.compile(source)
        except ValueError as fault:
            raise _unreadable(str(fault)) from None
        known = set(patterns)
        self.names: frozenset[str] = frozenset(self._program.variables())
        for name in sorted(self.names - known - FEATURES.keys() - _bound(source)):
            raise ConditionError(f"there is no feature `{name}`", unknown=name)
        if shouted := _HEADER.search(source):
            raise ConditionError(f"header names are in lower case here: `{shouted[1].lower()}`")
        self._try_out(known)

    def holds(self, context: Any) -> bool:
        """True when the expression is true. A key that a map lacks makes it false, never an error."""
        try:
            return self._program.execute(context) is True
        except (LookupError, TypeError, ValueError, RuntimeError, ArithmeticError):
            return False

    def fails(self, context: Any) -> bool:
        """True when the expression is false for certain. What cannot be told, because a map lacks a key, is not."""
        try:
            return self._program.execute(context) is False
        except (LookupError, TypeError, ValueError, RuntimeError, ArithmeticError):
            return False

    def _try_out(self, patterns: set[str]) -> None:
        for sample in _samples(self.source):
            try:
                result = self._program.execute(
                    context(sample, self.names & FEATURES.keys(), dict.fromkeys(patterns, True))
                )
            except RuntimeError as fault:
                if (wrong := _always_wrong(str(fault), self.source)) is not None:
                    raise ConditionError(wrong) from None
            except (LookupError, ValueError, ArithmeticError):
                continue  # depends on the request: a key that a map lacks, a text that is no number
            except TypeError as fault:
                raise self._mismatch(str(fault)) from None
            else:
                if not isinstance(result, bool):
                    shown = _KINDS.get(type(result).__name__, "something else")
                    raise ConditionError(f"it yields {shown}; a condition must yield true or false")

    def _mismatch(self, text: str) -> ConditionError:
        """Values of types that do not go together; the help tells of which type the features in it are."""
        types = [f"`{name}` is {_KINDS[FEATURES[name].__name__]}" for name in sorted(self.names & FEATURES.keys())]
        what = text.split(". CEL does not")[0].rstrip(".")
        if text.startswith("No such overload"):
            what = "it compares or combines values whose types do not fit"
        return ConditionError(what, "; ".join(types))


class _Sought(NamedTuple):
    """A pattern, and the words without which it cannot match (none: unknown)."""

    source: str
    search: Callable[[str], re.Match[str] | None]
    words: tuple[str, ...]


class Found:
    """Whether named patterns are found in one text; each is searched for once, and only when a rule asks.

    `known` is what was found before, by the regular expression itself; what is found now goes there.
    """

    __slots__ = ("_folded", "_known", "_patterns", "_text")

    def __init__(self, patterns: Mapping[str, _Sought], text: str, known: dict[str, bool] | None = None) -> None:
        self._patterns = patterns
        self._text = text
        self._folded: str | None = None
        self._known = {} if known is None else known

    def __call__(self, name: str) -> bool:
        pattern = self._patterns[name]
        known = self._known.get(pattern.source)
        if known is None:
            known = self._known[pattern.source] = self._search(pattern)
        return known

    def _search(self, pattern: _Sought) -> bool:
        if pattern.words:
            text = self._folded
            if text is None:
                text = self._folded = folded(self._text)
            for word in pattern.words:
                if word in text:
                    break
            else:
                return False
        return pattern.search(self._text) is not None


class FirstMatch:
    """Many conditions of which the first that holds counts.

    They are asked in groups. A run of plain ones is one Python function; others are one CEL expression
    (`(a) ? 0 : (b) ? 1 : ... : -1`): crossing into the evaluator costs more than a comparison there.
    """

    GROUP = 32

    __slots__ = ("_features", "_groups", "_patterns", "_shared")

    def __init__(self, conditions: Sequence[Condition], patterns: Mapping[str, re.Pattern[str]]) -> None:
        names: frozenset[str] = frozenset().union(*(c.names for c in conditions))
        self._patterns = {
            name: _Sought(pattern.pattern, pattern.search, needed(pattern))
            for name, pattern in patterns.items()
            if name in names
        }
        self._features = tuple(sorted(names & FEATURES.keys() - patterns.keys()))
        self._groups: list[tuple[int, Sequence[Condition], Test | None, Any]] = []
        known, beyond, start = frozenset(patterns), set[str](), 0
        for plain, run in groupby(conditions, lambda condition: is_plain(condition.source, known)):
            group = list(run)
            for begin in range(0, len(group), self.GROUP):
                part = group[begin : begin + self.GROUP]
                if plain:
                    self._groups.append((start + begin, part, first_of([c.source for c in part], known), None))
                else:
                    beyond.update(*(c.names for c in part))
                    self._groups += [(at, some, None, program) for at, some, program in _grouped(start + begin, part)]
            start += len(group)
        # What only plain ones read is not copied for the evaluator, and a pattern is searched for when it is asked for.
        self._shared = (
            tuple(name for name in self._features if name in beyond),
            tuple(name for name in self._patterns if name in beyond),
        )

    def index(self, features: Features, known: dict[str, bool] | None = None) -> int:
        """The place of the first condition that holds, or -1. `known` is what is known of patterns (`Found`)."""
        found = Found(self._patterns, features.text, known)
        shared: Any = None
        for start, conditions, test, program in self._groups:
            if test is not None:
                place = test(features, found)
            else:
                shared = self._context(features, found, *self._shared) if shared is None else shared
                place = _asked(conditions, program, shared)
            if place >= 0:
                return start + place
        return -1

    def context(self, features: Features, known: dict[str, bool] | None = None) -> Any:
        """The variables that these conditions read, for `Condition.holds`."""
        return self._context(features, Found(self._patterns, features.text, known), self._features, self._patterns)

    def _context(self, features: Features, found: Found, names: Iterable[str], patterns: Iterable[str]) -> Any:
        return context(features, names, {name: found(name) for name in patterns})


def _asked(conditions: Sequence[Condition], program: Any, shared: Any) -> int:
    try:
        return int(program.execute(shared))
    except (LookupError, TypeError, ValueError, RuntimeError, ArithmeticError):
        # One of them asks for what this request lacks: that one does not hold, the others may.
        return next((i for i, c in enumerate(conditions) if c.holds(shared)), -1)


def _grouped(start: int, conditions: Sequence[Condition]) -> list[tuple[int, Sequence[Condition], Any]]:
    """One program for a group; for each half of it where the whole is nested too deeply for the parser."""
    try:
        return [(start, conditions, _cel.compile(_chain(conditions)))]
    except ValueError:
        if len(conditions) == 1:  # only just parses by itself: a program that fails, so that `index` asks it alone
            return [(start, conditions, _cel.compile("1 / 0"))]
        half = len(conditions) // 2
        return [*_grouped(start, conditions[:half]), *_grouped(start + half, conditions[half:])]


def _chain(conditions: Sequence[Condition]) -> str:
    """One expression for several. A source may end in a comment, hence the line break."""
    return "".join(f"({c.source}\n) ? {i} : " for i, c in enumerate(conditions)) + "-1"


def context(features: Features, names: Iterable[str], patterns: Mapping[str, bool]) -> Any:
    """The variables of one request, built once and shared by all its rules; only `names` are copied."""
    values: dict[str, Any] = {name: getattr(features, name) for name in names}
    values.update(patterns)
    return _cel.Context(values)


def steers(source: str) -> frozenset[str]:
    """What a condition reads that is not in the request's body: `labels`, `key`, `header:x-app`, all `headers`."""
    code = _LITERAL.sub('""', source)
    found = _OUTSIDE & set(re.findall(r"(?<![.\w])[a-z_]+", code))
    if re.search(r"(?<![.\w])headers\b", code):
        plain = r'(?<![.\w])headers(?:\[""\]|(?!' + _MACROS + r")\.\w+)|\"\" in headers\b(?![.\[])"
        if len(re.findall(r"(?<![.\w])headers\b", code)) == len(re.findall(plain, code)):
            found |= {f"header:{word}" for word in words(source)}
        else:
            found |= {"headers"}
    return frozenset(found)


def _samples(source: str) -> Iterator[Features]:
    """Requests to try an expression on: an empty one, a large one, and one for each text it compares with."""
    yield Features()
    known = words(source)[:_MOST_WORDS]
    for word in ("x", *known):
        maps = dict.fromkeys(known, word)
        yield msgspec.structs.replace(_LARGE, **dict.fromkeys(_TEXTS, word), headers=maps, labels=maps)


def words(source: str) -> list[str]:
    """Texts in quotes, and names after a dot: the keys and values that an expression can ask for."""
    texts = [double or single for double, single in _LITERAL.findall(source)]
    return list(dict.fromkeys([*texts, *re.findall(r"\.([A-Za-z_]\w*)(?!\w*\()", _LITERAL.sub("", source))]))


def _bound(source: str) -> set[str]:
    """Names that a macro binds (`x` in `list.exists(x, ...)`): the parser reports them like variables."""
    return set(re.findall(_MACROS + r"\s*([A-Za-z_]\w*)\s*,", source))


_KINDS = {
    "int": "a number",
    "float": "a number",
    "str": "a text",
    "bool": "true or false",
    "list": "a list",
    "dict": "a map",
}
_CEL_WORDS = {"and": "&&", "or": "||", "not": "!", "=": "=="}


def _always_wrong(text: str, source: str) -> str | None:
    """What is wrong whatever the request: a function that does not exist, a regular expression that is none."""
    if "not a valid regex" in text:
        reason = re.search(r"^error: (.*?)(?:\. Check function.*)?$", text, re.MULTILINE)
        return f"not a regular expression: {reason[1] if reason else text.splitlines()[0]}"
    name = re.search(r"Undefined variable or function: '(.*?)'", text)
    if name is None:
        return None
    called = re.search(rf"\b{re.escape(name[1])}\(", source)
    return f"there is no function `{name[1]}` for what it is used on" if called else f"there is no feature `{name[1]}`"


def _unreadable(text: str) -> ConditionError:
    """The parser's message without its own drawing: the diagnostic draws source and caret itself."""
    if "Recursion limit" in text:
        return ConditionError("it is nested too deeply")
    found = re.search(r"ERROR: <input>:(\d+):(\d+): (?:Syntax error: )?(.*)", text)
    if found is None:
        return ConditionError(text.splitlines()[0].rstrip("."))
    where = f"character {found[2]}" if found[1] == "1" else f"character {found[2]} of line {found[1]}"
    what = found[3].split(" expecting ")[0]
    if "'<EOF>'" in what:
        return ConditionError("it ends too early")
    token = re.search(r"(?:input|at:) '(.+)'$", what)
    if token is None:
        return ConditionError(f"{what} at {where}")
    word = token[1].strip()
    help_ = f"CEL writes `{_CEL_WORDS[word]}`" if word in _CEL_WORDS else None
    return ConditionError(f"unexpected `{word}` at {where}", help_)

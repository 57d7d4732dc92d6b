"""Words without which a regular expression cannot match: looking for them first is ten times as fast as searching.

Patterns of policies are lists of words, mostly (`(?i)\\b(prove|theorem)\\b`), and most texts hold none of them.
"""

import re
from collections.abc import Iterable
from re import _constants as op  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from typing import Any

MIN_LENGTH = 2
"""Letters of a word: shorter ones are in nearly every text."""
MAX_WORDS = 64
_REPEATS = (op.MAX_REPEAT, op.MIN_REPEAT, op.POSSESSIVE_REPEAT)
_Words = frozenset[str]


def folded(text: str) -> str:
    """A text in which a word in lower case stands wherever an expression, whatever its flags, would find it: a dotless
    i, a dotted I and a long s are the letters that they are taken for there."""
    if not text.isascii():
        text = text.replace("\u0130", "i").replace("\u0131", "i").replace("\u017f", "s")
    return text.lower()


def needed(pattern: re.Pattern[str]) -> tuple[str, ...]:
    """Words in lower case of which a folded text holds one or more, if the pattern matches it; none when that cannot be
    told."""
    found = _of(parser.parse(pattern.pattern, pattern.flags & ~re.UNICODE))
    return () if found is None else tuple(sorted(found))


def _of(sequence: Iterable[tuple[Any, Any]]) -> _Words | None:
    """The best that any part of a sequence asks for: all of its parts must be there."""
    run = ""
    choices: list[_Words] = []
    for operation, value in [*sequence, (op.ANY, None)]:
        if operation is op.LITERAL and value < 128:
            run += chr(value).lower()
        elif operation is not op.AT:  # that has no width: what stands beside it stands side by side
            choices.append(frozenset({run}))
            run = ""
            if (inner := _inside(operation, value)) is not None:
                choices.append(inner)
    best = max(choices, key=lambda words: (min(map(len, words)), -len(words)))
    return best if min(map(len, best)) >= MIN_LENGTH and len(best) <= MAX_WORDS else None


def _inside(operation: Any, value: Any) -> _Words | None:
    if operation is op.SUBPATTERN:
        return _of(value[-1])
    if operation is op.ATOMIC_GROUP:
        return _of(value)
    if operation in _REPEATS and value[0] > 0:
        return _of(value[2])
    if operation is op.BRANCH:
        every = [_of(branch) for branch in value[1]]
        return None if None in every else frozenset().union(*(words for words in every if words is not None))
    return None

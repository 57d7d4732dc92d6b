"""Requests to try conditions on that cannot be reasoned about: made of the very constants that the conditions name.

The same policy gets the same requests: the seed is fixed.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from random import Random
from typing import Any

from ..conditions import Condition, FirstMatch, words
from ..features import FEATURES, Features

SAMPLES = 2000
"""Requests for one rule."""
MOST_SAMPLES = 10_000
"""Requests for one policy; what is left then is not judged."""

_NUMBER = re.compile(r"(?<![\w.])\d+(?:\.\d+)?")
_COUNTS = (0, 1, 9, 1000)
_TOLD = 20
_READABLE = 3
_OPAQUE = re.compile(r"\b(?:matches|size)\(")
_FILLER = "lorem ipsum 0123456789"


class Found:
    """What came of a rule's samples: how often it held, and how often which rule before it decided."""

    def __init__(self, held: int, before: Mapping[int, int], alive: bool, likely: bool) -> None:
        self.shadowed = not alive and held >= _TOLD
        """It held often enough to tell, and never decided."""
        self.dead = not alive and not held and likely
        """It never held, and reads so few things that it should have."""
        self.held = held
        self.by = max(before, key=lambda place: before[place], default=-1)
        """The rule that decided most often in its place."""


class Sampler:
    """The rules of one stage, to be tried on made-up requests."""

    def __init__(self, sources: Sequence[str], patterns: Sequence[str], atoms: Mapping[str, Sequence[Any]]) -> None:
        self._conditions = [Condition(source, patterns) for source in sources]
        # A named pattern is found where its mark is: whether it can be found beside another is not judged.
        self._marks = {name: f"\0{name}\0" for name in patterns}
        self._first = FirstMatch(self._conditions, {n: re.compile(re.escape(mark)) for n, mark in self._marks.items()})
        self._atoms = atoms
        self._left = MOST_SAMPLES

    def judge(self, place: int) -> Found | None:
        """What comes of the rule at `place`; None when enough has been tried for this policy."""
        condition, held = self._conditions[place], 0
        before: dict[int, int] = {}
        for features in self._requests(condition):
            if self._left <= 0:
                return None
            self._left -= 1
            first = self._first.index(features)
            if first == place:
                return Found(held, before, True, False)
            if condition.holds(self._first.context(features)):
                held += 1
                before[first] = before.get(first, 0) + 1
        likely = len(condition.names) <= _READABLE and not _OPAQUE.search(condition.source)
        return Found(held, before, False, likely)

    def _requests(self, condition: Condition) -> Iterator[Features]:
        random = Random(0)  # noqa: S311  no secret is made of it
        own = words(condition.source)
        numbers = [near for text in _NUMBER.findall(condition.source) for near in _near(text)]
        for _ in range(SAMPLES):
            values: dict[str, Any] = {}
            for name, kind in FEATURES.items():
                if name in condition.names or random.random() < 0.25:
                    values[name] = self._value(random, name, kind, (own, numbers))
            marks = [mark for mark in self._marks.values() if random.random() < 0.5]
            values["text"] = "".join([*marks, values.get("text", "")])
            yield Features(**values)

    def _value(self, random: Random, name: str, kind: type, constants: tuple[list[str], list[float]]) -> Any:
        own, numbers = constants
        if kind is dict:
            return {word: _nested(random, own) if name == "claims" else _text(random, own) for word in own}
        known = self._atoms.get(name, ())
        if kind is bool:
            return random.random() < 0.5
        if kind is str:
            return random.choice(known) if known and random.random() < 0.5 else _text(random, own)
        return kind(random.choice([*known, *numbers, *_COUNTS]))


def _near(text: str) -> tuple[float, float, float]:
    number = float(text)
    return number - 1, number, number + 1


def _text(random: Random, own: Sequence[str]) -> str:
    """A constant, something before or after one, both, or nothing of the kind."""
    chosen = [random.choice(own) if own else "" for _ in range(2)]
    return random.choice((chosen[0], chosen[0] + _FILLER, _FILLER + chosen[0], _FILLER.join(chosen), "", _FILLER))


def _nested(random: Random, own: Sequence[str]) -> Any:
    """A claim is a text, a list or a mapping."""
    texts = [_text(random, own) for _ in range(2)]
    return random.choice((texts[0], texts, True, dict.fromkeys(own, texts[0])))

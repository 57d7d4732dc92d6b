"""A tiny deterministic source of choices: the same seed gives the same answer on every machine and version."""

from base64 import b64encode
from collections.abc import Sequence
from typing import TypeVar

_T = TypeVar("_T")
_MASK = (1 << 64) - 1


class Draw:
    """SplitMix64. `random.Random` would do as well, but costs a 2.5 KB state and 10 us for every request."""

    __slots__ = ("_state",)

    def __init__(self, seed: int) -> None:
        self._state = seed & _MASK

    def number(self) -> int:
        """The next 64-bit number."""
        self._state = (self._state + 0x9E3779B97F4A7C15) & _MASK
        mixed = self._state
        mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
        return mixed ^ (mixed >> 31)

    def below(self, bound: int) -> int:
        """A number from 0 up to, not including, `bound`."""
        return self.number() % bound

    def pick(self, options: Sequence[_T]) -> _T:
        """One of the options."""
        return options[self.number() % len(options)]

    def identifier(self, length: int) -> str:
        """A made-up identifier of letters and digits."""
        words = (length * 6 + 63) // 64
        raw = b"".join(self.number().to_bytes(8, "big") for _ in range(words))
        return b64encode(raw, b"Zz")[:length].decode()

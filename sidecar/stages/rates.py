"""Rates as policies write them, what a request is counted as, and what is said when one is reached."""

from typing import Annotated

from msgspec import Meta

from ..call import Call
from ..chat import Problem as Refusal
from ..features import Features
from ..spec import in_words
from ..stores.base import Quota

Rate = Annotated[
    str,
    Meta(
        pattern=r"^[1-9][0-9]{0,11}/(s|m|h|d)$",
        description="So many in any window of one second, minute, hour or day: 60/m.",
        examples=["60/m"],
    ),
]

OUTPUT_GUESS = 256
"""Output tokens of a choice that are taken beforehand when the caller sets no limit."""

_PERIODS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_UNITS = {length: unit for unit, length in _PERIODS.items()}
_WINDOWS = {1.0: "a second", 60.0: "a minute", 3600.0: "an hour", 86400.0: "a day"}


def parse(rate: str) -> tuple[int, float]:
    """How many, and in how many seconds: ``parse("60/m") == (60, 60.0)``."""
    count, unit = rate.split("/")
    return int(count), _PERIODS[unit]


def written(count: int, period: float) -> str:
    """The same the other way round: ``written(60, 60.0) == "60/m"``."""
    return f"{count}/{_UNITS[period]}"


def amount(what: str, features: Features, limit: int) -> int:
    """What a request takes of a limit before it is sent: itself, or the tokens that it may use. Where the caller bounds
    no output it is guessed, and a guess alone never makes a request larger than the whole limit."""
    if what == "requests":
        return 1
    tokens = features.tokens
    if features.max_tokens:
        return tokens + features.max_tokens * features.choices
    return max(tokens, min(tokens + OUTPUT_GUESS * features.choices, limit))


def show(call: Call, what: str, quota: Quota) -> None:
    """Keep it for the response's headers, if it is the tightest yet or refuses."""
    shown = call.quotas.get(what)
    if shown is None or quota.remaining < shown.remaining or quota.wait:
        call.quotas[what] = quota


def reached(whose: str, what: str, rate: tuple[int, float], wanted: int, wait: float) -> str:
    """The text for a caller who is over a limit; for who wants more than all of it waiting is no help."""
    limit, period = rate
    window = _WINDOWS.get(period) or f"in {period:g} s"
    noun = what if limit != 1 else what[:-1]
    said = f"Rate limit reached for {whose}: {limit} {noun} {window}."
    if wanted > limit:
        return f"{said} This request may use {wanted}: send less, or set a smaller max_tokens."
    return f"{said} Try again in {in_words(wait)}."


def refusal(message: str, wait: float) -> Refusal:
    """429, with the seconds until it fits."""
    return Refusal(429, "rate_limit_error", message, "rate_limit_exceeded", retry_after=wait)

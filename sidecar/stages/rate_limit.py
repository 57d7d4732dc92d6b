"""`kind: rate_limit`: requests and tokens in any window, per gateway key or per address.

Tokens are charged by estimate before the call and corrected by the provider's usage when it settles.
"""

from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from ..call import Call
from ..chat import Problem as Refusal
from ..config.codes import Code
from ..spec import Spec
from .base import NEXT, REFUSE, Problem, Run, Scope, StageSpec

_PERIODS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}

Rate = Annotated[
    str,
    Meta(
        pattern=r"^[1-9][0-9]{0,11}/(s|m|h|d)$",
        description="So many in any window of one second, minute, hour or day: 60/m.",
        examples=["60/m"],
    ),
]


class Limit(Spec, frozen=True):
    """One limit for each key or each address."""

    per: Annotated[Literal["key", "ip"], Meta(description="Who shares one counter.")]
    requests: Rate | None = None
    tokens: Annotated[Rate, Meta(description="Input and output tokens together.")] | None = None

    @property
    def rates(self) -> tuple[tuple[str, str | None], ...]:
        """What is counted, and the rate it may have."""
        return (("requests", self.requests), ("tokens", self.tokens))


def _rate(text: str) -> tuple[int, float]:
    count, unit = text.split("/")
    return int(count), _PERIODS[unit]


class RateLimit(StageSpec, frozen=True, tag="rate_limit"):
    """Refuses with 429 and retry-after what is over a limit; a refused request takes nothing."""

    limits: tuple[Limit, ...] = (Limit(per="key", requests="60/m"), Limit(per="ip", requests="100/m"))

    kind: ClassVar[str] = "rate_limit"
    outcomes: ClassVar = {"allowed": NEXT, "limited": REFUSE}

    def problems(self, scope: Scope) -> list[Problem]:
        """Each limit limits something, and nothing is counted twice."""
        found: list[Problem] = []
        seen: set[tuple[str, str, float]] = set()
        for index, limit in enumerate(self.limits):
            rates = {what: rate for what, rate in limit.rates if rate is not None}
            if not rates:
                message = "a limit without `requests` and `tokens` limits nothing"
                found.append(Problem(("limits", index), Code.BAD_VALUE, message, "give it a rate, such as 60/m"))
            for what, rate in rates.items():
                counter = (limit.per, what, _rate(rate)[1])
                if counter in seen:
                    message = f"there is another limit on {what} per {limit.per} for the same length of time"
                    found.append(Problem(("limits", index, what), Code.DUPLICATE_NAME, message, "keep the lower one"))
                seen.add(counter)
        return found

    def build(self, scope: Scope) -> Run:
        """All limits as flat tuples, in the order written."""
        checks = [
            (limit.per == "ip", what, f" {limit.per} {what} {rate[-1]}", *_rate(rate))
            for limit in self.limits
            for what, rate in limit.rates
            if rate is not None
        ]

        def run(call: Call) -> str:
            take, now, quotas, charged = call.state.counters.take, call.now, call.quotas, call.charged
            features, ip, key = call.features, call.ip, _key_subject(call)
            for by_ip, what, name, limit, period in checks:
                counter = (ip if by_ip else key) + name
                amount = 1 if what == "requests" else features.tokens + features.max_tokens
                quota = take(counter, limit, period, amount, now)
                shown = quotas.get(what)
                if shown is None or quota.remaining < shown.remaining or quota.wait:
                    quotas[what] = quota
                if quota.wait:
                    call.refusal = _refusal("ip" if by_ip else "key", what, limit, period, quota.wait)
                    _give_back(call)
                    return "limited"
                charged.append((counter, amount, what))
            return "allowed"

        return run


def _key_subject(call: Call) -> str:
    """The key's digest, so that the limit holds before the key is known to be good; the address without one."""
    return call.key_digest().hex() or call.ip


def _give_back(call: Call) -> None:
    """A refused request takes nothing from the limits that it passed before."""
    for counter, amount, _ in call.charged:
        call.state.counters.adjust(counter, -amount, call.now)
    call.charged.clear()


def _refusal(per: str, what: str, limit: int, period: float, wait: float) -> Refusal:
    window = {1.0: "a second", 60.0: "a minute", 3600.0: "an hour", 86400.0: "a day"}[period]
    whose = "this key" if per == "key" else "this address"
    return Refusal(
        429,
        "rate_limit_error",
        f"Rate limit reached for {whose}: {limit} {what} {window}. Try again in {max(wait, 0.001):.3g} s.",
        "rate_limit_exceeded",
        retry_after=wait,
    )

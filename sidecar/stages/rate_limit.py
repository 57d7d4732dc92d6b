"""`kind: rate_limit`: requests and tokens in any window, per gateway key or per address.

Tokens are charged by estimate before the call and corrected by the provider's usage when it settles.
"""

from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from ..call import Call
from ..config.codes import Code
from ..spec import Spec
from .base import NEXT, REFUSE, Problem, Run, Scope, StageSpec
from .rates import Rate, amount, parse, reached, refusal, show


class Limit(Spec, frozen=True):
    """One limit for each key or each address."""

    per: Annotated[Literal["key", "ip"], Meta(description="Who shares one counter.")]
    requests: Rate | None = None
    tokens: Annotated[Rate, Meta(description="Input and output tokens together.")] | None = None

    @property
    def rates(self) -> tuple[tuple[str, str | None], ...]:
        """What is counted, and the rate it may have."""
        return (("requests", self.requests), ("tokens", self.tokens))


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
                counter = (limit.per, what, parse(rate)[1])
                if counter in seen:
                    message = f"there is another limit on {what} per {limit.per} for the same length of time"
                    found.append(Problem(("limits", index, what), Code.DUPLICATE_NAME, message, "keep the lower one"))
                seen.add(counter)
        return found

    def build(self, scope: Scope) -> Run:
        """All limits as flat tuples. Addresses come first: who is over that limit opens no counter for a key."""
        checks = [
            (limit.per == "ip", what, f"door {limit.per} {what} {rate[-1]}", *parse(rate))
            for limit in sorted(self.limits, key=lambda limit: limit.per != "ip")
            for what, rate in limit.rates
            if rate is not None
        ]

        def run(call: Call) -> str:
            take, now, charged = call.state.counters.take, call.now, call.charged
            features, ip, key = call.features, call.ip, _key_subject(call)
            for by_ip, what, name, limit, period in checks:
                counter = (name, ip if by_ip else key)
                taken = 1 if what == "requests" else amount(what, features, limit)
                quota = take(counter, limit, period, taken, now)
                show(call, what, quota)
                if quota.wait:
                    whose = "this address" if by_ip else "this key"
                    call.refusal = refusal(reached(whose, what, (limit, period), taken, quota.wait), quota.wait)
                    _give_back(call)
                    return "limited"
                charged.append((counter, taken, what))
            return "allowed"

        return run


def _key_subject(call: Call) -> str:
    """The key's digest, so that the limit holds before the key is known to be good; the address without one."""
    return call.key_digest().hex() or call.ip


def _give_back(call: Call) -> None:
    """A refused request takes nothing from the limits that it passed before."""
    for counter, taken, _ in call.charged:
        call.state.counters.adjust(counter, -taken, call.now)
    call.charged.clear()

"""`kind: quota`: requests and tokens in any window, for callers who are known and models that are chosen.

What counts a caller is taken once a request, here. What counts a model or a provider is taken for every attempt that
is sent there, by a meter; here models whose limit is reached are only left out. The limits of gateway keys hold too.
"""

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from time import time
from typing import Annotated, ClassVar

from msgspec import Meta, Struct

from ..call import Call
from ..chat import Failure, FailureKind, Usage
from ..conditions import Condition as Compiled
from ..conditions import ConditionError, FirstMatch
from ..config.codes import Code
from ..features import FEATURES
from ..identity.jwt import claim, text
from ..registry.index import Model
from ..spec import Condition, Name, Spec
from ..stores.base import Counter
from ..stores.base import Quota as Left
from .base import EXECUTE, REFUSE, Problem, Run, Scope, StageSpec, among
from .rates import Rate, amount, parse, reached, refusal, show

Reader = Callable[[Call, Model | None], str]

_PARTS = ("tenant", "key", "ip", "model", "provider", "labels.NAME", "claims.PATH")
_PART = re.compile(r"tenant|key|ip|model|provider|(labels|claims)\.[^\s{}]+")


class QuotaLimit(Spec, frozen=True):
    """One limit for each tenant, key, address, label, claim, model, provider, or each combination of them."""

    # Forms are judged in `problems`: msgspec 0.22 mixes up the bounds of a text and a list in one union, and crashes.
    per: Annotated[
        str | tuple[str, ...],
        Meta(
            description="Whom one counter is for: tenant, key, ip, model, provider, labels.NAME or claims.PATH; "
            "a list is each combination: [tenant, model].",
            examples=["tenant"],
        ),
    ]
    requests: Rate | None = None
    tokens: Annotated[Rate, Meta(description="Input and output tokens together.")] | None = None
    when: Annotated[Condition, Meta(description="Limits only the requests for which it holds.")] | None = None
    name: Annotated[Name, Meta(description="What its counters are kept under when `when` is edited.")] | None = None

    @property
    def parts(self) -> tuple[str, ...]:
        """Whom one counter is for, always as a list."""
        return (self.per,) if isinstance(self.per, str) else self.per

    @property
    def rates(self) -> tuple[tuple[str, str | None], ...]:
        """What is counted, and the rate it may have."""
        return (("requests", self.requests), ("tokens", self.tokens))


class Quota(StageSpec, frozen=True, tag="quota"):
    """Refuses with 429 and retry-after what is over a limit; what is refused, or asked of no provider, takes nothing.

    The limits of gateway keys hold whatever `limits` says.
    """

    limits: tuple[QuotaLimit, ...] = ()

    kind: ClassVar[str] = "quota"
    outcomes: ClassVar = {"allowed": EXECUTE, "limited": REFUSE}
    needs: ClassVar = ("caller", "model")
    gives: ClassVar = {"allowed": "limits"}
    beside: ClassVar = "fallback"

    def problems(self, scope: Scope) -> list[Problem]:
        """Each limit limits something, conditions can be read, nothing is counted twice."""
        found: list[Problem] = []
        seen: set[tuple[object, ...]] = set()
        for index, limit in enumerate(self.limits):
            path = ("limits", index)
            found += _limit_problems(path, limit)
            if limit.name is not None and limit.name in [other.name for other in self.limits[:index]]:
                message = f"there are two limits called `{limit.name}`"
                found.append(Problem((*path, "name"), Code.DUPLICATE_NAME, message, "their counters would be one"))
            for what, rate in limit.rates:
                if rate is None:
                    continue
                counter = (frozenset(limit.parts), what, rate[-1], limit.when)
                if counter in seen:
                    message = f"there is another limit on {what} per {_label(limit.parts)} for the same length of time"
                    found.append(Problem((*path, what), Code.DUPLICATE_NAME, message, "keep the lower one"))
                seen.add(counter)
        return found

    def build(self, scope: Scope) -> Run:
        """Limits as flat checks: those on callers, and those that involve the model that is asked."""
        checks = [_check(limit, what, rate) for limit in self.limits for what, rate in limit.rates if rate is not None]
        callers = tuple(check for check in checks if not check.of_model)
        models = tuple(check for check in checks if check.of_model)

        def run(call: Call) -> str:
            principal = call.principal
            own = principal.limits if principal is not None else ()
            if not checks and not own:
                return "allowed"
            metered = [check for check in models if check.holds(call)]
            if metered and not _usable(call, metered):
                return "limited"
            if not _take(call, (*callers, *_own(own)) if own else callers):
                return "limited"
            if metered:
                call.meters.append(_Attempts(call, metered))
            return "allowed"

        return run


class _Check(Struct, frozen=True):
    """One rate of one limit. `name` tells its counters from all others; `whose` is what a caller is told."""

    name: str
    what: str
    limit: int
    period: float
    readers: tuple[Reader, ...]
    whose: str
    when: FirstMatch | None = None
    of_model: bool = False

    def holds(self, call: Call) -> bool:
        """Whether it limits this request at all."""
        return self.when is None or self.when.index(call.features) == 0

    def counter(self, call: Call, model: Model | None = None) -> Counter:
        """What is counted for this call, sent to this model."""
        return self.name, tuple([read(call, model) for read in self.readers])

    def amount(self, call: Call) -> int:
        """What this call takes."""
        return amount(self.what, call.features, self.limit)

    def told(self, call: Call, left: Left, model: Model | None = None) -> str:
        """The text for a caller who is over it."""
        whose = self.whose if model is None else self.whose.format(model=model.id, provider=model.provider)
        return reached(whose, self.what, (self.limit, self.period), self.amount(call), left.wait)


class _Attempts:
    """Limits that involve the model, taken for each attempt of one call when it is sent. `_shown` is what the
    response's headers told before the first."""

    __slots__ = ("_call", "_checks", "_shown", "_taken")

    def __init__(self, call: Call, checks: Sequence[_Check]) -> None:
        self._call = call
        self._checks = checks
        self._shown = dict(call.quotas)
        self._taken: dict[int, tuple[float, list[tuple[Counter, int, str]]]] = {}

    def enter(self, model: Model, attempt: int) -> Failure | None:
        """Take one request, and the tokens it may use, from every limit; or none, and say which is reached."""
        # An attempt may come minutes after the walk: what it takes counts from now on.
        call, now = self._call, time()
        counters = call.state.counters
        call.quotas = dict(self._shown)
        taken: list[tuple[Counter, int, str]] = []
        for check in self._checks:
            counter, wanted = check.counter(call, model), check.amount(call)
            left = counters.take(counter, check.limit, check.period, wanted, now)
            show(call, check.what, left)
            if left.wait:
                for other, held, _ in taken:
                    counters.adjust(other, -held, now)
                return Failure(FailureKind.OVER_LIMIT, check.told(call, left, model), retry_after=left.wait)
            taken.append((counter, wanted, check.what))
        self._taken[attempt] = (now, taken)
        return None

    def leave(self, attempt: int, usage: Usage | None, nano: int | None) -> None:
        """Correct the tokens by what was used; an attempt that was not sent gives back all."""
        then, taken = self._taken.pop(attempt, (0.0, []))
        for counter, held, what in taken:
            if usage is None:
                more = -held
            else:
                more = usage.input_tokens + usage.output_tokens - held if what == "tokens" else 0
            if more:
                self._call.state.counters.adjust(counter, more, then if more < 0 else time())


def _take(call: Call, checks: Sequence[_Check]) -> bool:
    """Take what the caller's limits count, all or nothing."""
    counters, now = call.state.counters, call.now
    taken: list[tuple[Counter, int, str]] = []
    for check in checks:
        if not check.holds(call):
            continue
        counter, wanted = check.counter(call), check.amount(call)
        left = counters.take(counter, check.limit, check.period, wanted, now)
        show(call, check.what, left)
        if left.wait:
            call.refusal = refusal(check.told(call, left), left.wait)
            for other, held, _ in taken:
                counters.adjust(other, -held, now)
            return False
        taken.append((counter, wanted, "tokens" if check.what == "tokens" else "asked"))
    call.charged += taken
    return True


def _usable(call: Call, checks: Sequence[_Check]) -> bool:
    """Leave out of the chain the models whose limits are reached. With none left the soonest refuses the call."""
    # A policy that does not fall back from a limit wants the first model or none.
    may_drop = not call.plan.fall_back or FailureKind.OVER_LIMIT in call.plan.fall_back
    usable: list[Model] = []
    full: list[tuple[float, str, _Check, Left]] = []
    for model in call.chain if may_drop else call.chain[:1]:
        check, left = max((_peek(call, check, model) for check in checks), key=lambda found: found[1].wait)
        if left.wait:
            full.append((left.wait, check.told(call, left, model), check, left))
            call.dropped.append((model.id, f"over its limit of {check.limit} {check.what}"))
        else:
            usable.append(model)
    if usable:
        call.chain = usable if may_drop else call.chain
        return True
    wait, message, check, left = min(full, key=lambda found: found[0])
    show(call, check.what, left)
    call.refusal = refusal(message, wait)
    return False


def _peek(call: Call, check: _Check, model: Model) -> tuple[_Check, Left]:
    counters = call.state.counters
    return check, counters.peek(check.counter(call, model), check.limit, check.period, check.amount(call), call.now)


def _check(limit: QuotaLimit, what: str, rate: str) -> _Check:
    count, period = parse(rate)
    kept = limit.name or f"{_label(limit.parts)} {limit.when or ''}"
    return _Check(
        name=f"quota {kept} {what} {rate[-1]}",
        what=what,
        limit=count,
        period=period,
        readers=tuple(_reader(part) for part in limit.parts),
        whose=" on ".join(_whose(part) for part in limit.parts),
        when=None if limit.when is None else FirstMatch([Compiled(limit.when)], {}),
        of_model="model" in limit.parts or "provider" in limit.parts,
    )


@lru_cache(maxsize=1024)
def _own(limits: tuple[tuple[str, int, float], ...]) -> tuple[_Check, ...]:
    """The checks of a gateway key's own limits."""
    return tuple(
        _Check(f"key's own {what} {period:g}", what, count, period, (_reader("key"),), _whose("key"))
        for what, count, period in limits
    )


def _reader(part: str) -> Reader:
    """What tells one counter from another. Those without a label or claim are counted together: by leaving it away
    nobody escapes."""
    kind, _, path = part.partition(".")
    if kind == "labels":
        return lambda call, model: f"={call.features.labels[path]}" if path in call.features.labels else ""
    if kind == "claims":
        return lambda call, model: "" if (said := text(claim(call.features.claims, path))) is None else f"={said}"
    return _READERS[kind]


_READERS: dict[str, Reader] = {
    "tenant": lambda call, model: call.features.tenant,
    "key": lambda call, model: f"{call.features.tenant}\n{call.features.key}",
    "ip": lambda call, model: call.ip,
    "model": lambda call, model: "" if model is None else model.id,
    "provider": lambda call, model: "" if model is None else model.provider,
}


def _whose(part: str) -> str:
    kind, _, path = part.partition(".")
    if kind in ("model", "provider"):
        return f"{kind} `{{{kind}}}`"
    return f"this {'address' if kind == 'ip' else kind}" if not path else f"{kind[:-1]} `{path}`"


def _label(parts: tuple[str, ...]) -> str:
    return " and ".join(parts)


def _limit_problems(path: tuple[str | int, ...], limit: QuotaLimit) -> list[Problem]:
    """What is wrong with one limit by itself."""
    found = []
    if limit.requests is None and limit.tokens is None:
        message = "a limit without `requests` and `tokens` limits nothing"
        found.append(Problem(path, Code.BAD_VALUE, message, "give it a rate, such as 60/m"))
    if not limit.parts:
        found.append(Problem((*path, "per"), Code.BAD_VALUE, "`per` must not be empty", f"try {_PARTS[0]}"))
    for place, part in enumerate(limit.parts):
        where = (*path, "per") if isinstance(limit.per, str) else (*path, "per", place)
        if not _PART.fullmatch(part):
            message = f"`{part}` is nothing to count by"
            found.append(Problem(where, Code.BAD_VALUE, message, among(part, _PARTS, "these")))
        if part in limit.parts[:place]:
            message = f"`{part}` stands in `per` twice"
            found.append(Problem(where, Code.DUPLICATE_NAME, message, "once is enough"))
    if limit.when is not None:
        try:
            Compiled(limit.when)
        except ConditionError as fault:
            help_ = among(fault.unknown, FEATURES, "features") if fault.unknown else fault.help
            found.append(Problem((*path, "when"), Code.BAD_CONDITION, f"condition of a limit: {fault}", help_))
    return found

"""`kind: budget`: how much may be spent, by whom, in which time. Hard ones refuse, soft ones lead to what is cheaper.

All budgets that apply to a call count together. The most an attempt may cost is held before it is sent, on every way
there is: first tries, retries, fallbacks, hedges and streams alike.
"""

import re
from typing import Annotated, ClassVar, Literal

from msgspec import Meta
from msgspec.structs import replace

from ..call import Call
from ..chat import Problem as Refusal
from ..conditions import Condition, ConditionError, context
from ..config.codes import Code
from ..features import FEATURES, Features
from ..identity.jwt import claim, text
from ..registry.price import nano
from ..spec import Condition as ConditionText
from ..spec import Name, Spec, seconds
from ..stores.base import Accounts
from ..stores.budgets import MINUTE, Account, Terms, Window, calendar, rolling
from ..stores.ledger import REMEMBERED
from .base import NEXT, REFUSE, Problem, Run, Scope, StageSpec, among
from .purse import MOST_LIMIT, CallPurse, Entry, used_up

_CALENDAR = frozenset({"hour", "day", "week", "month"})
_CHEAPER = "cost"
_LONGEST = REMEMBERED - 86400


class BudgetLimit(Spec, frozen=True):
    """One budget: an account for each of those it is `per`, or one for all callers that it applies to."""

    name: Name
    limit: Annotated[float, Meta(gt=0, le=MOST_LIMIT, description="US dollars in each window.", examples=[10])]
    window: Annotated[
        str,
        Meta(
            pattern=r"^(hour|day|week|month|([0-9]+(\.[0-9]+)?(s|m|h|d))+)$",
            max_length=32,
            description="A calendar hour, day, week (from Monday) or month in UTC; or a rolling length: 24h, 30d.",
            examples=["day"],
        ),
    ]
    when: (
        Annotated[
            ConditionText, Meta(description="Whom it applies to: everybody, when absent; also who lacks a claim.")
        ]
        | None
    ) = None
    per: (
        Annotated[
            str,
            Meta(
                pattern=r"^(key|tenant|labels\..{1,256}|claims\..{1,256})$",
                description="Who has an account of their own: key, tenant, labels.NAME or claims.PATH.",
                examples=["claims.team"],
            ),
        ]
        | None
    ) = None
    mode: Annotated[Literal["hard", "soft"], Meta(description="hard: refuse. soft: go on with a cheaper strategy.")] = (
        "hard"
    )
    strategy: (
        Annotated[Name, Meta(description="What a soft one leads to once it is used up; cost if absent.")] | None
    ) = None

    @property
    def span(self) -> Window:
        """Its window, compiled."""
        return calendar(self.window) if self.window in _CALENDAR else rolling(seconds(self.window))


class Budget(StageSpec, frozen=True, tag="budget"):
    """Refuses with 429 and retry-after what a hard budget cannot pay for, with 402 a model without a price."""

    budgets: tuple[BudgetLimit, ...] = ()

    kind: ClassVar[str] = "budget"
    outcomes: ClassVar = {"within": NEXT, "degraded": NEXT, "exceeded": REFUSE}
    needs: ClassVar = ("caller",)
    implied: ClassVar[bool] = False

    @property
    def terms(self) -> tuple[Terms, ...]:
        """All its budgets, compiled. Stages of other names have accounts of their own."""
        prefix = "" if self.name is None else f"{self.name}/"
        return tuple(Terms(f"{prefix}{b.name}", nano(b.limit), b.span, b.mode == "hard") for b in self.budgets)

    def problems(self, scope: Scope) -> list[Problem]:
        """Names that stand twice, conditions and strategies that are none, windows that cannot be kept."""
        found: list[Problem] = []
        for index, budget in enumerate(self.budgets):
            path = ("budgets", index)
            if budget.name in [other.name for other in self.budgets[:index]]:
                message = f"there are two budgets called `{budget.name}`"
                help_ = "what is spent is remembered by name: give each its own"
                found.append(Problem((*path, "name"), Code.DUPLICATE_NAME, message, help_))
            if budget.when is not None and (problem := _bad_condition((*path, "when"), budget.when)) is not None:
                found.append(problem)
            if budget.window not in _CALENDAR and not MINUTE <= seconds(budget.window) <= _LONGEST:
                message = f"a rolling window of `{budget.window}` cannot be kept"
                found.append(Problem((*path, "window"), Code.BAD_VALUE, message, "from 1m to 31d, or a calendar month"))
            if budget.strategy is not None and budget.mode == "hard":
                message = "a hard budget refuses: it leads to no `strategy`"
                found.append(
                    Problem((*path, "strategy"), Code.BAD_VALUE, message, "write `mode: soft`, or take it out")
                )
            elif budget.strategy is not None and scope.strategies and budget.strategy not in scope.strategies:
                message, help_ = (
                    f"`{budget.strategy}` is not a strategy",
                    among(budget.strategy, scope.strategies, "they"),
                )
                found.append(Problem((*path, "strategy"), Code.UNKNOWN_STRATEGY, message, help_))
        return found

    def build(self, scope: Scope) -> Run:
        """Conditions compiled, limits in nano-USD."""
        rows = [
            (terms, None if spec.when is None else Condition(spec.when), spec.per, spec.strategy or _CHEAPER)
            for terms, spec in zip(self.terms, self.budgets, strict=True)
        ]
        names = frozenset().union(*(condition.names for _, condition, *_ in rows if condition is not None))
        read = tuple(sorted(names & FEATURES.keys()))
        node = self.node

        def run(call: Call) -> str:
            store, now, outcome = call.state.budgets, call.now, "within"
            if store is None:
                call.refusal = _NO_ACCOUNT
                return "exceeded"
            shared = context(call.features, read, {})
            entries: list[Entry] = []
            for terms, condition, per, strategy in rows:
                # A condition that cannot be told holds: nobody escapes a budget by leaving out a claim.
                if condition is not None and condition.fails(shared):
                    continue
                subject = _subject(call.features, per)
                account = store.find(terms, subject, now)
                if account is None:
                    call.refusal, outcome = _NO_ACCOUNT, "exceeded"
                    entries.append(_nothing(terms, subject))
                    continue
                entries.append(Entry(terms, account))
                if account.standing(now)[0] < terms.limit:
                    continue
                if terms.hard:
                    call.refusal, outcome = call.refusal or used_up(entries[-1], now), "exceeded"
                elif outcome == "within":
                    _degrade(call, strategy)
                    outcome = "degraded"
            if entries:
                _charge(call, entries, store)
            if call.details is not None:
                call.note(node, [_shown(entry, now) for entry in entries])
            return outcome

        return run


def _nothing(terms: Terms, subject: str) -> Entry:
    """An account that pays for nothing, wherever the policy may send the call."""
    return Entry(replace(terms, limit=0, hard=True), Account(terms.name, subject, terms.window))


def _charge(call: Call, entries: list[Entry], store: Accounts) -> None:
    """One purse for the budgets of all stages that the call comes through."""
    if isinstance(call.purse, CallPurse):
        entries = [*call.purse.entries, *entries]
        call.meters.remove(call.purse)
    call.purse = CallPurse(call, entries, store)
    call.meters.append(call.purse)


def _degrade(call: Call, strategy: str) -> None:
    """Whatever strategy a caller or a tier asks for. A model that is named stays, and so do a key's strategies."""
    allowed = call.principal.strategies if call.principal is not None else ()
    if call.model.partition(":")[0] == "auto" and (not allowed or strategy in allowed):
        call.model = f"auto:{strategy}"


def _subject(features: Features, per: str | None) -> str:
    """Whose account it is. Those who lack the label or the claim share one."""
    what, _, name = (per or "").partition(".")
    if what == "claims":
        found = text(claim(features.claims, name)) or ""
    elif what == "labels":
        found = features.labels.get(name, "")
    else:
        found = {"key": features.key, "tenant": features.tenant, "": ""}[what]
    return _SPECIAL.sub(lambda mark: f"%{ord(mark[0]):02X}", found)


def _bad_condition(path: tuple[str | int, ...], source: str) -> Problem | None:
    try:
        Condition(source)
    except ConditionError as fault:
        help_ = among(fault.unknown, FEATURES, "features") if fault.unknown else fault.help
        return Problem(path, Code.BAD_CONDITION, str(fault), help_)
    return None


def _shown(entry: Entry, now: float) -> dict[str, object]:
    spent, held = entry.account.standing(now)
    terms = entry.terms
    left = max(0, terms.limit - spent - held)
    return {
        "budget": terms.name,
        "subject": entry.account.subject,
        "hard": terms.hard,
        "limit": terms.limit,
        "left": left,
    }


_SPECIAL = re.compile(r"[%|,]")
"""Marks that the ledger puts between accounts."""
_NO_ACCOUNT = Refusal(
    503,
    "api_error",
    "The gateway keeps no account for this caller's budget now.",
    "budgets_unavailable",
    retry_after=5.0,
)

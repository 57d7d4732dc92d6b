"""The shadow: a second policy over live requests. It answers nobody, takes nothing and keeps only disagreements.

A request is walked again once its own way has led to a wait, usually for the provider: before that nobody waits for
it, after that its text is let go.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from math import inf

from msgspec import Struct
from msgspec.structs import asdict, replace

from ..call import Call
from ..stores.base import Accounts, Counter, Counters, Entry, Health, Quota, State
from ..stores.budgets import Account, Hold, Terms
from ..stores.disagreements import Disagreement, Disagreements
from ..stores.ledger import Row
from .metrics import Metrics
from .route import Live
from .walk import walk

Log = Callable[[str, str, dict[str, object]], None]

MAX_WAITING = 1000
"""Requests that wait to be judged again; beyond that they are dropped and counted."""
LOG_EVERY = 1.0
"""Seconds of requests between two lines in the log."""
BATCH = 16
"""Most walks at one turn of the event loop."""


class Verdict(Struct, frozen=True):
    """What was decided: a tier and the first model, or the code of a refusal."""

    tier: str = ""
    model: str = ""
    refusal: str = ""

    @classmethod
    def of(cls, call: Call, end: str) -> "Verdict":
        """What a walk came to."""
        if end == "refuse":
            return cls(refusal="refused" if call.refusal is None else call.refusal.code or "refused")
        return cls(call.tier, call.chain[0].id if call.chain else "")


class _Waiting(Struct, frozen=True):
    """A request to judge again; `call` is as it was before its walk."""

    live: Live
    policy: str
    call: Call
    verdict: Verdict


class Shadows:
    """Judges requests a second time. Use on one event loop."""

    def __init__(self, kept: Disagreements, metrics: Metrics, log: Log) -> None:
        self.kept = kept
        self.agreed = 0
        self.differed = 0
        self.dropped = 0
        self._metrics = metrics
        self._log = log
        self._logged = -inf
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[_Waiting] = deque()

    def follow(self, live: Live, policy: str, asked: Call, call: Call, end: str) -> None:
        """Judge a walked call again, soon; `asked` is the same before its walk. What the cache answered is left out:
        nothing was decided."""
        if end == "respond":
            return
        if len(self._waiting) >= MAX_WAITING:
            self.dropped += 1
            self._metrics.shadowed("dropped")
            return
        if not self._waiting:
            self._loop.call_soon(self._work_off)
        asked.state = _looked_at(call)
        self._waiting.append(_Waiting(live, policy, asked, Verdict.of(call, end)))

    async def close(self) -> None:
        """Judge what waits, and write what was found."""
        while self._waiting:
            self._judge(self._waiting.popleft())
        await self.kept.close()

    def _work_off(self) -> None:
        try:
            for _ in range(min(BATCH, len(self._waiting))):
                self._judge(self._waiting.popleft())
        finally:
            if self._waiting:
                self._loop.call_soon(self._work_off)

    def _judge(self, waiting: _Waiting) -> None:
        call, was = waiting.call, waiting.verdict
        found = Verdict.of(call, walk(waiting.live.graph, call))
        if found == was:
            self.agreed += 1
            self._metrics.shadowed("agree")
            return
        self.differed += 1
        self._metrics.shadowed("differ")
        disagreement = Disagreement(
            ts=call.now, request_id=call.id, policy=waiting.policy, shadow=waiting.live.graph.short_hash,
            tier=was.tier, shadow_tier=found.tier, model=was.model, shadow_model=found.model,
            refusal=was.refusal, shadow_refusal=found.refusal,
        )  # fmt: skip
        self.kept.add(disagreement)
        if call.now - self._logged >= LOG_EVERY:
            self._logged = call.now
            self._log("info", "shadow", asdict(disagreement))


def unwalked(call: Call) -> Call:
    """The same request apart from it. A walk writes into its call, its features and, where money is short, its chat."""
    return Call(
        id=call.id, chat=replace(call.chat), features=replace(call.features), state=call.state, now=call.now,
        raw=call.raw, model=call.model, ip=call.ip, credential=call.credential, local=call.local, timeout=call.timeout,
    )  # fmt: skip


def _looked_at(call: Call) -> State:
    """The stores of a walked call as they were before it, to be looked at only."""
    state = call.state
    own: dict[Counter, int] = {}
    for counter, taken, _ in call.charged:
        own[counter] = own.get(counter, 0) + taken
    return replace(
        state,
        counters=_Peeking(state.counters, own),
        cache=_Empty(),
        health=_Seen(state.health, dict(state.health.down)),
        budgets=None if state.budgets is None else _Looking(state.budgets),
    )


class _Peeking:
    """Counters that are looked at. What the request took for itself counts as not yet taken."""

    def __init__(self, counters: Counters, own: Mapping[Counter, int]) -> None:
        self._counters = counters
        self._own = own

    def take(self, counter: Counter, limit: int, period: float, amount: int, now: float) -> Quota:
        """Whether it would fit."""
        return self.peek(counter, limit, period, amount, now)

    def peek(self, counter: Counter, limit: int, period: float, amount: int, now: float) -> Quota:
        """Whether it would fit."""
        return self._counters.peek(counter, limit, period, amount - self._own.get(counter, 0), now)

    def adjust(self, counter: Counter, amount: int, now: float) -> None:
        """Nothing was taken."""


class _Looking:
    """Accounts that are looked at."""

    def __init__(self, accounts: Accounts) -> None:
        self._accounts = accounts

    def find(self, terms: Terms, subject: str, now: float) -> Account | None:
        """The account; one that is not there is not made."""
        return self._accounts.look(terms, subject)

    def look(self, terms: Terms, subject: str) -> Account:
        """The same."""
        return self._accounts.look(terms, subject)

    def begin(self, row: Row) -> None:
        """Nothing is sent."""

    def settle(self, account: Account, hold: Hold, nano: int) -> None:
        """Nothing was held."""


class _Empty:
    """A cache without entries: what another policy answered is none of the shadow's."""

    def get(self, key: bytes, now: float) -> Entry | None:
        """Nothing is there."""
        return None

    def put(self, key: bytes, entry: Entry) -> None:
        """Nothing is kept."""


class _Seen:
    """Health as it was when the request was decided: by now its own call may show in it."""

    def __init__(self, health: Health, down: Mapping[str, str]) -> None:
        self._health = health
        self.down = down

    @property
    def version(self) -> int:
        """Of the learned speeds."""
        return self._health.version

    def speed(self, model: str) -> float | None:
        """Learned output tokens a second."""
        return self._health.speed(model)

    def first_token_p95(self, model: str) -> float | None:
        """Seconds to the first token."""
        return self._health.first_token_p95(model)

    def began(self, model: str) -> int:
        """No call follows from a shadow's decision."""
        return 0

    def succeeded(self, model: str, now: float, first_token: float, ticket: int | None = None) -> None:
        """Nothing was sent."""

    def failed(
        self, model: str, reason: str, now: float, pause: float | None = None, ticket: int | None = None
    ) -> None:
        """Nothing was sent."""

    def released(self, model: str, ticket: int | None = None) -> None:
        """Nothing was sent."""

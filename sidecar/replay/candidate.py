"""A policy that decides past requests: the walk that serves traffic, in recorded time, with counters of its own.

Failures are taken as they happened: a model that failed for a request fails for it again, and no other does. Models do
not rest. What a request takes from limits and budgets is settled at once.
"""

import re
from base64 import b64encode
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from heapq import heappop, heappush
from itertools import count
from math import inf

from msgspec import Struct

from ..call import Call
from ..chat import ChatRequest, Message, Usage
from ..conditions import steers
from ..engine.recorder import ALWAYS, CONVERSATION, READS_USER, conditions
from ..engine.walk import walk
from ..features import Features
from ..graph import Graph
from ..identity.keys import PREFIX
from ..stages.authenticate import Authenticate
from ..stages.budget import Budget
from ..stages.cache import Cache
from ..stores.base import Counter, Entry, Principal, Quota, State
from ..stores.budgets import Accounts
from ..stores.health import LiveHealth
from ..stores.memory import MemoryCache, MemoryCounters
from ..stores.vector import Vector, claims_named, headers_named, mark
from .history import Past

MOST_DOUBTS = 3
"""Patterns nobody searched for then, of which every combination is tried; of more only all and none."""
SEEN = 200_000
"""Bodies remembered, to tell that a hit is of an answer from before the window."""
SPEED_TOKENS = 16
_TEXT = re.compile(r"""(?<![.\w"'-])text\b(?!["'-])""")
_MESSAGE = [Message("user", "")]


class Decision(Struct, gc=False):
    """What the policy makes of a past request. `end` is execute, respond or refuse, `model` who would have answered.

    `others` are what else it may have been (end and model), when that hangs on words that were not kept; `unsure`
    says that it hangs on something that cannot be tried out.
    """

    call: Call
    end: str
    model: str | None
    others: frozenset[tuple[str, str | None]] = frozenset()
    unsure: bool = False


class Candidate:
    """One graph and its world. Requests must come in the order of their time."""

    def __init__(self, graph: Graph, callers: Mapping[str, Principal]) -> None:
        self.graph = graph
        self.health = LiveHealth()
        self._callers = callers
        self._holder = _Holder()
        entries = next((spec.max_entries for spec in graph.stages if isinstance(spec, Cache)), 1)
        self._cache = MemoryCache(entries, 2**62)
        self._state = State(MemoryCountersThen(), self._cache, self.health, self._holder, budgets=Accounts())
        self._free = State(_NoLimits(), MemoryCache(1, 1), self.health, self._holder, budgets=Accounts())
        self._waiting: list[tuple[float, int, bytes, Entry]] = []
        self._number = count()
        self._seen: OrderedDict[bytes, None] = OrderedDict()
        self._padded = any(isinstance(spec, Budget) for spec in graph.stages)
        self._patterned = any(getattr(spec, "patterns", None) for spec in graph.stages)
        asked = list(conditions(graph.stages))
        outside = frozenset[str]().union(*map(steers, asked))
        self._headers = set[str]().union(*map(headers_named, asked)) - set(ALWAYS)
        self._headers |= {CONVERSATION} if "conversation" in outside else set()
        self._claims = set[str]().union(*map(claims_named, asked))
        self._user = any(READS_USER.search(condition) for condition in asked)
        self._text = any(_TEXT.search(condition) for condition in asked)
        self._issuers = {j.name for spec in graph.stages if isinstance(spec, Authenticate) for j in spec.jwt}

    def decide(self, past: Past, vector: Vector, *, notes: bool = False) -> Decision:
        """Walk, and choose who answers. `notes` are taken for an explanation."""
        self._come_to(past.first.ts)
        decision = self._decided(past, vector, self._state, notes=notes)
        self._settle(decision, past, vector)
        return decision

    def knows(self, key: str) -> bool:
        """Whether whoever is called this in a ledger holds a gateway key, or a token of an issuer, that is taken."""
        issuer, token, _ = key.partition("|")
        return key in self._callers or bool(token and issuer in self._issuers)

    def alone(self, past: Past, vector: Vector) -> Decision:
        """The same by itself: every limit has room, nothing is cached. In any order."""
        return self._decided(past, vector, self._free)

    def _decided(self, past: Past, vector: Vector, state: State, *, notes: bool = False) -> Decision:
        call = self._call(past, vector, state, notes=notes)
        doubts: list[str] = []
        if self._patterned and vector.text is None:
            call.patterns = _Known(vector.patterns, frozenset(), doubts)
        decision = self._ended(call, walk(self.graph, call), past)
        decision.unsure = self._lacks(past, vector)
        if doubts:
            decision.others = self._ways(past, vector, doubts) - {(decision.end, decision.model)}
        return decision

    def _come_to(self, now: float) -> None:
        counters = self._state.counters
        assert isinstance(counters, MemoryCountersThen)
        counters.now = now
        while self._waiting and self._waiting[0][0] <= now:
            _, _, key, entry = heappop(self._waiting)
            self._cache.put(key, entry)

    def _call(self, past: Past, vector: Vector, state: State, *, notes: bool = False) -> Call:
        row, headers = past.first, vector.headers
        there = {name: value for name, value in headers.items() if value is not None} if headers else {}
        v, model, text = vector, row.requested_model, vector.text or ""
        features = Features(
            model, v.tokens, v.system_tokens, v.last_tokens, v.max_tokens, v.messages, v.turns, v.tools,
            v.tool_results, v.images, v.documents, v.audio, v.has_code, v.json_object, v.json_schema, v.reasoning,
            v.reasoning_effort, row.stream == 1, v.choices, 1.0 if v.temperature is None else v.temperature, text,
            there.get("x-sidecar-task", ""), there.get("x-sidecar-strategy", ""), there.get(CONVERSATION, ""),
            user=v.user or "", headers=there,
        )  # fmt: skip
        raw = b'{"f":"' + b64encode(v.fingerprint) + b'"}'
        anonymous = row.key_name == "anonymous"
        self._holder.principal = None if anonymous else self._principal(past, vector)
        return Call(
            row.request_id, ChatRequest(model, _MESSAGE, max_tokens=v.max_tokens or None), features, state, row.ts,
            raw.ljust(v.size) if self._padded else raw, self.graph.aliases.get(model, model), v.ip,
            "" if anonymous else _CREDENTIAL, b"" if anonymous else row.key_name.encode("utf-8", "surrogatepass"),
            local=v.local, details={} if notes else None,
        )  # fmt: skip

    def _principal(self, past: Past, vector: Vector) -> Principal | None:
        """Who asked: by what the candidate says of the key, or what the token said then."""
        row = past.first
        issuer, token, _ = row.key_name.partition("|")
        if token and issuer in self._issuers:
            return Principal(row.key_name, row.tenant, vector.labels, claims=vector.claims)
        return self._callers.get(row.key_name)

    def _lacks(self, past: Past, vector: Vector) -> bool:
        """Whether a condition reads what was not kept of this request."""
        return bool(
            (self._text and vector.text is None)
            or (self._user and vector.user is None)
            or (self._headers and not self._headers <= vector.headers.keys())
            or (self._claims and "|" in past.first.key_name and not self._claims <= vector.claims.keys())
        )

    def _ways(self, past: Past, vector: Vector, doubts: list[str]) -> frozenset[tuple[str, str | None]]:
        """Where it would have gone had some of these patterns been found. What is asked for only then joins them."""
        ways: set[tuple[str, str | None]] = set()
        tried = 0
        while len(doubts) > tried:
            tried = len(doubts)
            for yes in _combinations(tuple(doubts)):
                call = self._call(past, vector, self._free)
                call.patterns = _Known(vector.patterns, yes, doubts)
                decision = self._ended(call, walk(self.graph, call), past)
                ways.add((decision.end, decision.model))
        return frozenset(ways)

    def _ended(self, call: Call, end: str, past: Past) -> Decision:
        if end == "execute":
            if len(past.rows) == 1 and past.rows[0].failure is None:
                return Decision(call, end, call.chain[0].id)
            failed = {row.model for row in past.rows if row.failure is not None}
            answers = next((model.id for model in call.chain if model.id not in failed), call.chain[-1].id)
            return Decision(call, end, answers)
        return Decision(call, end, call.hit.model if call.hit is not None else None)

    def _settle(self, decision: Decision, past: Past, vector: Vector) -> None:
        """What follows from the decision: limits corrected, the cache filled when the answer was there."""
        call, row = decision.call, past.last
        key = call.cache_key
        if past.hit and decision.end == "execute" and key is not None and vector.fingerprint not in self._seen:
            # Of an answer from before the window: it would be in this policy's cache as well.
            decision.end, decision.model = "respond", row.model
            self._cache.put(key, Entry(b"", "", row.model or "", row.provider or "", "", row.ts + call.cache_ttl))
        self._seen[vector.fingerprint] = None
        if len(self._seen) > SEEN:
            self._seen.popitem(last=False)
        if decision.end != "execute":
            return
        for counter, taken, what in call.charged:
            if what == "tokens":
                call.state.counters.adjust(counter, row.input_tokens + row.output_tokens - taken, call.now)
        used = next((m for m in call.chain if m.id == decision.model), call.chain[0])
        for meter in call.meters:
            if meter.enter(used, 1) is None:
                nano = None if used.price is None else used.price.cost(row.usage)
                meter.leave(1, row.usage if not past.hit else Usage(), nano)
        if row.failure is None and row.output_tokens >= SPEED_TOKENS and row.latency_ms > 0 and row.model is not None:
            self.health.learned(row.model, row.output_tokens * 1000 / row.latency_ms)
        if key is not None and row.failure is None and (past.hit or row.finish_reason in ("stop", "tool_calls")):
            entry = Entry(b"", "", used.id, used.provider, call.tier, call.now + call.cache_ttl)
            seconds = sum([each.latency_ms for each in past.rows]) / 1000
            heappush(self._waiting, (call.now + seconds, next(self._number), key, entry))


_take = MemoryCounters.take


class MemoryCountersThen(MemoryCounters):
    """Counters in recorded time: what reads a clock of its own is told the time of then."""

    now = inf

    def take(self, counter: Counter, limit: int, period: float, amount: int, now: float) -> Quota:
        """Take `amount` if it fits, at the time of the request."""
        return _take(self, counter, limit, period, amount, now if now < self.now else self.now)

    def adjust(self, counter: Counter, amount: int, now: float) -> None:
        """Correct a take, at the time of the request."""
        super().adjust(counter, amount, min(now, self.now))


class _NoLimits(MemoryCounters):
    """Counters that refuse nothing and remember nothing."""

    def take(self, counter: Counter, limit: int, period: float, amount: int, now: float) -> Quota:
        return Quota(limit, limit, period)

    peek = take


class _Holder:
    """Gateway keys: whoever presents one is the caller of then."""

    principal: Principal | None = None

    def find(self, digest: bytes) -> Principal | None:
        """The caller of the request that is being decided."""
        return self.principal


class _Known(dict[str, bool]):
    """What was found of patterns then. Others go to `doubts`: taken to be found when they are among `yes`."""

    def __init__(self, then: Mapping[str, bool], yes: frozenset[str], doubts: list[str]) -> None:
        self._then = then
        self._yes = yes
        self._doubts = doubts

    def get(self, pattern: str, default: object = None) -> bool:
        """Whether the pattern was, or is taken to have been, found."""
        found = self._then.get(mark(pattern))
        if found is None:
            if pattern not in self._doubts:
                self._doubts.append(pattern)
            return pattern in self._yes
        return found


def _combinations(doubts: Sequence[str]) -> Iterator[frozenset[str]]:
    if len(doubts) > MOST_DOUBTS:
        yield frozenset(doubts)
        return
    for number in range(1, 1 << len(doubts)):
        yield frozenset(name for place, name in enumerate(doubts) if number >> place & 1)


_CREDENTIAL = f"{PREFIX}then"
"""What a caller presents: it looks like one of our keys, so that whom the policy does not know is refused."""

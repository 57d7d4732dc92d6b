"""Settle, once, when a call ends, however it ends: bill, records, cache, counters, health."""

from collections.abc import Sequence

import msgspec
from msgspec import Raw, Struct

from ..call import Call
from ..chat import FailureKind, Usage
from ..registry.price import usd
from ..stores.base import Entry
from ..stores.health import LiveHealth
from ..stores.ledger import NO_FEATURES, Row
from .attempt import Attempt
from .explain import record
from .failures import UNSENT
from .records import Records
from .route import Live
from .sample import Sample

MIN_TOKENS_FOR_SPEED = 16
"""Shorter answers say more of the network than of the model."""


class Bill(Struct, frozen=True):
    """What a call used and cost so far, all attempts together; `nano` is None when a model has no price."""

    usage: Usage | None
    nano: int | None

    @property
    def text(self) -> str | None:
        """US dollars as exact decimal text."""
        return None if self.nano is None else usd(self.nano)


class Ending(Struct, frozen=True):
    """How a call ended, as its caller saw it. Times are perf_counter seconds."""

    status: int
    started: float
    ended: float
    cancelled: bool = False
    body: bytes | None = None
    content_type: str = "application/json"


class Settler:
    """Holds where the results of calls go. `sample` tells of some of the decisions."""

    def __init__(self, records: Records, health: LiveHealth, sample: Sample | None = None) -> None:
        self.records = records
        self.health = health
        self._sample = sample

    def settle(self, live: Live, call: Call, attempts: Sequence[Attempt], ending: Ending) -> None:
        """Everything that follows from a call, exactly once. Attempts must have been through `bill`."""
        overhead = ending.ended - ending.started
        for attempt in attempts:
            overhead -= attempt.ended - attempt.started
        overhead = round(max(0.0, overhead) * 1000, 3)
        status = 499 if ending.cancelled else ending.status
        policy, features = live.graph.short_hash, NO_FEATURES
        if live.recorder is not None and (attempts or call.hit is not None):
            features = live.recorder.features(call)
        self.records.walked(call.id, call.trace)
        rows = []
        for attempt in attempts:
            self._learn(attempt)
            for meter in call.meters:
                meter.leave(attempt.number, attempt.usage or _NO_USAGE, attempt.nano)
            rows.append(_attempt_row(call, attempt, overhead, policy, features))
        if not attempts:
            rows.append(_unasked_row(call, ending, overhead, policy, features))
        for row in rows:
            self.records.add(status, row, row is rows[-1])
        if live.tracing is not None:
            live.tracing.settled(call, rows, attempts, ending, status)
        if attempts and attempts[-1].lost:
            self.records.metrics.lost(attempts[-1].lost)
        if len(attempts) > 1 and attempts[-1].failure is None and attempts[-1].route.model.id != call.chain[0].id:
            self.records.metrics.fell_back()
        if self._sample is not None:
            self._sample.see(call)
        if call.charged:
            _correct_counters(call, attempts, ending.ended - ending.started)
        if attempts and call.cache_key is not None:
            _fill_cache(call, attempts[-1], ending)
        if call.details is not None and call.explained:
            self.records.decisions.add(call.id, record(live.graph, call))

    def _learn(self, attempt: Attempt) -> None:
        """How fast a model answers."""
        tokens = attempt.usage.output_tokens if attempt.usage is not None else 0
        seconds = attempt.ended - attempt.started
        if attempt.failure is None and tokens >= MIN_TOKENS_FOR_SPEED and seconds > 0:
            self.health.learned(attempt.route.model.id, tokens / seconds)


def _correct_counters(call: Call, attempts: Sequence[Attempt], seconds: float) -> None:
    """Tokens were taken by estimate: give back, or take at the end, what the provider really counted. What no provider
    was asked for takes nothing."""
    used, asked = 0, False
    for attempt in attempts:
        asked = asked or attempt.failure is None or attempt.failure.kind not in UNSENT
        if attempt.usage is not None:
            used += attempt.usage.input_tokens + attempt.usage.output_tokens
    for counter, taken, what in call.charged:
        more = -taken
        if what == "requests" or (what == "asked" and asked):
            continue
        if what == "tokens":
            more += used
        if more:
            call.state.counters.adjust(counter, more, call.now if more < 0 else call.now + seconds)


def _fill_cache(call: Call, attempt: Attempt, ending: Ending) -> None:
    """Whole answers only: never one that was cut, filtered, failed or empty."""
    if (
        call.cache_key is None
        or ending.body is None
        or attempt.failure is not None
        or ending.cancelled
        or attempt.empty
    ):
        return
    if attempt.finish_reason not in ("stop", "tool_calls"):
        return
    model = attempt.route.model.id
    expires = call.now + call.cache_ttl
    entry = Entry(ending.body, ending.content_type, model, attempt.route.provider, call.tier, expires)
    call.state.cache.put(call.cache_key, entry)


def bill(call: Call, attempts: Sequence[Attempt]) -> Bill:
    """Usage of the last attempt and the cost of all; both are written to the attempts.

    Usage is estimated where tokens were seen (or a caller hung up on them) but the provider counted none.
    """
    total: int | None = 0
    for attempt in attempts:
        if attempt.billed:
            total = None if total is None or attempt.nano is None else total + attempt.nano
            continue
        usage, failure = attempt.usage, attempt.failure
        if usage is None:
            cut = failure is not None and (failure.kind is FailureKind.CANCELLED or attempt.first_token is not None)
            if failure is not None and not (cut and attempt.sent):
                continue
            usage = attempt.usage = Usage(call.features.tokens, _seen(call, attempt), estimated=True)
        elif (
            failure is not None and attempt.completion is None and (seen := _seen(call, attempt)) > usage.output_tokens
        ):
            # What a stream reports at its start is not what a broken one sent.
            usage = attempt.usage = msgspec.structs.replace(usage, output_tokens=seen, estimated=True)
        price = attempt.route.model.price
        attempt.nano = None if price is None else price.cost(usage)
        attempt.billed = attempt.ended > 0
        total = None if total is None or attempt.nano is None else total + attempt.nano
    return Bill(attempts[-1].usage if attempts else None, total)


def _seen(call: Call, attempt: Attempt) -> int:
    """Output tokens that came, roughly, and never more than could have come."""
    limit = call.chat.output_limit
    most = attempt.route.model.max_output if limit is None else limit
    return min(attempt.tokens_seen, most * call.features.choices)


def _attempt_row(call: Call, attempt: Attempt, overhead: float, policy: str, kept: Raw) -> Row:
    failure, first, started = attempt.failure, attempt.first_token, attempt.started
    features, usage, route = call.features, attempt.usage or _NO_USAGE, attempt.route
    return Row(
        call.now, call.id, attempt.number, "answered" if failure is None else "failed", "chat", call.chat.model[:128],
        features.tenant, features.key, route.model.id, route.provider,
        call.tier or None, call.rule or None, call.strategy or None, int(features.stream), call.cache,
        failure.kind.value if failure is not None else None, attempt.status, attempt.finish_reason,
        usage.input_tokens, usage.output_tokens, usage.cached_tokens,
        usage.cache_write_5m_tokens + usage.cache_write_1h_tokens, usage.reasoning_tokens, int(usage.estimated),
        attempt.nano, round((attempt.ended - started) * 1000, 3),
        None if first is None else round((first - started) * 1000, 3), overhead, policy,
        call.purse.accounts if call.purse is not None and attempt.nano else "",
        kept if attempt.number == 1 else NO_FEATURES,
    )  # fmt: skip


def _unasked_row(call: Call, ending: Ending, overhead: float, policy: str, kept: Raw) -> Row:
    """A request that no attempt was made for: answered from the cache, or refused."""
    hit, refusal = call.hit, call.refusal
    return Row(
        call.now, call.id, 0, "refused" if hit is None else "hit", "chat", call.chat.model[:128],
        call.features.tenant, call.features.key, model=hit.model if hit else None,
        provider=hit.provider if hit else None, tier=(hit.tier if hit else call.tier) or None,
        rule=call.rule or None, strategy=call.strategy or None,
        failure=refusal.code if refusal else None, stream=int(call.features.stream), cache=call.cache,
        status=ending.status, cost_nano=0 if hit else None, latency_ms=round((ending.ended - ending.started) * 1000, 3),
        overhead_ms=overhead, policy=policy, features=kept,
    )  # fmt: skip


_NO_USAGE = Usage()

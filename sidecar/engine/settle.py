"""Settle, once, when a call ends, however it ends: bill, ledger rows, cache, counters, health, metrics, log."""

from collections.abc import Sequence

import msgspec
from msgspec import Struct

from ..call import Call
from ..chat import FailureKind, Usage
from ..registry.price import usd
from ..stores.base import Entry
from ..stores.ledger import Ledger, Row
from ..stores.memory import LiveHealth
from .execute import Attempt
from .failures import BLAMELESS, RESTS
from .log import Log
from .metrics import Metrics
from .route import Live

MIN_TOKENS_FOR_SPEED = 16
"""Shorter answers say more of the network than of the model."""
NANO = 1_000_000_000


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


class Settled(Struct, frozen=True):
    """All that is known of a call at its end; `overhead` is the seconds the gateway added."""

    live: Live
    call: Call
    attempts: Sequence[Attempt]
    ending: Ending
    overhead: float


class Settler:
    """Holds where the results of calls go."""

    def __init__(self, ledger: Ledger, metrics: Metrics, log: Log | None, health: LiveHealth) -> None:
        self.ledger = ledger
        self.metrics = metrics
        self._log = log
        self.health = health

    def settle(self, live: Live, call: Call, attempts: Sequence[Attempt], ending: Ending) -> None:
        """Everything that follows from a call, exactly once. Attempts must have been through `bill`."""
        waited = 0.0
        for attempt in attempts:
            waited += attempt.ended - attempt.started
        overhead = max(0.0, ending.ended - ending.started - waited)
        settled = Settled(live, call, attempts, ending, overhead)
        row = None
        for attempt in attempts:
            self._attempt(call, attempt)
            row = _attempt_row(settled, attempt)
            self.ledger.add(row)
        if call.hit is not None:
            row = _hit_row(settled, call.hit)
            self.ledger.add(row)
        self._count(settled)
        if call.charged:
            _correct_counters(call, attempts)
        if attempts and call.cache_key is not None:
            _fill_cache(call, attempts[-1], ending)
        if self._log is not None:
            self._log.put("info", "request", _encode(row or _refused_row(settled)))

    def _attempt(self, call: Call, attempt: Attempt) -> None:
        model, failure, usage, nano = attempt.route.model, attempt.failure, attempt.usage, attempt.nano
        provider = attempt.route.provider
        outcome = "answered" if failure is None else failure.kind.value
        self.metrics.attempt(provider, model.id, outcome)
        if usage is not None:
            self.metrics.usage(provider, model.id, (usage.input_tokens, usage.output_tokens), (nano or 0) / NANO)
        if failure is None:
            seconds = attempt.ended - attempt.started
            tokens = usage.output_tokens if usage is not None else 0
            learn = tokens >= MIN_TOKENS_FOR_SPEED and seconds > 0
            self.health.succeeded(model.id, tokens / seconds if learn else None)
            first = (attempt.first_token or attempt.ended) - attempt.started
            after = seconds - first
            self.metrics.times(provider, model.id, seconds, first, after / tokens if tokens and after > 0 else None)
        elif failure.kind not in BLAMELESS:
            pause = failure.retry_after if failure.kind in RESTS else None
            self.health.failed(model.id, f"{failure.kind.value} at the last try", call.now, pause)

    def _count(self, settled: Settled) -> None:
        call, attempts, ending, metrics = settled.call, settled.attempts, settled.ending, self.metrics
        metrics.answered(499 if ending.cancelled else ending.status, settled.overhead)
        if call.tier:
            metrics.decision(call.tier, call.rule or "default")
        if call.cache != "disabled":
            metrics.cache(call.cache)
        if ending.cancelled:
            metrics.cancelled()
        if attempts:
            metrics.lost(attempts[-1].lost)
            if attempts[-1].failure is None and attempts[-1].route.model is not attempts[0].route.model:
                metrics.fell_back()


def _correct_counters(call: Call, attempts: Sequence[Attempt]) -> None:
    """Tokens were taken by estimate; give back or take what the provider really counted."""
    for counter, taken, what in call.charged:
        if what == "tokens":
            used = sum(a.usage.input_tokens + a.usage.output_tokens for a in attempts if a.usage is not None)
            if used != taken:
                call.state.counters.adjust(counter, used - taken, call.now)


def _fill_cache(call: Call, attempt: Attempt, ending: Ending) -> None:
    """Whole answers only: never one that was cut, filtered or failed."""
    if call.cache_key is None or ending.body is None or attempt.failure is not None or ending.cancelled:
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
            if failure is not None and not cut:
                continue
            usage = attempt.usage = Usage(call.features.tokens, attempt.output_seen, estimated=True)
        elif failure is not None and attempt.output_seen > usage.output_tokens:
            # What a stream reports at its start is not what a broken one sent.
            usage = attempt.usage = msgspec.structs.replace(usage, output_tokens=attempt.output_seen, estimated=True)
        price = attempt.route.model.price
        attempt.nano = None if price is None else price.cost(usage)
        attempt.billed = attempt.ended > 0
        total = None if total is None or attempt.nano is None else total + attempt.nano
    return Bill(attempts[-1].usage if attempts else None, total)


def _attempt_row(settled: Settled, attempt: Attempt) -> Row:
    call, failure, first, started = settled.call, attempt.failure, attempt.first_token, attempt.started
    features, usage, route = call.features, attempt.usage or _NO_USAGE, attempt.route
    return Row(
        ts=call.now, request_id=call.id, attempt=attempt.number, surface="chat",
        outcome="answered" if failure is None else "failed", requested_model=call.chat.model[:128],
        tenant=features.tenant, key_name=features.key, model=route.model.id, provider=route.provider,
        tier=call.tier or None, rule=call.rule or None, strategy=call.strategy or None, stream=int(features.stream),
        cache=call.cache, failure=failure.kind.value if failure is not None else None, status=attempt.status,
        finish_reason=attempt.finish_reason, input_tokens=usage.input_tokens, output_tokens=usage.output_tokens,
        cached_tokens=usage.cached_tokens,
        cache_write_tokens=usage.cache_write_5m_tokens + usage.cache_write_1h_tokens,
        reasoning_tokens=usage.reasoning_tokens, estimated=int(usage.estimated), cost_nano=attempt.nano,
        latency_ms=round((attempt.ended - started) * 1000, 3),
        first_token_ms=None if first is None else round((first - started) * 1000, 3),
        overhead_ms=round(settled.overhead * 1000, 3), policy=settled.live.graph.short_hash,
    )  # fmt: skip


def _hit_row(settled: Settled, hit: Entry) -> Row:
    return msgspec.structs.replace(
        _refused_row(settled), outcome="hit", model=hit.model, provider=hit.provider, tier=hit.tier, cost_nano=0
    )


def _refused_row(settled: Settled) -> Row:
    """A request that no attempt was made for: only the log sees it, a flood of them must not fill the disk."""
    call, ending = settled.call, settled.ending
    return Row(
        ts=call.now, request_id=call.id, attempt=0, outcome="refused", surface="chat", tenant=call.features.tenant,
        requested_model=call.chat.model[:128], key_name=call.features.key, cache=call.cache, status=ending.status,
        tier=call.tier or None, failure=call.refusal.code if call.refusal else None,
        stream=int(call.features.stream), latency_ms=round((ending.ended - ending.started) * 1000, 3),
        overhead_ms=round(settled.overhead * 1000, 3), policy=settled.live.graph.short_hash,
    )  # fmt: skip


_NO_USAGE = Usage()
_encode = msgspec.json.Encoder().encode

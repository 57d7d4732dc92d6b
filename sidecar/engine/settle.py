"""Settle, once, when a call ends, however it ends: bill, ledger rows, cache, counters, health, metrics, log."""

from collections.abc import Sequence

from msgspec import Struct

from ..call import Call
from ..chat import FailureKind, Usage
from ..registry.price import usd
from ..stores.base import Entry
from ..stores.ledger import Ledger, Row
from ..stores.memory import LiveHealth
from .execute import Attempt
from .failures import FINAL, RESTS
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
    """All that is known of a call at its end. `costs` has usage and nano-USD of each attempt; times in seconds."""

    live: Live
    call: Call
    attempts: Sequence[Attempt]
    costs: Sequence[tuple[Usage | None, int | None]]
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
        """Everything that follows from a call, exactly once."""
        costs = [_price(attempt, call) for attempt in attempts]
        waited = sum(a.ended - a.started for a in attempts)
        overhead = max(0.0, ending.ended - ending.started - waited)
        settled = Settled(live, call, attempts, costs, ending, overhead)
        _correct_counters(call, attempts)
        for attempt, (usage, nano) in zip(attempts, costs, strict=True):
            self._attempt(call, attempt, usage, nano)
            self.ledger.add(_attempt_row(settled, attempt, usage or Usage(), nano))
        if call.hit is not None:
            self.ledger.add(_hit_row(settled, call.hit))
        self._count(settled)
        if attempts and call.cache_key is not None:
            _fill_cache(call, attempts[-1], ending)
        if self._log is not None:
            self._log.write("info", "request", _line(settled))

    def _attempt(self, call: Call, attempt: Attempt, usage: Usage | None, nano: int | None) -> None:
        model, failure = attempt.route.model, attempt.failure
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
        elif failure.kind not in FINAL:
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
    used = sum(a.usage.input_tokens + a.usage.output_tokens for a in attempts if a.usage is not None)
    if not used and attempts and attempts[-1].failure is None:
        return
    estimate = call.features.tokens + call.features.max_tokens
    for counter in call.charged:
        if ":tokens:" in counter and used != estimate:
            call.state.counters.adjust(counter, used - estimate, call.now)


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
    """Usage of the last attempt and the cost of all."""
    costs = [_price(attempt, call) for attempt in attempts]
    unknown = any(usage is not None and nano is None for usage, nano in costs)
    total = None if unknown else sum(nano or 0 for _, nano in costs)
    return Bill(costs[-1][0] if costs else None, total)


def _price(attempt: Attempt, call: Call) -> tuple[Usage | None, int | None]:
    """An attempt's usage, estimated where tokens were seen but none were counted, and its cost in nano-USD."""
    usage, failure = attempt.usage, attempt.failure
    if usage is None and attempt.ended:
        cut = failure is not None and (failure.kind is FailureKind.CANCELLED or attempt.first_token is not None)
        if failure is None or cut:
            usage = Usage(call.features.tokens, attempt.output_seen, estimated=True)
    if usage is None:
        return None, 0
    price = attempt.route.model.price
    return usage, None if price is None else price.cost(usage)


def _hit_row(settled: Settled, hit: Entry) -> Row:
    call, ending = settled.call, settled.ending
    return Row(
        ts=call.now, request_id=call.id, attempt=0, outcome="hit", surface="chat", tenant=call.features.tenant,
        requested_model=call.chat.model[:128], key_name=call.features.key, cache=call.cache, status=ending.status,
        model=hit.model, provider=hit.provider, tier=hit.tier, stream=int(call.features.stream), cost_nano=0,
        latency_ms=round((ending.ended - ending.started) * 1000, 3), overhead_ms=round(settled.overhead * 1000, 3),
        policy=settled.live.graph.short_hash,
    )  # fmt: skip


def _attempt_row(settled: Settled, attempt: Attempt, usage: Usage, nano: int | None) -> Row:
    call, failure, first = settled.call, attempt.failure, attempt.first_token
    return Row(
        ts=call.now, request_id=call.id, attempt=attempt.number, surface="chat",
        outcome="answered" if failure is None else "failed", requested_model=call.chat.model[:128],
        tenant=call.features.tenant, key_name=call.features.key, model=attempt.route.model.id,
        provider=attempt.route.provider, tier=call.tier or None, rule=call.rule or None,
        strategy=call.strategy or None, stream=int(call.features.stream), cache=call.cache,
        failure=failure.kind.value if failure is not None else None, status=attempt.status,
        finish_reason=attempt.finish_reason, input_tokens=usage.input_tokens, output_tokens=usage.output_tokens,
        cached_tokens=usage.cached_tokens,
        cache_write_tokens=usage.cache_write_5m_tokens + usage.cache_write_1h_tokens,
        reasoning_tokens=usage.reasoning_tokens, estimated=int(usage.estimated), cost_nano=nano,
        latency_ms=round((attempt.ended - attempt.started) * 1000, 3),
        first_token_ms=None if first is None else round((first - attempt.started) * 1000, 3),
        overhead_ms=round(settled.overhead * 1000, 3), policy=settled.live.graph.short_hash,
    )  # fmt: skip


def _line(settled: Settled) -> dict[str, object]:
    """The access log's line. Names only; nothing of what was asked or answered."""
    call, ending, costs = settled.call, settled.ending, settled.costs
    last = settled.attempts[-1] if settled.attempts else None
    usage = costs[-1][0] if costs else None
    hit = call.hit
    return {
        "id": call.id, "status": 499 if ending.cancelled else ending.status, "key": call.features.key or None,
        "tenant": call.features.tenant or None, "asked": call.chat.model[:64],
        "model": last.route.model.id if last else hit.model if hit else None,
        "provider": last.route.provider if last else hit.provider if hit else None,
        "tier": call.tier or None, "rule": call.rule or None, "strategy": call.strategy or None,
        "cache": call.cache, "stream": call.features.stream, "attempts": len(settled.attempts),
        "failure": last.failure.kind.value if last and last.failure else None,
        "input_tokens": usage.input_tokens if usage else None,
        "output_tokens": usage.output_tokens if usage else None,
        "cost_usd": usd(sum(nano or 0 for _, nano in costs)) if costs else None,
        "ms": round((ending.ended - ending.started) * 1000, 2),
        "overhead_ms": round(settled.overhead * 1000, 3), "policy": settled.live.graph.short_hash,
        "refused": call.refusal.code if call.refusal else None,
    }  # fmt: skip

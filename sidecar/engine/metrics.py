"""Prometheus metrics. Standard quantities under their OTel-derived names, our own under `sidecar_`.

Labels hold only names from the configuration (models, providers, tiers, rules) or closed lists: never caller input.
"""

import re
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from time import time

from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from ..chat import ChatRequest, FailureKind
from ..registry.price import NANO
from ..stores.budgets import Accounts
from ..stores.health import LiveHealth
from ..stores.ledger import Ledger, Row

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_OVERHEAD = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5)
_PER_TOKEN = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1)
_TOKENS = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576)
_INDEX = re.compile(r"\[\d+\]")
_FIELDS = frozenset((*ChatRequest.__struct_fields__, "reasoning_details", "thought_signature"))
_MODEL = ("gen_ai_provider_name", "gen_ai_request_model")


_STATES = ("closed", "half-open", "open")
_LEFT = "US dollars that a budget has left; of several accounts, the one with least."
_BREAKER = "Circuit breaker of a model: 0 closed, 1 half-open, 2 open."


class Metrics:
    """One set of metrics. Counting is plain addition on the event loop (the client library's own counters take a lock
    and a microsecond each, and a request makes a dozen); the library builds the exposition when asked."""

    def __init__(self, ledger: Ledger, health: LiveHealth, budgets: Accounts) -> None:
        model = _MODEL
        self._tokens = _Histogram("gen_ai_client_token_usage", "Tokens.", (*model, "gen_ai_token_type"), _TOKENS)
        self._duration = _Histogram("gen_ai_server_request_duration_seconds", "Whole attempt.", model, _SECONDS)
        self._first = _Histogram("gen_ai_server_time_to_first_token_seconds", "To the first token.", model, _SECONDS)
        self._per_token = _Histogram(
            "gen_ai_server_time_per_output_token_seconds", "After the first token.", model, _PER_TOKEN
        )
        self._overhead = _Histogram("sidecar_overhead_seconds", "Time the gateway added.", (), _OVERHEAD)
        self._cost = _Counter("sidecar_cost_usd", "US dollars spent.", model)
        self._attempts = _Counter("sidecar_attempts", "Tries of one model.", (*model, "outcome"))
        self._requests = _Counter("sidecar_requests", "Answered requests.", ("status",))
        self._cache = _Counter("sidecar_cache_results", "Exact cache look-ups.", ("result",))
        self._decisions = _Counter("sidecar_decisions", "Routing decisions.", ("tier", "rule"))
        self._warnings = _Counter("sidecar_translation_warnings", "Fields a translation lost.", ("field",))
        self._reloads = _Counter("sidecar_config_reloads", "Configuration reloads.", ("outcome",))
        self._fallbacks = _Counter("sidecar_fallbacks", "Requests another model answered.", ())
        self._updates = _Counter("sidecar_registry_update", "Updates of the registry.", ("source", "outcome"))
        self._cancels = _Counter("sidecar_client_cancels", "Callers that hung up.", ())
        self._sides = _Counter("sidecar_rollout_requests", "Requests while there is a canary.", ("role", "status"))
        self._shadow = _Counter("sidecar_shadow_decisions", "Requests a shadow policy judged.", ("result",))
        self._canary: str | None = None
        self.registry = registry = CollectorRegistry()
        registry.register(
            _Collected(
                [m for m in vars(self).values() if isinstance(m, _Counter | _Histogram)], ledger, health, budgets
            )
        )
        self._loaded = Gauge(
            "sidecar_config_last_success_timestamp_seconds", "Last accepted configuration.", registry=registry
        )
        self.synchronized = Gauge(
            "sidecar_config_synchronized", "1 while the files on disk are in use.", registry=registry
        )
        self._updated = Gauge(
            "sidecar_registry_update_last_success_timestamp_seconds",
            "Last update of the registry in which no page failed, by any replica.",
            registry=registry,
        )
        self._quarantined = Gauge(
            "sidecar_registry_quarantined", "What the last update of the registry kept out.", registry=registry
        )
        self._policy = Gauge("sidecar_config_info", "The policy in use, by hash.", ("policy",), registry=registry)
        self._on_trial = Gauge(
            "sidecar_rollout_info", "Policies on trial, by hash; 0: refused.", ("role", "policy"), registry=registry
        )

    def turned_away(self, status: int, overhead: float) -> None:
        """A request that could not be read was answered, after `overhead` seconds."""
        self._requests.inc((str(status),))
        self._overhead.observe((), overhead)

    def answered(self, status: int, row: Row) -> None:
        """A request ended; `row` is its last."""
        self._requests.inc((str(status),))
        self._overhead.observe((), (row.overhead_ms or 0.0) / 1000)
        if row.tier and row.outcome != "hit":
            self._decisions.inc((row.tier, row.rule or "default"))
        if row.cache != "disabled":
            self._cache.inc((row.cache,))
        if row.failure == FailureKind.CANCELLED:
            self._cancels.inc()
        if self._canary is not None:
            self._sides.inc(("canary" if row.policy == self._canary else "stable", str(status)))

    def row(self, row: Row) -> None:
        """One attempt ended."""
        if row.model is None or row.provider is None or not row.attempt:
            return
        model = (row.provider, row.model)
        self._attempts.inc((*model, row.failure or row.outcome))
        if row.input_tokens or row.output_tokens:
            self._tokens.observe((*model, "input"), row.input_tokens)
            self._tokens.observe((*model, "output"), row.output_tokens)
        if row.cost_nano:
            self._cost.inc(model, row.cost_nano / NANO)
        if row.failure is None:
            first = row.latency_ms if row.first_token_ms is None else row.first_token_ms
            after = row.latency_ms - first
            self._duration.observe(model, row.latency_ms / 1000)
            self._first.observe(model, first / 1000)
            if row.output_tokens and after > 0:
                self._per_token.observe(model, after / 1000 / row.output_tokens)

    def lost(self, fields: Iterable[str]) -> None:
        """Fields a translation could not carry. What the caller named itself is one label: `other`."""
        for field in fields:
            name = _INDEX.sub("", field).partition(" ")[0].partition(":")[0]
            self._warnings.inc((name if name in _FIELDS else "other",))

    def fell_back(self) -> None:
        """A model other than the first answered."""
        self._fallbacks.inc()

    def reloaded(self, outcome: str) -> None:
        """A reload ended."""
        self._reloads.inc((outcome,))

    def registry_updated(self, outcomes: Mapping[str, str]) -> None:
        """An update of the registry ended here: outcome by source."""
        for item in outcomes.items():
            self._updates.inc(item)

    def registry_state(self, succeeded: float | None, quarantined: int) -> None:
        """How the last update ended, whoever made it: `succeeded` is its Unix time when no page failed."""
        if succeeded is not None:
            self._updated.set(succeeded)
        self._quarantined.set(quarantined)

    def policy(self, short_hash: str, now: float) -> None:
        """A policy came into use at Unix time `now`."""
        self._loaded.set(now)
        self.synchronized.set(1)
        self._policy.clear()
        self._policy.labels(short_hash).set(1)

    def on_trial(self, policies: Mapping[str, str | None]) -> None:
        """Policies came on trial: the hash by role, None for one that cannot be used."""
        self._canary = policies.get("canary")
        self._on_trial.clear()
        for role, short_hash in policies.items():
            self._on_trial.labels(role, short_hash or "").set(0 if short_hash is None else 1)

    def shadowed(self, result: str) -> None:
        """A shadow agreed, differed, or was spared a request."""
        self._shadow.inc((result,))

    def render(self) -> bytes:
        """The text exposition."""
        return generate_latest(self.registry)


class _Counter:
    """A counter by label values."""

    __slots__ = ("_labels", "_name", "_text", "_values")

    def __init__(self, name: str, text: str, labels: tuple[str, ...]) -> None:
        self._name = name
        self._text = text
        self._labels = labels
        self._values: dict[tuple[str, ...], float] = {}

    def inc(self, labels: tuple[str, ...] = (), amount: float = 1.0) -> None:
        self._values[labels] = self._values.get(labels, 0.0) + amount

    def family(self) -> Metric:
        family = CounterMetricFamily(self._name, self._text, labels=self._labels)
        for labels, value in self._values.items():
            family.add_metric(labels, value)
        return family


class _Histogram:
    """A histogram by label values: counts a bucket, and the sum in the last place."""

    __slots__ = ("_bounds", "_labels", "_name", "_text", "_values")

    def __init__(self, name: str, text: str, labels: tuple[str, ...], bounds: tuple[float, ...]) -> None:
        self._name = name
        self._text = text
        self._labels = labels
        self._bounds = bounds
        self._values: dict[tuple[str, ...], list[float]] = {}

    def observe(self, labels: tuple[str, ...], value: float) -> None:
        counts = self._values.get(labels)
        if counts is None:
            counts = self._values[labels] = [0.0] * (len(self._bounds) + 2)
        counts[bisect_left(self._bounds, value)] += 1
        counts[-1] += value

    def family(self) -> Metric:
        family = HistogramMetricFamily(self._name, self._text, labels=self._labels)
        names = [*map(str, map(float, self._bounds)), "+Inf"]
        for labels, counts in self._values.items():
            family.add_metric(labels, list(zip(names, accumulate(counts[:-1]), strict=True)), counts[-1])
        return family


class _Collected(Collector):
    """What is counted, read when scraped."""

    def __init__(
        self, metrics: Sequence[_Counter | _Histogram], ledger: Ledger, health: LiveHealth, budgets: Accounts
    ) -> None:
        self._metrics = metrics
        self._ledger = ledger
        self._health = health
        self._budgets = budgets

    def collect(self) -> Iterable[Metric]:
        yield from (metric.family() for metric in self._metrics)
        yield GaugeMetricFamily("sidecar_ledger_queue_depth", "Rows waiting for the disk.", value=self._ledger.depth)
        breakers = GaugeMetricFamily("sidecar_breaker_state", _BREAKER, labels=("gen_ai_request_model",))
        for model, state in self._health.breakers().items():
            breakers.add_metric((model,), _STATES.index(state))
        yield breakers
        left: dict[str, int] = {}
        for standing in self._budgets.snapshot(time()):
            left[standing.name] = min(left.get(standing.name, standing.limit), standing.left)
        budgets = GaugeMetricFamily("sidecar_budget_left_usd", _LEFT, labels=("budget",))
        for name, nano in left.items():
            budgets.add_metric((name,), nano / NANO)
        yield budgets

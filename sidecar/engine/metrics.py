"""Prometheus metrics. Standard quantities under their OTel-derived names, our own under `sidecar_`.

Labels hold only names from the configuration (models, providers, tiers, rules) or closed lists: never caller input.
"""

import re
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ..chat import ChatRequest
from ..stores.ledger import Ledger

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_OVERHEAD = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5)
_PER_TOKEN = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1)
_TOKENS = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576)
_INDEX = re.compile(r"\[\d+\]")
_FIELDS = frozenset((*ChatRequest.__struct_fields__, "reasoning_details", "thought_signature"))
_MODEL = ("gen_ai_provider_name", "gen_ai_request_model")


class Metrics:
    """One set of metrics in a registry of its own."""

    def __init__(self, ledger: Ledger) -> None:
        self.registry = registry = CollectorRegistry()
        registry.register(_QueueDepth(ledger))
        self._tokens = _Histograms(
            registry, "gen_ai_client_token_usage", "Tokens of one attempt.", (*_MODEL, "gen_ai_token_type"), _TOKENS
        )
        self._duration = _Histograms(
            registry, "gen_ai_server_request_duration_seconds", "Whole attempt.", _MODEL, _SECONDS
        )
        self._first = _Histograms(
            registry, "gen_ai_server_time_to_first_token_seconds", "Until the first token.", _MODEL, _SECONDS
        )
        self._per_token = _Histograms(
            registry, "gen_ai_server_time_per_output_token_seconds", "After the first token.", _MODEL, _PER_TOKEN
        )
        self._cost = _Counters(registry, "sidecar_cost_usd", "US dollars spent.", _MODEL)
        self._attempts = _Counters(registry, "sidecar_attempts", "Tries of one model.", (*_MODEL, "outcome"))
        self._requests = _Counters(registry, "sidecar_requests", "Answered requests.", ("status",))
        self._cache = _Counters(registry, "sidecar_cache_results", "Exact cache look-ups.", ("result",))
        self._decisions = _Counters(registry, "sidecar_decisions", "Routing decisions.", ("tier", "rule"))
        self._warnings = _Counters(registry, "sidecar_translation_warnings", "Fields a translation lost.", ("field",))
        self._reloads = _Counters(registry, "sidecar_config_reloads", "Configuration reloads.", ("outcome",))
        self._overhead = Histogram(
            "sidecar_overhead_seconds", "Time the gateway added.", buckets=_OVERHEAD, registry=registry
        )
        self._fallbacks = Counter("sidecar_fallbacks", "Requests another model answered.", registry=registry)
        self._cancels = Counter("sidecar_client_cancels", "Callers that hung up.", registry=registry)
        self._loaded = Gauge(
            "sidecar_config_last_success_timestamp_seconds", "Last accepted configuration.", registry=registry
        )
        self.synchronized = Gauge(
            "sidecar_config_synchronized", "1 while the files on disk are in use.", registry=registry
        )
        self._policy = Gauge("sidecar_config_info", "The policy in use, by hash.", ("policy",), registry=registry)

    def answered(self, status: int, overhead: float) -> None:
        """A response was sent; the gateway added `overhead` seconds to it."""
        self._requests.child(str(status)).inc()
        self._overhead.observe(overhead)

    def attempt(self, provider: str, model: str, outcome: str) -> None:
        """A try ended."""
        self._attempts.child(provider, model, outcome).inc()

    def usage(self, provider: str, model: str, tokens: tuple[int, int], cost_usd: float) -> None:
        """Input and output tokens of an attempt, and what they cost."""
        self._tokens.child(provider, model, "input").observe(tokens[0])
        self._tokens.child(provider, model, "output").observe(tokens[1])
        if cost_usd:
            self._cost.child(provider, model).inc(cost_usd)

    def times(self, provider: str, model: str, duration: float, first: float, per_token: float | None) -> None:
        """How long an answering attempt took, in seconds."""
        self._duration.child(provider, model).observe(duration)
        self._first.child(provider, model).observe(first)
        if per_token is not None:
            self._per_token.child(provider, model).observe(per_token)

    def decision(self, tier: str, rule: str) -> None:
        """A request was routed."""
        self._decisions.child(tier, rule).inc()

    def cache(self, result: str) -> None:
        """A cache look-up ended."""
        self._cache.child(result).inc()

    def lost(self, fields: Iterable[str]) -> None:
        """Fields a translation could not carry. What the caller named itself is one label: `other`."""
        for field in fields:
            name = _INDEX.sub("", field).partition(" ")[0].partition(":")[0]
            self._warnings.child(name if name in _FIELDS or "." in name else "other").inc()

    def fell_back(self) -> None:
        """A model other than the first answered."""
        self._fallbacks.inc()

    def cancelled(self) -> None:
        """A caller hung up before its answer was complete."""
        self._cancels.inc()

    def reloaded(self, outcome: str) -> None:
        """A reload ended."""
        self._reloads.child(outcome).inc()

    def policy(self, short_hash: str, now: float) -> None:
        """A policy came into use at Unix time `now`."""
        self._loaded.set(now)
        self.synchronized.set(1)
        self._policy.clear()
        self._policy.labels(short_hash).set(1)

    def render(self) -> bytes:
        """The text exposition."""
        return generate_latest(self.registry)


class _Counters:
    """A labelled counter whose children are remembered: finding one costs more than adding to it."""

    def __init__(self, registry: CollectorRegistry, name: str, text: str, labels: tuple[str, ...]) -> None:
        self._metric = Counter(name, text, labels, registry=registry)
        self._children: dict[tuple[str, ...], Counter] = {}

    def child(self, *labels: str) -> Counter:
        child = self._children.get(labels)
        if child is None:
            child = self._children[labels] = self._metric.labels(*labels)
        return child


class _Histograms:
    """The same for histograms."""

    def __init__(
        self, registry: CollectorRegistry, name: str, text: str, labels: tuple[str, ...], buckets: tuple[float, ...]
    ) -> None:
        self._metric = Histogram(name, text, labels, buckets=buckets, registry=registry)
        self._children: dict[tuple[str, ...], Histogram] = {}

    def child(self, *labels: str) -> Histogram:
        child = self._children.get(labels)
        if child is None:
            child = self._children[labels] = self._metric.labels(*labels)
        return child


class _QueueDepth(Collector):
    """Read when scraped, not on every request."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def collect(self) -> Iterable[Metric]:
        yield GaugeMetricFamily("sidecar_ledger_queue_depth", "Rows waiting for the disk.", value=self._ledger.depth)

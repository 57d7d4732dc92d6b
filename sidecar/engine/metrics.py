"""Prometheus metrics. Standard quantities under their OTel-derived names, our own under `sidecar_`.

Labels hold only names from the configuration (models, providers, tiers, rules) or closed lists: never caller input.
"""

import re
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from ..stores.ledger import Ledger

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_OVERHEAD = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5)
_PER_TOKEN = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1)
_TOKENS = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576)
_MODEL = ("gen_ai_provider_name", "gen_ai_request_model")


class Metrics:
    """One set of metrics in a registry of its own. `model` and `decision` are remembered per label set: looking a
    labelled child up costs more than adding to it."""

    def __init__(self, ledger: Ledger) -> None:
        self.registry = registry = CollectorRegistry()
        registry.register(_QueueDepth(ledger))
        make = {"registry": registry}
        self._tokens = Histogram(
            "gen_ai_client_token_usage",
            "Tokens of one attempt.",
            (*_MODEL, "gen_ai_token_type"),
            buckets=_TOKENS,
            **make,
        )
        self._duration = Histogram(
            "gen_ai_server_request_duration_seconds", "Whole request.", _MODEL, buckets=_SECONDS, **make
        )
        self._first = Histogram(
            "gen_ai_server_time_to_first_token_seconds", "Until the first token.", _MODEL, buckets=_SECONDS, **make
        )
        self._per_token = Histogram(
            "gen_ai_server_time_per_output_token_seconds", "After the first.", _MODEL, buckets=_PER_TOKEN, **make
        )
        self._cost = Counter("sidecar_cost_usd", "US dollars spent.", _MODEL, **make)
        self._attempts = Counter("sidecar_attempts", "Tries of one model.", (*_MODEL, "outcome"), **make)
        self._requests = Counter("sidecar_requests", "Answered requests by HTTP status.", ("status",), **make)
        self._cache = Counter("sidecar_cache_results", "Exact cache look-ups.", ("result",), **make)
        self._decisions = Counter("sidecar_decisions", "Routing decisions.", ("tier", "rule"), **make)
        self._warnings = Counter("sidecar_translation_warnings", "Fields a translation lost.", ("field",), **make)
        self.overhead = Histogram("sidecar_overhead_seconds", "Time the gateway added.", buckets=_OVERHEAD, **make)
        self.fallbacks = Counter("sidecar_fallbacks", "Requests answered by a model other than the first.", **make)
        self.cancelled = Counter("sidecar_client_cancels", "Callers that hung up before their answer.", **make)
        self.reloads = Counter("sidecar_config_reloads", "Configuration reloads.", ("outcome",), **make)
        self.loaded = Gauge("sidecar_config_last_success_timestamp_seconds", "Last accepted configuration.", **make)
        self.synchronized = Gauge("sidecar_config_synchronized", "1 while the files on disk are in use.", **make)
        self.policy = Gauge("sidecar_config_info", "The policy in use, by hash.", ("policy",), **make)
        self._children: dict[tuple[str, ...], Counter | Histogram] = {}

    def answered(self, status: int, seconds: float) -> None:
        """A response was sent, `seconds` of which the gateway took."""
        self._child(self._requests, str(status)).inc()  # type: ignore[union-attr]
        self.overhead.observe(seconds)

    def attempt(self, provider: str, model: str, outcome: str) -> None:
        """A try ended."""
        self._child(self._attempts, provider, model, outcome).inc()  # type: ignore[union-attr]

    def usage(self, provider: str, model: str, tokens: tuple[int, int], cost_usd: float) -> None:
        """Input and output tokens of an attempt, and what they cost."""
        self._child(self._tokens, provider, model, "input").observe(tokens[0])  # type: ignore[union-attr]
        self._child(self._tokens, provider, model, "output").observe(tokens[1])  # type: ignore[union-attr]
        if cost_usd:
            self._child(self._cost, provider, model).inc(cost_usd)  # type: ignore[union-attr]

    def times(self, provider: str, model: str, duration: float, first: float, per_token: float | None) -> None:
        """How long the answering attempt took, in seconds."""
        self._child(self._duration, provider, model).observe(duration)  # type: ignore[union-attr]
        self._child(self._first, provider, model).observe(first)  # type: ignore[union-attr]
        if per_token is not None:
            self._child(self._per_token, provider, model).observe(per_token)  # type: ignore[union-attr]

    def decision(self, tier: str, rule: str) -> None:
        """A request was routed."""
        self._child(self._decisions, tier, rule).inc()  # type: ignore[union-attr]

    def cache(self, result: str) -> None:
        """A cache look-up ended."""
        self._child(self._cache, result).inc()  # type: ignore[union-attr]

    def lost(self, fields: Iterable[str]) -> None:
        """Fields a translation could not carry; positions are left out of the label."""
        for field in fields:
            self._child(self._warnings, re.sub(r"\[\d+\]", "", field)[:64]).inc()  # type: ignore[union-attr]

    def render(self) -> bytes:
        """The text exposition."""
        return generate_latest(self.registry)

    def _child(self, metric: Counter | Histogram, *labels: str) -> Counter | Histogram:
        key = (metric._name, *labels)
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = metric.labels(*labels)
        return child


class _QueueDepth(Collector):
    """Read when scraped, not on every request."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def collect(self) -> Iterable[Metric]:
        yield GaugeMetricFamily("sidecar_ledger_queue_depth", "Rows waiting for the disk.", value=self._ledger.depth)

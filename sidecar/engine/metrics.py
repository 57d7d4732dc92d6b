"""Prometheus metrics. Standard quantities under their OTel-derived names, our own under `sidecar_`.

Labels hold only names from the configuration (models, providers, tiers, rules) or closed lists: never caller input.
Names come and go with reloads, so a metric has MAX_SERIES of them at most; what is new after that is `other`.
"""

import re
from bisect import bisect_left
from collections import Counter as Tally
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from itertools import accumulate, islice

from msgspec import Struct
from prometheus_client import CollectorRegistry, Gauge, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from ..chat import ChatRequest, FailureKind
from ..registry.price import NANO
from ..stores.ledger import Row

MAX_SERIES = 1000
"""Sets of label values that one metric has at most."""

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
_OVERHEAD = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5)
_PER_TOKEN = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1)
_TOKENS = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576)
_INDEX = re.compile(r"\[\d+\]")
_FIELDS = frozenset((*ChatRequest.__struct_fields__, "reasoning_details", "thought_signature"))
_MODEL = ("gen_ai_provider_name", "gen_ai_request_model")


class Reading(Struct, frozen=True):
    """A figure that is not counted here but read when scraped; `values` are by label values."""

    name: str
    text: str
    values: Mapping[tuple[str, ...], float]
    labels: tuple[str, ...] = ()
    counter: bool = False


class Metrics:
    """One set of metrics. Counting is plain addition on the event loop (the client library's own counters take a lock
    and a microsecond each, and a request makes a dozen); the library builds the exposition when asked."""

    def __init__(self) -> None:
        model = _MODEL
        self._tokens = _Histogram(
            "gen_ai_client_token_usage", "Tokens of one attempt: all of its input, or all of its output.",
            (*model, "gen_ai_token_type"), _TOKENS,
        )  # fmt: skip
        self._duration = _Histogram(
            "gen_ai_server_request_duration_seconds", "From asking a model to the end of its answer.", model, _SECONDS
        )
        self._first = _Histogram(
            "gen_ai_server_time_to_first_token_seconds", "From asking a model to its first token.", model, _SECONDS
        )
        self._per_token = _Histogram(
            "gen_ai_server_time_per_output_token_seconds", "Time of one output token after the first.",
            model, _PER_TOKEN,
        )  # fmt: skip
        self._overhead = _Histogram(
            "sidecar_overhead_seconds", "Time of a request that no model took: what the gateway added.", (), _OVERHEAD
        )
        self._cost = _Counter("sidecar_cost_usd", "US dollars spent on models that have a price.", model)
        self._attempts = _Counter("sidecar_attempts", "Tries of one model, by what came of them.", (*model, "outcome"))
        self._requests = _Counter("sidecar_requests", "Requests answered, by the status the caller got.", ("status",))
        self._cache = _Counter("sidecar_cache_results", "Look-ups in the cache of exact answers.", ("result",))
        self._decisions = _Counter(
            "sidecar_decisions", "Requests given a tier, by the rule that did.", ("tier", "rule")
        )
        self._warnings = _Counter("sidecar_translation_warnings", "Fields that a translation lost.", ("field",))
        self._reloads = _Counter("sidecar_config_reloads", "Changed configurations, loaded or refused.", ("outcome",))
        self._fallbacks = _Counter("sidecar_fallbacks", "Requests that another model than the first answered.", ())
        self._updates = _Counter("sidecar_registry_update", "Updates of the registry.", ("source", "outcome"))
        self._cancels = _Counter("sidecar_client_cancels", "Callers that hung up before their answer was complete.", ())
        self._sides = _Counter("sidecar_rollout_requests", "Requests while there is a canary.", ("role", "status"))
        self._shadow = _Counter("sidecar_shadow_decisions", "Requests that a shadow policy judged.", ("result",))
        self._canary: str | None = None
        self._registry = registry = CollectorRegistry()
        registry.register(_Collected([m.family for m in vars(self).values() if isinstance(m, _Counter | _Histogram)]))
        ProcessCollector(registry=registry)
        gauge = partial(Gauge, registry=registry)
        self._loaded = gauge(
            "sidecar_config_last_success_timestamp_seconds", "When the configuration in use was accepted, in Unix time."
        )
        self.synchronized = gauge("sidecar_config_synchronized", "1 while the files on disk are what is in use.")
        self._updated = gauge(
            "sidecar_registry_update_last_success_timestamp_seconds",
            "Last update of the registry in which no page failed, by any replica.",
        )
        self._quarantined = gauge("sidecar_registry_quarantined", "What the last update of the registry kept out.")
        self._policy = gauge("sidecar_config_info", "The policy in use, by hash.", ("policy",))
        self._on_trial = gauge("sidecar_rollout_info", "Policies on trial, by hash; 0: refused.", ("role", "policy"))

    def turned_away(self, status: int, overhead: float) -> None:
        """A request that could not be read was answered, after `overhead` seconds."""
        self._requests.inc((str(status),))
        self._overhead.observe((), [overhead])

    def answered(self, ended: Sequence[tuple[int, Row]]) -> None:
        """Requests ended: the status each caller was told, and its last row. Many at once cost a third of one by one,
        for what is the same of them is looked for once."""
        self._requests.add([(str(status),) for status, _ in ended])
        rows = [row for _, row in ended]
        self._overhead.observe((), [(row.overhead_ms or 0.0) / 1000 for row in rows])
        self._decisions.add([(row.tier, row.rule or "default") for row in rows if row.tier and row.outcome != "hit"])
        self._cache.add([(row.cache,) for row in rows if row.cache != "disabled"])
        self._cancels.add([() for row in rows if row.failure == FailureKind.CANCELLED])
        if self._canary is not None:
            sides = ["canary" if row.policy == self._canary else "stable" for row in rows]
            self._sides.add([(side, str(status)) for side, (status, _) in zip(sides, ended, strict=True)])

    def tried(self, rows: Iterable[Row]) -> None:
        """Attempts ended. Rows of no attempt are passed over."""
        groups: dict[tuple[str, str, str], list[Row]] = {}
        for row in rows:
            if row.model is not None and row.provider is not None and row.attempt:
                groups.setdefault((row.provider, row.model, row.failure or row.outcome), []).append(row)
        for labels, group in groups.items():
            self._attempts.inc(labels, len(group))
            self._used(labels[:2], group)
            if group[0].failure is None:
                self._took(labels[:2], group)

    def _used(self, model: tuple[str, ...], rows: Sequence[Row]) -> None:
        """What attempts used and cost."""
        used = [row for row in rows if row.input_tokens or row.output_tokens]
        self._tokens.observe((*model, "input"), [row.input_tokens for row in used])
        self._tokens.observe((*model, "output"), [row.output_tokens for row in used])
        if nano := sum([row.cost_nano for row in rows if row.cost_nano]):
            self._cost.inc(model, nano / NANO)

    def _took(self, model: tuple[str, ...], rows: Sequence[Row]) -> None:
        """How long answers took."""
        self._duration.observe(model, [row.latency_ms / 1000 for row in rows])
        firsts = [row.latency_ms if row.first_token_ms is None else row.first_token_ms for row in rows]
        self._first.observe(model, [first / 1000 for first in firsts])
        self._per_token.observe(model, [
            (row.latency_ms - first) / 1000 / row.output_tokens
            for row, first in zip(rows, firsts, strict=True)
            if row.output_tokens and row.latency_ms > first
        ])  # fmt: skip

    def lost(self, fields: Iterable[str]) -> None:
        """Fields a translation could not carry. What the caller named itself is one label: `other`."""
        for field in fields:
            name = _INDEX.sub("", field).partition(" ")[0].partition(":")[0]
            self._warnings.inc((name if name in _FIELDS else "other",))

    def fell_back(self) -> None:
        """A model other than the first answered."""
        self._fallbacks.inc()

    def reloaded(self, outcome: str, times: int = 1) -> None:
        """A reload ended. Told of with 0 `times`, an outcome begins at zero, as a rate needs it to."""
        self._reloads.inc((outcome,), times)

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

    def added(self, share: float) -> float | None:
        """The milliseconds that the gateway itself added, which this share of requests kept within: the upper end of
        their bucket. None before the first request."""
        found = self._overhead.within((), share)
        return None if found is None else found * 1000

    def on_trial(self, policies: Mapping[str, str | None]) -> None:
        """Policies came on trial: the hash by role, None for one that cannot be used."""
        self._canary = policies.get("canary")
        self._on_trial.clear()
        for role, short_hash in policies.items():
            self._on_trial.labels(role, short_hash or "").set(0 if short_hash is None else 1)

    def shadowed(self, result: str) -> None:
        """A shadow agreed, differed, or was spared a request."""
        self._shadow.inc((result,))

    def render(self, readings: Sequence[Reading] = ()) -> bytes:
        """The text exposition, with what was read elsewhere."""
        read = CollectorRegistry()
        read.register(_Collected([partial(_family, reading) for reading in readings]))
        return generate_latest(self._registry) + generate_latest(read)


class _Counter:
    """A counter by label values."""

    __slots__ = ("_labels", "_name", "_text", "_values")

    def __init__(self, name: str, text: str, labels: tuple[str, ...]) -> None:
        self._name = name
        self._text = text
        self._labels = labels
        self._values: dict[tuple[str, ...], float] = {} if labels else {(): 0.0}

    def inc(self, labels: tuple[str, ...] = (), amount: float = 1.0) -> None:
        value = self._values.get(labels)
        if value is None:
            labels = _bounded(labels, self._values)
            value = self._values.get(labels, 0.0)
        self._values[labels] = value + amount

    def add(self, all_labels: Sequence[tuple[str, ...]]) -> None:
        for labels, count in Tally(all_labels).items() if all_labels else ():
            self.inc(labels, count)

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
        self._values: dict[tuple[str, ...], list[float]] = {} if labels else {(): self._zeros()}

    def observe(self, labels: tuple[str, ...], values: Sequence[float]) -> None:
        if not values:
            return
        counts = self._values.get(labels)
        if counts is None:
            counts = self._values.setdefault(_bounded(labels, self._values), self._zeros())
        for value in values:
            counts[bisect_left(self._bounds, value)] += 1
        counts[-1] += sum(values)

    def within(self, labels: tuple[str, ...], share: float) -> float | None:
        """The upper bound that this share of the values is within; the last bound for what is past all of them."""
        counts = self._values.get(labels)
        if counts is None or not any(counts[:-1]):
            return None
        wanted = share * sum(counts[:-1])
        place = next(n for n, passed in enumerate(accumulate(counts[:-1])) if passed >= wanted and passed)
        return self._bounds[min(place, len(self._bounds) - 1)]

    def family(self) -> Metric:
        family = HistogramMetricFamily(self._name, self._text, labels=self._labels)
        names = [*map(str, map(float, self._bounds)), "+Inf"]
        for labels, counts in self._values.items():
            family.add_metric(labels, list(zip(names, accumulate(counts[:-1]), strict=True)), counts[-1])
        return family

    def _zeros(self) -> list[float]:
        return [0.0] * (len(self._bounds) + 2)


def _bounded(labels: tuple[str, ...], known: Mapping[tuple[str, ...], object]) -> tuple[str, ...]:
    """These label values, or `other` for each when there are too many already."""
    return labels if len(known) < MAX_SERIES - 1 else ("other",) * len(labels)


def _family(reading: Reading) -> Metric:
    kind = CounterMetricFamily if reading.counter else GaugeMetricFamily
    family = kind(reading.name, reading.text, labels=reading.labels)
    for labels, value in islice(reading.values.items(), MAX_SERIES):
        family.add_metric(labels, value)
    return family


class _Collected(Collector):
    """Families made when scraped."""

    def __init__(self, families: Sequence[Callable[[], Metric]]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        yield from (family() for family in self._families)

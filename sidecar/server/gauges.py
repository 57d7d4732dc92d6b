"""Running gateway -> the figures that nobody counts: read when Prometheus asks, changed by nobody."""

from .. import __version__
from ..engine.metrics import Reading
from ..registry.price import NANO
from .state import Running

_STATES = ("closed", "half-open", "open")
_PROVIDER = ("gen_ai_provider_name",)
_MODEL = ("gen_ai_request_model",)
Values = dict[tuple[str, ...], float]


def readings(running: Running, now: float) -> list[Reading]:
    """The gateway as it is now. Labels are names from the configuration."""
    # As the next request would: a breaker whose rest is over is half-open.
    running.stores.health.wake(now)
    return [*_process(running), *_stores(running), _spans(running), *_budgets(running, now), *_models(running)]


def _process(running: Running) -> list[Reading]:
    live, chat = running.holder.current, running.chat
    return [
        Reading("sidecar_build_info", "The version that runs.", {(__version__,): 1}, ("version",)),
        _one("sidecar_ready", "1 while /ready says so.", not running.not_ready()),
        _one("sidecar_requests_running", "Requests under way.", len(chat.watches)),
        _one("sidecar_requests_running_limit", "limits.running: past it requests are shed.", live.running_limit),
        _one(
            "sidecar_registry_synchronized",
            "1 while the models are those of the registry that was asked for.",
            running.registry_problem is None,
        ),
    ]


def _stores(running: Running) -> list[Reading]:
    ledger = running.ledger
    return [
        _one("sidecar_ledger_queue_depth", "Rows that wait to be written.", ledger.depth),
        _one("sidecar_ledger_up", "0 while rows cannot be written.", ledger.fault is None),
        _count("sidecar_ledger_dropped_rows", "Rows lost: too many waited.", ledger.dropped),
        _count("sidecar_explanations_dropped", "Explanations not kept.", running.records.decisions.dropped),
        _count("sidecar_log_dropped_lines", "Log lines lost: nobody read them.", running.log.dropped),
    ]


def _spans(running: Running) -> Reading:
    outcomes: Values = {(outcome,): count for outcome, count in running.stores.exporter.outcomes.items()}
    text = "Spans of traces, by what became of them: exported, dropped or failed."
    return Reading("sidecar_spans", text, outcomes, ("outcome",), counter=True)


def _budgets(running: Running, now: float) -> list[Reading]:
    """By budget only: whose account it is may be a caller's word."""
    left: Values = {}
    limits: Values = {}
    for standing in running.stores.budgets.snapshot(now):
        limits[standing.name,] = standing.limit / NANO
        left[standing.name,] = min(left.get((standing.name,), standing.limit / NANO), standing.left / NANO)
    text = "US dollars that a budget has left; of several accounts, the one with least."
    return [
        Reading("sidecar_budget_left_usd", text, left, ("budget",)),
        Reading("sidecar_budget_limit_usd", "US dollars that a budget has in each window.", limits, ("budget",)),
    ]


def _models(running: Running) -> list[Reading]:
    live, health = running.holder.current, running.stores.health
    providers = {name: spec for name, spec in live.graph.gateway.providers.items() if spec.enabled}
    ready: Values = {(name,): 0 for name in providers}
    resting = dict(ready)
    for model, route in live.routes.items():
        rests = model in health.down or route.provider in health.down
        (resting if rests else ready)[route.provider,] += 1
    breakers = [(model, _STATES.index(state)) for model, state in health.breakers().items() if model in live.routes]
    # Those that do not serve first: a metric has only so many series.
    states: Values = {(model,): state for model, state in sorted(breakers, key=lambda breaker: -breaker[1])}
    gates = {name: running.stores.gates[name] for name, spec in providers.items() if spec.concurrency}
    return [
        Reading("sidecar_models_ready", "Models that requests may be sent to.", ready, _PROVIDER),
        Reading("sidecar_models_resting", "Models that would serve but rest.", resting, _PROVIDER),
        Reading("sidecar_breaker_state", "A model's breaker: 0 closed, 1 half-open, 2 open.", states, _MODEL),
        Reading(
            "sidecar_provider_calls_running",
            "Calls inside, of providers that have a `concurrency`.",
            {(name,): gate.running for name, gate in gates.items()},
            _PROVIDER,
        ),
        Reading(
            "sidecar_provider_calls_waiting",
            "Calls that wait for a place, of providers that have a `concurrency`.",
            {(name,): gate.waiting for name, gate in gates.items()},
            _PROVIDER,
        ),
    ]


def _one(name: str, text: str, value: float) -> Reading:
    return Reading(name, text, {(): value})


def _count(name: str, text: str, value: float) -> Reading:
    return Reading(name, text, {(): value}, counter=True)

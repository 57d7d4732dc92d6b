"""Running gateway -> Status: reads what is in memory, asks nobody, changes nothing."""

from collections.abc import Mapping
from datetime import date
from typing import Literal
from urllib.parse import urlsplit

from .. import __version__
from ..engine.access import KeyInUse
from ..engine.holder import Reload
from ..engine.route import Live
from ..engine.walks import Walks
from ..gateway import Provider
from ..graph import Graph
from ..registry.card import ModelCard, Price
from ..registry.index import Model
from ..registry.price import usd
from ..render import edges
from ..stores.budgets import Standing
from ..stores.health import LiveHealth
from .state import Running
from .status_data import (
    AddedStatus,
    BudgetStatus,
    KeyState,
    KeyStatus,
    ModelState,
    ModelStatus,
    ProviderStatus,
    RegistryUpdateStatus,
    ReloadStatus,
    Stage,
    Status,
)
from .status_figures import Reading
from .status_rollout import gather_rollout

MAX_MODELS = 500
"""Models listed: a registry may hold thousands, a page should not."""
MAX_BUDGETS = 500
"""Accounts of budgets listed."""
MAX_FINDINGS = 20_000
"""Characters of a reload's findings that are shown."""


def gather(running: Running, reading: Reading, now: float) -> Status:
    """The gateway as it is now."""
    live, health = running.holder.current, running.stores.health
    # As the next request would: a model whose rest is over is not down.
    health.wake(now)
    reasons = {part: _clean(reason) for part, reason in running.not_ready().items()}
    models = model_states(live, health)
    graph = live.graph
    standings = sorted(running.stores.budgets.snapshot(now), key=lambda standing: standing.left / standing.limit)
    return Status(
        status="not ready" if reasons else "ready",
        reasons=reasons,
        version=__version__,
        now=now,
        started=running.started,
        running=len(running.chat.watches),
        policy=graph.hash,
        policy_since=live.opened,
        files=[_clean(str(file)) for file in sorted(running.reloader.files)],
        reload=reload_status(running.holder.last),
        rollout=gather_rollout(running),
        registry_problem=None if running.registry_problem is None else _clean(running.registry_problem),
        registry_update=_registry_update(running),
        providers=[_provider(live, name, models, now) for name in graph.gateway.providers],
        traffic=reading.traffic,
        traffic_problem=None if reading.problem is None else _clean(reading.problem),
        added=AddedStatus(*(running.metrics.added(share) for share in (0.5, 0.95, 0.99))),
        record=reading.record,
        models=models[:MAX_MODELS],
        models_omitted=max(0, len(models) - MAX_MODELS),
        budgets=[budget_state(standing) for standing in standings[:MAX_BUDGETS]],
        stages=_stages(graph, running.records.walks),
    )


def _stages(graph: Graph, walks: Walks) -> list[Stage]:
    counts = walks.counts
    return [
        Stage(node, graph.nodes[node].kind, named, to, sum(counts.get((node, one), 0) for one in named.split(" | ")))
        for node, named, to in edges(graph)
    ]


def budget_state(standing: Standing) -> BudgetStatus:
    """An account as it is shown."""
    return BudgetStatus(
        budget=standing.name,
        subject=standing.subject,
        mode="hard" if standing.hard else "soft",
        limit_usd=usd(standing.limit),
        spent_usd=usd(standing.spent),
        reserved_usd=usd(standing.reserved),
        left_usd=usd(standing.left),
        resets=standing.resets,
    )


def _registry_update(running: Running) -> RegistryUpdateStatus:
    updates, last = running.updates, running.updates.last
    return RegistryUpdateStatus(
        next=updates.next,
        step=updates.step,
        problem=None if updates.fault is None else _clean(updates.fault),
        last=None if last is None else last.at,
        outcomes={} if last is None else dict(last.outcomes),
        changed=0 if last is None else last.changed,
        quarantined=0 if last is None else last.quarantined,
        findings=[] if last is None else [_clean(line) for line in last.findings],
    )


def reload_status(last: Reload) -> ReloadStatus:
    """A reload as it is shown."""
    text = _clean(last.text)
    if len(text) > MAX_FINDINGS:
        text = text[:MAX_FINDINGS] + "\n… and more: `sidecar validate` prints all of it.\n"
    return ReloadStatus(last.outcome.value, last.at, text or None)


def _provider(live: Live, name: str, models: list[ModelStatus], now: float) -> ProviderStatus:
    spec = live.graph.gateway.providers[name]
    down = live.state.health.down.get(name)
    own = [model.state for model in models if model.provider == name]
    return ProviderStatus(
        name=name,
        protocol=spec.protocol,
        host=_host(spec.url),
        key=_key(live, name, spec, down is not None),
        state="disabled" if not spec.enabled else "down" if down else "ready",
        reason=None if down is None else _clean(down),
        models=own.count("ready"),
        models_down=own.count("resting") + own.count("provider down"),
        keys=[_one_key(one, now) for one in live.keys.get(name, ())],
    )


def _one_key(one: KeyInUse, now: float) -> KeyStatus:
    spec = one.spec
    reason = one.missing if one.key is None else one.key.resting(now)
    state: Literal["ready", "resting", "not set"] = "ready"
    if reason is not None:
        state = "not set" if one.key is None else "resting"
    return KeyStatus(spec.secret, spec.tenant, spec.weight, state, None if reason is None else _clean(reason))


def _key(live: Live, name: str, spec: Provider, down: bool) -> KeyState:
    """Whether there is a key, never which: `unused` when no model would be sent it."""
    if not spec.every_key:
        return "none configured"
    if down:
        return "not set"
    route = next((route for route in live.routes.values() if route.provider == name), None)
    if route is None:
        return "unused"
    return "set" if route.target.key is not None or route.ring is not None else "not set"


def model_states(live: Live, health: LiveHealth) -> list[ModelStatus]:
    """All models, those of configured providers first, else in the registry's order."""
    providers = live.graph.gateway.providers
    models = [_model(live, model, health, providers) for model in live.graph.registry.models]
    return sorted(models, key=lambda model: model.provider not in providers or not providers[model.provider].enabled)


def _model(live: Live, model: Model, health: LiveHealth, providers: Mapping[str, Provider]) -> ModelStatus:
    spec = providers.get(model.provider)
    state: ModelState = "ready"
    reason = None
    if model.status == "retired" or (model.retires is not None and model.retires < live.graph.registry.day):
        state = "retired"
    elif spec is None or not spec.enabled:
        state = "not configured"
    elif model.provider in health.down:
        state, reason = "provider down", health.down[model.provider]
    elif model.id in health.down:
        state, reason = "resting", health.down[model.id]
    learned = health.speed(model.id)
    card = live.graph.registry.card(model.id)
    unlisted = None if card is None else card.unlisted
    price = None if card is None else _price(card, live.graph.registry.day)
    source = None if price is None else price.source
    return ModelStatus(
        id=model.id,
        provider=model.provider,
        state=state,
        reason=None if reason is None else _clean(reason),
        status=model.status,
        context=model.context,
        max_output=model.max_output,
        input_price=None if model.price is None else usd(model.price.input),
        output_price=None if model.price is None else usd(model.price.output),
        tiered=model.price is not None and bool(model.price.tiers),
        quality=model.quality,
        speed=model.speed,
        learned_speed=None if learned is None else round(learned, 1),
        overridden=live.graph.registry.overridden.get(model.id, ()),
        unlisted=None if unlisted is None else unlisted.isoformat(),
        price_source=None if source is None else source.url,
        price_read=None if source is None else source.fetched_at.isoformat(),
        price_confirmed=price is not None and price.confirmed is not None,
    )


def _price(card: ModelCard, day: date) -> Price | None:
    """The price list of a day."""
    return next((price for price in reversed(card.prices) if (price.valid_from or date.min) <= day), None)


def _host(url: str) -> str:
    """Host and port of a base URL: a path may hold a deployment's name, and user info a secret."""
    try:
        return urlsplit(url).netloc.rpartition("@")[2] or "?"
    except ValueError:
        return "?"


def _clean(text: str) -> str:
    """Text that can be encoded: a file name may hold bytes that no encoding has."""
    return text.encode("utf-8", "replace").decode()

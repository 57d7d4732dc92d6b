"""The open step: secrets read, stores made or taken over, providers made ready. The only step that does I/O."""

from collections.abc import Mapping
from time import time

from msgspec import Struct, field
from msgspec.structs import replace

from ..config.diagnostic import Diagnostic
from ..gateway import Provider
from ..graph import Graph
from ..identity.jwks import RemoteKeys, RemoteKeySets
from ..identity.secrets import MissingError, resolve
from ..policy import Policy
from ..providers import ADAPTERS
from ..providers.base import Target
from ..registry.index import Model
from ..spec import Secret, byte_count, seconds
from ..stages.budget import Budget
from ..stages.cache import Cache
from ..stages.fallback import Fallback
from ..stores.base import State
from ..stores.budgets import Accounts, Terms
from ..stores.gate import Gate
from ..stores.health import BreakerPlan, LiveHealth
from ..stores.memory import MemoryCache, MemoryCounters, MemoryKeys
from .admins import admins
from .callers import gateway_keys, tokens
from .retry import Allowance
from .route import Live, Route


class Stores(Struct):
    """What outlives a graph. The cache is made anew only when its own settings change."""

    counters: MemoryCounters
    health: LiveHealth
    allowance: Allowance = field(default_factory=Allowance)
    gates: dict[str, Gate] = field(default_factory=dict)
    keys: MemoryKeys = field(default_factory=MemoryKeys)
    key_sets: RemoteKeySets = field(default_factory=RemoteKeySets)
    budgets: Accounts = field(default_factory=Accounts)
    cache: MemoryCache | None = None
    cache_settings: tuple[int, str] | None = None

    def cache_for(self, spec: Cache) -> MemoryCache:
        """The cache with these settings: the one in use, if it has them."""
        settings = (spec.max_entries, spec.max_bytes)
        if self.cache is None or self.cache_settings != settings:
            self.cache = MemoryCache(spec.max_entries, byte_count(spec.max_bytes))
            self.cache_settings = settings
        return self.cache

    def gate_for(self, name: str, provider: Provider) -> Gate:
        """The gate of a provider, with its bounds of today; those inside keep their places."""
        gate = self.gates.get(name)
        if gate is None:
            gate = self.gates[name] = Gate(provider.concurrency, provider.queue)
        gate.resize(provider.concurrency, provider.queue)
        return gate

    def adopt(self, spec: Fallback) -> None:
        """Take over the bounds on retries and the breakers' settings."""
        self.allowance.share = spec.retry_budget.share / 100
        self.allowance.per_second = spec.retry_budget.per_second
        breaker = spec.breaker
        self.health.plan = BreakerPlan(
            failures=breaker.failures,
            error_rate=breaker.error_rate / 100,
            requests=breaker.requests,
            window=seconds(breaker.window),
            cooldown=seconds(breaker.cooldown),
            max_cooldown=seconds(breaker.max_cooldown),
            slow_factor=breaker.slow_factor,
            slow_floor=seconds(breaker.slow_floor),
        )


def terms(*graphs: Graph) -> list[Terms]:
    """The budgets of policies that serve side by side: of one name, that of the first."""
    found: dict[str, Terms] = {}
    for graph in graphs:
        for spec in graph.stages:
            for each in spec.terms if isinstance(spec, Budget) else ():
                found.setdefault(each.name, each)
    return list(found.values())


def open_graph(policy: Policy, graph: Graph, stores: Stores, environ: Mapping[str, str]) -> Live | list[Diagnostic]:
    """The graph with all it needs to serve; or why it cannot. Nothing in use is touched until it all worked."""
    keys, findings = gateway_keys(policy, environ)
    issued, faults = tokens(policy, environ, stores.key_sets)
    findings += faults
    found, faults = admins(policy, environ, keys)
    findings += faults
    if findings:
        return findings
    secrets, unready = _provider_keys(graph.gateway.providers, environ)
    routes = _routes(graph, secrets, stores)
    stores.keys.declare(keys)
    stores.adopt(next((spec for spec in graph.stages if isinstance(spec, Fallback)), Fallback()))
    stores.health.providers(unready)
    issuers = issued.issuers.values() if issued is not None else ()
    stores.key_sets.use([issuer.keys for issuer in issuers if isinstance(issuer.keys, RemoteKeys)])
    caches = [spec for spec in graph.stages if isinstance(spec, Cache)]
    limits = graph.gateway.limits
    state = State(
        counters=stores.counters,
        cache=stores.cache_for(caches[0] if caches else Cache()),
        health=stores.health,
        keys=stores.keys,
        tokens=issued,
        budgets=stores.budgets,
    )
    return Live(
        graph=graph,
        state=state,
        routes=routes,
        allowance=stores.allowance,
        body_limit=byte_count(limits.body),
        answer_limit=byte_count(limits.answer),
        body_timeout=seconds(limits.body_timeout),
        running_limit=limits.running,
        opened=time(),
        admins=found,
        policy_header=(b"x-sidecar-policy", graph.short_hash.encode()),
    )


def open_candidate(live: Live, graph: Graph, stores: Stores, environ: Mapping[str, str]) -> Live:
    """A policy on trial, opened beside the one in use. It has its own models, for it may override the registry; who may
    call, what is stored, and what bounds retries stay those in use."""
    secrets, _ = _provider_keys(graph.gateway.providers, environ)
    header = (b"x-sidecar-policy", graph.short_hash.encode())
    return replace(live, graph=graph, routes=_routes(graph, secrets, stores), policy_header=header)


def _routes(graph: Graph, secrets: Mapping[str, Secret | None], stores: Stores) -> dict[str, Route]:
    """Every model of a provider that may be asked."""
    providers = graph.gateway.providers
    gates = {
        name: stores.gate_for(name, provider) if provider.concurrency else None for name, provider in providers.items()
    }
    return {
        m.id: _route(m, providers[m.provider], secrets, gates[m.provider])
        for m in graph.registry
        if m.provider in secrets
    }


def _provider_keys(
    providers: Mapping[str, Provider], environ: Mapping[str, str]
) -> tuple[dict[str, Secret | None], dict[str, str]]:
    """Each provider's key, and why a provider cannot be used. A missing key is no fault of the configuration."""
    secrets: dict[str, Secret | None] = {}
    unready: dict[str, str] = {}
    for name, provider in providers.items():
        if not provider.enabled:
            continue
        secrets[name] = None
        if provider.api_key is None:
            continue
        try:
            secrets[name] = resolve(provider.api_key, environ)
        except MissingError as fault:
            unready[name] = f"no key: {fault}"
    return secrets, unready


def _route(model: Model, provider: Provider, secrets: Mapping[str, Secret | None], gate: Gate | None) -> Route:
    adapter = ADAPTERS[provider.protocol]
    target = Target(
        model=model.upstream,
        base_url=provider.url.rstrip("/"),
        key=secrets[model.provider],
        headers=provider.headers,
        capabilities=model.capabilities,
        rejects=model.rejects,
        max_output=model.max_output,
        tools_effort=model.tools_effort,
    )
    return Route(model, model.provider, adapter, target, gate, seconds(provider.queue_wait))

"""The open step: secrets read, stores made or taken over, providers made ready. The only step that does I/O."""

from collections.abc import Mapping
from pathlib import Path
from time import time
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from ..config.diagnostic import Diagnostic
from ..gateway import Provider
from ..graph import Graph
from ..identity.jwks import RemoteKeys, RemoteKeySets
from ..identity.jwt import Tokens
from ..identity.secrets import resolve
from ..identity.vault import Vault
from ..policy import Loaded, Policy
from ..providers import ADAPTERS
from ..providers.base import Target
from ..registry.index import Model
from ..spec import Secret, byte_count, seconds
from ..stages.budget import Budget
from ..stages.cache import Cache
from ..stages.fallback import Fallback
from ..stores.base import Principal, State
from ..stores.budgets import Accounts, Terms
from ..stores.gate import Gate
from ..stores.health import BreakerPlan, LiveHealth
from ..stores.memory import MemoryCache, MemoryCounters, MemoryKeys
from ..stores.vector import Fingerprints
from .access import Access, Remembered, read_access
from .admins import admins
from .callers import gateway_keys, tokens
from .collector import Collector, collector
from .export import Exporter
from .keyring import Report
from .recorder import Recorder
from .retry import Allowance
from .rollout import rollout
from .route import Live, Route
from .traces import Tracing


class Stores(Struct):
    """What outlives a graph. The cache is made anew only when its own settings change."""

    counters: MemoryCounters
    health: LiveHealth
    allowance: Allowance = field(default_factory=Allowance)
    gates: dict[str, Gate] = field(default_factory=dict)
    keys: MemoryKeys = field(default_factory=MemoryKeys)
    key_sets: RemoteKeySets = field(default_factory=RemoteKeySets)
    database: Path | None = None
    vault: Vault = field(default_factory=lambda: Vault({}, {}))
    rests: Remembered = field(default_factory=dict)
    report: Report | None = None
    budgets: Accounts = field(default_factory=Accounts)
    fingerprints: Fingerprints = field(default_factory=Fingerprints)
    exporter: Exporter = field(default_factory=Exporter)
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

    def tell(self, level: str, event: str, fields: dict[str, Any]) -> None:
        """A line for the log, once there is one."""
        if self.report is not None:
            self.report(level, event, fields)

    def state(self, graph: Graph, issued: Tokens[Principal] | None, access: Access) -> State:
        """What decisions under this graph read."""
        return State(
            counters=self.counters,
            cache=self.cache_for(next((spec for spec in graph.stages if isinstance(spec, Cache)), Cache())),
            health=self.health,
            keys=self.keys,
            tokens=issued,
            closed=access.closed,
            budgets=self.budgets,
        )

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


def open_loaded(loaded: Loaded, stores: Stores, environ: Mapping[str, str]) -> Live | list[Diagnostic]:
    """A configuration that was read, ready to serve, with those of its policies on trial that can be used; or why it
    cannot be opened."""
    if loaded.policy is None or loaded.graph is None:
        raise ValueError("a refused configuration cannot be opened")
    return open_graph(loaded.policy, loaded.graph, stores, environ, loaded.beside)


def open_graph(
    policy: Policy, graph: Graph, stores: Stores, environ: Mapping[str, str], beside: Mapping[str, Graph] | None = None
) -> Live | list[Diagnostic]:
    """The graph with all it needs to serve; or why it cannot. Nothing in use is touched until it all worked. `beside`
    are the graphs on trial, by the field of `rollout` that names them."""

    def read(reference: str) -> Secret | None:
        return resolve(reference, environ, stores.vault.secret)

    keys, findings = gateway_keys(policy, read)
    issued, faults = tokens(policy, read, stores.key_sets)
    findings += faults
    found, faults = admins(policy, read, environ, keys)
    findings += faults
    access = read_access(policy.gateway, read, stores.rests, stores.tell)
    findings += access.findings
    to, faults = collector(policy.gateway, read, environ)
    findings += faults
    if findings:
        return findings
    stores.rests = access.rests
    routes = _routes(graph, access, stores)
    stores.keys.declare(keys, {admin.digest for admin in found.all})
    stores.adopt(next((spec for spec in graph.stages if isinstance(spec, Fallback)), Fallback()))
    stores.health.providers(access.unready)
    issuers = issued.issuers.values() if issued is not None else ()
    stores.key_sets.use([issuer.keys for issuer in issuers if isinstance(issuer.keys, RemoteKeys)])
    limits = graph.gateway.limits
    live = Live(
        graph=graph,
        state=stores.state(graph, issued, access),
        routes=routes,
        allowance=stores.allowance,
        body_limit=byte_count(limits.body),
        answer_limit=byte_count(limits.answer),
        body_timeout=seconds(limits.body_timeout),
        running_limit=limits.running,
        opened=time(),
        keys=access.in_use,
        admins=found,
        recorder=None if graph.gateway.ledger_keeps == "nothing" else Recorder(graph, stores.fingerprints),
        policy_header=(b"x-sidecar-policy", graph.short_hash.encode()),
        tracing=_tracing(graph, to, stores.exporter),
    )
    trials = {role: _beside(live, other, _routes(other, access, stores)) for role, other in (beside or {}).items()}
    return replace(live, rollout=rollout(graph, trials)) if trials else live


def _beside(live: Live, graph: Graph, routes: dict[str, Route]) -> Live:
    """A graph on trial beside the one in use. On trial is how requests are decided: who may call, what is stored, and
    what bounds retries stay as they are."""
    header = (live.policy_header[0], graph.short_hash.encode())
    return replace(live, graph=graph, routes=routes, policy_header=header)


def _routes(graph: Graph, access: Access, stores: Stores) -> dict[str, Route]:
    """Every model of a provider that may be asked."""
    providers = graph.gateway.providers
    gates = {
        name: stores.gate_for(name, provider) if provider.concurrency else None for name, provider in providers.items()
    }
    return {
        m.id: _route(m, providers[m.provider], access, gates[m.provider])
        for m in graph.registry
        if m.provider in access.secrets
    }


def _tracing(graph: Graph, to: Collector | None, exporter: Exporter) -> Tracing | None:
    """How requests are traced; their spans go to this collector from now on."""
    exporter.use(to)
    if to is None:
        return None
    spec = graph.gateway.tracing
    return Tracing(exporter, spec.sample / 100, spec.content == "redacted")


def _route(model: Model, provider: Provider, access: Access, gate: Gate | None) -> Route:
    target = Target(
        model=model.upstream,
        base_url=provider.url.rstrip("/"),
        key=access.secrets[model.provider],
        headers=provider.headers,
        capabilities=model.capabilities,
        rejects=model.rejects,
        max_output=model.max_output,
        tools_effort=model.tools_effort,
    )
    ring = access.rings.get(model.provider)
    route = Route(model, model.provider, ADAPTERS[provider.protocol], target, gate, seconds(provider.queue_wait), ring)
    if ring is None:
        return route
    keyed = {key: replace(route, target=replace(target, key=key.secret), key=key) for key in ring.keys}
    return replace(route, keyed=keyed)

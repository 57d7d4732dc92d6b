"""Explain a decision: the very walk that serves traffic, with a state made up for it and notes taken."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from ..call import Call
from ..chat import ChatRequest, Problem
from ..features import extract
from ..graph import Graph
from ..spec import Spec
from ..stages.authenticate import Authenticate
from ..stages.base import REFUSE
from ..stages.keys import Keys
from ..stores.base import Principal, State
from ..stores.health import LiveHealth
from ..stores.memory import MemoryCache, MemoryCounters, MemoryKeys
from .access import only_for_tenants
from .walk import walk

_DIGEST = b"explain"


class Explanation(Struct, frozen=True):
    """What would happen to a request, and why. `end` is execute, respond or refuse; nobody was called."""

    policy: str
    end: str
    model: str | None
    chain: list[str]
    tier: str
    rule: str
    strategy: str
    features: dict[str, Any]
    trace: list[tuple[str, str]]
    rules: list[dict[str, Any]]
    candidates: list[dict[str, Any]]
    dropped: list[tuple[str, str]]
    refusal: Problem | None


def explain(
    graph: Graph,
    request: tuple[ChatRequest, bytes],
    headers: Mapping[str, str],
    caller: Principal | None,
    down: Mapping[str, str],
) -> Explanation:
    """Walk `graph` with a request (parsed, and its bytes). `down` says which providers or models cannot be called."""
    chat, raw = request
    health = LiveHealth()
    health.providers(down)
    keys = MemoryKeys({} if caller is None else {_DIGEST: caller})
    call = Call(
        id="explain",
        chat=chat,
        raw=raw,
        features=extract(chat, headers),
        state=State(MemoryCounters(), MemoryCache(1, 1), health, keys, closed=_closed(graph)),
        now=0.0,
        model=graph.aliases.get(chat.model, chat.model),
        credential="" if caller is None else "explain",
        digest=b"" if caller is None else _DIGEST,
        local=True,
        details={},
    )
    end = walk(graph, call)
    return _explanation(graph, call, end)


def _closed(graph: Graph) -> dict[str, dict[str, str | None]]:
    """Providers with keys for some tenants only; that these can be read is taken for granted."""
    found = {name: only_for_tenants(provider) for name, provider in graph.gateway.providers.items()}
    return {name: tenants for name, tenants in found.items() if tenants}


def first_caller(specs: Iterable[Spec], name: str | None) -> Principal | None:
    """The gateway key with this name, or the first there is. Raises LookupError for a name nobody has."""
    for key in (key for spec in specs if isinstance(spec, (Authenticate, Keys)) for key in spec.keys):
        if name in (None, key.name):
            return key.principal()
    if name is not None:
        raise LookupError(name)
    return None


def _explanation(graph: Graph, call: Call, end: str) -> Explanation:
    details = call.details or {}
    kinds = {node.name: node.kind for node in graph.nodes.values()}
    rules = [row for node, detail in details.items() if kinds[node] == "classify" for row in detail]
    scores = [detail for node, detail in details.items() if kinds[node] == "score"]
    features = msgspec.to_builtins(call.features)
    return Explanation(
        policy=graph.short_hash,
        end=end,
        model=call.chain[0].id if call.chain and end == "execute" else None,
        chain=[m.id for m in call.chain] if end == "execute" else [],
        tier=call.tier,
        rule=call.rule,
        strategy=call.strategy,
        features={k: v for k, v in features.items() if v not in ("", 0, False, {}) and k != "text"},
        trace=call.trace,
        rules=rules,
        candidates=[msgspec.to_builtins(t) for s in scores for t in s["candidates"]],
        dropped=call.dropped,
        refusal=call.refusal if end == REFUSE else None,
    )

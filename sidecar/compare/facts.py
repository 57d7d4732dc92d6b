"""Policy -> facts: what it says with every default filled in, part by part, as plain data that can be compared.

Facts come from the linked policy and its graph, never from text: other spaces, comments, files or defaults that are
written out are no other facts.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from ..config.diagnostic import Place
from ..config.document import DataPath
from ..graph import Graph
from ..link import Linked, declared_keys
from ..policy import Policy
from ..registry.card import ModelCard
from ..stages.keys import Keys
from ..stages.registry_override import RegistryOverride
from ..stages.score import Score, candidates

_ELSEWHERE = {"providers", "aliases", "models", "pipeline"}
"""Fields of the gateway that are parts of their own, or are seen in the graph."""
_STAGE = {"kind", "name", "enabled", "on", "keys"}
_HEARSAY = {"source", "confirmed", "note"}
_DISCREET = {"hash", "headers"}
_USER = re.compile(r"://[^/@\s]+@")


class Hidden(Struct, frozen=True):
    """A value that is compared and never shown."""

    value: Any


class Part(Struct, frozen=True):
    """One part of a policy. `origin` is the document it was written in and where in it; None when nobody wrote it."""

    kind: str
    data: dict[str, Any]
    origin: tuple[Linked[Any], DataPath] | None = None

    def place(self, path: Sequence[str]) -> Place | None:
        """Where a fact is written, or what it belongs to."""
        if self.origin is None or self.origin[0].document is None:
            return None
        linked, start = self.origin
        steps: list[str | int] = list(start)
        node = self.origin[0].document.node(start)
        data = None if node is None else node.data
        for step in path:
            if isinstance(data, dict) and step in data:
                steps.append(step)
                data = data[step]
            elif isinstance(data, list) and step in (names := labels(data) or []):
                steps.append(names.index(step))
                data = data[names.index(step)]
            else:
                break
        return linked.place(tuple(steps), key=True)


def facts(policy: Policy, graph: Graph) -> dict[str, Part]:
    """Every part by the name it is shown under."""
    gateway = policy.gateway
    spec = _plain(gateway.spec)
    rest = {name: value for name, value in spec.items() if name not in _ELSEWHERE}
    found = {
        "gateway": Part("", rest, (gateway, ())),
        "providers": Part("", spec["providers"], (gateway, ("providers",))),
        "aliases": Part("", spec["aliases"], (gateway, ("aliases",))),
        "models": Part("", {card.id: _card(card) for card in graph.registry.cards}, (gateway, ("models",))),
        "pipeline": Part("", {"order": list(policy.order)}, (gateway, ("pipeline",))),
        "edges": Part("", _edges(graph)),
    }
    for linked in policy.stages:
        data = {name: value for name, value in _plain(linked.spec).items() if name not in _STAGE}
        if isinstance(linked.spec, Score):
            data = _with_candidates(linked.spec, data, graph)
        node = linked.spec.node
        found[f"stage {node}" if node in found else node] = Part(linked.spec.kind, data, (linked, ()))
    for index, part in enumerate(policy.parts, 1):
        if not isinstance(part.spec, Keys | RegistryOverride):
            found[f"{part.spec.kind} {index}"] = Part("", _plain(part.spec), (part, ()))
    for holder, index, key in declared_keys([*policy.stages, *policy.parts]):
        found[f"key {key.name}"] = Part("gateway key", _plain(key), (holder, ("keys", index)))
    return found


def labels(items: Sequence[Any]) -> list[str] | None:
    """What tells the entries of a list apart: their names, or whom they are per. None when they have neither."""
    if not items or not all(isinstance(item, dict) for item in items):
        return None
    found: list[str] = []
    for item in items:
        label = _label(item)
        if label is None:
            return None
        same = sum(other == label or other.startswith(f"{label} #") for other in found)
        found.append(f"{label} #{same + 1}" if same else label)
    return found


def shown(value: Any) -> Any:
    """The value as anybody may see it."""
    if isinstance(value, Hidden):
        return "(not shown)"
    if isinstance(value, dict):
        return {name: shown(item) for name, item in value.items() if not isinstance(item, Hidden)}
    if isinstance(value, list):
        return [shown(item) for item in value]
    return _USER.sub("://***@", value) if isinstance(value, str) else value


def _label(item: Mapping[str, Any]) -> str | None:
    if item.get("name"):
        return str(item["name"])
    per = item.get("per")
    if per is None:
        return None
    per = per if isinstance(per, str) else "+".join(map(str, per))
    return f"per {per}" + (f" when {item['when']}" if item.get("when") else "")


def _plain(spec: Any) -> dict[str, Any]:
    """A spec as data: tuples as lists, whole floats as integers, what is nobody's business hidden."""
    data = _settled(msgspec.to_builtins(spec))
    return {name: value for name, value in data.items() if name != "kind"}


def _settled(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            str(name): Hidden(item) if name in _DISCREET and item else _settled(item) for name, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_settled(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _card(card: ModelCard) -> dict[str, Any]:
    """What routing and bills know of a model; where a figure is from is not compared."""
    data = _plain(card)
    for name in ("quality", "speed", "ttft_ms"):
        data[name] = data[name] and data[name]["value"]
    lists = {f"price from {one['valid_from']}" if one["valid_from"] else "price": one for one in data.pop("prices")}
    for name, prices in lists.items():
        data[name] = {k: v for k, v in prices.items() if v not in (None, [], {}) and k not in _HEARSAY | {"valid_from"}}
    return {name: value for name, value in data.items() if name not in ("id", "limits_source", "unlisted")}


def _edges(graph: Graph) -> dict[str, dict[str, str]]:
    return {
        node.name: {outcome: to if isinstance(to, str) else to.name for outcome, to in node.edges.items()}
        for node in graph.nodes.values()
    }


def _with_candidates(spec: Score, data: dict[str, Any], graph: Graph) -> dict[str, Any]:
    """The models that each tier may be served by, beside what says so."""

    def named(tier: Any) -> Iterator[str]:
        yield from sorted(model.id for model in candidates(tier, graph.registry))

    tiers = {name: {**data["tiers"][name], "candidates": [*named(tier)]} for name, tier in spec.tiers.items()}
    return {**data, "tiers": tiers, "default": {**data["default"], "candidates": [*named(spec.default)]}}

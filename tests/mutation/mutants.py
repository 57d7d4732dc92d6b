"""Mistakes a person could make in the shipped policies, each one change to one document."""

import copy
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from sidecar.spec import seconds
from sidecar.stages.fallback import Failures

Document = dict[str, Any]
Folder = dict[str, Document]
"""Path below the configuration's folder -> its one document."""


class Mutant(NamedTuple):
    """What was changed, in words; the file, and its document with the change."""

    name: str
    file: str
    document: Document


def mutants(folder: Folder) -> Iterator[Mutant]:
    """Every mutant, in a fixed order."""
    for file, document in folder.items():
        for name, change in CHANGES.get(document["kind"], _nothing)(document):
            mutated = copy.deepcopy(document)
            change(mutated)
            yield Mutant(f"{file}: {name}", file, mutated)
        if document["kind"] != "gateway":
            yield Mutant(f"{file}: switched off", file, document | {"enabled": False})
            for outcome in ONWARDS[document["kind"]]:
                yield Mutant(f"{file}: {outcome} refused", file, document | {"on": {outcome: "refuse"}})


Change = tuple[str, Callable[[Document], None]]

ONWARDS = {
    "rate_limit": ("allowed",),
    "authenticate": ("known", "anonymous"),
    "cache": ("hit", "miss", "bypass"),
    "classify": ("simple", "complex", "expert", "abstain", "pinned"),
    "score": ("chosen", "pinned"),
    "fallback": ("planned",),
}
"""Outcomes that lead on: each is cut once."""


def _nothing(document: Document) -> Iterator[Change]:
    yield from ()


def _set(*path: Any) -> Change:
    """`_set("rules", 0, "tier", "expert")` writes the last at the path of the others."""
    *way, last, value = path

    def change(document: Document) -> None:
        inner: Any = document
        for step in way:
            inner = inner.setdefault(step, {}) if isinstance(inner, dict) else inner[step]
        inner[last] = value

    return f"{'.'.join(map(str, (*way, last)))} = {value}", change


def _drop(*path: Any) -> Change:
    *way, last = path

    def change(document: Document) -> None:
        inner: Any = document
        for step in way:
            inner = inner[step]
        del inner[last]

    return f"without {'.'.join(map(str, path))}", change


def _swap(path: str, one: int) -> Change:
    def change(document: Document) -> None:
        entries = document[path]
        entries[one], entries[one + 1] = entries[one + 1], entries[one]

    return f"{path} {one} and {one + 1} swapped", change


def _durations(document: Document, *path: str) -> Iterator[Change]:
    value: Any = document
    for step in path:
        value = value[step]
    yield _set(*path, f"{seconds(value) * 2000:g}ms")
    yield _set(*path, f"{seconds(value) * 500:g}ms")


def conditions(source: str) -> Iterator[str]:
    """A condition with one thing changed: a number, a comparison, a connective, a negation, an entry of a list."""
    for found in re.finditer(r"\b\d+\b", source):
        for number in sorted({int(found[0]) + 1, max(0, int(found[0]) - 1)} - {int(found[0])}):
            yield source[: found.start()] + str(number) + source[found.end() :]
    turned = {">": ">=", "<": "<=", "==": "!=", "&&": "||", "||": "&&"}
    for found in re.finditer(r"&&|\|\||==|[<>]=?", source):
        if found[0] in turned:
            yield source[: found.start()] + turned[found[0]] + source[found.end() :]
    for found in re.finditer(r"!(?=\w)", source):
        yield source[: found.start()] + source[found.end() :]
    for found in re.finditer(r'"[^"]*"(, )?', source):
        if "[" in source:
            yield re.sub(r", \]", "]", source[: found.start()] + source[found.end() :])


def patterns(source: str) -> Iterator[str]:
    """A pattern without one of its alternatives, and one that minds capitals."""
    inside = re.search(r"\(((?!\?)[^()]*)\)", source)
    words = inside[1].split("|") if inside else []
    for word in words:
        yield source.replace(inside[1], "|".join(w for w in words if w != word)) if inside else source
    yield source.replace("(?i)", "")


def _classify(document: Document) -> Iterator[Change]:
    rules = document["rules"]
    for index, rule in enumerate(rules):
        for when in conditions(rule["when"]):
            yield _set("rules", index, "when", when)
        for tier in document["tiers"]:
            if tier != rule["tier"]:
                yield _set("rules", index, "tier", tier)
        yield _drop("rules", index)
    yield from (_swap("rules", index) for index in range(len(rules) - 1))
    for name, source in document["patterns"].items():
        yield from (_set("patterns", name, pattern) for pattern in patterns(source))
    yield from (_set("default", tier) for tier in document["tiers"] if tier != document["default"])


def _score(document: Document) -> Iterator[Change]:
    yield from (_set("strategy", strategy) for strategy in ("cost", "quality", "speed"))
    weights = document["weights"]
    for name in weights:
        yield _set("weights", name, weights[name] + 15)
        yield _set("weights", name, weights[name] - 15)
    for one, other in (("cost", "quality"), ("quality", "speed"), ("cost", "speed")):
        yield _set("weights", weights | {one: weights[other], other: weights[one]})
    for tier, said in document["tiers"].items():
        for bound in sorted({"min_quality", "max_quality"} & said.keys()):
            yield from (_set("tiers", tier, bound, said[bound] + by) for by in (-2, 2))
            yield _drop("tiers", tier, bound)
        others = {"cost", "quality", "speed", "balanced"} - {said.get("strategy", document["strategy"])}
        yield from (_set("tiers", tier, "strategy", other) for other in sorted(others))
        yield from (_set("tiers", tier, "output_tokens", figure) for figure in (0, said["output_tokens"] * 8))
        yield _drop("tiers", tier, "otherwise")


def _fallback(document: Document) -> Iterator[Change]:
    yield from (_set("alternatives", document["alternatives"] + by) for by in (-1, 1))
    yield from (_set("retries", document["retries"] + by) for by in (-1, 1))
    for group in ("backoff", "timeouts"):
        for name in document[group]:
            yield from _durations(document, group, name)
    yield _set("hedge", "p95")
    yield _set("hedge", "2s")
    for kind in Failures.__struct_fields__:
        usual = getattr(Failures(), kind)
        yield _set("failures", kind, "fail" if usual == "retry" else "retry")


def _rate_limit(document: Document) -> Iterator[Change]:
    for index, limit in enumerate(document["limits"]):
        for what in sorted({"requests", "tokens"} & limit.keys()):
            count, unit = limit[what].split("/")
            yield from (_set("limits", index, what, f"{int(count) + by}/{unit}") for by in (-1, 1))
            yield from (_set("limits", index, what, f"{count}/{other}") for other in ("s", "h"))
            yield _drop("limits", index, what)
        yield _drop("limits", index)
        yield _set("limits", index, "per", {"key": "ip", "ip": "key"}[limit["per"]])


def _cache(document: Document) -> Iterator[Change]:
    yield from _durations(document, "ttl")
    yield from (_set("share", share) for share in ("key", "all"))


def _authenticate(document: Document) -> Iterator[Change]:
    yield from (_set("anonymous", who) for who in ("never", "always"))


def _gateway(document: Document) -> Iterator[Change]:
    for alias, target in document["aliases"].items():
        others = ("auto", "auto:cost", "auto:quality", "auto:speed", "gpt-4o-mini")
        yield from (_set("aliases", alias, other) for other in others if other != target)
        yield _drop("aliases", alias)
    for name, provider in document["providers"].items():
        yield _set("providers", name, "enabled", not provider.get("enabled", True))
    stages = ["rate_limit", "authenticate", "cache", "classify", "score", "fallback"]
    for place in range(len(stages) - 1):
        swapped = [*stages[:place], stages[place + 1], stages[place], *stages[place + 2 :]]
        yield _set("pipeline", swapped)
        yield _set("pipeline", stages[:place] + stages[place + 1 :])


CHANGES: dict[str, Callable[[Document], Iterator[Change]]] = {
    "gateway": _gateway,
    "authenticate": _authenticate,
    "rate_limit": _rate_limit,
    "cache": _cache,
    "classify": _classify,
    "score": _score,
    "fallback": _fallback,
}

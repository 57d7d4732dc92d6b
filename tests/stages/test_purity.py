"""A decision depends on the request, the policy, the registry and the state, and on nothing else."""

import json
import random
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sidecar.engine.explain import explain
from sidecar.engine.trial import Asked, World
from sidecar.graph import Graph
from sidecar.policy import load
from sidecar.surfaces.openai_chat import OpenAIChat

from .decide import decide, request, state

ROOT = Path(__file__).parents[2]
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
REQUESTS: list[dict[str, Any]] = [
    request(),
    request("Prove that there are infinitely many primes."),
    request("word " * 40_000),
    request(tools=[TOOL] * 9, max_tokens=100),
    request("```python\n" + "x = 1\n" * 200),
    request(response_format={"type": "json_object"}, reasoning_effort="high"),
    request() | {"model": "gpt-4o-mini"},
    request() | {"model": "best"},
    request() | {"model": "auto:nothing"},
    request() | {"model": "nothing"},
]


@pytest.fixture(scope="module")
def shipped() -> Graph:
    loaded = load(ROOT / "gateway.yaml", {}, strict=False)
    assert loaded.graph is not None
    return loaded.graph


def taken(compiled: Graph, body: dict[str, Any]) -> tuple[Any, ...]:
    """All that a walk leaves behind, with equal state each time."""
    end, call = decide(compiled, body, {"x-sidecar-task": "research"}, state(), local=True, ip="127.0.0.1")
    names = ("trace", "tier", "rule", "strategy", "dropped", "cache", "cache_key", "charged", "plan", "refusal")
    return end, [m.id for m in call.chain], *(getattr(call, name) for name in names)


@pytest.mark.parametrize("body", REQUESTS, ids=range(len(REQUESTS)))
def test_the_same_again(shipped: Graph, body: dict[str, Any]) -> None:
    assert taken(shipped, body) == taken(shipped, body)


def test_no_clock_no_chance_no_file(shipped: Graph, monkeypatch: pytest.MonkeyPatch) -> None:
    before = [taken(shipped, body) for body in REQUESTS]

    def never(*_: object, **__: object) -> None:
        raise AssertionError("a decision looked outside")

    with monkeypatch.context() as closed:
        for module, names in (
            (time, ("time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "sleep")),
            (random, ("random", "uniform", "choice", "shuffle")),
            (Path, ("open", "read_text", "read_bytes", "exists")),
        ):
            for name in names:
                closed.setattr(module, name, never)
        closed.setattr("builtins.open", never)
        after = [taken(shipped, body) for body in REQUESTS]
    assert after == before


def test_explain_takes_the_way_that_serves(shipped: Graph) -> None:
    for body in REQUESTS:
        raw = json.dumps(body).encode()
        chat = OpenAIChat().parse(raw)
        result = explain(shipped, Asked(chat, raw, {"x-sidecar-task": "research"}), World())  # type: ignore[arg-type]
        end, chain, trace, tier, rule, *_ = taken(shipped, body)
        assert (result.end, result.trace, result.tier, result.rule) == (end, trace, tier, rule)
        assert result.chain == (chain if end == "execute" else [])
        fired = [row["rule"] for row in result.rules if row["holds"]]
        assert fired[:1] == ([rule] if rule else [])
        assert msgspec.json.decode(msgspec.json.encode(result))["policy"] == shipped.short_hash


def test_explain_a_provider_without_a_key(shipped: Graph) -> None:
    raw = json.dumps(request() | {"model": "gpt-4o-mini"}).encode()
    chat = OpenAIChat().parse(raw)
    world = World(down={"openai": "no key: OPENAI_API_KEY is not set"})
    result = explain(shipped, Asked(chat, raw), world)  # type: ignore[arg-type]
    assert (result.end, result.model, result.chain) == ("refuse", None, [])
    assert result.refusal is not None and "OPENAI_API_KEY is not set" in result.refusal.message
    assert result.dropped == [("gpt-4o-mini", "no key: OPENAI_API_KEY is not set")]

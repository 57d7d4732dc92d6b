"""`kind: score`: which model serves, by figures worked out by hand, and why others do not."""

from typing import Any

import pytest

from sidecar.engine.explain import explain
from sidecar.engine.trial import Asked, World
from sidecar.stores.base import Principal
from sidecar.surfaces.openai_chat import OpenAIChat

from .decide import MODELS, chain, codes, decide, graph, request, state

ALL = "kind: score\n"
ONE = "kind: fallback\nalternatives: 5\n"


def scores(policy: str, models: str = MODELS, body: bytes = b'{"model":"auto","messages":[{"role":"user"}]}') -> Any:
    chat = OpenAIChat().parse(body)
    return explain(graph(policy, models=models), Asked(chat, body), World())  # type: ignore[arg-type]


def test_the_arithmetic_by_hand() -> None:
    # Price and speed double or tenfold by steps of one size, so every term is 0, 1/2 or 1.
    #   small  40 * 1   + 35 * 0   + 25 * 1   = 65
    #   middle 40 * 1/2 + 35 * 1/2 + 25 * 1/2 = 50
    #   large  40 * 0   + 35 * 1   + 25 * 0   = 35
    rows = scores(ALL).candidates
    assert [(row["model"], row["score"]) for row in rows] == [("small", 0.65), ("middle", 0.5), ("large", 0.35)]
    assert [(row["cost"], row["quality"], row["speed"]) for row in rows] == [(1, 0, 1), (0.5, 0.5, 0.5), (0, 1, 0)]
    assert [row["usd_per_million"] for row in rows] == pytest.approx([0.1, 1, 10])


@pytest.mark.parametrize(
    ("model", "first"),
    [
        ("auto", "small"),
        ("auto:cost", "small"),
        ("auto:quality", "large"),
        ("auto:speed", "small"),
        ("auto:mine", "large"),
    ],
)
def test_strategies(model: str, first: str) -> None:
    policy = "kind: score\nstrategies:\n  mine: {cost: 1, quality: 98, speed: 1}\n"
    assert chain(graph(policy, ONE), request() | {"model": model})[0] == first


def test_who_says_the_strategy() -> None:
    policy = "kind: score\nstrategy: cost\ntiers:\n  moderate: {strategy: quality}\n"
    compiled = graph(policy, ONE, more="aliases: {quick: auto:speed}\n")
    tagged = {"x-sidecar-strategy": "speed"}
    assert decide(compiled)[1].strategy == "quality"  # the tier's before the stage's
    assert decide(compiled, headers=tagged)[1].strategy == "speed"  # the caller's before the tier's
    assert decide(compiled, request() | {"model": "auto:cost"}, tagged)[1].strategy == "cost"  # the name before all
    assert decide(compiled, request() | {"model": "quick"})[1].strategy == "speed"


def test_a_strategy_nobody_has_is_the_callers_fault() -> None:
    for body, headers, param in (
        (request() | {"model": "auto:best"}, {}, "model"),
        (request(), {"x-sidecar-strategy": "best"}, None),
    ):
        end, call = decide(graph(ALL), body, headers)
        assert end == "refuse" and call.refusal is not None
        assert (call.refusal.status, call.refusal.code, call.refusal.param) == (400, "unknown_strategy", param)
        assert "balanced, cost, quality, speed" in call.refusal.message


def test_output_weighs_by_its_share() -> None:
    models = (
        "models:\n"
        "  reader: {provider: house, context: 200000, max_output: 9000, price: {input: 1, output: 50}}\n"
        "  writer: {provider: house, context: 200000, max_output: 9000, price: {input: 5, output: 10}}\n"
    )
    compiled = graph("kind: score\nstrategy: cost\n", ONE, models=models)
    assert chain(compiled, request("word " * 20000, max_tokens=10)) == ["reader", "writer"]
    assert chain(compiled, request("hi", max_tokens=8000)) == ["writer", "reader"]


def test_free_unpriced_and_unknown() -> None:
    models = MODELS + (
        "  free: {provider: attic, context: 8000, max_output: 2000, quality: 20, speed: 100,\n"
        "         price: {input: 0, output: 0}}\n"
        "  blank: {provider: attic, context: 8000, max_output: 2000}\n"
    )
    rows = {row["model"]: row for row in scores(ALL, models).candidates}
    assert (rows["free"]["cost"], rows["free"]["usd_per_million"]) == (1, 0)
    assert (rows["blank"]["cost"], rows["blank"]["usd_per_million"]) == (0, None)  # as dear as the dearest
    assert (rows["blank"]["quality"], rows["blank"]["speed"], rows["blank"]["tokens_per_second"]) == (0, 0.5, None)
    # Equally cheap by their terms, yet one is free.
    assert chain(graph("kind: score\nstrategy: cost\n", ONE, models=models))[:2] == ["free", "small"]


def test_ties_go_to_the_better_the_cheaper_the_faster_and_the_first_by_name() -> None:
    same = "provider: house, context: 8000, max_output: 2000"
    models = (
        "models:\n"
        f"  d: {{{same}, quality: 50, speed: 10, price: {{input: 1, output: 1}}}}\n"
        f"  c: {{{same}, quality: 50, speed: 10, price: {{input: 1, output: 1}}}}\n"
        f"  b: {{{same}, quality: 50, speed: 20, price: {{input: 1, output: 1}}}}\n"
        f"  a: {{{same}, quality: 50, speed: 10, price: {{input: 2, output: 2}}}}\n"
        f"  e: {{{same}, quality: 60, speed: 10, price: {{input: 9, output: 9}}}}\n"
    )
    policy = "kind: score\nstrategy: none\nstrategies:\n  none: {cost: 0, quality: 1, speed: 0}\n"
    assert chain(graph(policy, ONE, models=models)) == ["e", "b", "c", "d", "a"]


def test_globs_names_and_bounds() -> None:
    def first(tier: str) -> list[str]:
        return chain(graph(f"kind: score\ndefault: {tier}\n", ONE, models=MODELS + ALIASED))

    assert first("{models: [big]}") == ["huge"]  # an alias
    assert first("{models: [attic/huge]}") == ["huge"]
    assert first("{models: ['attic/*']}") == ["huge"]
    assert first("{models: ['m*', small]}") == ["small", "middle"]
    assert first("{exclude: ['house/*']}") == ["huge"]
    assert first("{exclude: [big, small, middle]}") == ["large"]
    assert first("{models: ['house/*'], min_quality: 50}") == ["middle", "large"]
    assert first("{models: ['house/*'], max_quality: 50}") == ["small", "middle"]


ALIASED = "  huge: {provider: attic, context: 8000, max_output: 2000, aliases: [big], quality: 90}\n"


def test_each_filter_tells_its_reason() -> None:
    models = MODELS.replace("capabilities: all", "capabilities: [streaming]", 1)
    compiled = graph("kind: score\n", ONE, models=models)
    tool = {"type": "function", "function": {"name": "f"}}
    cases: list[tuple[dict[str, Any], dict[str, Any], str]] = [
        (request("word " * 8000), {}, "context: needs 10"),
        (request(tools=[tool]), {}, "lacks tools"),
        (request(response_format={"type": "json_object"}), {}, "lacks json_object"),
        (request(max_tokens=3000), {}, "output: asked for 3000, gives 2000"),
    ]
    for body, more, reason in cases:
        end, call = decide(compiled, body, **more)
        assert end == "execute" and call.chain[0].id == "middle"
        assert call.dropped[0][0] == "small" and call.dropped[0][1].startswith(reason)


def test_what_is_down_is_left_out_with_its_reason() -> None:
    compiled = graph(ALL, ONE, models=MODELS + ALIASED)
    stores = state(compiled)
    stores.health.providers({"house": "no key: HOUSE_KEY is not set"})  # type: ignore[attr-defined]
    _, call = decide(compiled, stores=stores)
    assert [m.id for m in call.chain] == ["huge"]
    assert ("small", "no key: HOUSE_KEY is not set") in call.dropped
    for _ in range(5):
        stores.health.failed("huge", "server_error at the last try", 1000.0)  # type: ignore[attr-defined]
    end, call = decide(compiled, stores=stores)
    assert (end, [m.id for m in call.chain]) == ("execute", ["huge"]), "a model that rests is the last resort"
    assert ("huge", "server_error at the last try") in call.dropped
    stores.health.providers({"house": "no key", "attic": "no key"})  # type: ignore[attr-defined]
    end, call = decide(compiled, stores=stores)
    assert end == "refuse" and call.refusal is not None
    assert (call.refusal.status, call.refusal.code) == (503, "no_candidate")
    assert "no key" in call.refusal.message and call.refusal.retry_after


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (request("word " * 150_000), 400, "context_length_exceeded"),
        (request(max_tokens=20_000), 400, "unsupported_by_candidates"),
    ],
)
def test_what_nobody_can_serve(body: dict[str, Any], status: int, code: str) -> None:
    end, call = decide(graph(ALL), body)
    assert end == "refuse" and call.refusal is not None
    assert (call.refusal.status, call.refusal.code) == (status, code)
    assert call.refusal.message.startswith("No candidate of tier `moderate` can serve this request (small: ")


def test_a_key_may_be_held_to_some_models() -> None:
    compiled = graph(ALL, ONE)
    stores = state()
    held = {"credential": "gw_x", "digest": b"d"}
    stores.keys._keys[b"d"] = Principal("app", "default", {}, frozenset({"large"}))  # type: ignore[attr-defined]
    _, call = decide(compiled, stores=stores, **held)
    assert [m.id for m in call.chain] == ["large"]
    assert call.dropped == [("small", "not allowed for this key"), ("middle", "not allowed for this key")]
    end, call = decide(compiled, request() | {"model": "small"}, stores=stores, **held)
    assert end == "refuse" and call.refusal is not None
    assert (call.refusal.status, call.refusal.code) == (403, "model_not_allowed")


@pytest.mark.parametrize(
    ("model", "header", "expected"),
    [
        ("auto", None, "quality"),  # the policy's own is cost: the key's first stands in
        ("auto:speed", None, "speed"),
        ("auto", "speed", "speed"),
        ("auto:cost", None, "strategy_not_allowed"),
        ("auto", "cost", "strategy_not_allowed"),
        ("cheap", None, "strategy_not_allowed"),  # an alias of auto:cost
        ("auto:chep", None, "unknown_strategy"),
        ("small", None, ""),
    ],
)
def test_a_key_may_be_held_to_some_strategies(model: str, header: str | None, expected: str) -> None:
    compiled = graph(ALL + "strategy: cost\n", ONE, more="aliases: {cheap: auto:cost}\n")
    stores = state()
    holder = Principal("app", "default", strategies=("gone", "quality", "speed"))
    stores.keys.declare({b"d": holder})  # type: ignore[attr-defined]
    headers = {} if header is None else {"x-sidecar-strategy": header}
    end, call = decide(compiled, request() | {"model": model}, headers, stores=stores, credential="gw_x", digest=b"d")
    if call.refusal is None:
        assert (end, call.strategy) == ("execute", expected)
    else:
        assert (end, call.refusal.code) == ("refuse", expected)
        assert call.refusal.status == (403 if expected == "strategy_not_allowed" else 400)


def test_a_tier_that_cannot_serve_may_fall_to_the_default() -> None:
    tier = "kind: score\ntiers:\n  moderate: {models: [small]%s}\n"
    long = request("word " * 16_000)
    assert chain(graph(tier % "", ONE), long) == ["context_length_exceeded"]
    compiled = graph(tier % ", otherwise: default", ONE)
    assert chain(compiled, long) == ["middle", "large"]
    assert chain(compiled) == ["small"]
    _, call = decide(compiled, long)
    assert [model for model, _ in call.dropped] == ["small"]  # told once, though it is in both


def test_learned_speeds_change_the_order() -> None:
    compiled = graph("kind: score\nstrategy: speed\n", ONE)
    stores = state(compiled)
    assert [m.id for m in decide(compiled, stores=stores)[1].chain] == ["small", "middle", "large"]
    stores.health.learned("large", 1000.0)  # type: ignore[attr-defined]
    assert [m.id for m in decide(compiled, stores=stores)[1].chain] == ["large", "small", "middle"]
    stores.health.learned("large", 1010.0)  # type: ignore[attr-defined]
    assert stores.health.version == 1  # too little to sort again for


@pytest.mark.parametrize(
    ("model", "end", "code"),
    [
        ("middle", "execute", None),
        ("house/middle", "execute", None),
        ("attic-only", "refuse", "model_not_found"),
        ("gpt-4o-mini", "refuse", "model_not_found"),  # in the catalogue, of a provider that is not here
        ("nothing-like-it", "refuse", "model_not_found"),
    ],
)
def test_pinned(model: str, end: str, code: str | None) -> None:
    got, call = decide(graph(ALL), request() | {"model": model})
    assert got == end and (call.refusal.code if call.refusal else None) == code
    if end == "execute":
        assert [m.id for m in call.chain] == ["middle"] and call.tier == "" and ("score", "pinned") in call.trace


def test_two_tiers_two_nodes() -> None:
    text = "kind: classify\nrules: [{name: r, when: 'task == \"x\"', tier: expert}]\non: {expert: best}\n"
    compiled = graph(text, "kind: score\nstrategy: cost\n", "kind: score\nname: best\nstrategy: quality\n", ONE)
    assert chain(compiled)[0] == "small"
    _, call = decide(compiled, headers={"x-sidecar-task": "x"})
    assert call.chain[0].id == "large"
    assert [node for node, _ in call.trace][-3:-1] == ["best", "fallback"]  # `next` is what follows the main one


def test_a_name_that_is_misspelt_is_found_wherever_it_stands() -> None:
    assert codes("kind: score\ndefault: {strategy: chep}\n") == [("unknown-strategy", 2)]
    assert codes("kind: score\ntiers: {simple: {exclude: [smal]}}\n") == [("unknown-model", 2)]
    assert codes("kind: score\ntiers: {simple: {models: ['smal?x']}}\n") == [("no-candidates", 2)]

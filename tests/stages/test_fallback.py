"""`kind: fallback`: what is tried after the first, in which order, and for how long."""

from typing import Any

import pytest

from sidecar.stores.base import Principal

from .decide import MODELS, chain, codes, decide, graph, request, state

PINNED = request() | {"model": "large"}


def test_the_next_best_follow() -> None:
    for count, expected in ((0, ["small"]), (1, ["small", "middle"]), (5, ["small", "middle", "large"])):
        assert chain(graph(f"kind: fallback\nalternatives: {count}\n")) == expected


def test_a_chain_of_its_own_goes_before_the_next_best() -> None:
    compiled = graph("kind: fallback\nchains:\n  small: [large]\n  house/large: [small, middle]\n")
    assert chain(compiled) == ["small", "large"]
    assert chain(compiled, PINNED) == ["large", "small", "middle"]


def test_a_named_model_without_a_chain_stands_alone() -> None:
    assert chain(graph("kind: fallback\nalternatives: 5\n"), PINNED) == ["large"]


def test_route_off() -> None:
    compiled = graph("kind: fallback\nchains: {large: [small]}\n")
    assert chain(compiled, PINNED, headers={"x-sidecar-route": "off"}) == ["large"]
    assert chain(compiled, headers={"x-sidecar-route": "off"}) == ["small"]


def down(**reasons: str) -> Any:
    stores = state()
    stores.health.down = reasons  # type: ignore[misc]
    return stores


def test_what_is_down_is_not_tried() -> None:
    compiled = graph("kind: fallback\nchains: {large: [small, middle]}\n")
    assert chain(compiled, PINNED, stores=down(large="rests")) == ["small", "middle"]
    assert chain(compiled, PINNED, stores=down(small="rests")) == ["large", "middle"]
    end, call = decide(compiled, PINNED, stores=down(house="no key"))
    assert end == "refuse" and call.refusal is not None
    assert (call.refusal.status, call.refusal.code) == (503, "model_unavailable")
    assert "`large` cannot be called now (no key)" in call.refusal.message and call.refusal.retry_after
    off = {"x-sidecar-route": "off"}
    assert decide(compiled, PINNED, off, down(house="no key"))[0] == "refuse"


def test_a_model_that_rests_is_the_last_resort() -> None:
    compiled = graph("kind: fallback\nchains: {large: [small]}\n")
    assert chain(compiled, PINNED, stores=down(large="rests", small="rests")) == ["large", "small"]


def test_a_key_s_models_hold_for_chains_too() -> None:
    compiled = graph("kind: fallback\nchains: {large: [small, middle]}\n")
    stores = state()
    stores.keys._keys[b"d"] = Principal("app", "t", {}, frozenset({"large", "middle"}))  # type: ignore[attr-defined]
    assert chain(compiled, PINNED, stores=stores, credential="gw_x", digest=b"d") == ["large", "middle"]


def test_a_chain_to_a_provider_that_is_not_here_is_told_and_left_out() -> None:
    policy = "kind: fallback\nchains: {large: [gpt-4o-mini, small]}\n"
    assert ("unknown-provider", 2) in codes(policy)
    assert chain(graph(policy), PINNED) == ["large", "small"]


def test_the_plan_in_seconds() -> None:
    text = (
        "kind: fallback\nretries: 3\nbackoff: {initial: 100ms, max: 2s}\n"
        "timeouts: {connect: 1s, first_token: 1m30s, idle: 0.5s, total: 1h}\n"
    )
    plan = decide(graph(text))[1].plan
    assert (plan.retries, plan.backoff_initial, plan.backoff_max) == (3, 0.1, 2.0)
    assert (plan.connect, plan.first_token, plan.idle, plan.total) == (1.0, 90.0, 0.5, 3600.0)


@pytest.mark.parametrize(
    ("chains", "code"),
    [
        ("{large: [small, large]}", "fallback-loop"),
        ("{large: [house/large]}", "fallback-loop"),
        ("{large: [small, house/small]}", "fallback-loop"),
        ("{large: [smal]}", "unknown-model"),
        ("{larg: [small]}", "unknown-model"),
        ("{large: [small], house/large: [middle]}", "duplicate-name"),
    ],
)
def test_chains_that_cannot_work(chains: str, code: str) -> None:
    assert codes(f"kind: fallback\nchains: {chains}\n", models=MODELS) == [(code, 2)]

"""`models:` in gateway.yaml: own models, partial changes, and every way to get them wrong."""

from datetime import date
from typing import Any

import msgspec
import pytest
import yaml

from sidecar.registry.card import ALL_CAPABILITIES, ModelCard
from sidecar.registry.index import Registry
from sidecar.registry.load import load
from sidecar.registry.override import Merged, ModelSpec, merge

BASE = load().catalogue.models


def merged(text: str) -> Merged:
    return merge(BASE, msgspec.convert(yaml.safe_load(text), dict[str, ModelSpec]))


def only(text: str) -> ModelCard:
    """The one card that an entry changed or added."""
    result = merged(text)
    assert result.problems == ()
    (changed,) = [card for card in result.cards if card not in BASE]
    return changed


def original(name: str) -> ModelCard:
    return next(card for card in BASE if card.id == name)


def test_nothing_written_changes_nothing() -> None:
    assert merge(BASE, {}) == Merged(tuple(BASE))


def test_a_partial_change_keeps_the_rest_and_the_place() -> None:
    text = "gpt-4o: {quality: 42, speed: 80, max_output: 4096}"
    card, before = only(text), original("gpt-4o")
    assert card.quality is not None
    assert card.speed is not None
    assert (card.quality.value, card.speed.value, card.max_output) == (42, 80, 4096)
    assert card.quality.note == "set in gateway.yaml"
    assert (card.prices, card.context, card.rejects, card.aliases) == (
        before.prices, before.context, before.rejects, before.aliases,
    )  # fmt: skip
    assert [c.id for c in merged(text).cards] == [c.id for c in BASE]


def test_a_price_replaces_the_whole_list() -> None:
    card = only("gpt-5.5: {price: {input: 1, output: 2}}")
    (price,) = card.prices
    assert (price.input, price.output, price.cache_read, price.tiers) == (1, 2, None, ())


def test_a_model_of_one_s_own() -> None:
    card = only(
        """
        my-llama:
          provider: vllm
          upstream: meta-llama/Llama-3.3-70B-Instruct
          context: 131072
          max_output: 8192
          capabilities: [tools, streaming]
          price: {input: 0, output: 0}
          aliases: [house]
        """
    )
    model = Registry([card], date(2026, 11, 20)).find("vllm/house")
    assert model is not None
    assert model.upstream == "meta-llama/Llama-3.3-70B-Instruct"
    assert model.price is not None
    assert model.price.input == 0
    assert (model.quality, model.speed, model.ttft) == (None, None, None)


def test_without_a_price_an_own_model_is_unpriced_not_free() -> None:
    card = only("mine: {provider: vllm, context: 4096, max_output: 1024}")
    assert card.prices == ()
    assert card.capabilities == ("streaming",)


def test_all_stands_for_every_capability() -> None:
    assert only("mine: {provider: x, context: 4096, max_output: 1, capabilities: all}").capabilities == ALL_CAPABILITIES


def test_like_copies_the_figures_and_the_upstream_name_but_no_aliases() -> None:
    card, model = only("azure-4o: {like: openai/gpt-4o-2024-08-06, provider: azure}"), original("gpt-4o")
    assert (card.id, card.provider, card.upstream, card.aliases) == ("azure-4o", "azure", "gpt-4o", ())
    assert (card.prices, card.quality, card.context, card.rejects) == (
        model.prices, model.quality, model.context, model.rejects,
    )  # fmt: skip


def test_a_status_written_by_hand_lifts_the_last_day() -> None:
    card = only("o4-mini: {status: current}")
    assert (card.status, card.retires) == ("current", None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "mine: {context: 4096}",
            [
                "mine.provider: is required: the registry has no model of this name, and there is no `like`",
                "mine.max_output: is required: the registry has no model of this name, and there is no `like`",
            ],
        ),
        ("mine: {like: gpt-nope}", ["mine.like: `gpt-nope` is not a model of the registry"]),
        (
            "claude-haiku-4-5-20251001: {quality: 1}",
            ["claude-haiku-4-5-20251001: is another name of `claude-haiku-4-5`: change that entry"],
        ),
        ("gpt-4o: {context: 1000}", ["gpt-4o.max_output: is larger than the context of 1000 tokens"]),
        ("gpt-4o: {aliases: [o3]}", ["gpt-4o.aliases: the name `o3` already belongs to `o3`"]),
        (
            "gpt-4o: {price: {input: 1, output: 1, tiers: [&t {above: 9, input: 2, output: 2}, *t]}}",
            ["gpt-4o.price.tiers: must rise by `above`"],
        ),
    ],
)
def test_problems_name_the_field(text: str, expected: list[str]) -> None:
    result = merged(text)
    assert sorted(set(map(str, result.problems))) == sorted(expected)
    assert result.cards == tuple(BASE)


def test_one_faulty_entry_does_not_hold_up_the_others() -> None:
    result = merged("{mine: {}, gpt-4o: {quality: 7}}")
    assert {p.path[0] for p in result.problems} == {"mine"}
    changed = next(card for card in result.cards if card.id == "gpt-4o")
    assert changed.quality is not None
    assert changed.quality.value == 7


def test_a_name_that_comes_back_with_a_faulty_entry_is_still_told_apart() -> None:
    """`house` is free only as long as gpt-4o gives it up, and gpt-4o's entry is refused."""
    base = [card if card.id != "gpt-4o" else msgspec.structs.replace(card, aliases=("house",)) for card in BASE]
    specs = msgspec.convert(
        {
            "gpt-4o": {"aliases": [], "context": 1000},
            "mine": {"provider": "x", "context": 4096, "max_output": 1, "aliases": ["house"]},
        },
        dict[str, ModelSpec],
    )
    result = merge(base, specs)
    assert [str(p) for p in result.problems] == [
        "gpt-4o.max_output: is larger than the context of 1000 tokens",
        "mine.aliases: the name `house` already belongs to `gpt-4o`",
    ]
    assert list(result.cards) == base


@pytest.mark.parametrize(
    "entry",
    [
        {"qualty": 1}, {"quality": 101}, {"speed": 0}, {"context": 10}, {"price": {"input": 1}},
        {"price": {"input": 5000, "output": 1}}, {"capabilities": ["fly"]}, {"capabilities": "some"},
        {"rejects": ["A b"]},
    ],
    ids=str,
)  # fmt: skip
def test_the_schema_refuses_the_rest(entry: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(entry, ModelSpec)

"""Finding models by their names, and what a day changes."""

from datetime import date

import pytest

from sidecar.registry.card import ModelCard, Price
from sidecar.registry.index import Registry
from sidecar.registry.load import load

CARDS = load().catalogue.models
DAY = date(2026, 11, 20)
REGISTRY = Registry(CARDS, DAY)


def card(name: str, **fields: object) -> ModelCard:
    return ModelCard(id=name, context=1000, max_output=100, **{"provider": "p", **fields})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "name",
    [
        "claude-haiku-4-5",
        "claude-haiku-4-5-20251001",
        "anthropic/claude-haiku-4-5",
        "anthropic/claude-haiku-4-5-20251001",
    ],
)
def test_a_model_has_many_names(name: str) -> None:
    model = REGISTRY.find(name)
    assert model is not None
    assert model.id == "claude-haiku-4-5"
    assert name in REGISTRY


@pytest.mark.parametrize("name", ["", "nope", "openai/claude-haiku-4-5", "claude-haiku-4-5 "])
def test_no_other_name_finds_it(name: str) -> None:
    assert REGISTRY.find(name) is None
    assert REGISTRY.card(name) is None


def test_every_card_is_found_by_id_and_by_provider() -> None:
    for each in CARDS:
        assert REGISTRY.card(each.id) is each
        assert REGISTRY.find(f"{each.provider}/{each.id}") is REGISTRY.find(each.id)
    assert len(REGISTRY) == len(CARDS) == len(list(REGISTRY))


@pytest.mark.parametrize(("typed", "meant"), [("gpt-4o-mimi", "gpt-4o-mini"), ("claude-haiku-45", "claude-haiku-4-5")])
def test_a_mistyped_name_has_a_suggestion(typed: str, meant: str) -> None:
    assert REGISTRY.suggest(typed) == meant


def test_nothing_is_suggested_for_a_name_unlike_all() -> None:
    assert REGISTRY.suggest("%%%%%%%%") is None


def test_a_compiled_model_carries_what_the_hot_path_needs() -> None:
    model = REGISTRY.find("gpt-5.6-luna")
    assert model is not None
    assert (model.provider, model.upstream, model.tools_effort) == ("openai", "gpt-5.6-luna", "none")
    assert {"tools", "streaming"} <= model.capabilities
    assert "temperature" in model.rejects
    assert model.price is not None
    assert model.price.input == 200_000_000
    assert not hasattr(model, "__dict__")
    with pytest.raises(AttributeError):
        model.context = 1  # type: ignore[misc]


def test_prices_change_with_the_day() -> None:
    now, later = (Registry(CARDS, day).find("gemini-3.8-flash") for day in (DAY, date(2027, 1, 1)))
    assert now is not None
    assert later is not None
    assert now.price is not None
    assert later.price is not None
    assert later.price.input == 2 * now.price.input


def test_before_its_first_price_a_model_is_unpriced() -> None:
    early = Registry([card("a", prices=(Price(input=1, output=1, valid_from=DAY),))], date(2026, 1, 1))
    model = early.find("a")
    assert model is not None
    assert model.price is None


def test_routable_are_models_of_configured_providers_that_are_still_served() -> None:
    cards = [
        card("here"),
        card("elsewhere", provider="q"),
        card("gone", status="retired"),
        card("ended", retires=date(2026, 11, 19)),
        card("last-day", retires=DAY),
    ]
    assert [m.id for m in Registry(cards, DAY, ["p"]).routable] == ["here", "last-day"]
    assert [m.id for m in Registry(cards, DAY).routable] == ["here", "elsewhere", "last-day"]
    assert Registry(cards, DAY, ["p"]).find("gone") is not None


def test_two_models_of_one_name_are_a_programming_error() -> None:
    with pytest.raises(ValueError, match="`b` and `a` are both called `a`"):
        Registry([card("a"), card("b", aliases=("a",))], DAY)

"""The bundled models.json: it fits its schema, every figure says where it is from, and nothing is out of proportion."""

import json
import re
from datetime import date

import jsonschema
import msgspec
import pytest

from sidecar.registry.card import Catalogue, Figure, ModelCard, Price, Source
from sidecar.registry.load import BUNDLED, load, parse

CATALOGUE = load().catalogue
CARDS = CATALOGUE.models
PRICES = [(card, price) for card in CARDS for price in card.prices]
TODAY = CATALOGUE.generated


def _sources(card: ModelCard) -> list[Source | None]:
    figures: list[Price | Figure | None] = [*card.prices, card.quality, card.speed, card.ttft_ms]
    return [card.limits_source, *(p.confirmed for p in card.prices), *(f.source for f in figures if f is not None)]


def test_it_fits_the_json_schema_made_from_the_structs() -> None:
    schema = msgspec.json.schema(Catalogue)
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(json.loads(BUNDLED.read_bytes()), schema)


def test_it_passes_the_loader_s_own_checks() -> None:
    assert isinstance(parse(BUNDLED.read_bytes()), Catalogue)


def test_it_is_written_in_one_stable_way() -> None:
    text = BUNDLED.read_text(encoding="utf-8")
    assert text == json.dumps(json.loads(text), indent=1, ensure_ascii=False) + "\n"


def test_it_covers_the_four_protocols_with_models_in_service() -> None:
    in_service = [c for c in CARDS if c.status != "retired"]
    assert len(in_service) >= 40
    count = {name: sum(c.provider == name for c in in_service) for name in ("openai", "anthropic", "google", "ollama")}
    assert min(count.values()) >= 10, count
    assert {c.provider for c in CARDS} == set(count)


@pytest.mark.parametrize("card", CARDS, ids=lambda c: c.id)
def test_every_figure_names_its_source_or_says_how_it_was_come_by(card: ModelCard) -> None:
    assert card.limits_source is not None
    assert card.prices
    for price in card.prices:
        assert price.source or price.note
    for figure in (card.quality, card.speed, card.ttft_ms):
        assert figure is None or figure.source or figure.note
    for figure in (card.speed, card.ttft_ms):
        assert figure is None or figure.source or (figure.note or "").startswith("class default: ")
    if card.quality is not None:
        assert card.quality.source or (card.quality.note or "").startswith("Estimate by family: ")


@pytest.mark.parametrize("card", CARDS, ids=lambda c: c.id)
def test_sources_are_public_pages_read_before_the_file_was_made(card: ModelCard) -> None:
    for source in _sources(card):
        if source is not None:
            assert re.match(r"https://[a-z0-9.-]+\.[a-z]+/", source.url)
            assert date(2025, 1, 1) <= source.fetched_at <= TODAY


@pytest.mark.parametrize(("card", "price"), PRICES, ids=lambda x: x.id if isinstance(x, ModelCard) else "")
def test_prices_are_in_proportion(card: ModelCard, price: Price) -> None:
    if card.provider == "ollama":
        assert (price.input, price.output) == (0, 0)
        return
    assert 0.01 <= price.input <= 200
    assert 2 <= price.output / price.input <= 12
    for level in (price, *price.tiers):
        assert level.cache_read is None or level.input * 0.02 <= level.cache_read <= level.input * 0.5
        assert level.cache_write_5m is None or level.cache_write_5m == pytest.approx(level.input * 1.25)
        assert level.cache_write_1h is None or level.cache_write_1h == pytest.approx(level.input * 2, rel=0.3)
    for tier in price.tiers:
        assert tier.input > price.input
        assert tier.output > price.output


def test_every_price_of_a_cloud_model_has_a_second_source_unless_it_lies_ahead() -> None:
    alone = {
        card.id
        for card, price in PRICES
        if card.provider != "ollama" and price.confirmed is None and (price.valid_from or TODAY) <= TODAY
    }
    assert alone == set()


def test_models_that_think_refuse_what_their_provider_refuses() -> None:
    for card in CARDS:
        if card.provider == "openai" and "reasoning" in card.capabilities:
            assert {"max_tokens", "presence_penalty", "frequency_penalty"} <= set(card.rejects), card.id
        if "reasoning" not in card.capabilities and card.provider in ("openai", "ollama"):
            assert "reasoning_effort" in card.rejects, card.id


def test_retired_models_have_a_past_last_day() -> None:
    for card in CARDS:
        if card.retires is not None:
            assert (card.retires < TODAY) == (card.status == "retired"), card.id

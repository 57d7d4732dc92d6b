"""A row laid over a card: what the page says, what stays, and that the past is never changed."""

from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.registry.card import ModelCard, Price, PriceTier, Source, card_problems
from sidecar.registry.price import price_on
from sidecar.scrape.finding import QuarantineError, Reason, Row
from sidecar.scrape.normalise import figures, laid_over

TODAY = date(2026, 11, 21)
SOURCE = Source(url="https://acme.example/prices", fetched_at=TODAY, sha256="0" * 64)
TIER = PriceTier(above=200_000, input=4, output=16)


def card(*prices: Price, **more: Any) -> ModelCard:
    return ModelCard(id="acme-1", provider="acme", context=1_048_576, max_output=8_000, prices=prices, **more)


def laid(on: ModelCard, **values: Any) -> ModelCard:
    return laid_over(on, Row("acme-1", values), SOURCE, TODAY)


def test_an_announced_price_stays_and_a_second_change_of_a_day_replaces_the_first() -> None:
    soon = Price(input=9, output=9, valid_from=TODAY + timedelta(days=9))
    once = laid(card(Price(input=2, output=8), soon), input=1.5, output=6)
    twice = laid(once, input=1.2, output=6)
    assert [(p.input, p.valid_from) for p in twice.prices] == [(2, None), (1.2, TODAY), (9, soon.valid_from)]


def test_prices_of_long_inputs() -> None:
    known = card(Price(input=2, output=8, tiers=(TIER,)))
    assert laid(known, input=2, output=8).prices[0].tiers == (TIER,), "silence is no news"
    changed = laid(known, input=2, output=8, long_input=3, long_output=12).prices[-1]
    assert [(t.above, t.input, t.output) for t in changed.tiers] == [(200_000, 3, 12)]
    moved = laid(known, input=2, output=8, long_above=300_000, long_input=3, long_output=12).prices[-1]
    assert [t.above for t in moved.tiers] == [300_000]
    with pytest.raises(QuarantineError) as caught:
        laid(card(Price(input=2, output=8)), input=2, output=8, long_input=3, long_output=12)
    assert caught.value.reason is Reason.MISSING_VALUE


def test_batch_and_priority_are_multipliers_where_one_factor_says_both() -> None:
    known = card(Price(input=2, output=8))
    both = {"batch_input": 1, "batch_output": 4, "priority_input": 3.6, "priority_output": 14.4}
    tiers = laid(known, input=2, output=8, **both).prices[-1].service_tiers
    assert {name: tier.multiplier for name, tier in tiers.items()} == {"batch": 0.5, "priority": 1.8}
    odd = {"batch_input": 1, "batch_output": 5}
    assert laid(known, input=2, output=8, **odd).prices[-1].service_tiers == {}


def test_sizes_are_rounded_on_pages_and_a_status_only_moves_on() -> None:
    known = card(Price(input=2, output=8), status="deprecated", unlisted=TODAY)
    same = laid(known, input=2, output=8, context=1_000_000, max_output=8_192)
    assert (same.context, same.max_output, same.limits_source, same.unlisted) == (1_048_576, 8_000, None, None)
    new = laid(known, input=2, output=8, context=2_000_000, status="retired")
    assert (new.context, new.status) == (2_000_000, "retired")
    assert laid(new, input=2, output=8, status="deprecated").status == "retired"


AMOUNT = st.floats(0.01, 100)
LISTS = st.lists(
    st.builds(Price, input=AMOUNT, output=AMOUNT, valid_from=st.dates(date(2025, 1, 1), date(2027, 12, 31))),
    max_size=4,
    unique_by=lambda price: price.valid_from,
).map(lambda prices: sorted(prices, key=lambda price: price.valid_from or date.min))


@given(LISTS, AMOUNT, AMOUNT)
def test_the_past_and_the_announced_are_never_changed(prices: list[Price], input: float, output: float) -> None:
    old = card(*prices)
    try:
        new = laid(old, input=input, output=output)
    except QuarantineError:
        return
    assert card_problems(new) == []
    for day in (TODAY - timedelta(days=n) for n in (1, 30, 400)):
        assert price_on(new.prices, day) == price_on(old.prices, day)
    later = [price for price in prices if price.valid_from is not None and price.valid_from > TODAY]
    assert [price for price in new.prices if price.valid_from is not None and price.valid_from > TODAY] == later
    now = figures(new, TODAY)
    assert (now["input"], now["output"]) == pytest.approx((input, output))

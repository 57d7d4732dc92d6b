"""Integer money: bills worked out by hand, and what must hold for every bill."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sidecar.chat import Usage
from sidecar.registry.card import Price, PriceTier
from sidecar.registry.index import Registry
from sidecar.registry.load import load
from sidecar.registry.price import PriceList, compile_price, cost, nano, price_on, usd

REGISTRY = Registry(load().catalogue.models, date(2026, 11, 20))


@dataclass(frozen=True)
class Bill:
    """A bill worked out by hand: USD per million times tokens, line by line."""

    model: str
    usage: Usage
    usd: str
    how: str


BILLS = [
    Bill("gpt-4o-mini", Usage(1000, 500), "0.00045", "1000 x 0.15 + 500 x 0.60, a millionth"),
    Bill("gpt-4o", Usage(10_000, 1000, cached_tokens=8000), "0.025", "2000 x 2.50 + 8000 x 1.25 + 1000 x 10"),
    Bill("gpt-5.5", Usage(272_000, 1000), "1.39", "at the border still 272000 x 5 + 1000 x 30"),
    Bill("gpt-5.5", Usage(272_001, 1000), "2.76501", "one more and the whole request is 272001 x 10 + 1000 x 45"),
    Bill(
        "gpt-5.5",
        Usage(300_000, 2000, cached_tokens=250_000),
        "0.84",
        "cached tokens count for the tier: 50000 x 10 + 250000 x 1 + 2000 x 45",
    ),
    Bill(
        "claude-haiku-4-5",
        Usage(5100, 200, cached_tokens=3000, cache_write_5m_tokens=2000),
        "0.0039",
        "100 x 1 + 3000 x 0.10 + 2000 x 1.25 + 200 x 5",
    ),
    Bill(
        "claude-opus-4-5",
        Usage(10_000, 0, cache_write_5m_tokens=4000, cache_write_1h_tokens=6000),
        "0.085",
        "4000 x 6.25 + 6000 x 10, nothing plain",
    ),
    Bill("claude-haiku-5-5", Usage(150_000, 1000), "0.0775", "above 100k: 150000 x 0.50 + 1000 x 2.50"),
    Bill("gemini-2.5-pro", Usage(200_001, 10), "0.5001525", "200001 x 2.50 + 10 x 15"),
    Bill("gemini-2.5-flash", Usage(2000, 100, audio_input_tokens=1500), "0.0019", "500 x 0.30 + 1500 x 1 + 100 x 2.50"),
    Bill(
        "gpt-audio-1.5",
        Usage(1000, 1000, audio_input_tokens=400, audio_output_tokens=600),
        "0.0567",
        "600 x 2.50 + 400 x 32 + 400 x 10 + 600 x 64",
    ),
    Bill("o3", Usage(1000, 1000, reasoning_tokens=900), "0.01", "reasoning is output: 1000 x 2 + 1000 x 8"),
    Bill("gpt-5-nano", Usage(1, 0), "0.00000005", "one token: 50 nano-USD"),
    Bill("llama3.1:8b", Usage(1_000_000, 1_000_000), "0", "free, which is a price"),
]


@pytest.mark.parametrize("bill", BILLS, ids=lambda b: f"{b.model}: {b.how}")
def test_bills_worked_out_by_hand(bill: Bill) -> None:
    model = REGISTRY.find(bill.model)
    assert model is not None
    amount = cost(bill.usage, model.price)
    assert amount is not None
    assert usd(amount) == bill.usd


def test_reasoning_with_a_price_of_its_own_is_taken_out_of_output() -> None:
    price = compile_price(Price(input=1, output=2, reasoning=5))
    assert price.cost(Usage(0, 1000, reasoning_tokens=400)) == 600 * 2000 + 400 * 5000


def test_a_missing_cache_price_is_billed_as_plain_input() -> None:
    price = compile_price(Price(input=1, output=2, tiers=(PriceTier(above=10, input=3, output=4),)))
    assert price.cost(Usage(10, 0, cached_tokens=4, cache_write_5m_tokens=3)) == 10 * 1000
    assert price.cost(Usage(11, 0, cached_tokens=4, cache_write_1h_tokens=3)) == 11 * 3000


def test_of_several_tiers_the_highest_passed_one_holds() -> None:
    tiers = (PriceTier(above=10, input=2, output=2), PriceTier(above=100, input=3, output=3))
    price = compile_price(Price(input=1, output=1, tiers=tiers))
    assert [price.cost(Usage(n, 0)) // n for n in (10, 11, 100, 101)] == [1000, 2000, 2000, 3000]


def test_rounding_is_half_up_and_once_for_the_whole_bill() -> None:
    price = compile_price(Price(input=0.0005, output=0.0005))
    assert price.cost(Usage(1, 0)) == 1
    assert price.cost(Usage(1, 1)) == 1
    assert compile_price(Price(input=0.000499, output=0)).cost(Usage(1, 0)) == 0


def test_contradictory_usage_is_billed_for_every_token_it_names() -> None:
    price = compile_price(Price(input=1, output=1, cache_read=0.5))
    assert price.cost(Usage(10, 0, cached_tokens=100)) == 100 * 500
    assert price.cost(Usage(0, 10, reasoning_tokens=50, audio_output_tokens=50)) == 10 * 1000
    assert price.cost(Usage(-5, -5, cached_tokens=-5)) == 0


def test_without_a_price_there_is_no_cost_at_all() -> None:
    assert cost(Usage(1000, 1000), None) is None
    assert price_on((), date(2026, 1, 1)) is None


def test_the_price_list_of_the_day_is_the_last_one_that_has_begun() -> None:
    lists = (
        Price(input=5, output=5, valid_from=date(2026, 1, 1)),
        Price(input=4, output=4, valid_from=date(2026, 6, 1)),
    )
    found = [price_on(lists, date(2026, *day)) for day in ((5, 31), (6, 1), (12, 31))]
    assert [p and p.input // 10**9 for p in found] == [5, 4, 4]
    assert price_on(lists, date(2025, 12, 31)) is None


@pytest.mark.parametrize(
    ("amount", "expected"),
    [(0.0375, 37_500_000), (0.1, 100_000_000), (0, 0), (1e-9, 1), (5e-10, 1), (1.25, 1_250_000_000)],
)
def test_nano_reads_the_figure_a_person_wrote(amount: float, expected: int) -> None:
    assert nano(amount) == expected


@pytest.mark.parametrize(
    ("amount", "text"), [(0, "0"), (1, "0.000000001"), (37_500_000, "0.0375"), (10**9, "1"), (-1_500_000_000, "-1.5")]
)
def test_usd_is_exact_decimal_text(amount: int, text: str) -> None:
    assert usd(amount) == text


amounts = st.decimals(0, 200, places=4).map(float)
counts = st.integers(0, 2_000_000)


@st.composite
def prices(draw: st.DrawFn) -> PriceList:
    """Price lists as providers have them: reading a cache is cheaper than plain input, large inputs are dearer."""
    plain, output = draw(amounts), draw(amounts)
    share, above = draw(st.floats(0, 1)), draw(st.integers(1, 1_000_000))

    def caches(amount: float) -> dict[str, float]:
        return {"cache_read": amount * share, "cache_write_5m": amount * 1.25, "cache_write_1h": amount * 2}

    tier = PriceTier(above=above, input=plain * 2, output=output * 1.5, **caches(plain * 2))
    audio = draw(st.none() | st.just(plain * 3))
    return compile_price(
        Price(
            input=plain,
            output=output,
            audio_input=audio,
            audio_output=audio,
            reasoning=draw(st.none() | st.just(output * 2)),
            tiers=draw(st.sampled_from([(), (tier,)])),
            **caches(plain),
        )
    )


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    """Usage that adds up: cached, written and heard tokens are part of the input."""
    cached, short, long, fresh, output = (draw(counts) for _ in range(5))
    return Usage(
        input_tokens=cached + short + long + fresh,
        output_tokens=output,
        cached_tokens=cached,
        cache_write_5m_tokens=short,
        cache_write_1h_tokens=long,
        reasoning_tokens=draw(st.integers(0, output)),
        audio_input_tokens=draw(st.integers(0, fresh)),
        audio_output_tokens=draw(st.integers(0, output)),
    )


METERS = [name for name in Usage.__struct_fields__ if name.endswith("_tokens")]


@given(prices(), st.tuples(*[st.integers(-100, 2_000_000)] * len(METERS)))
def test_no_usage_however_odd_costs_less_than_nothing(price: PriceList, tokens: tuple[int, ...]) -> None:
    assert price.cost(Usage(**dict(zip(METERS, tokens, strict=True)))) >= 0


@given(prices(), usages(), st.sampled_from(METERS), st.integers(0, 100_000))
def test_more_of_any_meter_never_costs_less(price: PriceList, usage: Usage, meter: str, more: int) -> None:
    """A meter inside the input or the output grows together with it: more tokens, not other tokens."""
    grown = {name: getattr(usage, name) for name in METERS}
    grown[meter] += more
    if meter not in ("input_tokens", "output_tokens"):
        grown["output_tokens" if meter in ("reasoning_tokens", "audio_output_tokens") else "input_tokens"] += more
    assert price.cost(Usage(**grown)) >= price.cost(usage)


@given(prices(), usages(), usages())
def test_two_bills_add_up_to_the_bill_of_both(price: PriceList, one: Usage, two: Usage) -> None:
    both = Usage(**{name: getattr(one, name) + getattr(two, name) for name in METERS})
    levels = {id(price.rates(u.input_tokens)) for u in (one, two, both)}
    assume(len(levels) == 1)
    # Speech and thought in one answer are told apart by `min`, which only adds up when they do not overlap.
    assume(all(u.reasoning_tokens + u.audio_output_tokens <= u.output_tokens for u in (one, two)))
    assert abs(price.cost(both) - price.cost(one) - price.cost(two)) <= 1


@given(prices(), usages(), st.integers(0, 2_000_000))
def test_a_cached_token_is_never_dearer_than_a_plain_one(price: PriceList, usage: Usage, more: int) -> None:
    plain = usage.input_tokens - sum(
        (usage.cached_tokens, usage.cache_write_5m_tokens, usage.cache_write_1h_tokens, usage.audio_input_tokens)
    )
    counts_of = {name: getattr(usage, name) for name in METERS}
    counts_of["cached_tokens"] += min(more, plain)
    assert price.cost(Usage(**counts_of)) <= price.cost(usage)


@given(prices(), usages())
def test_the_worst_case_is_never_exceeded(price: PriceList, usage: Usage) -> None:
    worst = price.worst_case(usage.input_tokens, usage.output_tokens, audio=True, long_cache=True)
    assert price.cost(usage) <= worst


@given(prices(), counts, counts)
def test_the_worst_case_of_plain_text_leaves_out_sound_and_long_caching(
    price: PriceList, size: int, output: int
) -> None:
    usage = Usage(size, output, cache_write_5m_tokens=size, reasoning_tokens=output)
    assert price.cost(usage) <= price.worst_case(size, output)
    assert price.worst_case(size, output) <= price.worst_case(size, output, audio=True, long_cache=True)


@given(st.integers(-(10**18), 10**18))
def test_usd_loses_nothing(amount: int) -> None:
    assert Decimal(usd(amount)) * 10**9 == amount
    assert "E" not in usd(amount)

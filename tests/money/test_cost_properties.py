"""What must hold for every bill: exact, rounded once, never negative, monotone in each meter, additive."""

from fractions import Fraction

from hypothesis import assume, given
from hypothesis import strategies as st

from sidecar.chat import Usage
from sidecar.registry.card import Price, PriceTier, ServiceTier
from sidecar.registry.price import PriceList, Rates, compile_price

METERS = [name for name in Usage.__struct_fields__ if name.endswith("_tokens")]
PARTS = {
    "cached_tokens": "input_tokens",
    "cache_write_5m_tokens": "input_tokens",
    "cache_write_1h_tokens": "input_tokens",
    "audio_input_tokens": "input_tokens",
    "image_input_tokens": "input_tokens",
    "reasoning_tokens": "output_tokens",
    "audio_output_tokens": "output_tokens",
    "image_output_tokens": "output_tokens",
}
amounts = st.decimals(0, 200, places=6).map(float)
optional = st.none() | amounts
counts = st.integers(0, 2_000_000)
factors = st.decimals(0, 10, places=6).map(float)
tiers = st.sampled_from(["", "flex", "priority", "unheard-of"])


@st.composite
def prices(draw: st.DrawFn, *, rising: bool = False) -> Price:
    """Any card's price; `rising` only with tiers that are dearer in every meter, as all providers' are."""
    level = {meter: draw(optional) for meter in ("cache_read", "cache_write_5m", "cache_write_1h")}
    plain, output = draw(amounts), draw(amounts)
    more = draw(st.floats(1, 3)) if rising else draw(st.floats(0, 3))
    tier = PriceTier(
        above=draw(st.integers(0, 1_000_000)),
        input=plain * more,
        output=output * more,
        **{meter: None if amount is None else amount * more for meter, amount in level.items()},
    )
    special = ("reasoning", "audio_input", "audio_output", "image_input", "image_output", "cache_read_audio")
    return Price(
        input=plain,
        output=output,
        tiers=draw(st.sampled_from([(), (tier,)])),
        service_tiers={
            "flex": ServiceTier(multiplier=draw(factors)),
            "priority": ServiceTier(multiplier=draw(factors), cache_read=draw(factors)),
        },
        **level,
        **{meter: draw(optional) for meter in special},
    )


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    """Usage that adds up: every part is inside its whole, and no token in two parts."""
    parts = {name: draw(counts) for name in PARTS}
    wholes = {"input_tokens": draw(counts), "output_tokens": draw(counts)}
    for part, whole in PARTS.items():
        wholes[whole] += parts[part]
    again = draw(st.integers(0, parts["cached_tokens"]))
    return Usage(**wholes, **parts, cached_audio_tokens=again, service_tier=draw(tiers))


def level(price: PriceList, usage: Usage) -> Rates:
    return price.on(usage.service_tier).rates(usage.input_tokens)


def exact(price: PriceList, usage: Usage) -> Fraction:
    """The same bill in nano-USD, unrounded, a line a meter."""
    rates, of = level(price, usage), usage
    text_in = of.input_tokens - sum(getattr(of, part) for part, whole in PARTS.items() if whole == "input_tokens")
    text_out = of.output_tokens - sum(getattr(of, part) for part, whole in PARTS.items() if whole == "output_tokens")
    lines = [
        (text_in, rates.input),
        (of.cached_tokens - of.cached_audio_tokens, rates.cache_read),
        (of.cached_audio_tokens, rates.cache_read_audio),
        (of.cache_write_5m_tokens, rates.cache_write_5m),
        (of.cache_write_1h_tokens, rates.cache_write_1h),
        (of.audio_input_tokens, rates.audio_input),
        (of.image_input_tokens, rates.image_input),
        (text_out, rates.output),
        (of.reasoning_tokens, rates.reasoning),
        (of.audio_output_tokens, rates.audio_output),
        (of.image_output_tokens, rates.image_output),
    ]
    return sum((Fraction(tokens * rate, 10**6) for tokens, rate in lines), Fraction(0))


@given(prices(), usages())
def test_a_bill_is_exact_and_rounded_once_half_up(price: Price, usage: Usage) -> None:
    compiled = compile_price(price)
    assert compiled.cost(usage) == int(exact(compiled, usage) + Fraction(1, 2))


@given(prices(), st.tuples(*[st.integers(0, 2000)] * 6))
def test_the_short_way_for_text_is_the_long_one(price: Price, tokens: tuple[int, ...]) -> None:
    """Also where the counts contradict each other."""
    compiled, usage = compile_price(price), Usage(*tokens)
    kept = usage.cached_tokens + usage.cache_write_5m_tokens + usage.cache_write_1h_tokens
    assert compiled.cost(usage) == compiled.rates(max(usage.input_tokens, kept)).bill(usage)


@given(prices(), st.tuples(*[st.integers(-(10**6), 10**6)] * len(METERS)), tiers)
def test_no_usage_however_odd_costs_less_than_nothing(price: Price, tokens: tuple[int, ...], tier: str) -> None:
    assert compile_price(price).cost(Usage(**dict(zip(METERS, tokens, strict=True)), service_tier=tier)) >= 0


@given(prices(rising=True), usages(), st.sampled_from([*PARTS, "input_tokens", "output_tokens"]), st.integers(0, 10**5))
def test_more_tokens_of_a_kind_never_cost_less(price: Price, usage: Usage, meter: str, more: int) -> None:
    grown = {name: getattr(usage, name) for name in METERS}
    grown[meter] += more
    if meter in PARTS:
        grown[PARTS[meter]] += more
    compiled = compile_price(price)
    assert compiled.cost(Usage(**grown, service_tier=usage.service_tier)) >= compiled.cost(usage)


@given(prices(), usages(), usages())
def test_two_bills_add_up_within_half_a_nano_dollar_each(price: Price, one: Usage, two: Usage) -> None:
    compiled = compile_price(price)
    sums = {name: getattr(one, name) + getattr(two, name) for name in METERS}
    two = Usage(**{name: getattr(two, name) for name in METERS}, service_tier=one.service_tier)
    both = Usage(**sums, service_tier=one.service_tier)
    assume(len({id(level(compiled, usage)) for usage in (one, two, both)}) == 1)
    for usage in (one, two, both):
        assert abs(compiled.cost(usage) - exact(compiled, usage)) <= Fraction(1, 2)
    assert exact(compiled, both) == exact(compiled, one) + exact(compiled, two)


@given(prices(), usages())
def test_a_card_s_figures_come_through_unrounded_on_the_standard_tier(price: Price, usage: Usage) -> None:
    """From the decimal text a person wrote to the rate of a million tokens, nothing is lost."""
    rates = compile_price(price).base
    assert rates.input == Fraction(repr(price.input)) * 10**9
    assert rates.output == Fraction(repr(price.output)) * 10**9


@given(prices(), usages())
def test_no_service_tier_is_above_the_worst_case_times_its_factor(price: Price, usage: Usage) -> None:
    compiled = compile_price(price)
    worst = compiled.on(usage.service_tier).worst_case(
        usage.input_tokens, usage.output_tokens, audio=True, long_cache=True
    )
    assert compiled.cost(usage) <= worst

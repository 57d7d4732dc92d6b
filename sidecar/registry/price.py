"""Integer money. A price is nano-USD per million tokens, a bill is nano-USD: 0.0375 USD is 37_500_000.

Floats end where a card is compiled; sums are exact and rounded once, half up, at the end of a bill.
A model without a price has no PriceList at all: None is "not known", which is never the same as 0.
"""

from collections.abc import Iterable
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from operator import attrgetter

from msgspec import Struct

from ..chat import Usage
from .card import Price, PriceTier

NANO = 10**9
"""Nano-USD of one USD."""

_MILLION = 10**6
_METERS = tuple(name for name in Usage.__struct_fields__ if name.endswith("_tokens"))
_counts = attrgetter(*_METERS)


class Rates(Struct, frozen=True):
    """What one token of each kind costs, in nano-USD per million tokens; every meter has a figure."""

    input: int
    output: int
    cache_read: int
    cache_write_5m: int
    cache_write_1h: int
    reasoning: int
    audio_input: int
    audio_output: int

    def bill(self, usage: Usage) -> int:
        """Nano-USD of these tokens. Cached and written tokens are part of the input, reasoning of the output.

        Usage that contradicts itself (more cached than input) is billed for every token it names.
        """
        cached, short, long = usage.cached_tokens, usage.cache_write_5m_tokens, usage.cache_write_1h_tokens
        fresh = max(0, usage.input_tokens - cached - short - long)
        heard = min(usage.audio_input_tokens, fresh)
        spoken = min(usage.audio_output_tokens, usage.output_tokens)
        thought = min(usage.reasoning_tokens, usage.output_tokens - spoken)
        total = (
            (fresh - heard) * self.input
            + heard * self.audio_input
            + cached * self.cache_read
            + short * self.cache_write_5m
            + long * self.cache_write_1h
            + (usage.output_tokens - spoken - thought) * self.output
            + spoken * self.audio_output
            + thought * self.reasoning
        )
        return (total + _MILLION // 2) // _MILLION


class PriceList(Struct, frozen=True):
    """A compiled price: the base rates, and dearer ones for large inputs (`(above, rates)`, largest first)."""

    base: Rates
    tiers: tuple[tuple[int, Rates], ...] = ()
    valid_from: date | None = None

    @property
    def input(self) -> int:
        """Nano-USD per million plain input tokens, without tiers: for ranking, not for bills."""
        return self.base.input

    @property
    def output(self) -> int:
        """Nano-USD per million output tokens, without tiers: for ranking, not for bills."""
        return self.base.output

    def rates(self, input_tokens: int) -> Rates:
        """The rates for a request with so many input tokens: a tier holds for the whole request."""
        for above, rates in self.tiers:
            if input_tokens > above:
                return rates
        return self.base

    def cost(self, usage: Usage) -> int:
        """What one attempt costs, in nano-USD."""
        usage = _without_negatives(usage)
        written = usage.cache_write_5m_tokens + usage.cache_write_1h_tokens
        return self.rates(max(usage.input_tokens, usage.cached_tokens + written)).bill(usage)

    def worst_case(self, input_tokens: int, max_output: int, *, audio: bool = False, long_cache: bool = False) -> int:
        """The most a request can cost, in nano-USD: all of its input written to the cache, all output used.

        `audio`: sound may go in or out. `long_cache`: the caller asks for the long cache retention.
        """
        rates = self.rates(input_tokens)
        dearest_in = max(rates.input, rates.cache_read, rates.cache_write_5m)
        dearest_out = max(rates.output, rates.reasoning)
        if long_cache:
            dearest_in = max(dearest_in, rates.cache_write_1h)
        if audio:
            dearest_in = max(dearest_in, rates.audio_input)
            dearest_out = max(dearest_out, rates.audio_output)
        total = max(0, input_tokens) * dearest_in + max(0, max_output) * dearest_out
        return -(-total // _MILLION)


def nano(usd_amount: float) -> int:
    """Nano-USD of an amount in USD as a person wrote it, for example ``nano(0.0375) == 37_500_000``."""
    return int((Decimal(repr(usd_amount)) * NANO).to_integral_value(ROUND_HALF_UP))


def usd(nano_usd: int) -> str:
    """An amount in nano-USD as exact decimal text in USD, for example ``usd(37_500_000) == "0.0375"``."""
    whole, part = divmod(abs(nano_usd), NANO)
    digits = f"{part:09d}".rstrip("0")
    return f"{'-' if nano_usd < 0 else ''}{whole}{'.' + digits if digits else ''}"


def compile_price(price: Price) -> PriceList:
    """A card's price list with integers for every meter."""
    base = _rates(price, price)
    tiers = tuple((tier.above, _rates(tier, price)) for tier in reversed(price.tiers))
    return PriceList(base, tiers, price.valid_from)


def price_on(prices: Iterable[Price], day: date) -> PriceList | None:
    """The price list in force on a day, or None when none is: then the model is unpriced."""
    current = None
    for price in prices:
        if price.valid_from is None or price.valid_from <= day:
            current = price
    return None if current is None else compile_price(current)


def cost(usage: Usage, price: PriceList | None) -> int | None:
    """What one attempt costs in nano-USD; None for a model without a price."""
    return None if price is None else price.cost(usage)


def _rates(level: Price | PriceTier, price: Price) -> Rates:
    """Rates of the base or a tier. What has no price of its own is billed as plain input or output; sound and
    reasoning have one price for all tiers, and never less than the tier's own."""
    plain_in, plain_out = nano(level.input), nano(level.output)

    def of(figure: float | None, plain: int) -> int:
        return plain if figure is None else nano(figure)

    def kept(figure: float | None, plain: int) -> int:
        return of(figure, plain) if level is price else max(of(figure, plain), plain)

    return Rates(
        input=plain_in,
        output=plain_out,
        cache_read=of(level.cache_read, plain_in),
        cache_write_5m=of(level.cache_write_5m, plain_in),
        cache_write_1h=of(level.cache_write_1h, plain_in),
        reasoning=kept(price.reasoning, plain_out),
        audio_input=kept(price.audio_input, plain_in),
        audio_output=kept(price.audio_output, plain_out),
    )


def _without_negatives(usage: Usage) -> Usage:
    """Usage as is, or with negative counts as 0: no provider's slip may pay money back."""
    counts = _counts(usage)
    if min(counts) >= 0:
        return usage
    return Usage(**{name: max(0, count) for name, count in zip(_METERS, counts, strict=True)})

"""Integer money. A price is nano-USD per million tokens, a bill is nano-USD: 0.0375 USD is 37_500_000.

Floats end where a card is compiled; sums are exact and rounded once, half up, at the end of a bill.
A model without a price has no PriceList at all: None is "not known", which is never the same as 0.
"""

from collections.abc import Iterable
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from operator import attrgetter

from msgspec import Struct
from msgspec.structs import replace

from ..chat import Usage
from .card import Price, PriceTier, ServiceTier

NANO = 10**9
"""Nano-USD of one USD."""

_MILLION = 10**6
_GRAIN = NANO // _MILLION
"""What a price times a service tier's multiplier is rounded to."""
_METERS = tuple(name for name in Usage.__struct_fields__ if name.endswith("_tokens"))
_counts = attrgetter(*_METERS)
_TEXT = (
    "input_tokens",
    "output_tokens",
    "cached_tokens",
    "cache_write_5m_tokens",
    "cache_write_1h_tokens",
    "reasoning_tokens",
)
_text = attrgetter(*_TEXT)
_special = attrgetter(*(name for name in _METERS if name not in _TEXT), "service_tier")


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
    image_input: int
    image_output: int
    cache_read_audio: int

    def bill(self, usage: Usage) -> int:
        """Nano-USD of these tokens, by rates per million, rounded once.

        Usage that contradicts itself (more cached than input) is billed for every token it names.
        """
        cached, short, long = usage.cached_tokens, usage.cache_write_5m_tokens, usage.cache_write_1h_tokens
        fresh = max(0, usage.input_tokens - cached - short - long)
        heard = min(usage.audio_input_tokens, fresh)
        seen = min(usage.image_input_tokens, fresh - heard)
        heard_again = min(usage.cached_audio_tokens, cached)
        spoken = min(usage.audio_output_tokens, usage.output_tokens)
        thought = min(usage.reasoning_tokens, usage.output_tokens - spoken)
        drawn = min(usage.image_output_tokens, usage.output_tokens - spoken - thought)
        total = (
            (fresh - heard - seen) * self.input
            + heard * self.audio_input
            + seen * self.image_input
            + (cached - heard_again) * self.cache_read
            + heard_again * self.cache_read_audio
            + short * self.cache_write_5m
            + long * self.cache_write_1h
            + (usage.output_tokens - spoken - thought - drawn) * self.output
            + spoken * self.audio_output
            + thought * self.reasoning
            + drawn * self.image_output
        )
        return (total + _MILLION // 2) // _MILLION


class PriceList(Struct, frozen=True):
    """A compiled price: the base rates, and dearer ones for large inputs (`(above, rates)`, largest first).

    `service_tiers` are whole lists of their own, by name.
    """

    base: Rates
    tiers: tuple[tuple[int, Rates], ...] = ()
    valid_from: date | None = None
    service_tiers: tuple[tuple[str, "PriceList"], ...] = ()

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

    def on(self, service_tier: str) -> "PriceList":
        """The list of a service tier; one that the card does not name is billed as the standard one."""
        for name, prices in self.service_tiers:
            if name == service_tier:
                return prices
        return self

    def cost(self, usage: Usage) -> int:
        """What one attempt costs, in nano-USD."""
        counts: tuple[int, ...] = _text(usage)
        size, output, cached, short, long, thought = counts
        kept = cached + short + long
        if 0 <= thought <= output and kept <= size and cached >= 0 <= short and long >= 0 and not any(_special(usage)):
            # Most bills are text that adds up, on the standard tier: the sum of `bill` without what stands at 0 there.
            rates = self.rates(size) if self.tiers else self.base
            total = (size - kept) * rates.input + (output - thought) * rates.output + thought * rates.reasoning
            if kept:
                total += cached * rates.cache_read + short * rates.cache_write_5m + long * rates.cache_write_1h
            return (total + _MILLION // 2) // _MILLION
        usage = _without_negatives(usage)
        written = usage.cache_write_5m_tokens + usage.cache_write_1h_tokens
        prices = self.on(usage.service_tier) if usage.service_tier else self
        return prices.rates(max(usage.input_tokens, usage.cached_tokens + written)).bill(usage)

    def worst_case(self, input_tokens: int, max_output: int, *, audio: bool = False, long_cache: bool = False) -> int:
        """The most a request can cost, in nano-USD: all of its input written to the cache, all output used.

        `audio`: sound may go in or out. `long_cache`: the caller asks for the long cache retention. The service tier
        is the standard one.
        """
        rates = self.rates(input_tokens)
        dearest_in = max(rates.input, rates.cache_read, rates.cache_write_5m, rates.image_input)
        dearest_out = max(rates.output, rates.reasoning, rates.image_output)
        if long_cache:
            dearest_in = max(dearest_in, rates.cache_write_1h)
        if audio:
            dearest_in = max(dearest_in, rates.audio_input, rates.cache_read_audio)
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
    service_tiers = tuple((name, _levels(price, tier)) for name, tier in price.service_tiers.items())
    return replace(_levels(price, None), service_tiers=service_tiers)


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


def _levels(price: Price, service: ServiceTier | None) -> PriceList:
    """The base and the tiers of a price, as they are or on a service tier."""

    def of(level: Price | PriceTier) -> Rates:
        rates = _rates(level, price)
        return rates if service is None else _scaled(rates, service)

    return PriceList(of(price), tuple((tier.above, of(tier)) for tier in reversed(price.tiers)), price.valid_from)


def _scaled(rates: Rates, service: ServiceTier) -> Rates:
    """Rates on a service tier: providers list the products, rounded, not the factors."""
    cached = service.multiplier if service.cache_read is None else service.cache_read
    factors = dict.fromkeys(Rates.__struct_fields__, service.multiplier)
    factors |= {"cache_read": cached, "cache_read_audio": cached}

    def product(rate: int, factor: float) -> int:
        return int((Decimal(rate) * Decimal(repr(factor)) / _GRAIN).to_integral_value(ROUND_HALF_UP)) * _GRAIN

    return Rates(**{meter: product(getattr(rates, meter), factor) for meter, factor in factors.items()})


def _rates(level: Price | PriceTier, price: Price) -> Rates:
    """Rates of the base or a tier. What has no price of its own is billed as plain input or output; sound, images and
    reasoning have one price for all tiers, and never less than the tier's own."""
    plain_in, plain_out = nano(level.input), nano(level.output)
    cached = plain_in if level.cache_read is None else nano(level.cache_read)

    def of(figure: float | None, plain: int) -> int:
        return plain if figure is None else nano(figure)

    def kept(figure: float | None, plain: int) -> int:
        return of(figure, plain) if level is price else max(of(figure, plain), plain)

    return Rates(
        input=plain_in,
        output=plain_out,
        cache_read=cached,
        cache_write_5m=of(level.cache_write_5m, plain_in),
        cache_write_1h=of(level.cache_write_1h, plain_in),
        reasoning=kept(price.reasoning, plain_out),
        audio_input=kept(price.audio_input, plain_in),
        audio_output=kept(price.audio_output, plain_out),
        image_input=kept(price.image_input, plain_in),
        image_output=kept(price.image_output, plain_out),
        cache_read_audio=kept(price.cache_read_audio, cached),
    )


def _without_negatives(usage: Usage) -> Usage:
    """Usage as is, or with negative counts as 0: no provider's slip may pay money back."""
    counts = _counts(usage)
    if min(counts) >= 0:
        return usage
    return replace(usage, **{name: max(0, count) for name, count in zip(_METERS, counts, strict=True)})

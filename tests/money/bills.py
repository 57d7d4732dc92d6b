"""What a provider charges for a usage block, worked out from the raw block by that provider's published rules.

Nothing of `sidecar.registry.price` is used: exact fractions of the figures on the card, rounded once at the end.
"""

from collections.abc import Callable
from fractions import Fraction
from typing import Any

from sidecar.registry.card import Price, PriceTier

Block = dict[str, Any]


def openai(raw: Block, tier: str | None, price: Price) -> int:
    """platform.openai.com/docs/pricing: `prompt_tokens` holds cached and written tokens, `completion_tokens` holds
    reasoning and audio. Past the long-context border the whole request is at the long-context prices."""
    read, wrote = raw.get("prompt_tokens_details") or {}, raw.get("completion_tokens_details") or {}
    prompt, completion = raw["prompt_tokens"], raw.get("completion_tokens") or 0
    cached, written = read.get("cached_tokens") or 0, read.get("cache_write_tokens") or 0
    heard, spoken = read.get("audio_tokens") or 0, wrote.get("audio_tokens") or 0
    level = _level(price, prompt)
    return _nano(
        _lines(price, level, tier)(
            input=prompt - cached - written - heard,
            cache_read=cached,
            cache_write_5m=written,
            audio_input=heard,
            output=completion - spoken,
            audio_output=spoken,
        )
    )


def anthropic(raw: Block, tier: str | None, price: Price) -> int:
    """docs.claude.com, prompt caching: `input_tokens` is what follows the last cache breakpoint, so the request's size
    is the sum of three fields. Thinking is output. A compaction pass is billed beside what the totals say."""
    passes = [raw, *(p for p in raw.get("iterations") or () if p["type"] == "compaction")]
    return sum(_pass(one, raw, price) for one in passes)


def _pass(raw: Block, answer: Block, price: Price) -> int:
    read, written = raw.get("cache_read_input_tokens") or 0, raw.get("cache_creation_input_tokens") or 0
    hour = (raw.get("cache_creation") or {}).get("ephemeral_1h_input_tokens") or 0
    level = _level(price, raw["input_tokens"] + read + written)
    tier = "fast" if answer.get("speed") == "fast" else answer.get("service_tier")
    return _nano(
        _lines(price, level, tier)(
            input=raw["input_tokens"],
            cache_read=read,
            cache_write_5m=written - hour,
            cache_write_1h=hour,
            output=raw["output_tokens"],
        )
    )


def google(raw: Block, tier: str | None, price: Price) -> int:
    """ai.google.dev/gemini-api/docs/pricing: the prompt holds cached tokens, tool use comes on top; candidates and
    thoughts are both output. Audio has its own price, cached or not."""
    prompt, cached = raw["promptTokenCount"], raw.get("cachedContentTokenCount") or 0
    tool = raw.get("toolUsePromptTokenCount") or 0
    heard_again = _audio(raw.get("cacheTokensDetails"))
    heard = _audio(raw.get("promptTokensDetails")) - heard_again
    return _nano(
        _lines(price, _level(price, prompt + tool), raw.get("serviceTier"))(
            input=prompt + tool - cached - heard,
            audio_input=heard,
            cache_read=cached - heard_again,
            cache_read_audio=heard_again,
            output=(raw.get("candidatesTokenCount") or 0) + (raw.get("thoughtsTokenCount") or 0),
        )
    )


def ollama(raw: Block, tier: str | None, price: Price) -> int:
    """Nothing is charged; were it, by prompt and answer."""
    counts = raw.get("prompt_eval_count") or 0, raw.get("eval_count") or 0
    return _nano(_lines(price, price, tier)(input=counts[0], output=counts[1]))


BILLS: dict[str, Callable[[Block, str | None, Price], int]] = {
    "openai": openai,
    "anthropic": anthropic,
    "google": google,
    "ollama": ollama,
}


def _audio(details: list[Block] | None) -> int:
    return sum(entry["tokenCount"] for entry in details or () if entry["modality"] == "AUDIO")


def _level(price: Price, size: int) -> Price | PriceTier:
    return max((t for t in price.tiers if size > t.above), key=lambda t: t.above, default=price)  # type: ignore[type-var, return-value]


def _lines(price: Price, level: Price | PriceTier, tier: str | None) -> Callable[..., Fraction]:
    """The sum of tokens times USD per million, a line a meter."""
    service = price.service_tiers.get(tier or "")

    def total(**tokens: int) -> Fraction:
        return sum((count * rate(meter) for meter, count in tokens.items()), Fraction(0))

    def rate(meter: str) -> Fraction:
        plain = level.output if "output" in meter else level.input
        figure = getattr(level, meter, None)
        if meter == "cache_read_audio":
            figure = price.cache_read_audio if price.cache_read_audio is not None else level.cache_read
        amount = Fraction(repr(plain if figure is None else figure))
        if service is None:
            return amount
        cached = service.cache_read if service.cache_read is not None and "cache_read" in meter else service.multiplier
        return Fraction(round(amount * Fraction(repr(cached)) * 10**6), 10**6)

    return total


def _nano(usd_per_million_times_tokens: Fraction) -> int:
    """Nano-USD, half up."""
    return int(usd_per_million_times_tokens * 1000 + Fraction(1, 2))

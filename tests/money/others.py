"""Two other calculators on the same wire objects: the genai-prices package, and LiteLLM's price map."""

from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

from genai_prices import calc_price, extract_usage

from sidecar.chat import Usage

from .prices import DAY, SUFFIXES, litellm

NOON = datetime(DAY.year, DAY.month, DAY.day, 12, tzinfo=UTC)
GENAI_BODY = {
    "openai": ("usage", "model"),
    "anthropic": ("usage", "model"),
    "google": ("usageMetadata", "modelVersion"),
}
_THRESHOLDS = (100, 200, 272)


def genai(provider: str, model: str, raw: dict[str, Any], tier: str) -> int | None:
    """The package's own reading of the block times its own price; None where it has none."""
    if provider not in GENAI_BODY:
        return None
    usage_key, model_key = GENAI_BODY[provider]
    flavor = "chat" if provider == "openai" else "default"
    try:
        read = extract_usage({usage_key: raw, model_key: model}, provider_id=provider, api_flavor=flavor)
        bill = calc_price(
            read.usage,
            model,
            provider_id=provider,
            genai_request_timestamp=NOON,
            price_context=_context(provider, tier),
        )
    except LookupError:
        return None
    return _nano(bill.total_price)


def map_bill(model: str, usage: Usage) -> int | None:
    """The tokens of `usage` at LiteLLM's prices: a meter without a price of its own is plain input or output, and a
    price `above_Nk_tokens` holds for the whole request."""
    row = litellm().get(model)
    if row is None or "input_cost_per_token" not in row:
        return None

    def price(meter: str, other: Decimal | None = None) -> Decimal:
        return _listed(row, meter, usage) or other or Decimal(0)

    plain, output = price("input_cost_per_token"), price("output_cost_per_token")
    cached = price("cache_read_input_token_cost", plain)
    written = price("cache_creation_input_token_cost", plain)
    retained = price("cache_creation_input_token_cost_above_1hr", written)
    text = usage.input_tokens - usage.cached_tokens - usage.cache_write_5m_tokens - usage.cache_write_1h_tokens
    text -= usage.audio_input_tokens
    said = usage.output_tokens - usage.audio_output_tokens - usage.reasoning_tokens
    total = plain * text + price("input_cost_per_audio_token", plain) * usage.audio_input_tokens
    total += cached * (usage.cached_tokens - usage.cached_audio_tokens)
    total += price("cache_read_input_audio_token_cost", cached) * usage.cached_audio_tokens
    total += written * usage.cache_write_5m_tokens + retained * usage.cache_write_1h_tokens
    total += output * said + price("output_cost_per_audio_token", output) * usage.audio_output_tokens
    total += price("output_cost_per_reasoning_token", output) * usage.reasoning_tokens
    fast = (row.get("provider_specific_entry") or {}).get("fast", 1) if usage.service_tier == "fast" else 1
    return _nano(total * Decimal(repr(fast)))


def _listed(row: dict[str, Any], meter: str, usage: Usage) -> Decimal | None:
    """The most special price there is: of the size and the service tier, of one of them, or the plain one."""
    sizes = [f"_above_{k}k_tokens" for k in sorted(_THRESHOLDS, reverse=True) if usage.input_tokens > k * 1000]
    tiers = [f"_{SUFFIXES[usage.service_tier]}"] if usage.service_tier in SUFFIXES else []
    for size in (*(s for s in sizes if f"{meter}{s}" in row), ""):
        for tier in (*tiers, ""):
            if (amount := row.get(f"{meter}{size}{tier}")) is not None:
                return Decimal(repr(amount))
    return None


def _context(provider: str, tier: str) -> dict[str, str] | None:
    """What selects the package's price variants."""
    if not tier:
        return None
    if tier == "batch":
        return {"processing": tier}
    return {"speed" if provider == "anthropic" else "service_tier": tier}


def _nano(usd: Decimal) -> int:
    return int((usd * 10**9).to_integral_value(ROUND_HALF_UP))

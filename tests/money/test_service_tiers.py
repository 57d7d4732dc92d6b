"""Service tiers, images and cached audio: what the answers say, and what it makes of a bill."""

import json
from typing import Any

import pytest

from sidecar.chat import ChatRequest, Completion, Usage
from sidecar.providers.openai import OpenAI
from sidecar.registry.card import Price, PriceTier, ServiceTier
from sidecar.registry.price import compile_price

from .blocks import ADAPTERS

COUNTS = {"prompt_tokens": 10, "completion_tokens": 2}
PRICE = compile_price(
    Price(
        input=1,
        output=4,
        cache_read=0.1,
        tiers=(PriceTier(above=100, input=2, output=6, cache_read=0.2),),
        service_tiers={
            "flex": ServiceTier(multiplier=0.5),
            "batch": ServiceTier(multiplier=0.5, cache_read=1),
            "priority": ServiceTier(multiplier=1.666667),
        },
    )
)


def usage(provider: str, body: dict[str, Any]) -> Usage:
    answer = ADAPTERS[f"test-{provider}"].response(json.dumps(body).encode())
    assert isinstance(answer, Completion)
    assert answer.usage is not None
    return answer.usage


def google(**metadata: Any) -> Usage:
    answer = {"candidates": [{"content": {"parts": [{"text": "x"}]}, "finishReason": "STOP"}]}
    return usage("google", {**answer, "usageMetadata": {"promptTokenCount": 1000, **metadata}})


@pytest.mark.parametrize(
    ("said", "tier"),
    [("flex", "flex"), ("priority", "priority"), ("default", ""), ("auto", ""), ("scale", ""), (None, ""), (7, "")],
)
def test_openai_says_the_tier_beside_the_usage(said: object, tier: str) -> None:
    assert usage("openai", {"choices": [], "usage": COUNTS, "service_tier": said}).service_tier == tier


def test_openai_says_it_in_every_chunk_of_a_stream() -> None:
    reader = OpenAI().reader(ChatRequest("m", []))
    chunk = json.dumps({"choices": [], "usage": COUNTS, "service_tier": "flex"})
    (delta,) = reader.feed(f"data: {chunk}\n\n".encode())
    assert delta.usage is not None
    assert delta.usage.service_tier == "flex"


def test_openai_s_written_and_image_tokens_are_read() -> None:
    details = {"cached_tokens": 3, "cache_write_tokens": 4, "image_tokens": 2}
    found = usage("openai", {"choices": [], "usage": {**COUNTS, "prompt_tokens_details": details}})
    assert (found.cached_tokens, found.cache_write_5m_tokens, found.image_input_tokens) == (3, 4, 2)


@pytest.mark.parametrize(
    ("said", "tier"),
    [
        ({"service_tier": "batch"}, "batch"),
        ({"service_tier": "standard", "speed": "fast"}, "fast"),
        ({"service_tier": "priority", "speed": "standard"}, "priority"),
        ({"service_tier": "standard", "speed": None}, ""),
    ],
)
def test_anthropic_has_a_tier_and_a_speed(said: dict[str, Any], tier: str) -> None:
    assert usage("anthropic", {"content": [], "usage": {"input_tokens": 1, **said}}).service_tier == tier


def test_anthropic_s_stream_says_it_at_the_start_and_it_holds_to_the_end() -> None:
    start = {"type": "message_start", "message": {"usage": {"input_tokens": 5, "service_tier": "batch"}}}
    end = {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 7}}
    reader = ADAPTERS["test-anthropic"].reader(ChatRequest("m", []))
    wire = "".join(f"event: {e['type']}\ndata: {json.dumps(e)}\n\n" for e in (start, end, {"type": "message_stop"}))
    found = [delta.usage for delta in [*reader.feed(wire.encode()), *reader.end()] if delta.usage is not None]
    assert (found[-1].service_tier, found[-1].output_tokens) == ("batch", 7)


@pytest.mark.parametrize(
    ("said", "tier"),
    [
        ({"serviceTier": "flex"}, "flex"),
        ({"serviceTier": "standard"}, ""),
        ({"trafficType": "ON_DEMAND_PRIORITY"}, "priority"),
        ({"trafficType": "ON_DEMAND"}, ""),
        ({"trafficType": "PROVISIONED_THROUGHPUT"}, ""),
    ],
)
def test_gemini_has_a_tier_and_vertex_a_traffic_type(said: dict[str, Any], tier: str) -> None:
    assert google(**said).service_tier == tier


def test_gemini_s_cached_audio_is_not_billed_twice() -> None:
    """The prompt's details count it, and so do the cache's."""
    prompt = [{"modality": "TEXT", "tokenCount": 500}, {"modality": "AUDIO", "tokenCount": 500}]
    cached = [{"modality": "AUDIO", "tokenCount": 500}]
    found = google(cachedContentTokenCount=500, promptTokensDetails=prompt, cacheTokensDetails=cached)
    assert (found.audio_input_tokens, found.cached_audio_tokens) == (0, 500)
    price = compile_price(Price(input=0.3, output=2.5, cache_read=0.03, audio_input=1, cache_read_audio=0.1))
    assert price.cost(found) == 500 * 300 + 500 * 100


def test_gemini_s_images_have_a_price_of_their_own() -> None:
    found = google(candidatesTokenCount=1300, candidatesTokensDetails=[{"modality": "IMAGE", "tokenCount": 1290}])
    price = compile_price(Price(input=0.3, output=2.5, image_output=30))
    assert price.cost(found) == 1000 * 300 + 10 * 2500 + 1290 * 30_000


def test_a_tier_multiplies_every_price_and_cached_reads_may_keep_theirs() -> None:
    tokens = {"input_tokens": 100, "output_tokens": 10, "cached_tokens": 50}
    bills = {tier: PRICE.cost(Usage(**tokens, service_tier=tier)) for tier in ("", "flex", "batch")}
    assert bills == {"": 95_000, "flex": 47_500, "batch": 25_000 + 5000 + 20_000}


def test_a_context_tier_and_a_service_tier_multiply() -> None:
    assert PRICE.cost(Usage(101, 10, service_tier="flex")) == 101 * 1000 + 10 * 3000


def test_a_tier_without_a_factor_costs_the_standard_price() -> None:
    assert PRICE.cost(Usage(10, 1, service_tier="ultrafast")) == PRICE.cost(Usage(10, 1))


def test_five_thirds_are_the_provider_s_round_price() -> None:
    """gpt-4o-mini: 0.15 is listed as 0.25 on the priority tier."""
    price = compile_price(Price(input=0.15, output=0.6, service_tiers={"priority": ServiceTier(multiplier=1.666667)}))
    assert price.cost(Usage(1_000_000, 1_000_000, service_tier="priority")) == 1_250_000_000

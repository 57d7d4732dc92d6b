"""Made-up usage blocks in each provider's own form: one for everything a bill can hold."""

import json
from collections.abc import Iterator
from typing import Any

import msgspec

from sidecar.chat import Completion, Usage
from sidecar.registry.card import ModelCard

from .blocks import ADAPTERS, Block
from .prices import REGISTRY, in_force, listed_tiers

FAR = 300_000
"""More tokens than the border of any context tier."""


class Scenario(msgspec.Struct):
    """Neutral counts, `size` with all that was cached or written."""

    name: str
    size: int = 10_000
    output: int = 500
    cached: int = 0
    written: int = 0
    retained: int = 0
    reasoning: int = 0
    heard: int = 0
    heard_again: int = 0
    spoken: int = 0
    tier: str = "standard"


PLAIN = Scenario("plain")
CACHED = Scenario("cached", cached=8000)
WRITTEN = Scenario("cache write", cached=3000, written=4000)
RETAINED = Scenario("cache write 1 h", written=1000, retained=4000)
REASONING = Scenario("reasoning", reasoning=400)
AUDIO = Scenario("audio", heard=4000)
SPEECH = Scenario("audio in and out", heard=4000, spoken=300)
CACHED_AUDIO = Scenario("cached audio", cached=3000, heard=4000, heard_again=2000)
LONG = Scenario("above a context tier", size=FAR, cached=100_000)


def made_up() -> Iterator[tuple[str, Block]]:
    """`(scenario, block)` for every bundled cloud model and every scenario that its provider could report."""
    for card in REGISTRY.cards:
        if card.provider != "ollama":
            for scenario in scenarios(card):
                yield scenario.name, _block(card, scenario)


def scenarios(card: ModelCard) -> Iterator[Scenario]:
    """What this model's answers can hold."""
    yield PLAIN
    price, able = in_force(card), card.capabilities
    if price.cache_read is not None:
        yield CACHED
    if price.cache_write_5m is not None:
        yield WRITTEN
    if card.provider == "anthropic":
        yield RETAINED
    if "reasoning" in able:
        yield REASONING
    if "audio" in able:
        yield SPEECH if card.provider == "openai" else AUDIO
    if "audio" in able and card.provider == "google":
        yield CACHED_AUDIO
    if card.context > FAR:
        yield LONG
    for tier in price.service_tiers or listed_tiers(card.id):
        if tier != "ultrafast" and (tier != "batch" or card.provider == "anthropic"):
            # Batches go to another endpoint; of the chat wires only Anthropic's can report one.
            yield Scenario(tier, cached=4000 if price.cache_read is not None else 0, tier=tier)


def _block(card: ModelCard, scenario: Scenario) -> Block:
    raw = _RAW[card.provider](scenario)
    model = card.upstream or card.id
    body: dict[str, Any] = {"choices": [], "content": [], "usage": raw, "service_tier": scenario.tier}
    if card.provider == "google":
        body = {"candidates": [{"content": {"parts": [{"text": "x"}]}, "finishReason": "STOP"}], "usageMetadata": raw}
    answer = ADAPTERS[f"test-{card.provider}"].response(json.dumps(body).encode())
    assert isinstance(answer, Completion)
    assert isinstance(answer.usage, Usage)
    return Block(scenario.name, card.provider, model, raw, answer.usage, scenario.tier)


def _openai(s: Scenario) -> dict[str, Any]:
    return {
        "prompt_tokens": s.size,
        "completion_tokens": s.output,
        "prompt_tokens_details": {
            "cached_tokens": s.cached, "cache_write_tokens": s.written + s.retained, "audio_tokens": s.heard
        },
        "completion_tokens_details": {"reasoning_tokens": s.reasoning, "audio_tokens": s.spoken},
    }  # fmt: skip


def _anthropic(s: Scenario) -> dict[str, Any]:
    return {
        "input_tokens": s.size - s.cached - s.written - s.retained,
        "cache_read_input_tokens": s.cached,
        "cache_creation_input_tokens": s.written + s.retained,
        "cache_creation": {"ephemeral_5m_input_tokens": s.written, "ephemeral_1h_input_tokens": s.retained},
        "output_tokens": s.output,
        "output_tokens_details": {"thinking_tokens": s.reasoning},
        "service_tier": "standard" if s.tier == "fast" else s.tier,
        "speed": "fast" if s.tier == "fast" else "standard",
    }


def _google(s: Scenario) -> dict[str, Any]:
    def modalities(heard: int, size: int) -> list[dict[str, Any]]:
        found = [{"modality": "TEXT", "tokenCount": size - heard}]
        return [*found, {"modality": "AUDIO", "tokenCount": heard}] if heard else found

    return {
        "promptTokenCount": s.size,
        "cachedContentTokenCount": s.cached,
        "candidatesTokenCount": s.output - s.reasoning,
        "thoughtsTokenCount": s.reasoning,
        "promptTokensDetails": modalities(s.heard, s.size),
        "cacheTokensDetails": modalities(s.heard_again, s.cached),
        "serviceTier": s.tier,
    }


_RAW = {"openai": _openai, "anthropic": _anthropic, "google": _google}

"""Our prices against five public catalogues. Every disagreement is listed here with who is right, and why."""

from datetime import date

import pytest

from sidecar.registry.card import ModelCard, Price, PriceTier
from sidecar.registry.load import load

from .catalogues import FOLDER, Figures, catalogues

pytestmark = pytest.mark.skipif(
    not FOLDER.is_dir(), reason=f"no catalogues at {FOLDER}: set SIDECAR_SHARED_DATA to the shared data folder"
)

TODAY = date(2026, 11, 20)
FIELDS = ("input", "output", "cache_read", "cache_write_5m", "cache_write_1h")

PROMOTION = (
    "OpenAI cut this price on 2026-08-21 (5/30 to 4/20, LiteLLM of November, LaoZhang's notice of the cut). "
    "genai-prices is of the day before, OpenRouter showed a discount of its own."
)
INTRODUCTORY = (
    "Announced as introductory until the end of August; Anthropic's own page in October still says 2/10, so does "
    "LiteLLM. genai-prices and llm-prices have the increase that was announced."
)
LONG_BETA = "The 1M context of Sonnet 4.5 was a beta behind a header; the card offers 200k, where no tier is reached."
DISCOUNT = "OpenRouter showed half of Google's price; LiteLLM and genai-prices agree on 0.75/3.75."
BEFORE_REDUCTION = "llm-prices is of 2026-08-05 and has the price before Google's reduction, which returns in January."
OLD_O3 = "llm-prices lists the price before OpenAI's cut of 2025-06-10 without an end date; OpenAI's page says 2/8."

DISAGREEMENTS: dict[tuple[str, str], str] = {
    ("gpt-5.6-sol", "genai-prices"): PROMOTION,
    ("gpt-5.6-sol", "openrouter"): PROMOTION,
    ("gpt-5.6-sol", "llm-prices"): PROMOTION,
    ("claude-sonnet-5", "genai-prices"): INTRODUCTORY,
    ("claude-sonnet-5", "llm-prices"): INTRODUCTORY,
    ("claude-sonnet-4-5", "genai-prices"): LONG_BETA,
    ("claude-sonnet-4-5", "openrouter"): LONG_BETA,
    ("gemini-3.7-flash", "openrouter"): DISCOUNT,
    ("gemini-3.6-flash", "llm-prices"): BEFORE_REDUCTION,
    ("o3", "llm-prices"): OLD_O3,
}

ONE_CATALOGUE = {
    # Newer than four of the catalogues: LiteLLM (November) has them, the card's `confirmed` is the second source.
    "gpt-6-astra", "gpt-6.1-sol", "gpt-6.1-terra", "gpt-6-sol", "gpt-6-luna", "gpt-5.6-sol", "gpt-audio-1.5",
    "claude-fable-5-1", "claude-opus-5-5", "claude-sonnet-5-5", "claude-haiku-5-5",
    "gemini-4-argon", "gemini-3.8-flash",
}  # fmt: skip

CARDS = [card for card in load().catalogue.models if card.provider != "ollama"]


def _in_force(card: ModelCard) -> Price:
    return [p for p in card.prices if p.valid_from is None or p.valid_from <= TODAY][-1]


def _figures(price: Price) -> Figures:
    def level(tier: Price | PriceTier, suffix: str) -> Figures:
        return {f"{f}{suffix}": getattr(tier, f) for f in FIELDS if getattr(tier, f) is not None}

    found = level(price, "")
    for tier in price.tiers:
        found |= level(tier, f"@{tier.above}")
    return found


def _differences(ours: Figures, theirs: Figures) -> dict[str, tuple[float | None, float]]:
    """Figures they have and we do not share. What only we have is no disagreement: catalogues have gaps."""
    return {k: (ours.get(k), v) for k, v in theirs.items() if k not in ours or abs(ours[k] - v) > 1e-9}


@pytest.mark.parametrize("card", CARDS, ids=lambda c: c.id)
def test_no_catalogue_contradicts_us_unless_listed(card: ModelCard) -> None:
    ours = _figures(_in_force(card))
    found = {
        name: different
        for name, rows in catalogues().items()
        if card.id in rows and (different := _differences(ours, rows[card.id]))
    }
    unexpected = {name: d for name, d in found.items() if (card.id, name) not in DISAGREEMENTS}
    assert unexpected == {}


@pytest.mark.parametrize("card", CARDS, ids=lambda c: c.id)
def test_two_catalogues_agree_on_input_and_output(card: ModelCard) -> None:
    price = _in_force(card)
    agreeing = {
        name
        for name, rows in catalogues().items()
        if (rows.get(card.id, {}).get("input"), rows.get(card.id, {}).get("output")) == (price.input, price.output)
    }
    assert len(agreeing) >= (1 if card.id in ONE_CATALOGUE else 2), agreeing


def test_the_list_of_disagreements_holds_no_settled_ones() -> None:
    prices = {card.id: _figures(_in_force(card)) for card in CARDS}
    settled = {
        (model, name)
        for model, name in DISAGREEMENTS
        if not _differences(prices[model], catalogues()[name].get(model, {}))
    }
    assert settled == set()

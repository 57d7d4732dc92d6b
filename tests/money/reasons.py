"""Why a calculator's bill is not ours, and who is right. A disagreement without a reason fails, and so does a reason
that explains nothing."""

import re

import msgspec


class Reason(msgspec.Struct, frozen=True):
    """For the disagreements of `source` on blocks and models that fit the patterns."""

    name: str
    source: str
    block: str
    model: str
    right: str
    why: str

    def fits(self, source: str, block: str, model: str) -> bool:
        return all(re.fullmatch(*pair) for pair in ((self.source, source), (self.block, block), (self.model, model)))


REASONS = (
    Reason(
        "search-fee", "genai-prices", r"anthropic-\w+", "claude-.*",
        "genai-prices for the invoice, ours for the tokens",
        "Anthropic charges 10 USD per 1,000 web searches; the block counts them in `server_tool_use`. The registry has "
        "no fees per search, and says so (docs/registry.md). The difference is 0.01 USD a search, exactly.",
    ),
    Reason(
        "service-tier", "genai-prices|LiteLLM", r"flex|priority|fast|openai-da46085535", r"gpt-.*|o\d.*|claude-.*",
        "theirs",
        "The provider's page lists half for flex, 1.67 to 2.5 times for priority, double for Claude's fast mode. The "
        "adapters read the tier and `Price.service_tiers` holds the factor, but the bundled models.json names none "
        "yet: billed as standard. The factors are listed below; with them every one of these bills is equal.",
    ),
    Reason(
        "service-tier-google", "genai-prices|LiteLLM", "flex|priority", "gemini-.*", "LiteLLM",
        "Google lists half for flex and 1.8 times for priority (ai.google.dev/gemini-api/docs/pricing; "
        "cached reads of the 2.5 models keep their price on flex). genai-prices has no variants for these models, so "
        "its bill is the standard one; ours is too as long as models.json names no factors.",
    ),
    Reason(
        "batch", "genai-prices|LiteLLM", "batch", "claude-.*", "theirs",
        "Half of everything, caches included. The gateway sends no batches, so no bill of ours can hold one; the wire "
        "can report it, and a factor in models.json would settle it.",
    ),
    Reason(
        "cached-audio", "genai-prices|LiteLLM", "cached audio", "gemini-.*", "theirs",
        "Google lists cached audio apart (gemini-2.5-flash: 0.10, text 0.03). The adapter reads it and "
        "`cache_read_audio` holds it, but no bundled card names one: billed as other cached tokens.",
    ),
)  # fmt: skip


def reason(source: str, block: str, model: str) -> Reason | None:
    """The first that fits."""
    return next((one for one in REASONS if one.fits(source, block, model)), None)

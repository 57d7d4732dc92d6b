"""The saved pages (shared data, not part of the project), the scrapers that read them, and what the pages list."""

import gzip
import json
from functools import cache
from pathlib import Path

from sidecar.config.check import check
from sidecar.config.document import parse
from sidecar.scrape.extract import extract
from sidecar.scrape.finding import Extraction
from sidecar.scrape.spec import Scraper
from tests.shared import shared

SCRAPERS = Path(__file__).parents[2] / "scrapers"

CLAUDE = "3-haiku 3-5-haiku opus-4-0 sonnet-4-0 opus-4-1 sonnet-4-5 haiku-4-5"
GPT_5 = (
    "gpt-5 gpt-5-mini gpt-5-nano gpt-5-pro gpt-5.1 gpt-5.2 gpt-5.2-pro gpt-5.4 gpt-5.4-mini gpt-5.4-nano gpt-5.4-pro"
)
GPT_OLD = (
    "gpt-4.1 gpt-4.1-mini gpt-4.1-nano gpt-4o gpt-4o-2024-05-13 gpt-4o-mini o1 o1-pro o1-mini o3 o3-pro o3-mini "
    "o4-mini gpt-4-turbo-2024-04-09 gpt-4-0125-preview gpt-4-1106-preview gpt-4-1106-vision-preview gpt-4-0613 "
    "gpt-4-0314 gpt-4-32k gpt-3.5-turbo gpt-3.5-turbo-0125 gpt-3.5-turbo-1106 gpt-3.5-turbo-0613 gpt-3.5-0301 "
    "gpt-3.5-turbo-instruct gpt-3.5-turbo-16k-0613 davinci-002 babbage-002"
)
SPECIALIZED = (
    "gpt-5.3-chat-latest gpt-5.2-chat-latest gpt-5.1-chat-latest gpt-5-chat-latest chatgpt-4o-latest gpt-5.3-codex "
    "gpt-5.2-codex gpt-5.1-codex-max gpt-5.1-codex gpt-5-codex gpt-5.1-codex-mini codex-mini-latest gpt-5-search-api "
    "gpt-4o-search-preview gpt-4o-mini-search-preview o3-deep-research o4-mini-deep-research computer-use-preview"
)
GPT_5_5 = "gpt-5.5 gpt-5.5-pro"

# Text models that a page lists with a price and does not call deprecated, read off the pages by hand.
LISTED: dict[str, str] = {
    "claude_pricing_2025-10-20.md": f"{CLAUDE} 3-7-sonnet",
    "claude_pricing_2025-11-25.md": f"{CLAUDE} opus-4-5",
    "claude_pricing_2026-02-06.md": f"{CLAUDE} opus-4-5 opus-4-6",
    "claude_pricing_2026-03-28.md": f"{CLAUDE} opus-4-5 opus-4-6 sonnet-4-6",
    "claude_pricing_2026-05-11.md": f"{CLAUDE} opus-4-5 opus-4-6 sonnet-4-6 opus-4-7",
    "claude_models_overview_2026-05-03.html.gz": "opus-4-7 sonnet-4-6 haiku-4-5",
    "claude_com_pricing_2026-05-08.html.gz": (
        "opus-4-7 sonnet-4-6 haiku-4-5 opus-4-6 sonnet-4-5 opus-4-5 opus-4-1 sonnet-4-0 opus-4-0"
    ),
    "gemini_pricing_jina_2026-05-07.md": (
        "gemini-3.1-flash-lite gemini-3.1-pro-preview gemini-3.1-pro-preview-customtools gemini-3.1-flash-lite-preview "
        "gemini-3-flash-preview gemini-2.5-pro gemini-2.5-flash gemini-2.5-flash-lite "
        "gemini-2.5-flash-lite-preview-09-2025"
    ),
    "openai_pricing_2026-02-26.md": "",  # the mirror lost every table: there is nothing to read, and that is said
    "openai_pricing_2026-04-03.md": f"{GPT_5} {GPT_OLD}",
    "openai_pricing_2026-05-03.html.gz": f"{GPT_5_5} {GPT_5} {GPT_OLD} {SPECIALIZED}",
    "openai_pricing_2026-05-29.md": f"{GPT_5_5} {GPT_5} {GPT_OLD}",
    "openai_pricing_fragment_2026-06-14.html.gz": f"{GPT_5_5} {GPT_5} {GPT_OLD}",
    "openai_pricing_jina_2026-05-08.md": (
        f"{GPT_5_5} gpt-5.4 gpt-5.4-mini gpt-5.4-nano gpt-5.4-pro chat-latest gpt-5.3-codex"
    ),
}
NO_SCRAPER = {
    "openai_deprecations_2026-02-26.md", "google_cloud_agent_platform_pricing_2026-05-08.html.gz",
    "other_deepseek_pricing_2026-05-08.html.gz", "other_groq_pricing_2026-05-03.html.gz",
}  # fmt: skip
OPENROUTER = "openrouter_api_v1_models_2026-08-22.json.gz"
OLLAMA = "ollama-api.md"


def listed(page: str) -> set[str]:
    """The models a page lists as current."""
    prefix = "claude-" if page.startswith("claude") else ""
    return {f"{prefix}{name}" for name in LISTED[page].split()}


def scraper_of(page: str) -> str:
    """The scraper that a page is for."""
    return {"claude": "anthropic", "gemini": "google"}.get(page.split("_")[0], page.split("_")[0].split("-")[0])


def pages_of(scraper: str) -> list[str]:
    """The pages of one scraper that have prices."""
    own = [page for page, models in LISTED.items() if models and scraper_of(page) == scraper]
    return own or [{"openrouter": OPENROUTER, "ollama": OLLAMA}[scraper]]


@cache
def scraper(name: str) -> Scraper:
    """A shipped scraper."""
    file = SCRAPERS / f"{name}.yaml"
    (document,), findings = parse(file.read_text(encoding="utf-8"), str(file))
    spec, faults = check(document, {"scraper": Scraper}, {})
    assert isinstance(spec, Scraper), (findings, faults)
    return spec


@cache
def data(page: str) -> bytes:
    """A page's bytes, as its server would send them."""
    if page == OPENROUTER:
        saved = json.loads(gzip.decompress(shared("catalogues", page).read_bytes()))
        return json.dumps(saved["body"]).encode()
    if page == OLLAMA:
        text = shared("specs", page).read_text(encoding="utf-8")
        return text.split("GET /api/tags", 1)[1].split("```json", 1)[1].split("```", 1)[0].strip().encode()
    path = shared("pricing", page)
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


@cache
def read(page: str) -> Extraction:
    """What the scraper of a page makes of it."""
    return extract(scraper(scraper_of(page)), data(page))

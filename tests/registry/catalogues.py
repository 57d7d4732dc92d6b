"""Other people's price catalogues (shared data, not part of the project) as `{catalogue: {model: figures}}`.

Figures are USD per million tokens under a card's own field names; a tier's carry `@above`, for example
`input@272000`. The files stay where they are; without them the tests that need them are skipped.
"""

import gzip
import json
import os
import tarfile
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
SHARED = Path(os.environ.get("SIDECAR_SHARED_DATA", ROOT.parent / "shared" / "data"))
FOLDER = SHARED / "catalogues"

Figures = dict[str, float]


@cache
def catalogues() -> dict[str, dict[str, Figures]]:
    """Every catalogue, keyed by our own model ids."""
    return {
        "litellm": _litellm(),
        "genai-prices": _genai(),
        "models.dev": _models_dev(),
        "openrouter": _openrouter(),
        "llm-prices": _llm_prices(),
    }


def _json(name: str) -> Any:
    return json.loads(gzip.decompress((FOLDER / name).read_bytes()))


def _million(amount: float | str) -> float:
    return round(float(amount) * 1e6, 6)


def _litellm() -> dict[str, Figures]:
    meters = {
        "input_cost_per_token": "input",
        "output_cost_per_token": "output",
        "cache_read_input_token_cost": "cache_read",
        "cache_creation_input_token_cost": "cache_write_5m",
    }
    found = {}
    for key, row in _json("litellm-1.109.1_model_prices_and_context_window.json.gz").items():
        if row.get("litellm_provider") not in ("openai", "anthropic", "gemini"):
            continue
        figures = {ours: _million(row[theirs]) for theirs, ours in meters.items() if row.get(theirs) is not None}
        for theirs, ours in meters.items():
            for size in (100, 200, 272):
                amount = row.get(f"{theirs}_above_{size}k_tokens")
                if amount is not None:
                    figures[f"{ours}@{size}000"] = _million(amount)
        found[key.removeprefix("gemini/")] = figures
    return found


def _genai() -> dict[str, Figures]:
    """The first price list of each model, or the latest one when it has dated ones."""
    meters = {
        "input_mtok": "input",
        "output_mtok": "output",
        "cache_read_mtok": "cache_read",
        "cache_write_mtok": "cache_write_5m",
        "cache_write_1h_mtok": "cache_write_1h",
    }
    found = {}
    for provider in _json("genai-prices_v2_data.json.gz"):
        if provider["id"] not in ("openai", "anthropic", "google"):
            continue
        for model in provider["models"]:
            if provider["id"] == "google" and not model["id"].startswith("gemini"):
                continue
            lists = model["prices"] if isinstance(model["prices"], list) else [{"prices": model["prices"]}]
            past = [p for p in lists if p.get("constraint", {}).get("start_date", "") <= "2026-11-20"]
            figures: Figures = {}
            for theirs, ours in meters.items():
                amount = past[-1]["prices"].get(theirs)
                if isinstance(amount, dict):
                    figures[ours] = amount["base"]
                    figures |= {f"{ours}@{tier['start']}": tier["price"] for tier in amount["tiers"]}
                elif amount is not None:
                    figures[ours] = amount
            found[model["id"].removesuffix("-latest")] = figures
    return found


def _models_dev() -> dict[str, Figures]:
    meters = {"input": "input", "output": "output", "cache_read": "cache_read", "cache_write": "cache_write_5m"}
    found = {}
    with tarfile.open(FOLDER / "models.dev.tar.gz") as archive:
        for member in archive:
            path = Path(member.name)
            if path.suffix != ".toml" or path.parts[-4:-2] not in _MODELS_DEV_FOLDERS:
                continue
            file = archive.extractfile(member)
            cost = tomllib.loads(file.read().decode()).get("cost") if file else None
            if not cost:
                continue
            figures = {ours: float(cost[theirs]) for theirs, ours in meters.items() if theirs in cost}
            for tier in cost.get("tiers", ()):
                above = tier["tier"]["size"]
                figures |= {f"{ours}@{above}": float(tier[theirs]) for theirs, ours in meters.items() if theirs in tier}
            found[path.stem] = figures
    return found


_MODELS_DEV_FOLDERS = {("providers", name) for name in ("openai", "anthropic", "google")}


def _openrouter() -> dict[str, Figures]:
    meters = {
        "prompt": "input",
        "completion": "output",
        "input_cache_read": "cache_read",
        "input_cache_write": "cache_write_5m",
        "input_cache_write_1h": "cache_write_1h",
    }
    found = {}
    for row in _json("openrouter_api_v1_models_2026-08-22.json.gz")["body"]["data"]:
        maker, _, name = row["id"].partition("/")
        if maker not in ("openai", "anthropic", "google") or ":" in name:
            continue
        pricing = row["pricing"]
        figures = {ours: _million(pricing[theirs]) for theirs, ours in meters.items() if theirs in pricing}
        for tier in pricing.get("overrides") or ():
            above = tier["min_prompt_tokens"]
            figures |= {f"{ours}@{above}": _million(tier[theirs]) for theirs, ours in meters.items() if theirs in tier}
        # Anthropic's names have dashes where OpenRouter writes dots; Google's cache write is a storage fee.
        if maker == "anthropic":
            name = name.replace(".", "-")
        if maker == "google":
            figures = {key: value for key, value in figures.items() if not key.startswith("cache_write")}
        found[name] = figures
    return found


def _llm_prices() -> dict[str, Figures]:
    """Prices without an end date; its entries for long contexts have ids of their own and match none of ours."""
    meters = {"input": "input", "output": "output", "input_cached": "cache_read"}
    found = {}
    for path in sorted((FOLDER / "llm-prices").glob("*.json")):
        for model in json.loads(path.read_bytes())["models"]:
            for price in model["price_history"]:
                if price["to_date"] is None:
                    figures = {ours: float(price[theirs]) for theirs, ours in meters.items() if price.get(theirs)}
                    found[model["id"].replace("claude-3.5", "claude-3-5")] = figures
    return found

"""The status page in Chromium, over a gateway that has been in use: filled, clean, accessible, and live."""

import asyncio
import os
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from gateway import ROOT, Served, gateway

from browser.look import look, missing
from browser.scene import lived_in, say

PANELS = {
    *("state", "overview", "cost", "requests", "latency", "graph", "models-used", "providers", "budgets", "keys"),
    *("configuration", "registry", "rollout", "decisions", "models"),
}
FILLED = (
    "The shadow says",
    *("gpt-5.5", "claude-sonnet-5", "ask the provider", "from cache", "web-app", "contractor", "revoked"),
    *(
        "everybody",
        "support",
        "gemini-3.5-flash",
        "quarantined",
        "prices.output",
        "loaded",
        "As a table",
        "developers.",
    ),
)
EVERY = [
    {"width": width, "dark": dark, "axe": True, "live": True, "open": unfolded}
    for width, dark, unfolded in ((1280, False, True), (1280, True, False), (390, True, True), (390, False, False))
]


@pytest.fixture(autouse=True)
def _tools() -> None:
    absent = missing()
    if absent is not None:
        assert not os.environ.get("CI"), absent
        pytest.skip(absent)


def seen(folder: Path, looks: list[dict[str, Any]], then: Callable[[Served], Awaitable[Any]] | None = None) -> Any:
    """Reports of looks at the page of a gateway in use; `then` happens while a look waits for what it `wanted`."""

    async def main() -> list[dict[str, Any]]:
        async with lived_in(folder) as served:
            after = None if then is None else lambda: then(served)
            return await look(f"{served.url}/status", looks, after)

    return asyncio.run(main())


def test_every_panel_is_filled_and_nothing_is_wrong_in_light_and_dark_wide_and_narrow(tmp_path: Path) -> None:
    for asked, report in zip(EVERY, seen(tmp_path, EVERY), strict=True):
        assert report["axe"] == [], asked
        assert report["console"] == [], asked
        assert report["csp"] == [], asked
        assert len(set(report["hosts"])) == 1, asked
        assert report["wider"] <= 0, asked
        assert set(report["panels"]) == PANELS, asked
        assert [word for word in FILLED if word not in report["text"]] == [], asked
        assert "–\n–" not in report["text"].split("Recent decisions")[0], asked


def test_without_a_script_it_is_whole(tmp_path: Path) -> None:
    (report,) = seen(tmp_path, [{"width": 1280, "js": False}])
    assert set(report["panels"]) == PANELS
    assert "Reload the page for later figures" in report["text"]


def test_a_request_is_seen_without_a_reload_and_what_was_opened_stays_open(tmp_path: Path) -> None:
    async def another(served: Served) -> None:
        async with httpx.AsyncClient(base_url=served.v1, trust_env=False, timeout=20) as http:
            answer = await say(http, "Something that nobody has asked before", "batch", **{"x-sidecar-task": "legal"})
            assert answer.status_code == 200
            assert "tagged-expert" not in answer.text

    looks = [{"width": 1280, "live": True, "open": True, "wanted": "rule tagged-expert"}]
    (report,) = seen(tmp_path, looks, another)
    assert report["open"] > 10
    assert report["console"] == []


def test_a_first_start_without_keys_fits_and_is_accessible(tmp_path: Path) -> None:
    async def main() -> list[dict[str, Any]]:
        shutil.copytree(ROOT / "policies", tmp_path / "policies")
        shutil.copy(ROOT / "gateway.yaml", tmp_path)
        environ = {"SIDECAR_DATABASE_URL": f"sqlite:///{tmp_path}/ledger.db"}
        async with gateway(tmp_path / "gateway.yaml", environ) as served:
            return await look(f"{served.url}/status", [{"width": width, "axe": True} for width in (1280, 390)])

    wide, narrow = asyncio.run(main())
    assert wide["sideways"] == []
    for report in (wide, narrow):
        assert (report["axe"], report["console"], report["csp"]) == ([], [], [])
        assert report["wider"] <= 0
        assert "no key: GEMINI_API_KEY is not set" in report["text"] and "googleapis.com" in report["text"]


def test_a_panel_goes_and_comes_with_its_policy(tmp_path: Path) -> None:
    async def moved(served: Served) -> None:
        for folder in ("policies-next", "policies"):  # what is on trial has the same budgets
            policy = tmp_path / folder / "budget.yaml"
            kept = tmp_path / f"{folder}.yaml"
            policy.rename(kept) if policy.exists() else kept.rename(policy)

    looks = [{"width": 1280, "live": True, "wanted": text} for text in ("Read from 7 files", "Read from 8 files")]
    gone, back = seen(tmp_path, looks, moved)
    assert set(gone["panels"]) == PANELS - {"budgets"}
    assert set(back["panels"]) == PANELS
    assert ["Budgets" in report["text"] for report in (gone, back)] == [False, True]


def test_a_refused_reload_shows_its_banner_with_the_place_of_the_fault(tmp_path: Path) -> None:
    async def broken(served: Served) -> None:
        (tmp_path / "policies" / "score.yaml").write_text("kind: score\nbogus: 1\n")

    looks = [{"width": 1280, "live": True, "wanted": "Configuration refused", "axe": True}]
    (report,) = seen(tmp_path, looks, broken)
    assert f"{tmp_path}/policies/score.yaml:2:1: error[unknown-field]" in report["text"]
    assert report["axe"] == []
    assert report["csp"] == []

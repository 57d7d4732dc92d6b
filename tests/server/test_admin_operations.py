"""Budgets and updates of the registry over the admin API, as their document says."""

from pathlib import Path

from admin import KEYS, api, ask, governed, problem
from gateway import gateway
from house import client, looped
from test_admin_api import true

from tests.scrape.acme import PRICES, page, settle
from tests.scrape.served import site

BUDGETS = """kind: budget
budgets:
  - {name: house, limit: 5, window: day}
  - {name: each, limit: 1, window: 24h, per: key}
  - {name: soft, limit: 2, window: month, mode: soft}
"""


@looped
async def test_budgets_come_in_pages() -> None:
    async with governed(BUDGETS) as served, api(served) as http:
        first = true(await http.get("/api/budgets", params={"limit": "2"}), "/api/budgets")
        assert [one["budget"] for one in first["items"]] == ["each", "house"]
        rest = true(await http.get("/api/budgets", params={"cursor": first["next"]}), "/api/budgets")
        assert [(one["budget"], one["mode"], one["left_usd"]) for one in rest["items"]] == [("soft", "soft", "2")]
        assert rest["next"] is None
        await ask(http)
        problem(await http.get("/api/budgets", params={"limit": "0"}), 400, "invalid")


@looped
async def test_the_registry_is_updated_on_demand(tmp_path: Path) -> None:
    with site() as web:
        settle(tmp_path, web)
        web.put("/prices", page({**PRICES, "acme-1": (0.001, 0.004), "acme-2": (1.5, 8)}))
        path = "/api/admin/update-registry"
        async with (
            gateway(tmp_path, {"SIDECAR_ADMIN_KEY": KEYS["admin"]}) as served,
            client(served.url, KEYS["admin"]) as http,
        ):
            tried = true(await http.post(path, json={"dry_run": True}), path, "post")
            assert (tried["changed"], tried["written"]) == (["acme-2"], None)
            done = true(await http.post(path), path, "post")
            assert done["outcomes"] == {"acme": "quarantined", "opinion": "unchanged"}
            assert done["changed"] == ["acme-2"] and done["written"]
            assert any("price-jump" in line for line in done["quarantined"])
            problem(await http.post(path, json={"scrapers": ["nobody"]}), 400, "invalid")
            problem(await http.post(path, json={"scraper": "acme"}), 400, "invalid")

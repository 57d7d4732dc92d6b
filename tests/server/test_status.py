"""The status page over a running gateway: its figures, its banner, its secrets, who may see it."""

import asyncio
import base64
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from gateway import Served
from pages import ADMIN_KEY, KEY, PROVIDER_KEY, ask, checked, client, served

from sidecar.server import status_gather
from sidecar.server.app import build

Check = Callable[[Served, httpx.AsyncClient], Awaitable[None]]


def run(folder: Path, check: Check, anonymous: str = "never") -> None:
    async def main() -> None:
        async with served(folder, anonymous) as gateway, client(gateway) as http:
            await check(gateway, http)

    asyncio.run(main())


def test_the_page_holds_the_rules_of_all_pages_and_says_what_serves(tmp_path: Path) -> None:
    async def check(gateway: Served, http: httpx.AsyncClient) -> None:
        page = checked(await http.get("/status"))
        graph = gateway.running.holder.current.graph
        assert graph.short_hash in page.text
        assert "ready" in page.within("span")
        for word in ("near", "absent", "openai", "anthropic", "authenticate", "answer from the cache", "gpt-4o-mini"):
            assert word in page.text
        assert "Configuration refused" not in page.text
        icon = await http.get(str(page.of("link")[0]["href"]))
        assert icon.status_code == 200
        assert icon.headers["content-type"].startswith("image/svg+xml")

    run(tmp_path, check)


def test_figures_after_some_traffic(tmp_path: Path) -> None:
    async def check(gateway: Served, http: httpx.AsyncClient) -> None:
        for text in ("one", "two", "two", "two"):
            assert (await ask(http, text)).status_code == 200
        await gateway.rows(count=4)
        traffic = (await http.get("/status.json")).json()["traffic"]
        assert traffic["requests"] == 4
        assert (traffic["cache_hits"], traffic["cache_lookups"], traffic["cache_hit_rate"]) == (2, 4, 0.5)
        assert traffic["failed_attempts"] == 0
        assert float(traffic["cost_usd"]) > 0
        assert traffic["latency_ms"] > 0
        assert traffic["first_token_ms"] > 0
        (row,) = traffic["models"]
        assert (row["model"], row["provider"], row["attempts"]) == ("gpt-4o-mini", "near", 4)
        assert row["cost_usd"] == traffic["cost_usd"]
        page = checked(await http.get("/status"))
        assert "50.0%" in page.text
        assert "2 of 4 look-ups" in page.text

    run(tmp_path, check)


def test_before_any_traffic_there_is_no_rate_and_no_average(tmp_path: Path) -> None:
    async def check(gateway: Served, http: httpx.AsyncClient) -> None:
        traffic = (await http.get("/status.json")).json()["traffic"]
        assert traffic["requests"] == 0
        assert traffic["failed_attempts"] == 0
        assert traffic["cache_hit_rate"] is None
        assert traffic["latency_ms"] is None
        assert "No model was called yet" in checked(await http.get("/status")).text

    run(tmp_path, check)


async def _outcome(http: httpx.AsyncClient, wanted: str) -> dict[str, Any]:
    for _ in range(100):
        reload: dict[str, Any] = (await http.get("/status.json")).json()["reload"]
        if reload["outcome"] == wanted:
            return reload
        await asyncio.sleep(0.1)
    raise AssertionError(f"the reload is not {wanted}")


def test_a_refused_reload_is_loud_and_its_text_cannot_become_markup(tmp_path: Path) -> None:
    async def check(gateway: Served, http: httpx.AsyncClient) -> None:
        before = gateway.running.holder.current.graph.short_hash
        bad = tmp_path / "policies" / "score.yaml"
        bad.write_text('kind: score\nbogus: "</pre><script>alert(1)</script>"\n')
        reload = await _outcome(http, "refused")
        response = await http.get("/status")
        page = checked(response)
        assert "Configuration refused" in page.within("h2")
        assert f"{bad}:2:1: error[unknown-field]" in page.within("code")
        assert "</pre><script>alert(1)</script>" in page.within("code")
        assert page.text.count(reload["findings"]) == 1
        assert before in page.text
        assert (await http.get("/ready")).status_code == 200
        bad.unlink()
        await _outcome(http, "unchanged")
        assert "Configuration refused" not in (await http.get("/status")).text

    run(tmp_path, check)


def test_no_secret_is_shown_and_of_a_base_url_only_the_host(tmp_path: Path) -> None:
    async def check(gateway: Served, http: httpx.AsyncClient) -> None:
        for path in ("/status", "/status/whole", "/status.json"):
            text = (await http.get(path)).text
            for secret in (KEY, PROVIDER_KEY, "password", "secret-path", "user:"):
                assert secret not in text
        providers = {p["name"]: p for p in (await http.get("/status.json")).json()["providers"]}
        assert providers["near"]["key"] == "set"
        assert providers["near"]["state"] == "ready"
        assert providers["absent"]["key"] == "not set"
        assert providers["absent"]["state"] == "down"
        assert "ABSENT_KEY" in providers["absent"]["reason"]
        assert providers["hostile"]["key"] == "none configured"
        assert providers["hostile"]["host"].startswith("<script>alert(1)")
        assert "<script>alert(1)" in checked(await http.get("/status")).text

    run(tmp_path, check)


def test_a_model_that_rests_is_shown_with_its_reason_until_its_rest_is_over(tmp_path: Path) -> None:
    async def check(gateway: Served, http: httpx.AsyncClient) -> None:
        health, now = gateway.running.stores.health, time.time()

        async def model() -> dict[str, Any]:
            models = (await http.get("/status.json")).json()["models"]
            return next(m for m in models if m["id"] == "gpt-4o-mini")

        health.learned("gpt-4o-mini", 77.77)
        health.failed("gpt-4o-mini", "rate_limited at the last try", now, pause=60)
        assert (await model())["state"] == "resting"
        assert (await model())["learned_speed"] == 77.8
        page = checked(await http.get("/status"))
        assert "rate_limited at the last try" in page.text
        assert "77.8" in page.text
        health.wake(now + 61)
        assert (await model())["state"] == "ready"

    run(tmp_path, check)


def test_reasons_for_not_being_ready_are_shown(tmp_path: Path) -> None:
    async def check(gateway: Served, http: httpx.AsyncClient) -> None:
        gateway.running.chat.draining = True
        data = (await http.get("/status.json")).json()
        assert data["status"] == "not ready"
        assert data["reasons"] == {"server": "shutting down"}
        page = checked(await http.get("/status"))
        assert "shutting down" in page.within("li")
        assert page.within("title").startswith("Not ready")

    run(tmp_path, check)


def test_a_large_registry_does_not_make_a_large_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status_gather, "MAX_MODELS", 5)

    async def check(gateway: Served, http: httpx.AsyncClient) -> None:
        data = (await http.get("/status.json")).json()
        total = len(gateway.running.holder.current.graph.registry)
        assert len(data["models"]) == 5
        assert data["models_omitted"] == total - 5
        assert data["models"][0]["provider"] in ("near", "absent", "hostile")
        assert f"{total - 5:,} more" in checked(await http.get("/status/models")).text
        assert {"href": "/status/models"} in checked(await http.get("/status")).of("a")

    run(tmp_path, check)


BASIC = "Basic " + base64.b64encode(f"me:{ADMIN_KEY}".encode()).decode()
OUTSIDE = "192.0.2.7"
ACCESS = [
    ("127.0.0.1", {}, 200),
    ("127.0.0.1", {"host": "localhost:8787"}, 200),
    ("127.0.0.1", {"host": "gateway.localhost"}, 200),
    ("::1", {"host": "[::1]:8787"}, 200),
    # What another site makes a browser of this machine ask: rebound names, and reads from a page of its own.
    ("127.0.0.1", {"host": "evil.example"}, 401),
    ("127.0.0.1", {"host": "127.evil.example"}, 401),
    ("127.0.0.1", {"host": "127.0.0.1.evil.example:80"}, 401),
    ("127.0.0.1", {"host": "[::"}, 401),
    ("127.0.0.1", {"origin": "https://evil.example"}, 401),
    # A reverse proxy on this machine speaks for strangers.
    ("127.0.0.1", {"x-forwarded-for": "203.0.113.9"}, 401),
    ("127.0.0.1", {"forwarded": "for=203.0.113.9"}, 401),
    (OUTSIDE, {}, 401),
    (OUTSIDE, {"host": "localhost"}, 401),
    (OUTSIDE, {"authorization": "Bearer gw_wrong"}, 401),
    (OUTSIDE, {"authorization": "Bearer sk-anything"}, 401),
    (OUTSIDE, {"authorization": "Basic !!!"}, 401),
    (OUTSIDE, {"authorization": "Basic /w=="}, 401),
    (OUTSIDE, {"authorization": "Basic " + base64.b64encode(b"no colon").decode()}, 401),
    # A gateway key opens models, not the gateway's inside.
    (OUTSIDE, {"authorization": f"Bearer {KEY}"}, 401),
    (OUTSIDE, {"authorization": f"Bearer {ADMIN_KEY}"}, 200),
    (OUTSIDE, {"x-api-key": ADMIN_KEY}, 200),
    (OUTSIDE, {"authorization": BASIC}, 200),
    ("127.0.0.1", {"host": "evil.example", "authorization": f"Bearer {ADMIN_KEY}"}, 200),
]


@pytest.mark.parametrize("anonymous", ["never", "loopback", "always"])
def test_who_may_see_it(tmp_path: Path, anonymous: str) -> None:
    async def check(gateway: Served, _: httpx.AsyncClient) -> None:
        app: Any = build(gateway.running)
        for peer, headers, wanted in ACCESS:
            transport = httpx.ASGITransport(app, client=(peer, 4321))
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8787") as http:
                for path in ("/status", "/status.json", "/status/models"):
                    response = await http.get(path, headers=headers)
                    assert response.status_code == wanted, (peer, headers, path)
                    if wanted == 401:
                        assert "gpt-4o-mini" not in response.text
                        assert response.headers["www-authenticate"].startswith("Basic ")

    run(tmp_path, check, anonymous)


def test_a_stranger_is_told_what_is_needed(tmp_path: Path) -> None:
    async def check(gateway: Served, http: httpx.AsyncClient) -> None:
        stranger = {"host": "gateway.example"}
        for path in ("/status", "/status/whole"):
            page = checked(await http.get(path, headers=stranger))
            assert "An admin key is needed" in page.within("h2")
        error = (await http.get("/status.json", headers=stranger)).json()["error"]
        assert error["type"] == "authentication_error"
        assert error["code"] == "missing_api_key"

    run(tmp_path, check)


def test_without_an_authenticate_stage_strangers_are_still_refused(tmp_path: Path) -> None:
    async def check(gateway: Served, http: httpx.AsyncClient) -> None:
        (tmp_path / "policies" / "all.yaml").write_text("kind: authenticate\nenabled: false\n")
        for _ in range(100):
            if "authenticate" not in gateway.running.holder.current.graph.nodes:
                break
            await asyncio.sleep(0.05)
        response = await http.get("/status", headers={"host": "x.example", "authorization": "Bearer sk-x"})
        assert response.status_code == 401
        assert (await http.get("/status")).status_code == 200

    run(tmp_path, check)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_it_is_read_only(tmp_path: Path, method: str) -> None:
    async def check(gateway: Served, http: httpx.AsyncClient) -> None:
        for path in ("/status", "/status.json", "/docs", "/openapi.json"):
            assert (await http.request(method, path)).status_code == 405

    run(tmp_path, check)

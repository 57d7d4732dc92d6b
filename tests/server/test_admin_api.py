"""The admin API over a running gateway: figures, pages, decisions, reloads; each as its document says."""

import asyncio
import sqlite3
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from admin import ADMIN, CALLER, ENVIRON, KEYS, api, ask, governed, problem, text
from gateway import gateway
from house import CHAT, HELLO, eventually, looped, upstream
from test_docs import SPEC, faults

from sidecar.chat import Usage
from sidecar.registry.price import usd

SHOWN = {"authorization": f"Bearer {CALLER}", "x-sidecar-explain": "1"}
SECRET_WORDS = "the plans of the vault in Basel"


def edit(entry: str, old: str, new: str) -> None:
    """Change a file of the configuration."""
    text = Path(entry).read_text()
    assert old in text
    Path(entry).write_text(text.replace(old, new))


def true(response: httpx.Response, path: str, method: str = "get") -> Any:
    """The body of a response that the document foretells."""
    foretold = SPEC["paths"][path][method]["responses"][str(response.status_code)]
    media = foretold["content"][response.headers["content-type"].partition(";")[0]]
    assert faults(media["schema"], response.json()) == []
    return response.json()


@looped
async def test_analytics_add_up_by_every_name() -> None:
    async with governed() as served, api(served) as http:
        for model in ("m1", "m1", "m2"):
            assert (await ask(http, model=model)).status_code == 200
        rows = await served.rows(count=3)
        cost = sum(row["cost_nano"] for row in rows)
        for by in ("model", "provider", "tenant", "tier", "key", "day", "hour"):
            found = true(await http.get("/api/analytics", params={"by": by, "since": "1h"}), "/api/analytics")
            assert found["by"] == by
            assert sum(group["requests"] for group in found["groups"]) == found["totals"]["requests"] == 3
            assert sum(group["cost_nano"] for group in found["groups"]) == found["totals"]["cost_nano"] == cost
            assert found["totals"]["cost_usd"] == usd(cost)
            assert found["since"] % 3600 == found["until"] % 3600 == 0
        named = {g["name"]: g for g in (await http.get("/api/analytics")).json()["groups"]}
        assert (named["m1"]["requests"], named["m2"]["requests"]) == (2, 1)
        assert (named["m1"]["input_tokens"], named["m1"]["output_tokens"]) == (6, 10)
        assert named["m1"]["latency_ms"] > 0
        assert named["m1"]["latency_p50_ms"] is not None


@looped
async def test_savings_are_against_what_the_same_tokens_would_have_cost() -> None:
    dear = "\nmodels:\n  best: {provider: up, upstream: b, context: 1000, max_output: 100, capabilities: all, "
    dear += (
        "price: {input: 30, output: 60}, quality: 99, speed: 5}\n  free: {provider: up, upstream: f, context: 1000, "
    )
    dear += "max_output: 100, capabilities: all, quality: 1, speed: 5}"
    async with upstream() as up:
        whole = text(up).replace("\nmodels:", dear)
        async with gateway(whole, ENVIRON) as served, api(served) as http:
            for _ in range(4):
                await ask(http, model="m1")
            assert (await ask(http, model="free")).status_code == 200
            found = (await http.get("/api/analytics", params={"baseline": "m2"})).json()["totals"]
            registry = served.running.holder.current.graph.registry
            best = registry.find("best")
            assert best is not None and best.price is not None
            would = best.price.cost(Usage(12, 20))
            assert found["strongest"]["model"] == "best"
            assert found["strongest"]["cost_nano"] == would
            assert found["strongest"]["saved_nano"] == would - found["cost_nano"]
            assert found["baseline"] == {
                "model": "m2",
                "cost_usd": found["cost_usd"],
                "cost_nano": found["cost_nano"],
                "saved_usd": "0",
                "saved_nano": 0,
                "share": 0.0,
            }
            assert found["unpriced_attempts"] == 1
            assert found["input_tokens"] == 15
            said = problem(await http.get("/api/analytics", params={"baseline": "bets"}), 400, "invalid")
            assert "Did you mean `best`?" in said["detail"]
            problem(await http.get("/api/analytics", params={"baseline": "free"}), 400, "invalid")


@pytest.mark.parametrize(
    "query",
    [
        "since=yesterday", "since=-1h", "until=1h&since=0", "by=prompt", "by=model&by=day", "sinc=7d",
        "since=" + "1h" * 400, "since=9999-99-99", "since=1969-01-01",
    ],
)  # fmt: skip
def test_what_analytics_cannot_mean_is_said(query: str) -> None:
    @looped
    async def test() -> None:
        async with governed() as served, api(served) as http:
            problem(await http.get(f"/api/analytics?{query}"), 400, "invalid")

    test()


@looped
async def test_pages_of_decisions_do_not_shift_when_requests_come_in() -> None:
    async with governed() as served, api(served) as http:
        ids = [(await ask(http)).headers["x-request-id"] for _ in range(7)]
        seen: list[str] = []
        query: dict[str, Any] = {"limit": 3}
        while True:
            page = true(await http.get("/api/decisions", params=query), "/api/decisions")
            assert len(page["items"]) <= 3
            seen += [item["id"] for item in page["items"]]
            await ask(http)
            if page["next"] is None:
                break
            query["cursor"] = page["next"]
        assert seen == ids[::-1]


@looped
async def test_pages_of_models_are_all_models_once() -> None:
    async with governed() as served, api(served) as http:
        whole = true(await http.get("/api/models", params={"limit": 500}), "/api/models")
        assert whole["next"] is None
        seen, query = [], {"limit": 7}
        while True:
            page = (await http.get("/api/models", params=query)).json()
            seen += page["items"]
            if page["next"] is None:
                break
            query["cursor"] = page["next"]
        assert seen == whole["items"]
        assert len({item["id"] for item in seen}) == len(seen) == len(served.running.holder.current.graph.registry)
        mine = next(item for item in seen if item["id"] == "m1")
        assert (mine["state"], mine["input_price"], mine["card"]["prices"][0]["output"]) == ("ready", "1", 2.0)
        assert any(price["source"] for item in seen for price in item["card"]["prices"])


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=501", "limit=x", "limit=1e2", "cursor=x", "cursor=", "cursor=ImEi"]
)
def test_a_page_that_cannot_be_is_said(query: str) -> None:
    @looped
    async def test() -> None:
        async with governed() as served, api(served) as http:
            problem(await http.get(f"/api/decisions?{query}"), 400, "invalid")

    test()


@looped
async def test_a_decision_is_explained_to_who_asked_and_holds_no_text_of_the_request() -> None:
    async with governed() as served, api(served) as http:
        body = {"model": "auto", "messages": [{"role": "user", "content": SECRET_WORDS}], "user": "alice@corp.test"}
        headers = {**SHOWN, "x-sidecar-conversation": "conversation-of-alice", "x-private": "private-header"}
        response = await http.post(CHAT, json=body, headers=headers)
        assert response.status_code == 200
        id = response.headers["x-sidecar-decision"]
        assert id == response.headers["x-request-id"]
        found = true(await http.get(f"/api/decisions/{id}"), "/api/decisions/{id}")
        explained = found["explanation"]
        assert explained["end"] == "execute"
        assert explained["chain"][0] == found["request"]["attempts"][0]["model"] == response.headers["x-sidecar-model"]
        assert ["authenticate", "known"] in explained["trace"]
        assert {one["model"] for one in explained["candidates"]} >= {"m1", "m2"}
        assert explained["features"]["tokens"] > 0
        with sqlite3.connect(served.database) as db:
            stored = str(db.execute("SELECT data FROM decisions").fetchall())
        db.close()
        for words in (SECRET_WORDS, "Basel", CALLER, "alice", "conversation-of", "private-header"):
            assert words not in stored
            assert words not in str(found)


@looped
async def test_who_does_not_ask_has_rows_and_no_explanation() -> None:
    async with governed() as served, api(served) as http:
        response = await ask(http)
        assert "x-sidecar-decision" not in response.headers
        found = true(await http.get(f"/api/decisions/{response.headers['x-request-id']}"), "/api/decisions/{id}")
        assert found["explanation"] is None
        assert len(found["request"]["attempts"]) == 1
        problem(await http.get("/api/decisions/req_nothing"), 404, "not-found")


@looped
async def test_a_refusal_is_explained_to_callers_and_strangers_fill_no_table() -> None:
    async with governed() as served, api(served) as http:
        known = await http.post(CHAT, json={"model": "no-such-model", "messages": HELLO}, headers=SHOWN)
        assert known.status_code == 404
        found = true(await http.get(f"/api/decisions/{known.headers['x-sidecar-decision']}"), "/api/decisions/{id}")
        assert found["request"] is None
        assert found["explanation"]["end"] == "refuse"
        assert found["explanation"]["refusal"]["code"] == "model_not_found"
        stranger = await http.post(
            CHAT, json={"model": "m1", "messages": HELLO}, headers={**SHOWN, "authorization": "Bearer x"}
        )
        assert stranger.status_code == 401
        assert "x-sidecar-decision" not in stranger.headers
        problem(await http.get(f"/api/decisions/{stranger.headers['x-request-id']}"), 404, "not-found")


@looped
async def test_only_the_newest_explanations_are_kept() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sidecar.stores.decisions.MAX_KEPT", 3)
        async with governed() as served, api(served) as http:
            ids = []
            for _ in range(5):
                ids.append((await http.post(CHAT, json={"model": "m1", "messages": HELLO}, headers=SHOWN)).headers)
                await served.running.records.decisions.flush()
            for place, headers in enumerate(ids):
                found = (await http.get(f"/api/decisions/{headers['x-request-id']}")).json()
                assert (found["explanation"] is not None) is (place >= 2)


@looped
async def test_half_of_an_edit_is_not_taken_for_a_policy() -> None:
    async with governed() as served, api(served) as http:
        (entry,) = (await http.get("/api/admin/config")).json()["files"]
        before = served.running.holder.current
        edit(entry, "token_ttl: 10m", "token_ttl: 9m")
        asked = asyncio.create_task(http.post("/api/admin/reload"))
        await asyncio.sleep(0.03)
        edit(entry, "token_ttl: 9m", "token_ttl: 10m")
        assert (await asked).json()["outcome"] == "unchanged"
        assert served.running.holder.current is before


@looped
async def test_a_reload_is_what_the_files_say_now() -> None:
    async with governed() as served, api(served) as http:
        found = true(await http.post("/api/admin/reload"), "/api/admin/reload", "post")
        assert found["outcome"] == "unchanged"
        state = true(await http.get("/api/admin/config"), "/api/admin/config")
        assert state["policy"] == served.running.holder.current.graph.hash
        (entry,) = state["files"]
        edit(entry, "token_ttl", "bogus: 1\n  token_ttl")
        found = true(await http.post("/api/admin/reload"), "/api/admin/reload", "post")
        assert found["outcome"] == "refused"
        assert f"{entry}:" in found["findings"]
        assert state["policy"].startswith(found["policy"])
        assert (await http.get("/api/admin/config")).json()["reload"]["outcome"] == "refused"
        edit(entry, "bogus: 1\n  token_ttl: 10m", "token_ttl: 11m")
        told = (await http.post("/api/admin/reload")).json()["outcome"]
        assert told in ("loaded", "unchanged"), "the second if who watches the folder was quicker"
        shown = {"authorization": f"Bearer {KEYS['viewer']}"}
        assert (await http.post("/api/auth/token", headers=shown)).json()["expires_in"] == 660


@looped
async def test_reloads_at_once_follow_each_other() -> None:
    async with governed() as served, api(served) as http:
        (entry,) = (await http.get("/api/admin/config")).json()["files"]
        edit(entry, "token_ttl: 10m", "token_ttl: 12m")
        found = await asyncio.gather(*(http.post("/api/admin/reload") for _ in range(5)))
        assert {one.status_code for one in found} == {200}


@looped
async def test_a_database_that_cannot_be_read_is_a_problem_and_stops_no_model() -> None:
    async with governed() as served, api(served) as http:
        await ask(http)
        await served.rows()
        with sqlite3.connect(served.database) as db:
            db.execute("ALTER TABLE rollups RENAME TO hidden")
        problem(await http.get("/api/analytics"), 503, "ledger")
        assert (await ask(http)).status_code == 200
        with sqlite3.connect(served.database) as db:
            db.execute("ALTER TABLE hidden RENAME TO rollups")
        db.close()

        async def counted() -> bool:
            response = await http.get("/api/analytics")
            return response.status_code == 200 and response.json()["totals"]["requests"] == 2

        await eventually(counted)


@looped
async def test_browsers_may_ask_only_from_where_the_configuration_says() -> None:
    for origins, allowed in (("", None), ("\ncors: {origins: ['https://ui.test']}", "https://ui.test")):
        async with governed(admin=ADMIN + origins) as served, api(served) as http:
            response = await http.get("/api/models", headers={"origin": "https://ui.test"})
            assert response.status_code == 200
            assert response.headers.get("access-control-allow-origin") == allowed
            asked = {"origin": "https://ui.test", "access-control-request-method": "DELETE"}
            answer = await http.options("/api/models", headers=asked)
            assert ("DELETE" in answer.headers.get("access-control-allow-methods", "")) is (allowed is not None)


@looped
async def test_the_window_of_the_status_page_begins_with_an_hour() -> None:
    async with governed() as served, api(served) as http:
        await ask(http)
        await served.rows()
        traffic = (await http.get("/status.json")).json()["traffic"]
        assert traffic["requests"] == 1
        assert traffic["since"] % 3600 == 0
        assert 86_400 <= time.time() - traffic["since"] <= 90_010


@looped
async def test_a_key_is_made_used_renewed_and_revoked() -> None:
    async with governed() as served, api(served, KEYS["operator"]) as http:
        limits = [{"requests": "50/m"}, {"tokens": "9000/d"}]
        body = {"name": "shop", "tenant": "shop", "labels": {"team": "red"}, "limits": limits}
        response = await http.post("/api/keys", json=body)
        assert response.status_code == 201
        made = true(response, "/api/keys", "post")
        assert made["entry"]["limits"] == limits, "as they are written"
        for name in ("shop", "app"):  # `app` stands in the policy
            problem(await http.post("/api/keys", json={**body, "name": name}), 409, "conflict")
        assert (await chat(http, made["key"])) == 200
        row = (await served.rows())[0]
        assert (row["tenant"], row["key_name"]) == ("shop", "shop")
        renewed = true(
            await http.post("/api/keys/shop/rotate", json={"grace": "1h"}), "/api/keys/{name}/rotate", "post"
        )
        assert renewed["key"] != made["key"]
        assert [await chat(http, key) for key in (made["key"], renewed["key"])] == [200, 200]
        again = (await http.post("/api/keys/shop/rotate")).json()
        assert [await chat(http, key) for key in (renewed["key"], again["key"])] == [401, 200]
        gone = true(await http.delete("/api/keys/shop"), "/api/keys/{name}", "delete")
        assert gone["state"] == "revoked"
        assert [await chat(http, key) for key in (made["key"], renewed["key"], again["key"])] == [401, 401, 401]
        problem(await http.post("/api/keys/shop/rotate"), 409, "conflict")
        problem(await http.delete("/api/keys/nobody"), 404, "not-found")
        problem(await http.delete("/api/keys/app"), 404, "not-found")
        assert (await http.get("/api/keys")).json()["items"][0]["state"] == "revoked"
        text = (await http.get("/api/keys")).text + served.log
        for key in (made["key"], renewed["key"], again["key"]):
            assert key not in text
            assert key.encode() not in served.database.read_bytes()


@looped
async def test_pages_of_keys_do_not_shift() -> None:
    async with governed() as served, api(served) as http:
        for number in range(7):
            assert (await http.post("/api/keys", json={"name": f"k{number}"})).status_code == 201
        seen: list[str] = []
        query: dict[str, Any] = {"limit": 3}
        while True:
            page = true(await http.get("/api/keys", params=query), "/api/keys")
            seen += [item["name"] for item in page["items"]]
            await http.delete(f"/api/keys/{seen[0]}")
            if page["next"] is None:
                break
            query["cursor"] = page["next"]
        assert seen == [f"k{number}" for number in range(7)]


@pytest.mark.parametrize(
    "body",
    [
        {}, {"name": "a b"}, {"name": "a", "models": ["no-such"]}, {"name": "a", "expires": "2027-02-31"},
        {"name": "a", "limits": [{}]}, {"name": "a", "limits": [{"requests": "many"}]}, {"name": "a", "hash": "x"},
    ],
)  # fmt: skip
def test_a_key_that_cannot_be_is_said(body: dict[str, Any]) -> None:
    @looped
    async def test() -> None:
        async with governed() as served, api(served) as http:
            problem(await http.post("/api/keys", json=body), 400, "invalid")
            problem(await http.post("/api/keys/a/rotate", json={"grace": "31d"}), 400, "invalid")

    test()


async def chat(http: httpx.AsyncClient, key: str) -> int:
    response = await http.post(
        CHAT, json={"model": "m1", "messages": HELLO}, headers={"authorization": f"Bearer {key}"}
    )
    return response.status_code

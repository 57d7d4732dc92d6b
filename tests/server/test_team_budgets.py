"""Hard budgets before a gateway process: 64 callers at once, streams and retries, and `kill -9` in between."""

import asyncio
import os
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
from gateway import ROOT, gateway
from house import (
    CHAT,
    HELLO,
    STREAM_HEAD,
    UP_KEY,
    Asked,
    chunked,
    client,
    config,
    envelope,
    event,
    eventually,
    fails,
    looped,
    says,
    stalls,
    streams,
    upstream,
)
from identity.issuers import SECRET, signed
from test_lifecycle import run

from sidecar.registry.price import NANO

EXAMPLE = ROOT / "examples" / "team-budgets" / "gateway.yaml"
CALLERS = 64
DAY = 86400


def token(team: str | None = "alpha", **more: Any) -> str:
    said = {"exp": time.time() + 600, "team": team, **more}
    return signed({name: value for name, value in said.items() if value is not None}, SECRET)


def nano(text: str) -> int:
    return int(Decimal(text) * NANO)


def spent(rows: list[dict[str, Any]], account: str) -> int:
    """What the ledger says was charged to an account."""
    return sum(row["cost_nano"] or 0 for row in rows if account in row["budgets"].split(","))


async def standing(http: httpx.AsyncClient, budget: str, subject: str = "") -> dict[str, Any]:
    """The account as the gateway shows it."""
    found = (await http.get("/status.json")).json()["budgets"]
    return next(row for row in found if (row["budget"], row["subject"]) == (budget, subject))


def replies(pace: float = 0.0) -> Callable[[Asked, asyncio.StreamWriter], Awaitable[None]]:
    """Answers and streams that use what the caller allows, or some of it; every fifth fails and is worth a retry."""

    async def reply(asked: Asked, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(random.uniform(0, pace))
        if random.random() < 0.2:
            await fails(503)(asked, writer)
            return
        most = min(asked.body.get("max_tokens") or 16384, 600)
        usage = (random.randint(5, 300), random.choice([most, random.randint(1, most)]))
        if not asked.body.get("stream"):
            await says("hello", usage)(asked, writer)
            return
        writer.write(STREAM_HEAD + chunked(event("one ")) + chunked(event("two", finish="stop")))
        await writer.drain()
        await asyncio.sleep(random.uniform(0, pace))
        writer.write(chunked(event(None, usage=usage) + b"data: [DONE]\n\n") + b"0\r\n\r\n")

    return reply


async def answered(http: httpx.AsyncClient) -> bool:
    """Whether a request comes through; every fifth of the provider's answers is a failure."""
    return (await http.post(CHAT, json=body(1))).status_code == 200


def body(number: int, model: str = "auto") -> dict[str, Any]:
    fields = {"model": model, "messages": HELLO, "stream": number % 2 == 0}
    return fields | ({"max_tokens": 50} if number % 3 else {})


async def drain(http: httpx.AsyncClient, seen: Counter[str], model: str = "auto") -> None:
    """Ask until nothing is left that others only hold."""
    for number in range(10_000):
        response = await http.post(CHAT, json=body(number, model))
        if response.status_code == 200:
            seen["answered"] += 1
            continue
        error = envelope(response)
        seen[error["code"]] += 1
        if error["code"] == "budget_exceeded":
            assert response.status_code == 429 and error["type"] == "insufficient_quota"
            wait = int(response.headers["retry-after"])
            assert 1 <= wait <= DAY
            if wait > 1:
                return
            await asyncio.sleep(0.1)


@looped
async def test_the_example_never_spends_more_than_the_budget_whoever_asks_at_once(tmp_path: Path) -> None:
    async with upstream(**{"gpt-4o-mini": replies()}) as up:
        async with run(tmp_path, EXAMPLE, UPSTREAM_URL=up.url, JWT_SECRET=SECRET) as gate:
            async with client(gate.url, token()) as http, client(gate.url, token("beta")) as others:
                await gate.up(http)
                seen: Counter[str] = Counter()
                await asyncio.gather(*(drain(http, seen) for _ in range(CALLERS)))
                alpha = await standing(http, "team-alpha")
                await eventually(lambda: answered(others))  # another team has its own
                beta = await standing(others, "others", "beta")
                gate.process.terminate()
                assert await gate.ended() == 0
        rows = gate.rows()
    limit = NANO // 100
    assert spent(rows, "team-alpha|") == nano(alpha["spent_usd"]) <= limit
    assert alpha["reserved_usd"] == "0"
    assert nano(alpha["spent_usd"]) > limit * 0.7, "it refused while most of it was left"
    assert spent(rows, "others|beta") == nano(beta["spent_usd"]) > 0
    assert sum(row["cost_nano"] or 0 for row in rows) == nano(alpha["spent_usd"]) + nano(beta["spent_usd"])
    assert seen["answered"] > 10 and set(seen) <= {
        "answered",
        "budget_exceeded",
        "provider_unavailable",
        "provider_overloaded",
    }
    assert max(row["attempt"] for row in rows) > 1


KILLED = """kind: budget
budgets: [{name: all, limit: 0.05, window: day, per: tenant}]
---
kind: authenticate
anonymous: always
---
kind: fallback
alternatives: 0
retries: 2
backoff: {initial: 1ms, max: 2ms}
"""


async def until_gone(http: httpx.AsyncClient, answered: list[int]) -> None:
    for number in range(10_000):
        try:
            response = await http.post(CHAT, json=body(number, "m1"))
        except httpx.TransportError:
            return
        answered.append(response.status_code)


@looped
async def test_killed_in_the_middle_it_knows_what_may_have_been_spent(tmp_path: Path) -> None:
    account, limit = "all|default", NANO // 20
    async with upstream(m1=replies(0.03)) as up:
        text = config({"up": up.url}, {"m1": "up"}, KILLED)
        before = 0
        for turn in range(2):
            async with run(tmp_path, text, UP_KEY=UP_KEY) as gate, client(gate.url) as http:
                await gate.up(http)
                known = await standing(http, "all", "default" if turn else "")
                rows = gate.rows()
                assert before <= nano(known["spent_usd"]) == spent(rows, account) <= limit
                assert known["reserved_usd"] == "0"
                answered: list[int] = []
                callers = [asyncio.create_task(until_gone(http, answered)) for _ in range(CALLERS)]
                while len(answered) < 12:
                    await asyncio.sleep(0.001)
                gate.process.kill()
                await gate.ended()
                await asyncio.gather(*callers)
                before = spent(gate.rows(), account)
        async with run(tmp_path, text, UP_KEY=UP_KEY) as gate, client(gate.url) as http:
            await gate.up(http)
            seen: Counter[str] = Counter()
            await asyncio.gather(*(drain(http, seen, "m1") for _ in range(8)))
            known = await standing(http, "all", "default")
            gate.process.terminate()
            assert await gate.ended() == 0
    rows = gate.rows()
    assert spent(rows, account) == nano(known["spent_usd"]) <= limit
    attempts = Counter((row["request_id"], row["attempt"]) for row in rows)
    assert max(attempts.values()) == 1
    lost = [row for row in rows if row["outcome"] == "lost"]
    assert lost and all(row["cost_nano"] > 0 and row["estimated"] for row in lost), "no kill came in the middle"
    assert [name for name in os.listdir(tmp_path) if "-rows" in name] == []


OPEN = "kind: authenticate\nanonymous: always\n"
BUDGET = "kind: budget\nbudgets:\n  - {name: all, limit: 0.03, window: day%s}\n"


@looped
async def test_a_model_without_a_price_is_not_for_callers_with_a_budget() -> None:
    unpriced = "  m2: {provider: up, context: 1000, max_output: 100, capabilities: all}\n"
    for mode in ("", ", mode: soft"):
        async with upstream() as up:
            text = config({"up": up.url}, {"m1": "up"}, OPEN, BUDGET % mode)
            text = text.replace("  m1:", unpriced + "  m1:", 1)
            async with gateway(text, {"UP_KEY": UP_KEY}) as served, client(served.url) as http:
                response = await http.post(CHAT, json={"model": "m2", "messages": HELLO})
                assert (response.status_code, envelope(response)["code"]) == (402, "model_unpriced")
                assert not up.asked
                assert (await http.post(CHAT, json={"model": "m1", "messages": HELLO})).status_code == 200


@looped
async def test_a_caller_that_hangs_up_leaves_nothing_held() -> None:
    async with upstream(m1=[stalls(STREAM_HEAD, chunked(event("one "))), says("x")]) as up:
        text = config({"up": up.url}, {"m1": "up"}, OPEN, BUDGET % "")
        async with gateway(text, {"UP_KEY": UP_KEY}) as served, client(served.url) as http:
            ask = {"model": "m1", "messages": HELLO, "stream": True}
            async with http.stream("POST", CHAT, json=ask) as response:
                async for _ in response.aiter_lines():
                    held = await standing(http, "all")
                    assert nano(held["reserved_usd"]) > 0
                    break
            rows = await served.rows()
            left = await standing(http, "all")
            assert (left["reserved_usd"], nano(left["spent_usd"])) == ("0", spent(rows, "all|"))
            assert rows[0]["failure"] == "cancelled" and rows[0]["cost_nano"] > 0


@looped
async def test_hedges_are_paid_for_one_by_one_and_what_was_never_sent_costs_nothing() -> None:
    policy = "kind: fallback\nalternatives: 1\nretries: 0\nhedge: 10ms\n"
    score = "kind: score\ndefault: {models: [m1, m2]}\n"
    async with upstream(m1=stalls(STREAM_HEAD), m2=streams("a", "b")) as up:
        text = config({"up": up.url}, {"m1": "up", "m2": "up"}, OPEN, BUDGET % "", policy, score)
        async with gateway(text, {"UP_KEY": UP_KEY}) as served, client(served.url) as http:
            ask = {"messages": HELLO, "stream": True, "max_tokens": 100}
            response = await http.post(CHAT, json={**ask, "model": "auto"})
            assert response.status_code == 200
            rows = await served.rows(count=2)
            left = await standing(http, "all")
            assert (left["reserved_usd"], nano(left["spent_usd"])) == ("0", spent(rows, "all|"))


@looped
async def test_an_answer_from_the_cache_costs_nothing_even_when_all_is_spent() -> None:
    cache = "kind: cache\n"
    async with upstream(m1=says("x", (1000, 14_000))) as up:
        text = config({"up": up.url}, {"m1": "up"}, OPEN, BUDGET % "", cache)
        async with gateway(text, {"UP_KEY": UP_KEY}) as served, client(served.url) as http:
            ask = {"model": "m1", "messages": HELLO}
            first = await http.post(CHAT, json=ask)
            other = await http.post(CHAT, json={**ask, "seed": 1, "max_tokens": 10_000})
            again = await http.post(CHAT, json=ask)
            assert [r.status_code for r in (first, other, again)] == [200, 429, 200]
            assert again.headers["x-sidecar-cache"] == "hit"


@looped
async def test_a_soft_budget_that_is_used_up_leads_to_the_cheaper_model() -> None:
    models = {"dear": "up", "cheap": "up"}
    policy = "kind: score\nstrategy: quality\n"
    async with upstream(dear=says("x", (1000, 15_000)), cheap=says("y")) as up:
        text = config({"up": up.url}, models, OPEN, BUDGET % ", mode: soft", policy)
        text = text.replace("price: {input: 1, output: 2}, quality: 50", "price: {input: 1, output: 2}, quality: 90", 1)
        text = "price: {input: 0.1, output: 0.2}, quality: 10".join(
            text.rsplit("price: {input: 1, output: 2}, quality: 50", 1)
        )
        async with gateway(text, {"UP_KEY": UP_KEY}) as served, client(served.url) as http:
            asked = [{"model": "auto", "messages": HELLO}, {"model": "auto:quality", "messages": HELLO}]
            used = []
            for each in (asked[0], asked[0], asked[1], {"model": "dear", "messages": HELLO}):
                response = await http.post(CHAT, json=each)
                assert response.status_code == 200
                used.append(response.headers["x-sidecar-model"])
            assert used == ["dear", "cheap", "cheap", "dear"]  # who names a model gets it: the budget is soft
            left = await standing(http, "all")
            rows = await served.rows(count=4)
            assert nano(left["spent_usd"]) == spent(rows, "all|") > nano(left["limit_usd"])


@looped
async def test_a_reload_keeps_what_was_spent_and_another_window_knows_it_too(tmp_path: Path) -> None:
    async with upstream(m1=says("x", (1000, 4000))) as up:
        text = config({"up": up.url}, {"m1": "up"}, OPEN, BUDGET % "")
        path = tmp_path / "gateway.yaml"
        path.write_text(text)
        async with gateway(path, {"UP_KEY": UP_KEY}) as served, client(served.url) as http:
            ask = {"model": "m1", "messages": HELLO, "max_tokens": 5000}

            async def reload(changed: str) -> None:
                path.write_text(changed)
                before = served.running.holder.current
                while served.running.holder.current is before:
                    await asyncio.sleep(0.02)

            assert (await http.post(CHAT, json=ask)).status_code == 200
            cost = 9_000_000
            assert nano((await standing(http, "all"))["spent_usd"]) == cost
            await reload(text.replace("limit: 0.03", "limit: 0.012"))
            assert (await http.post(CHAT, json=ask)).status_code == 429
            await reload(text.replace("window: day", "window: month"))
            assert nano((await standing(http, "all"))["spent_usd"]) == cost
            assert (await http.post(CHAT, json=ask)).status_code == 200
            await reload(text.replace("name: all", "name: other"))
            assert (await standing(http, "other"))["spent_usd"] == "0"
            await reload(text.replace("window: day", "window: 24h"))
            assert nano((await standing(http, "all"))["spent_usd"]) == 2 * cost
            metrics = (await http.get("/metrics")).text
            assert 'sidecar_budget_left_usd{budget="all"} 0.012' in metrics
            assert sum(row["cost_nano"] for row in await served.rows(count=2)) == 2 * cost


def test_the_example_takes_tokens_of_its_issuer_only_with_a_team() -> None:
    @looped
    async def test() -> None:
        async with (
            upstream() as up,
            gateway(EXAMPLE, {"UPSTREAM_URL": up.url, "JWT_SECRET": SECRET, "SIDECAR_PORT": "0"}) as served,
        ):
            for bearer, status in ((token(), 200), (token("beta"), 200), (token(None), 401), ("wrong", 401)):
                async with client(served.url, bearer) as http:
                    response = await http.post(CHAT, json={"model": "gpt-4o-mini", "messages": HELLO})
                    assert response.status_code == status, response.text
            assert envelope(response)["code"] == "invalid_api_key"

    test()

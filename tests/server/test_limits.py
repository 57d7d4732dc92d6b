"""Rate limits over HTTP: who shares one, what a refusal says, what it takes, and what the provider's count corrects."""

import asyncio
import re
from contextlib import AsyncExitStack

import httpx
from gateway import Served, gateway
from house import CHAT, HELLO, UP_KEY, Upstream, client, config, envelope, eventually, looped, says, streams, upstream

ALICE = "gw_alice-0123456789abcdef"
BOB = "gw_bob-0123456789abcdef"
KEYS = """kind: authenticate
anonymous: loopback
keys:
  - {name: alice, secret: env:ALICE, tenant: a}
  - {name: bob, secret: env:BOB, tenant: b}
"""
ENVIRON = {"UP_KEY": UP_KEY, "ALICE": ALICE, "BOB": BOB}


def limits(*entries: str) -> str:
    return "kind: rate_limit\nlimits:\n" + "".join(f"  - {{{entry}}}\n" for entry in entries)


async def opened(
    stack: AsyncExitStack, *policies: str, **replies: object
) -> tuple[Served, httpx.AsyncClient, Upstream]:
    up = await stack.enter_async_context(upstream(**replies))  # type: ignore[arg-type]
    text = config({"up": up.url}, {"m1": "up"}, *policies)
    served = await stack.enter_async_context(gateway(text, ENVIRON))
    return served, await stack.enter_async_context(client(served.url)), up


async def settled(served: Served) -> None:
    """Until what was answered has been settled too: the caller may have its answer a moment before."""
    await eventually(lambda: not len(served.running.chat.watches))


async def ask(http: httpx.AsyncClient, key: str | None = None, model: str = "m1", **more: object) -> httpx.Response:
    headers = {} if key is None else {"authorization": f"Bearer {key}"}
    return await http.post(CHAT, json={"model": model, "messages": HELLO, **more}, headers=headers)


@looped
async def test_a_key_has_its_own_limit(tmp_path: object) -> None:
    async with AsyncExitStack() as stack:
        _, http, up = await opened(stack, KEYS, limits("per: key, requests: 3/h"))
        remaining = []
        for _ in range(3):
            response = await ask(http, ALICE)
            assert response.status_code == 200
            assert response.headers["x-ratelimit-limit-requests"] == "3"
            assert re.fullmatch(r"[0-9.e+]+s", response.headers["x-ratelimit-reset-requests"])
            remaining.append(response.headers["x-ratelimit-remaining-requests"])
        assert remaining == ["2", "1", "0"]
        refused = await ask(http, ALICE)
        assert refused.status_code == 429
        error = envelope(refused)
        assert (error["type"], error["code"]) == ("rate_limit_error", "rate_limit_exceeded")
        assert "3 requests a hour" in error["message"] or "3 requests an hour" in error["message"]
        assert 3000 < int(refused.headers["retry-after"]) <= 3661
        assert refused.headers["x-ratelimit-remaining-requests"] == "0"
        assert (await ask(http, BOB)).status_code == 200
        assert (await ask(http)).status_code == 200
        assert len(up.asked) == 5


@looped
async def test_the_limit_holds_before_the_key_is_known_to_be_good() -> None:
    async with AsyncExitStack() as stack:
        _, http, _ = await opened(stack, KEYS, limits("per: key, requests: 2/h"))
        wrong = [(await ask(http, "gw_guess-0123456789")).status_code for _ in range(4)]
        assert wrong == [401, 401, 429, 429]


@looped
async def test_an_address_has_one_limit_for_all_its_keys_and_a_refusal_takes_nothing() -> None:
    async with AsyncExitStack() as stack:
        _, http, _ = await opened(stack, KEYS, limits("per: key, requests: 3/h", "per: ip, requests: 4/h"))
        assert [(await ask(http, ALICE)).status_code for _ in range(5)] == [200, 200, 200, 429, 429]
        # Alice's two refusals took nothing from the address: Bob still has one left of the four.
        assert [(await ask(http, BOB)).status_code for _ in range(3)] == [200, 429, 429]
        refused = await ask(http, BOB)
        assert "this address" in envelope(refused)["message"]
        # Nor did the address's refusals take from Bob's own: the header tells of the tightest limit.
        assert refused.headers["x-ratelimit-limit-requests"] == "4"


@looped
async def test_many_at_once_never_pass_the_limit() -> None:
    async with AsyncExitStack() as stack:
        _, http, up = await opened(stack, KEYS, limits("per: key, requests: 10/h"))
        answers = await asyncio.gather(*[ask(http, ALICE) for _ in range(40)])
        assert sorted(answer.status_code for answer in answers) == [200] * 10 + [429] * 30
        assert len(up.asked) == 10


@looped
async def test_tokens_are_taken_by_estimate_and_corrected_by_what_was_used() -> None:
    async with AsyncExitStack() as stack:
        served, http, _ = await opened(stack, KEYS, limits("per: key, tokens: 1100/h"), m1=says("x", usage=(20, 30)))
        for number in range(5):  # 5 x 800 asked for, 5 x 50 used
            response = await ask(http, ALICE, max_tokens=800)
            assert response.status_code == 200, response.text
            assert int(response.headers["x-ratelimit-remaining-tokens"]) == 1100 - number * 50 - 806
            await settled(served)
        refused = await ask(http, ALICE, max_tokens=900)
        assert refused.status_code == 429
        assert "1100 tokens" in envelope(refused)["message"]
        assert (await ask(http, ALICE, max_tokens=800)).status_code == 200


@looped
async def test_more_tokens_than_estimated_count_too() -> None:
    async with AsyncExitStack() as stack:
        served, http, _ = await opened(stack, KEYS, limits("per: key, tokens: 1000/h"), m1=says("x", usage=(600, 600)))
        assert (await ask(http, ALICE)).status_code == 200
        await settled(served)
        assert (await ask(http, ALICE)).status_code == 429
        assert (await ask(http, BOB)).status_code == 200


@looped
async def test_streams_are_corrected_when_they_end() -> None:
    async with AsyncExitStack() as stack:
        served, http, _ = await opened(stack, KEYS, limits("per: key, tokens: 1000/h"), m1=streams("a", "b"))
        for _ in range(3):
            response = await ask(http, ALICE, max_tokens=800, stream=True)
            assert response.text.endswith("data: [DONE]\n\n")
            await settled(served)


@looped
async def test_what_nobody_was_asked_for_costs_no_tokens() -> None:
    async with AsyncExitStack() as stack:
        cache = "kind: cache\nttl: 1h\n"
        served, http, up = await opened(
            stack, KEYS, cache, limits("per: key, tokens: 1000/h"), m1=says("x", usage=(1, 1))
        )
        for _ in range(3):
            assert (await ask(http, ALICE, model="nope", max_tokens=900)).status_code == 404
            await settled(served)
        answers = []
        for _ in range(4):
            answers.append(await ask(http, ALICE, max_tokens=900))
            await settled(served)
        assert [answer.headers.get("x-sidecar-cache") for answer in answers] == ["miss", "hit", "hit", "hit"]
        assert len(up.asked) == 1


@looped
async def test_a_request_larger_than_the_limit_never_fits() -> None:
    async with AsyncExitStack() as stack:
        _, http, _ = await opened(stack, KEYS, limits("per: key, tokens: 1000/m"))
        for figure in (1001, 10**15, 10**30):
            refused = await ask(http, ALICE, max_tokens=figure)
            assert refused.status_code == 429
            assert int(refused.headers["retry-after"]) <= 60
        assert (await ask(http, ALICE)).status_code == 200


@looped
async def test_a_refused_request_is_logged_and_counted_but_not_in_the_ledger() -> None:
    async with AsyncExitStack() as stack:
        served, http, _ = await opened(stack, KEYS, limits("per: key, requests: 1/h"))
        await ask(http, ALICE)
        await ask(http, ALICE)
        assert len(await served.rows()) == 1
        assert 'sidecar_requests_total{status="429"} 1.0' in (await http.get("/metrics")).text


@looped
async def test_limits_outlive_a_reload() -> None:
    """A new policy is no new chance: the counters are the gateway's, not the graph's."""
    async with AsyncExitStack() as stack:
        served, http, _ = await opened(stack, KEYS, limits("per: key, requests: 2/h"))
        assert [(await ask(http, ALICE)).status_code for _ in range(2)] == [200, 200]
        before = served.running.holder.current
        path = served.database.parent / "gateway.yaml"
        path.write_text(path.read_text().replace("alternatives: 0", "alternatives: 1"))
        while served.running.holder.current is before:
            await asyncio.sleep(0.01)
        assert (await ask(http, ALICE)).status_code == 429

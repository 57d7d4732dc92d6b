"""Quotas over HTTP: exact under many at once, counted per attempt at models and providers, taken back when nobody was
asked."""

import asyncio
from contextlib import AsyncExitStack

import httpx
from gateway import Served, gateway
from house import HELLO, UP_KEY, Upstream, client, config, envelope, fails, looped, says, streams, upstream
from test_limits import ALICE, BOB, ENVIRON, KEYS, ask, settled

CHAIN = "kind: fallback\nretries: RETRIES\nchains: {m1: [m2]}\nbackoff: {initial: 1ms, max: 2s}\n"


def quotas(*entries: str) -> str:
    return "kind: quota\nlimits:\n" + "".join(f"  - {{{entry}}}\n" for entry in entries)


async def opened(
    stack: AsyncExitStack, *policies: str, retries: int = 0, **replies: object
) -> tuple[Served, httpx.AsyncClient, Upstream]:
    up = await stack.enter_async_context(upstream(**replies))  # type: ignore[arg-type]
    chain = CHAIN.replace("RETRIES", str(retries))
    text = config({"up": up.url, "down": up.url}, {"m1": "up", "m2": "down"}, KEYS, chain, *policies)
    served = await stack.enter_async_context(gateway(text, {**ENVIRON, "UP_KEY": UP_KEY}))
    return served, await stack.enter_async_context(client(served.url)), up


@looped
async def test_of_32_at_once_exactly_20_pass() -> None:
    async with AsyncExitStack() as stack:
        _, http, up = await opened(stack, quotas("per: tenant, requests: 20/m"), m1=streams("a", "b"))
        answers = await asyncio.gather(*[ask(http, ALICE, stream=True) for _ in range(32)])
        assert sorted(answer.status_code for answer in answers) == [200] * 20 + [429] * 12
        assert len(up.asked) == 20
        refused = next(answer for answer in answers if answer.status_code == 429)
        assert envelope(refused)["code"] == "rate_limit_exceeded"
        assert 50 <= int(refused.headers["retry-after"]) <= 61
        assert refused.headers["x-ratelimit-remaining-requests"] == "0"
        assert (await ask(http, BOB)).status_code == 200


@looped
async def test_a_model_at_its_limit_is_passed_over_and_then_refused() -> None:
    async with AsyncExitStack() as stack:
        limits = quotas("per: provider, requests: 20/h", "per: [tenant, model], requests: 8/h")
        _, http, up = await opened(stack, limits)
        answers = await asyncio.gather(*[ask(http, ALICE) for _ in range(32)])
        assert sorted(answer.status_code for answer in answers) == [200] * 16 + [429] * 16
        assert sorted(up.models) == ["m1"] * 8 + ["m2"] * 8
        told = envelope(next(answer for answer in answers if answer.status_code == 429))
        assert "this tenant on model `m" in told["message"] and "8 requests an hour" in told["message"]
        answer = await ask(http, BOB)
        assert answer.headers["x-sidecar-model"] == "m1"
        assert answer.headers["x-ratelimit-limit-requests"] == "8"
        assert answer.headers["x-ratelimit-remaining-requests"] == "7"
        assert answer.headers["x-ratelimit-reset-requests"] == "3600s"


@looped
async def test_retries_and_fallbacks_count_where_they_go() -> None:
    async with AsyncExitStack() as stack:
        _, http, up = await opened(stack, quotas("per: provider, requests: 3/h"), retries=1, m1=fails(500))
        answers = [await ask(http, ALICE) for _ in range(4)]
        # m1 twice and m2; m1 once, its retry is refused, and m2; m2 alone; nobody is left.
        assert up.models == ["m1", "m1", "m2", "m1", "m2", "m2"]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        assert [answer.headers["x-ratelimit-remaining-requests"] for answer in answers] == ["2", "1", "0", "0"]


@looped
async def test_streams_take_from_a_model_what_they_used() -> None:
    async with AsyncExitStack() as stack:
        limits = quotas("per: model, tokens: 1000/h", "per: tenant, tokens: 100000/h")
        served, http, up = await opened(stack, limits, m1=streams("a", "b"))
        for _ in range(4):
            response = await ask(http, ALICE, max_tokens=800, stream=True)
            assert response.text.endswith("data: [DONE]\n\n")
            await settled(served)
        assert up.models == ["m1"] * 4
        small = await ask(http, ALICE, max_tokens=100, stream=True)
        assert small.headers["x-ratelimit-remaining-tokens"] == str(1000 - 4 * 5 - 106)


@looped
async def test_what_no_provider_was_asked_for_takes_nothing() -> None:
    async with AsyncExitStack() as stack:
        limits = quotas("per: tenant, requests: 2/h", "per: tenant, tokens: 5000/h", "per: model, requests: 1/s")
        served, http, up = await opened(stack, limits, "kind: cache\nttl: 1h\n", m1=says("x", usage=(1, 1)))
        for _ in range(4):
            assert (await ask(http, ALICE, max_tokens=4000)).status_code == 200
            await settled(served)
        assert len(up.asked) == 1, "the cache's answers take nothing"
        counters = served.running.stores.counters
        left = counters.peek(("quota tenant  requests h", ("a",)), 2, 3600.0, 0, 0.0)
        assert left.remaining == 1
        for _ in range(3):
            assert (await ask(http, ALICE, model="nope")).status_code == 404
        assert (await ask(http, ALICE, max_tokens=6000)).status_code == 429
        assert (await ask(http, ALICE, model="m2", max_tokens=4000)).status_code == 200
        assert (await ask(http, ALICE, model="m2", max_tokens=4001)).status_code == 429


@looped
async def test_requests_in_any_second() -> None:
    async with AsyncExitStack() as stack:
        _, http, _ = await opened(stack, quotas("per: key, requests: 2/s"))
        answers = await asyncio.gather(*[ask(http, ALICE, messages=HELLO) for _ in range(2)])
        assert {answer.headers["x-ratelimit-reset-requests"] for answer in answers} == {"1s"}
        while (refused := await ask(http, ALICE)).status_code == 200:
            pass
        assert refused.headers["retry-after"] in ("1", "2")

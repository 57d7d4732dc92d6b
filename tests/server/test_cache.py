"""The exact cache over HTTP: what is answered from it, for whom, for how long, and what never goes into it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from gateway import Served, gateway
from house import (
    CHAT,
    UP_KEY,
    Handler,
    Upstream,
    chunked,
    client,
    config,
    event,
    eventually,
    fails,
    looped,
    says,
    sends,
    streams,
    texts,
    upstream,
)

KEYS = {"alice": "gw_alice-0123456789abcdef", "amy": "gw_amy-0123456789abcdef", "bob": "gw_bob-0123456789abcdef"}
AUTH = """kind: authenticate
keys:
  - {name: alice, secret: env:ALICE, tenant: a, models: [m1, m2]}
  - {name: amy, secret: env:AMY, tenant: a, models: [m1, m2]}
  - {name: bob, secret: env:BOB, tenant: b}
"""


@dataclass
class Cached:
    served: Served
    http: httpx.AsyncClient
    up: Upstream

    async def ask(self, text: str = "q", who: str | None = None, headers: Any = (), **more: Any) -> httpx.Response:
        """One request, settled: the cache is filled after the caller has its answer."""
        sent = dict(headers)
        if who is not None:
            sent["authorization"] = f"Bearer {KEYS[who]}"
        body = {"model": "m1", "messages": [{"role": "user", "content": text}], **more}
        response = await self.http.post(CHAT, json=body, headers=sent)
        await eventually(lambda: not len(self.served.running.chat.watches))
        return response

    async def outcome(self, text: str = "q", who: str | None = None, headers: Any = (), **more: Any) -> str:
        return (await self.ask(text, who, headers, **more)).headers["x-sidecar-cache"]


@asynccontextmanager
async def cached(settings: str = "ttl: 1h", **replies: Handler | list[Handler]) -> AsyncIterator[Cached]:
    cache = "kind: cache\n" + settings.replace(", ", "\n") + "\n"
    async with upstream(**replies) as up:
        environ = {"UP_KEY": UP_KEY, **{name.upper(): key for name, key in KEYS.items()}}
        text = config({"up": up.url}, {"m1": "up", "m2": "up"}, cache, AUTH, gateway="aliases: {one: m1}")
        async with gateway(text, environ) as served, client(served.url) as http:
            yield Cached(served, http, up)


@pytest.mark.parametrize("stream", [False, True])
def test_the_same_request_is_answered_from_the_cache(stream: bool) -> None:
    @looped
    async def test() -> None:
        async with cached(m1=streams("one ", "two") if stream else says("one two")) as c:
            first = await c.ask(stream=stream)
            again = await c.ask(stream=stream)
            assert (first.headers["x-sidecar-cache"], again.headers["x-sidecar-cache"]) == ("miss", "hit")
            assert again.content == first.content
            assert again.headers["content-type"] == first.headers["content-type"]
            for name, value in (("model", "m1"), ("provider", "up"), ("cost-usd", "0"), ("attempts", "0")):
                assert again.headers[f"x-sidecar-{name}"] == value
            assert again.headers["x-request-id"] != first.headers["x-request-id"]
            assert len(c.up.asked) == 1
            rows = await c.served.rows(again.headers["x-request-id"])
            assert [(r["outcome"], r["cache"], r["cost_nano"], r["attempt"]) for r in rows] == [("hit", "hit", 0, 0)]
            metrics = (await c.http.get("/metrics")).text
            assert 'sidecar_cache_results_total{result="hit"} 1.0' in metrics

    test()


@looped
async def test_the_order_of_fields_and_white_space_change_nothing() -> None:
    async with cached() as c:
        for body in (
            b'{"model":"m1","messages":[{"role":"user","content":"x"}],"n":1,"seed":2}',
            b'{ "seed" : 2, "n" : 1, "messages":[{"role":"user","content":"x"}], "model":"m1" }',
        ):
            response = await c.http.post(CHAT, content=body)
            await eventually(lambda: not len(c.served.running.chat.watches))
        assert response.headers["x-sidecar-cache"] == "hit"


@looped
async def test_whatever_could_change_the_answer_misses() -> None:
    async with cached() as c:
        await c.ask()
        different: list[dict[str, Any]] = [
            {"text": "Q"}, {"model": "m2"}, {"model": "one"}, {"model": "auto"}, {"temperature": 0.5}, {"seed": 1},
            {"n": 2}, {"max_tokens": 10}, {"user": "x"}, {"zz": None}, {"tools": []}, {"stop": "."},
            {"headers": {"x-sidecar-task": "x"}}, {"headers": {"x-sidecar-strategy": "cost"}},
            {"headers": {"x-sidecar-route": "off"}}, {"who": "alice"}, {"who": "bob"},
        ]  # fmt: skip
        for more in different:
            assert await c.outcome(**more) == "miss", more
            assert await c.outcome(**more) == "hit", more
        assert await c.outcome() == "hit"
        assert await c.outcome(stream=True) == "miss"


@pytest.mark.parametrize(
    ("share", "amy", "bob"), [("tenant", "hit", "miss"), ("key", "miss", "miss"), ("all", "hit", "miss")]
)
def test_who_shares_with_whom(share: str, amy: str, bob: str) -> None:
    """Even `all` keeps those apart who may use other models."""

    @looped
    async def test() -> None:
        async with cached(f"ttl: 1h, share: {share}") as c:
            assert await c.outcome(who="alice") == "miss"
            assert await c.outcome(who="alice") == "hit"
            assert await c.outcome(who="amy") == amy
            assert await c.outcome(who="bob") == bob
            assert await c.outcome() == ("hit" if share == "all" else "miss")

    test()


@looped
async def test_a_caller_may_bypass_or_renew() -> None:
    async with cached(m1=[says("old"), says("bypassed"), says("new")]) as c:
        assert "old" in (await c.ask()).text
        bypassed = await c.ask(headers={"x-sidecar-cache": "no-store"})
        assert (bypassed.headers["x-sidecar-cache"], "bypassed" in bypassed.text) == ("bypass", True)
        assert "old" in (await c.ask()).text
        renewed = await c.ask(headers={"x-sidecar-cache": "refresh"})
        assert (renewed.headers["x-sidecar-cache"], "new" in renewed.text) == ("miss", True)
        last = await c.ask()
        assert (last.headers["x-sidecar-cache"], "new" in last.text) == ("hit", True)


@looped
async def test_a_cache_that_is_switched_off_says_so() -> None:
    async with cached("enabled: false") as c:
        assert [await c.outcome() for _ in range(2)] == ["disabled", "disabled"]


@looped
async def test_an_entry_ends_with_its_time() -> None:
    async with cached("ttl: 300ms") as c:
        assert await c.outcome() == "miss"

        async def gone() -> bool:
            return await c.outcome() == "miss"

        await eventually(gone)
        assert await c.outcome() == "hit"


@looped
async def test_entries_are_bounded_and_the_one_used_longest_ago_goes() -> None:
    async with cached("ttl: 1h, max_entries: 3") as c:
        for text in "abc":
            await c.ask(text)
        assert await c.outcome("a") == "hit"
        assert await c.outcome("d") == "miss"
        assert [await c.outcome(text) for text in "acd"] == ["hit", "hit", "hit"]
        assert await c.outcome("b") == "miss"


@looped
async def test_bytes_are_bounded() -> None:
    async with cached("ttl: 1h, max_bytes: 5KB", m1=says("x" * 2000), m2=says("x" * 6000)) as c:
        for text in "abc":
            assert await c.outcome(text) == "miss"
        cache = c.served.running.holder.current.state.cache
        assert cache.bytes <= 5000  # type: ignore[attr-defined]
        assert await c.outcome("c") == "hit"
        assert await c.outcome("a") == "miss"
        assert [await c.outcome("big", model="m2") for _ in range(2)] == ["miss", "miss"]


LENGTH = chunked(event(None, finish="length") + b"data: [DONE]\n\n") + b"0\r\n\r\n"
NEVER: dict[str, tuple[Handler, bool]] = {
    "error": (fails(500), False),
    "refused": (fails(400), False),
    "length": (says("half", finish="length"), False),
    "filtered": (says("", finish="content_filter"), False),
    "cut-body": (sends(b"HTTP/1.1 200 x\r\ncontent-length: 1000\r\n\r\n{"), False),
    "cut-stream": (streams("one ", "two", end=b""), True),
    "stream-without-end": (streams("one ", "two", end=b"0\r\n\r\n"), True),
    "stream-of-length": (streams("one", end=LENGTH), True),
    "error-in-stream": (streams("one", end=chunked(b'data: {"error":{"message":"no"}}\n\n') + b"0\r\n\r\n"), True),
}  # fmt: skip


@pytest.mark.parametrize("case", NEVER)
def test_what_is_not_whole_is_never_kept(case: str) -> None:
    handler, stream = NEVER[case]

    @looped
    async def test() -> None:
        async with cached(m1=handler) as c:
            for _ in range(2):
                assert await c.outcome(stream=stream) == "miss"
            assert len(c.up.asked) == 2
            assert len(c.served.running.holder.current.state.cache) == 0  # type: ignore[arg-type]

    test()


@looped
async def test_a_stream_whose_caller_left_is_not_kept() -> None:
    gate = asyncio.Event()
    async with cached(m1=[streams("one ", "two", gate=gate), streams("one ", "two")]) as c:
        body = {"model": "m1", "messages": [{"role": "user", "content": "q"}], "stream": True}
        async with c.http.stream("POST", CHAT, json=body) as response:
            await anext(response.aiter_bytes())
        await eventually(lambda: not len(c.served.running.chat.watches))
        gate.set()
        assert texts((await c.ask(stream=True)).text) == "one two"
        assert len(c.up.asked) == 2


@looped
async def test_tool_calls_are_kept() -> None:
    async with cached(m1=says("x", finish="tool_calls")) as c:
        assert [await c.outcome() for _ in range(2)] == ["miss", "hit"]


@looped
async def test_another_policy_answers_nothing_from_before() -> None:
    async with cached() as c:
        await c.ask()
        assert await c.outcome() == "hit"
        path = c.served.database.parent / "gateway.yaml"
        text, before = path.read_text(), c.served.running.holder.current
        path.write_text(text.replace("alternatives: 0", "alternatives: 1"))
        await eventually(lambda: c.served.running.holder.current is not before)
        assert await c.outcome() == "miss"
        path.write_text(text)
        await eventually(lambda: c.served.running.holder.current.graph.hash == before.graph.hash)
        assert await c.outcome() == "hit"


@looped
async def test_no_field_name_can_stand_for_two_fields() -> None:
    async with cached() as c:
        assert await c.outcome(n=2, stop="x") == "miss"
        assert await c.outcome(**{"n\x002\x00stop": "x"}) == "miss"

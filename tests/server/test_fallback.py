"""The chain over HTTP: what falls back, what is tried again, what is the caller's own, and how a stream ends."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from gateway import Served, free_port, gateway
from house import (
    CHAT,
    HELLO,
    STREAM_HEAD,
    UP_KEY,
    Handler,
    Upstream,
    chunked,
    client,
    config,
    envelope,
    event,
    eventually,
    fails,
    http,
    looped,
    says,
    sends,
    stalls,
    streams,
    texts,
    upstream,
)

CHAIN = """kind: fallback
alternatives: 2
retries: RETRIES
chains: {m1: [m2], gone: [m2]}
backoff: {initial: 1ms, max: 2s}
timeouts: {connect: 300ms, first_token: 150ms, idle: 150ms, total: 5s}
"""


@dataclass
class Chained:
    served: Served
    http: httpx.AsyncClient
    up: Upstream

    async def ask(self, model: str = "m1", headers: Any = (), **more: Any) -> httpx.Response:
        return await self.http.post(CHAT, json={"model": model, "messages": HELLO, **more}, headers=dict(headers))

    async def rows(self, response: httpx.Response, count: int) -> list[tuple[Any, ...]]:
        rows = await self.served.rows(response.headers["x-request-id"], count)
        return [(row["model"], row["outcome"], row["failure"]) for row in rows]


@asynccontextmanager
async def chained(retries: int = 0, **replies: Handler | list[Handler]) -> AsyncIterator[Chained]:
    """m1 falls back to m2; `gone` is at a provider that refuses connections, and falls back to m2 as well."""
    async with upstream(**replies) as up:
        policy = CHAIN.replace("RETRIES", str(retries))
        providers = {"up": up.url, "off": f"http://127.0.0.1:{free_port()}/v1"}
        models = {"m1": "up", "m2": "up", "gone": "off"}
        text = config(providers, models, policy, gateway="aliases: {fast: 'auto:speed', one: m1}")
        # A window larger than that of m1: what did not fit there may fit here.
        text = text.replace("upstream: m2, context: 100000", "upstream: m2, context: 200000")
        async with gateway(text, {"UP_KEY": UP_KEY}) as served, client(served.url) as http_:
            yield Chained(served, http_, up)


HTML = http(502, b"<html><title>Bad Gateway</title></html>", "content-type: text/html")
FAILURES: dict[str, tuple[Handler, str]] = {
    "500": (fails(500), "server_error"),
    "503": (fails(503), "overloaded"),
    "529": (fails(529), "overloaded"),
    "429": (fails(429), "rate_limited"),
    "quota": (fails(429, code="insufficient_quota"), "quota"),
    "401": (fails(401), "authentication"),
    "403": (fails(403), "authentication"),
    "404": (fails(404), "not_found"),
    "redirect": (sends(http(302, b"", "location: http://127.0.0.1:1/")), "not_found"),
    "html": (sends(HTML), "bad_gateway"),
    "no-json": (sends(http(200, b"hello")), "malformed"),
    "no-choices": (sends(http(200, b"{}")), "malformed"),
    "error-in-200": (sends(http(200, b'{"error": {"message": "no"}}')), "server_error"),
    "no-http": (sends(b"hello\r\n\r\n"), "malformed"),
    "nothing": (sends(b""), "reset"),
    "cut": (sends(b"HTTP/1.1 200 x\r\ncontent-length: 100\r\n\r\n{"), "truncated"),
    "silence": (stalls(), "first_token_timeout"),
    "overflow": (fails(400, code="context_length_exceeded"), "context_overflow"),
}


@looped
async def test_what_overflows_a_window_is_not_sent_to_one_that_is_no_larger() -> None:
    policy = CHAIN.replace("RETRIES", "1")
    async with upstream(m1=fails(400, code="context_length_exceeded"), m2=says("second")) as up:
        text = config({"up": up.url}, {"m1": "up", "m2": "up", "gone": "up"}, policy)
        async with gateway(text, {"UP_KEY": UP_KEY}) as served, client(served.url) as http_:
            response = await http_.post(CHAT, json={"model": "m1", "messages": HELLO})
            assert envelope(response)["code"] == "context_length_exceeded"
            assert response.headers["x-sidecar-attempts"] == "1"


@pytest.mark.parametrize("case", FAILURES)
def test_the_next_model_answers_when_the_first_cannot(case: str) -> None:
    handler, failure = FAILURES[case]

    @looped
    async def test() -> None:
        async with chained(m1=handler, m2=says("second")) as c:
            response = await c.ask()
            assert response.status_code == 200, response.text
            assert response.json()["choices"][0]["message"]["content"] == "second"
            assert response.headers["x-sidecar-model"] == "m2"
            assert response.headers["x-sidecar-attempts"] == "2"
            assert await c.rows(response, 2) == [("m1", "failed", failure), ("m2", "answered", None)]
            assert "sidecar_fallbacks_total 1.0" in (await c.http.get("/metrics")).text

    test()


@looped
async def test_a_refused_connection_falls_back() -> None:
    async with chained(m2=says("second")) as c:
        response = await c.ask("gone")
        assert response.headers["x-sidecar-model"] == "m2"
        assert await c.rows(response, 2) == [("gone", "failed", "refused"), ("m2", "answered", None)]


ONE_TWO = chunked(event("one ") + event("two"))
EARLY: dict[str, Handler] = {
    "500": fails(500),
    "cut-before-anything": sends(STREAM_HEAD),
    "cut-before-content": sends(STREAM_HEAD + chunked(event(None))),
    "empty": sends(STREAM_HEAD + b"0\r\n\r\n"),
    "error-event": sends(STREAM_HEAD + chunked(b'data: {"error": {"message": "overloaded"}}\n\n') + b"0\r\n\r\n"),
    "garbage": sends(STREAM_HEAD + chunked(b"data: {nope\n\n") + b"0\r\n\r\n"),
    "silence": stalls(),
    "silence-after-headers": stalls(STREAM_HEAD),
    "silence-after-role": stalls(STREAM_HEAD, chunked(event(None))),
}


@pytest.mark.parametrize("case", EARLY)
def test_before_its_first_content_a_stream_may_fall_back(case: str) -> None:
    @looped
    async def test() -> None:
        async with chained(m1=EARLY[case], m2=streams("sec", "ond")) as c:
            response = await c.ask(stream=True)
            assert response.status_code == 200
            assert texts(response.text) == "second"
            assert response.text.endswith("data: [DONE]\n\n")
            assert response.headers["x-sidecar-model"] == "m2"

    test()


LATE: dict[str, tuple[bytes | None, str]] = {
    "cut": (b"", "truncated"),
    "ended-without-marker": (b"0\r\n\r\n", "truncated"),
    "error-event": (chunked(b'data: {"error":{"message":"no"}}\n\n'), "stream_error"),
    "garbage": (chunked(b"data: {nope\n\n"), "malformed"),
    "silence": (None, "idle_timeout"),
}


@pytest.mark.parametrize("case", LATE)
def test_after_its_first_content_a_stream_ends_with_an_error_and_is_never_tried_again(case: str) -> None:
    end, failure = LATE[case]

    @looped
    async def test() -> None:
        gate = asyncio.Event()
        handler = streams("one ", "two", end=end, gate=gate) if end is not None else stalls(STREAM_HEAD, ONE_TWO)
        async with chained(retries=2, m1=handler, m2=says("second")) as c:
            body = {"model": "m1", "messages": HELLO, "stream": True}
            async with c.http.stream("POST", CHAT, json=body) as response:
                pieces = []
                async for piece in response.aiter_text():
                    pieces.append(piece)
                    gate.set()  # the caller has seen content: no other attempt may be made from now on
            text = "".join(pieces)
            assert response.status_code == 200
            assert texts(text) == "one two"
            assert "[DONE]" not in text
            last = text.strip().rpartition("\n\n")[2]
            assert last.startswith('data: {"error":{"message":"Provider `up`: ')
            assert c.up.models == ["m1"]
            assert await c.rows(response, 1) == [("m1", "failed", failure)]
            row = (await c.served.rows(response.headers["x-request-id"]))[0]
            assert row["estimated"] == 1
            assert row["cost_nano"] > 0

    test()


@looped
async def test_the_same_model_is_tried_again_before_the_next() -> None:
    async with chained(retries=2, m1=[fails(500), fails(503), says("third time")]) as c:
        response = await c.ask()
        assert response.status_code == 200
        assert (response.headers["x-sidecar-attempts"], response.headers["x-sidecar-model"]) == ("3", "m1")
        assert c.up.models == ["m1"] * 3
    async with chained(retries=2, m1=fails(500)) as c:
        response = await c.ask()
        assert c.up.models == ["m1"] * 3 + ["m2"]
        assert response.headers["x-sidecar-attempts"] == "4"
        assert [row[2] for row in await c.rows(response, 4)] == ["server_error"] * 3 + [None]


@looped
async def test_what_another_try_cannot_mend_is_not_tried_again() -> None:
    for handler in (
        fails(401),
        fails(404),
        fails(429, code="insufficient_quota"),
        fails(429, "wait", "retry-after: 60"),
    ):
        async with chained(retries=3, m1=handler) as c:
            assert (await c.ask()).status_code == 200
            assert c.up.models == ["m1", "m2"]


@pytest.mark.parametrize("status", [400, 413, 422])
def test_the_callers_own_fault_burns_no_chain(status: int) -> None:
    @looped
    async def test() -> None:
        async with chained(retries=2, m1=fails(status, "temperature is too hot", param="temperature", code="bad")) as c:
            for stream in (False, True):
                response = await c.ask(stream=stream)
                assert response.status_code == (413 if status == 413 else 400)
                error = envelope(response)
                assert error["message"] == "temperature is too hot"
                assert (error["param"], error["code"]) == ("temperature", "bad")
            assert c.up.models == ["m1", "m1"]
            assert c.served.running.holder.current.state.health.down == {}

    test()


ALONE: dict[str, tuple[Handler, int, str]] = {
    "401": (fails(401, "bad key"), 502, "provider_authentication"),
    "403": (fails(403), 502, "provider_authentication"),
    "404": (fails(404), 404, "model_not_found"),
    "429": (fails(429, "slow", "retry-after: 7"), 429, "provider_rate_limited"),
    "500": (fails(500), 502, "provider_server_error"),
    "529": (fails(529), 503, "provider_overloaded"),
    "silence": (stalls(), 504, "first_token_timeout"),
    "nothing": (sends(b""), 502, "provider_reset"),
}


@pytest.mark.parametrize("case", ALONE)
def test_what_the_caller_is_told_when_nobody_answers(case: str) -> None:
    handler, status, code = ALONE[case]

    @looped
    async def test() -> None:
        async with chained(m1=handler, m2=handler) as c:
            response = await c.ask()
            assert response.status_code == status
            error = envelope(response)
            assert error["code"] == code
            assert error["message"].startswith("Provider `up`: ")
            host = c.up.url.removeprefix("http://").removesuffix("/v1")
            assert UP_KEY not in response.text
            assert host not in response.text
            if status in (429, 503):
                assert int(response.headers["retry-after"]) == (7 if case == "429" else 1)
            assert response.headers["x-sidecar-attempts"] == "2"

    test()


@looped
async def test_a_caller_may_switch_the_chain_off() -> None:
    async with chained(m1=fails(500)) as c:
        response = await c.ask(headers={"x-sidecar-route": "off"})
        assert response.status_code == 502
        assert c.up.models == ["m1"]
        assert (await c.ask()).status_code == 200


@looped
async def test_routed_requests_fall_back_to_the_next_best() -> None:
    async with chained(m1=fails(500), m2=says("second")) as c:
        for model in ("auto", "auto:cost", "fast"):
            response = await c.ask(model)
            assert response.status_code == 200, response.text
            assert response.headers["x-sidecar-model"] == "m2"
        assert (await c.ask("one", headers={"x-sidecar-route": "off"})).status_code == 502


@pytest.mark.parametrize(
    ("model", "headers"), [("auto:nonsense", {}), ("auto", {"x-sidecar-strategy": "nonsense"}), ("auto:cost:speed", {})]
)
def test_an_unknown_strategy_is_a_400(model: str, headers: dict[str, str]) -> None:
    @looped
    async def test() -> None:
        async with chained() as c:
            response = await c.ask(model, headers)
            assert response.status_code == 400
            error = envelope(response)
            assert error["code"] == "unknown_strategy"
            assert "balanced, cost, quality, speed" in error["message"]
            assert not c.up.asked

    test()


@looped
async def test_a_model_that_keeps_failing_rests_and_is_tried_again_later() -> None:
    async with chained(m1=fails(500), m2=says("second")) as c:
        for _ in range(5):
            assert (await c.ask()).headers["x-sidecar-attempts"] == "2"
        await eventually(lambda: "m1" in c.served.running.stores.health.down)
        asked = len(c.up.asked)
        assert (await c.ask()).headers["x-sidecar-attempts"] == "1"
        assert c.up.models[asked:] == ["m2"]
        # It is asked all the same where there is nobody else: that beats refusing.
        assert (await c.ask(headers={"x-sidecar-route": "off"})).status_code == 502
        assert c.up.models[-1] == "m1"
        c.up.on("m1", says("well again"))
        c.served.running.stores.health.wake(1e12)
        assert (await c.ask()).headers["x-sidecar-model"] == "m1"


@looped
async def test_a_caller_that_hangs_up_ends_the_attempt_and_the_chain() -> None:
    async with chained(m1=stalls(STREAM_HEAD, chunked(event("one")))) as c:
        async with c.http.stream("POST", CHAT, json={"model": "m1", "messages": HELLO, "stream": True}) as response:
            await anext(response.aiter_bytes())
        await eventually(lambda: not len(c.served.running.chat.watches))
        assert await c.rows(response, 1) == [("m1", "failed", "cancelled")]
        assert c.up.models == ["m1"]
    async with chained(m1=stalls(), m2=says("second")) as c:
        with pytest.raises(httpx.ReadTimeout):
            await c.http.post(CHAT, json={"model": "m1", "messages": HELLO}, timeout=httpx.Timeout(0.1))
        await eventually(lambda: not len(c.served.running.chat.watches))
        rows = await c.served.rows()
        assert [(row["model"], row["failure"], row["estimated"]) for row in rows] == [("m1", "cancelled", 1)]
        assert c.up.models == ["m1"]


@looped
async def test_a_provider_that_claims_any_number_of_tokens_harms_nobody() -> None:
    """Figures no database column holds must not keep other rows from the disk."""
    async with chained(m1=says("x", usage=(2**63, 2**64 - 1)), m2=says("x", usage=(2, 3))) as c:
        odd, even = await c.ask("m1"), await c.ask("m2")
        assert (odd.status_code, even.status_code) == (200, 200)
        assert len(await c.served.rows(count=2)) == 2
        assert (await c.http.get("/ready")).json()["database"] == "ok"
        rows = await c.served.rows(odd.headers["x-request-id"])
        assert rows[0]["output_tokens"] == 2**63 - 1


@looped
async def test_an_answer_packed_small_is_bounded_by_what_it_unpacks_to() -> None:
    import gzip

    bomb = gzip.compress(b'{"choices": [' + b" " * 20_000_000 + b"]}")
    head = ("content-type: application/json", "content-encoding: gzip")
    async with upstream(m1=sends(http(200, bomb, *head))) as up:
        text = config({"up": up.url}, {"m1": "up"}, gateway="limits: {answer: 1MB}")
        async with gateway(text, {"UP_KEY": UP_KEY}) as served, client(served.url) as c:
            response = await c.post(CHAT, json={"model": "m1", "messages": HELLO})
            assert response.status_code == 502
            assert "larger than 1000000 bytes" in envelope(response)["message"]


@looped
async def test_many_callers_at_once_each_get_their_own(tmp_path: object) -> None:
    async with chained(m1=fails(500), m2=streams("sec", "ond")) as c:
        answers = await asyncio.gather(
            *[c.ask("m1", headers={"x-sidecar-task": str(n)}, stream=True) for n in range(4)]
        )
        assert [texts(answer.text) for answer in answers] == ["second"] * 4
        assert len({answer.headers["x-request-id"] for answer in answers}) == 4

"""Sentences of the contract that the table has no cell for."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx
from gateway import Served, gateway
from house import (
    CHAT,
    HELLO,
    STREAM_HEAD,
    UP_KEY,
    Asked,
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
    streams,
    upstream,
)

CACHE = "kind: cache\n"
TWICE = "kind: fallback\nalternatives: 0\nretries: 1\nbackoff: {initial: 1ms, max: 5ms}\n"
HEDGED = "kind: fallback\nalternatives: 0\nretries: 0\nhedge: 30ms\nchains: {m1: [m2]}\n"
TIES = 20


@asynccontextmanager
async def asking(up: Upstream, *policies: str) -> AsyncIterator[tuple[Served, httpx.AsyncClient]]:
    text = config({"up": up.url}, {"m1": "up", "m2": "up"}, *policies)
    async with gateway(text, {"UP_KEY": UP_KEY}) as served, client(served.url) as http:
        yield served, http


@looped
async def test_an_empty_answer_is_not_cached() -> None:
    for handler, stream in ((says(""), False), (streams(), True)):
        async with upstream(m1=handler) as up, asking(up, CACHE, TWICE) as (_, http):
            for count in (2, 4):
                response = await http.post(CHAT, json={"model": "m1", "messages": HELLO, "stream": stream})
                assert (response.status_code, response.headers["x-sidecar-cache"]) == (200, "miss")
                assert len(up.asked) == count


@dataclass
class Tie:
    """Lets both models of a hedge answer at the same moment; counts the chunks each has sent."""

    gate: asyncio.Event = field(default_factory=asyncio.Event)
    sent: Counter[str] = field(default_factory=Counter)

    def after(self, handler: Handler) -> Handler:
        async def tied(asked: Asked, writer: asyncio.StreamWriter) -> None:
            await self.gate.wait()
            await handler(asked, writer)

        return tied

    async def long(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        """A stream of a second."""
        writer.write(STREAM_HEAD)
        for _ in range(50):
            writer.write(chunked(event("x")))
            await writer.drain()
            self.sent[asked.body["model"]] += 1
            await asyncio.sleep(0.02)
        writer.write(chunked(event(None, finish="stop") + b"data: [DONE]\n\n") + b"0\r\n\r\n")

    async def ask(self, http: httpx.AsyncClient, up: Upstream, stream: bool) -> httpx.Response:
        """One request, answered once both were asked."""
        self.gate.clear()
        self.sent.clear()
        before = len(up.asked)
        body = {"model": "m1", "messages": HELLO, "stream": stream}
        asked = asyncio.create_task(http.post(CHAT, json=body))
        await eventually(lambda: len(up.asked) == before + 2)
        self.gate.set()
        return await asked


@looped
async def test_of_two_streams_that_begin_together_one_is_ended_at_once() -> None:
    tie = Tie()
    async with upstream(m1=tie.after(tie.long), m2=tie.after(tie.long)) as up, asking(up, HEDGED) as (served, http):
        for _ in range(3):
            response = await tie.ask(http, up, stream=True)
            rows = await served.rows(response.headers["x-request-id"], 2)
            assert Counter(row["failure"] for row in rows) == {None: 1, "cancelled": 1}
            assert all(row["latency_ms"] >= 0 for row in rows)
            assert min(tie.sent.values()) < 50


@looped
async def test_an_error_is_told_only_where_no_try_was_answered() -> None:
    tie = Tie()
    async with (
        upstream(m1=tie.after(fails(400)), m2=tie.after(says("x"))) as up,
        asking(up, HEDGED) as (served, http),
    ):
        for _ in range(TIES):
            response = await tie.ask(http, up, stream=False)
            rows = await served.rows(response.headers["x-request-id"], 2)
            answered = [row["model"] for row in rows if row["outcome"] == "answered"]
            # A 400 that comes first is final; beside an answer that is here too it is not.
            assert (response.status_code, answered) in ((200, ["m2"]), (400, []))
            assert response.headers["x-sidecar-model"] == ("m2" if answered else "m1")

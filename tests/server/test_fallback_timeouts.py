"""Four waits, each with its own limit: to connect and for the first token, between tokens, and for all of it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from gateway import Served, gateway
from house import (
    CHAT,
    HELLO,
    STREAM_HEAD,
    UP_KEY,
    Asked,
    Handler,
    chunked,
    client,
    config,
    envelope,
    event,
    looped,
    says,
    stalls,
    streams,
    texts,
    upstream,
)

BODY = {"model": "m1", "messages": HELLO, "stream": True}


@asynccontextmanager
async def timed(timeouts: str, **replies: Handler) -> AsyncIterator[tuple[Served, httpx.AsyncClient]]:
    policy = f"kind: fallback\nalternatives: 0\nretries: 0\ntimeouts: {{{timeouts}}}\n"
    async with upstream(**replies) as up:
        text = config({"up": up.url}, {"m1": "up"}, policy)
        async with gateway(text, {"UP_KEY": UP_KEY}) as served, client(served.url) as http:
            yield served, http


async def failure(served: Served, response: httpx.Response) -> object:
    return (await served.rows(response.headers["x-request-id"]))[0]["failure"]


def last_error(text: str) -> str:
    last = text.strip().rpartition("\n\n")[2]
    assert last.startswith('data: {"error":')
    assert "[DONE]" not in text
    return last


@looped
async def test_nothing_within_the_first_tokens_time_is_a_504() -> None:
    for handler in (stalls(), stalls(STREAM_HEAD), stalls(STREAM_HEAD, chunked(event(None)))):
        async with timed("first_token: 150ms", m1=handler) as (served, http):
            response = await http.post(CHAT, json=BODY)
            assert response.status_code == 504
            assert envelope(response)["code"] == "first_token_timeout"
            assert await failure(served, response) == "first_token_timeout"


@looped
async def test_once_it_has_begun_a_stream_may_pause_longer_than_its_first_token_took() -> None:
    gate = asyncio.Event()
    async with timed("first_token: 200ms, idle: 20s", m1=streams("one ", "two", gate=gate)) as (_, http):
        async with http.stream("POST", CHAT, json=BODY) as response:
            pieces = response.aiter_text()
            text = await anext(pieces)
            await asyncio.sleep(0.4)  # the pause itself: longer than the first token may take
            gate.set()
            text += "".join([piece async for piece in pieces])
        assert texts(text) == "one two"
        assert text.endswith("data: [DONE]\n\n")


@looped
async def test_a_pause_that_is_too_long_ends_the_stream() -> None:
    handler = stalls(STREAM_HEAD, chunked(event("one")))
    async with timed("first_token: 20s, idle: 150ms", m1=handler) as (served, http):
        response = await http.post(CHAT, json=BODY)
        assert "idle_timeout" in last_error(response.text)
        assert await failure(served, response) == "idle_timeout"


@looped
async def test_a_stream_that_never_ends_is_ended() -> None:
    async def drips(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(STREAM_HEAD)
        while True:
            writer.write(chunked(event("x")))
            await writer.drain()
            await asyncio.sleep(0.02)

    async with timed("idle: 20s, total: 300ms", m1=drips) as (served, http):
        response = await http.post(CHAT, json=BODY)
        assert texts(response.text).startswith("xx")
        assert "total_timeout" in last_error(response.text)
        assert await failure(served, response) == "total_timeout"


@looped
async def test_a_whole_answer_that_never_comes_whole_is_given_up() -> None:
    async def drips(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n{")
        while True:
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.02)

    async with timed("first_token: 20s, total: 300ms", m1=drips) as (served, http):
        response = await http.post(CHAT, json={**BODY, "stream": False})
        assert response.status_code == 504
        assert envelope(response)["code"] == "total_timeout"
        assert await failure(served, response) == "total_timeout"


@looped
async def test_an_error_whose_body_never_ends_is_not_waited_for() -> None:
    handler = stalls(b"HTTP/1.1 500 x\r\ncontent-length: 1000\r\n\r\n{")
    async with timed("first_token: 20s, idle: 150ms", m1=handler) as (served, http):
        response = await http.post(CHAT, json=BODY)
        assert response.status_code == 502
        assert await failure(served, response) == "server_error"


@looped
async def test_what_is_in_time_is_left_alone() -> None:
    async with timed("connect: 5s, first_token: 5s, idle: 5s, total: 5s", m1=says("x")) as (_, http):
        assert (await http.post(CHAT, json={**BODY, "stream": False})).status_code == 200

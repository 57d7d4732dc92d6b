"""examples/failover with OpenAI's own SDK, unmodified, while the primary is broken in every way."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import openai
import pytest
from gateway import KEY, ROOT, Served, free_port, gateway
from house import (
    STREAM_HEAD,
    Asked,
    Handler,
    Upstream,
    chunked,
    event,
    eventually,
    fails,
    http,
    looped,
    says,
    sends,
    stalls,
    streams,
    upstream,
)
from openai.types.chat import ChatCompletionMessageParam

EXAMPLE = ROOT / "examples" / "failover"
ASKED: list[ChatCompletionMessageParam] = [{"role": "user", "content": "hello"}]
QUICK = 5.0
"""Seconds: one wait of a second, and more than enough for the rest on a busy machine."""


@dataclass
class Pair:
    """The gateway of the example, its two providers, and an SDK that asks it."""

    served: Served
    primary: Upstream
    secondary: Upstream
    sdk: openai.AsyncOpenAI

    async def ask(self, model: str = "auto") -> tuple[str, str | None]:
        """Which model answered, and what."""
        raw = await self.sdk.chat.completions.with_raw_response.create(model=model, messages=ASKED)
        return raw.headers["x-sidecar-model"], raw.parse().choices[0].message.content

    async def answered_by(self, model: str) -> bool:
        """Whether a model answers `auto` now."""
        return (await self.ask())[0] == model

    async def stream(self, seen: list[str]) -> None:
        """A stream's texts, as they come."""
        async for chunk in await self.sdk.chat.completions.create(model="auto", messages=ASKED, stream=True):
            seen += [choice.delta.content for choice in chunk.choices if choice.delta.content]


@asynccontextmanager
async def pair(handler: Handler | None, **environ: str) -> AsyncIterator[Pair]:
    """The primary answers by `handler`, or says who it is; the secondary is well."""
    async with (
        upstream(**{"primary-model": handler or says("primary")}) as first,
        upstream(**{"secondary-model": streams("sec", "ond")}) as second,
    ):
        variables = {"PRIMARY_URL": first.url, "SECONDARY_URL": second.url, "SIDECAR_KEY": KEY, **environ}
        async with (
            gateway(EXAMPLE, variables) as served,
            openai.AsyncOpenAI(api_key=KEY, base_url=served.v1, max_retries=0, timeout=10) as sdk,
        ):
            yield Pair(served, first, second, sdk)


BROKEN: dict[str, Handler] = {
    "500": fails(500),
    "503": fails(503, "later", "retry-after: 30"),
    "429": fails(429),
    "429 for a minute": fails(429, "later", "retry-after: 60"),
    "401": fails(401),
    "404": fails(404),
    "no answer": sends(b""),
    "no HTTP": sends(b"\x00\x01 garbage \xff\r\n\r\n"),
    "no JSON": sends(http(200, b"<html>", "content-type: text/html")),
    "cut": sends(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{"),
    "stall": stalls(),
    "stall in the answer": stalls(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n{"),
}
EARLY: dict[str, Handler] = {
    "500": fails(500),
    "429": fails(429),
    "stall": stalls(),
    "stall after the headers": stalls(STREAM_HEAD),
    "stall after the role": stalls(STREAM_HEAD, chunked(event(None))),
    "cut": sends(STREAM_HEAD + chunked(event(None))),
    "error event": sends(STREAM_HEAD + chunked(b'data: {"error": {"message": "overloaded"}}\n\n')),
    "garbage": sends(STREAM_HEAD + chunked(b"data: {nope\n\n") + b"0\r\n\r\n"),
    "empty": sends(STREAM_HEAD + b"0\r\n\r\n"),
}


def later(end: bytes) -> Handler:
    """Two texts, time enough to show them, then this end."""

    async def handler(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(STREAM_HEAD + chunked(event("one ")) + chunked(event("two")))
        await writer.drain()
        await asyncio.sleep(0.2)
        writer.write(end)

    return handler


LATE: dict[str, Handler] = {
    "stall": stalls(STREAM_HEAD, chunked(event("one ")), chunked(event("two"))),
    "cut": later(b""),
    "ended": later(b"0\r\n\r\n"),
    "error event": later(chunked(b'data: {"error": {"message": "no"}}\n\n')),
    "garbage": later(chunked(b"data: {nope\n\n") + b"0\r\n\r\n"),
}


@looped
async def test_a_healthy_primary_answers() -> None:
    async with pair(None) as both:
        for model in ("auto", "primary-model"):
            assert await both.ask(model) == ("primary-model", "primary")
        assert not both.secondary.asked


@pytest.mark.parametrize("case", BROKEN)
def test_the_secondary_answers_and_quickly(case: str) -> None:
    @looped
    async def test() -> None:
        async with pair(BROKEN[case]) as both:
            both.secondary.on("secondary-model", says("second"))
            async with asyncio.timeout(QUICK):
                assert await both.ask() == ("secondary-model", "second")
            assert len(both.primary.asked) == 1
            assert await both.ask("primary-model") == ("secondary-model", "second")

    test()


@looped
async def test_a_primary_that_is_not_there() -> None:
    async with pair(None, PRIMARY_URL=f"http://127.0.0.1:{free_port()}/v1") as both:
        seen: list[str] = []
        async with asyncio.timeout(QUICK):
            await both.stream(seen)
        assert seen == ["sec", "ond"]


@pytest.mark.parametrize("case", EARLY)
def test_a_stream_of_which_nothing_was_shown_is_the_secondarys(case: str) -> None:
    @looped
    async def test() -> None:
        async with pair(EARLY[case]) as both:
            seen: list[str] = []
            async with asyncio.timeout(QUICK):
                await both.stream(seen)
            assert seen == ["sec", "ond"]
            assert len(both.primary.asked) == 1

    test()


@pytest.mark.parametrize("case", LATE)
def test_a_stream_that_breaks_later_raises_and_repeats_nothing(case: str) -> None:
    @looped
    async def test() -> None:
        async with pair(LATE[case]) as both:
            seen: list[str] = []
            with pytest.raises(openai.APIError):
                await both.stream(seen)
            assert seen == ["one ", "two"]
            assert not both.secondary.asked

    test()


@looped
async def test_a_primary_that_comes_back_serves_again() -> None:
    async with pair(fails(500)) as both:
        both.secondary.on("secondary-model", says("second"))
        for _ in range(10):
            assert (await both.ask())[0] == "secondary-model"
        assert len(both.primary.asked) < 10  # it is left alone
        both.primary.on("primary-model", says("primary"))

        back: Callable[[], Awaitable[bool] | bool] = lambda: both.answered_by("primary-model")  # noqa: E731
        await eventually(back, QUICK)
        for _ in range(10):
            assert await both.ask() == ("primary-model", "primary")

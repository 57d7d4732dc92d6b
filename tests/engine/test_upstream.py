"""The HTTP client against real sockets: what it writes, and what it makes of what comes back."""

import asyncio
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from house import looped

from sidecar.chat import Failure, FailureKind, Outgoing
from sidecar.engine.upstream import FAULTS, Answer, Upstream, network_failure, read

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


class Server:
    """Reads whole requests, and answers each with the next of `replies`, the last one again and again."""

    def __init__(self, *replies: bytes) -> None:
        self.replies = list(replies)
        self.requests: list[tuple[str, bytes]] = []
        self.connections = 0
        self.url = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                length = int(head.lower().partition("content-length: ")[2].partition("\r\n")[0])
                self.requests.append((head, await reader.readexactly(length)))
                reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
                writer.write(reply)
                await writer.drain()
                if b"connection: close" in reply or not reply.startswith(b"HTTP"):
                    break
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()


@asynccontextmanager
async def serving(*replies: bytes) -> AsyncIterator[tuple[Server, Upstream]]:
    server = Server(*replies)
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    upstream = Upstream()
    try:
        yield server, upstream
    finally:
        await upstream.close()
        listening.close()


def sent(url: str, body: bytes = b"{}", **headers: str) -> Outgoing:
    return Outgoing(url, {"content-type": "application/json", **headers}, body)


async def text(answer: Answer) -> bytes | Failure:
    try:
        return await read(answer, 1_000_000)
    finally:
        answer.release()


@looped
async def test_a_request_is_one_block_with_its_headers_and_the_connection_serves_again() -> None:
    async with serving(OK) as (server, upstream):
        for _ in range(3):
            answer = await upstream.post(sent(f"{server.url}/v1/x%20y?a=b", b'{"a":1}', authorization="Bearer k"), 5)
            assert (answer.status, await text(answer)) == (200, b"ok")
        head, body = server.requests[0]
        host = server.url.removeprefix("http://")
        assert head.split("\r\n") == [
            "POST /v1/x%20y?a=b HTTP/1.1", f"host: {host}", "accept: */*", "accept-encoding: gzip, deflate",
            "content-length: 7", "content-type: application/json", "authorization: Bearer k", "", "",
        ]  # fmt: skip
        assert body == b'{"a":1}'
        assert server.requests == [server.requests[0]] * 3
        assert server.connections == 1


@looped
@pytest.mark.parametrize("size", [0, 1, 64 * 1024, 64 * 1024 + 1, 5_000_000])
async def test_bodies_of_every_size_arrive_whole(size: int) -> None:
    async with serving(OK) as (server, upstream):
        body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
        assert await text(await upstream.post(sent(server.url, body), 5)) == b"ok"
        assert server.requests[0][1] == body


@looped
async def test_what_comes_before_an_answer_is_not_the_answer() -> None:
    early = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n"
    async with serving(early + OK) as (server, upstream):
        answer = await upstream.post(sent(server.url), 5)
        assert (answer.status, await text(answer)) == (200, b"ok")


@looped
async def test_a_connection_that_the_provider_closes_is_not_used_again() -> None:
    async with serving(OK.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n")) as (server, upstream):
        for _ in range(3):
            assert await text(await upstream.post(sent(server.url), 5)) == b"ok"
        assert server.connections == 3


@looped
async def test_an_answer_left_unread_takes_its_connection_with_it() -> None:
    half = b"HTTP/1.1 200 OK\r\ncontent-length: 5000000\r\n\r\nsome"
    async with serving(half, OK) as (server, upstream):
        (await upstream.post(sent(server.url), 5)).close()
        assert await text(await upstream.post(sent(server.url), 5)) == b"ok"
        (await upstream.post(sent(server.url), 5)).release()
        assert server.connections == 2


@looped
async def test_a_compressed_answer_is_read_as_text() -> None:
    packed = zlib.compress(b"many words")
    head = b"HTTP/1.1 200 OK\r\ncontent-encoding: deflate\r\ncontent-length: %d\r\n\r\n" % len(packed)
    async with serving(head + packed) as (server, upstream):
        assert await text(await upstream.post(sent(server.url), 5)) == b"many words"


@looped
@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (b"NOT HTTP AT ALL\r\n\r\n", FailureKind.MALFORMED),
        (b"HTTP/1.1 200 OK\r\nx-a: " + b"a" * 70_000 + b"\r\n\r\n", FailureKind.MALFORMED),
        (b"", FailureKind.RESET),
    ],
)
async def test_what_is_no_answer_is_told_by_its_kind(reply: bytes, kind: FailureKind) -> None:
    async with serving(reply) as (server, upstream):
        with pytest.raises(FAULTS) as told:
            await upstream.post(sent(server.url), 5)
        assert network_failure(told.value).kind is kind


@looped
@pytest.mark.parametrize("name", ["x-a\r\nx-b", "x-a"])
async def test_a_header_cannot_hold_another(name: str) -> None:
    async with serving(OK) as (server, upstream):
        with pytest.raises(FAULTS):
            await upstream.post(sent(server.url, b"{}", **{name: "1\r\nx-c: 2"}), 5)
        assert server.requests == []


@looped
@pytest.mark.parametrize("url", ["", "nonsense", "ftp://127.0.0.1/x", "http://", "http://[::1", "/v1/chat"])
async def test_a_url_that_is_none_is_told(url: str) -> None:
    async with serving(OK) as (_, upstream):
        with pytest.raises(FAULTS) as told:
            await upstream.post(sent(url), 5)
        assert network_failure(told.value).kind in (FailureKind.NOT_FOUND, FailureKind.RESET)


@looped
async def test_a_user_in_the_url_is_a_header() -> None:
    async with serving(OK) as (server, upstream):
        url = server.url.replace("http://", "http://me:secret@")
        assert await text(await upstream.post(sent(url), 5)) == b"ok"
        assert "authorization: basic bwu6c2vjcmv0" in server.requests[0][0].lower()


@looped
async def test_a_proxy_of_the_environment_is_asked() -> None:
    with pytest.MonkeyPatch.context() as patch:
        async with serving(OK) as (proxy, direct):
            patch.setenv("http_proxy", proxy.url)
            patch.setenv("no_proxy", "")
            upstream = Upstream()
            try:
                assert await text(await upstream.post(sent("http://provider.invalid/v1/x"), 5)) == b"ok"
            finally:
                await upstream.close()
            assert proxy.requests[0][0].startswith("POST http://provider.invalid/v1/x HTTP/1.1\r\n")
            with pytest.raises(FAULTS) as told:
                await direct.post(sent("http://provider.invalid/v1/x"), 5)
            assert network_failure(told.value).kind is FailureKind.DNS

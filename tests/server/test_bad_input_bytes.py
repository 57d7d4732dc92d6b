"""Hostile bytes on a raw socket: too much, too slow, cut off, twice. Refused in time, and nothing is left behind."""

import asyncio
import os
import socket
import struct
import time
from collections.abc import Callable, Iterator

import httpx
import pytest
from gateway import Served, Threaded, gateway, threaded
from house import CHAT, HELLO, PATIENCE, UP_KEY, config, envelope, says, upstream

LIMITS = "limits: {body: 1MB, body_timeout: 250ms}"
HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
BODY = b'{"model":"m1","messages":[{"role":"user","content":"hello"}]}'


@pytest.fixture(scope="module")
def served() -> Iterator[Threaded[Served]]:
    with threaded(lambda: upstream(m1=says("hello"))) as up:
        text = config({"up": up.value.url}, {"m1": "up"}, gateway=LIMITS)
        with threaded(lambda: gateway(text, {"UP_KEY": UP_KEY})) as gate:
            yield gate
            assert '"event":"fault"' not in gate.value.log


@pytest.fixture
def quiet(served: Threaded[Served]) -> Iterator[Threaded[Served]]:
    """The gateway; afterwards no request runs, no task is left of the test, and it still answers."""
    before = left(served)
    yield served
    poll(lambda: left(served) <= before, lambda: f"{left(served) - before} are left")
    response = httpx.post(served.value.url + CHAT, content=BODY, trust_env=False)
    assert response.status_code == 200, response.text


def left(served: Threaded[Served]) -> set[str]:
    """What runs: tasks by their coroutine and how many of it, and requests."""

    async def tasks() -> list[str]:
        return [str(task.get_coro()) for task in asyncio.all_tasks() if "tasks" not in str(task.get_coro())]

    running = len(served.value.running.chat.watches)
    names = [name.partition(" at 0x")[0] for name in served.call(tasks())]
    counted = {f"{name} #{names[:place].count(name)}" for place, name in enumerate(names)}
    return {*counted, *(f"request {number}" for number in range(running))}


def poll(check: Callable[[], bool], why: Callable[[], str]) -> None:
    end = time.monotonic() + PATIENCE
    while not check():
        assert time.monotonic() < end, why()
        time.sleep(0.01)


def connection(served: Threaded[Served]) -> socket.socket:
    port = int(served.value.url.rpartition(":")[2])
    return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)


def answer(link: socket.socket) -> httpx.Response:
    """The one response on this connection."""
    with link.makefile("rb") as stream:
        version, _, rest = stream.readline().partition(b" ")
        assert version == b"HTTP/1.1", (version, rest)
        headers: list[tuple[bytes, bytes]] = []
        while line := stream.readline().strip():
            name, _, value = line.partition(b":")
            headers.append((name, value.strip()))
        length = int(dict(headers)[b"content-length"])
        return httpx.Response(int(rest[:3]), headers=headers, content=stream.read(length))


def exchange(served: Threaded[Served], *data: bytes) -> httpx.Response:
    with connection(served) as link:
        for part in data:
            link.sendall(part)
        return answer(link)


def test_the_usual_request_works_on_a_raw_socket(quiet: Threaded[Served]) -> None:
    head = HEAD + b"content-length: %d\r\n\r\n" % len(BODY)
    assert exchange(quiet, head, BODY).status_code == 200
    assert exchange(
        quiet, HEAD + b"transfer-encoding: chunked\r\n\r\n%x\r\n" % len(BODY), BODY, b"\r\n0\r\n\r\n"
    ).is_success


def test_a_body_is_refused_by_its_declared_size_before_it_is_sent(quiet: Threaded[Served]) -> None:
    response = exchange(quiet, HEAD + b"content-length: 20000000\r\n\r\n")
    assert response.status_code == 413
    error = envelope(response)
    assert error["code"] == "request_too_large"
    assert "1,000,000 bytes" in error["message"]


@pytest.mark.parametrize("declared", ["1000001", "99999999999999999999", "18446744073709551615"])
def test_no_declared_size_is_too_large_to_be_refused(quiet: Threaded[Served], declared: str) -> None:
    with connection(quiet) as link:
        link.sendall(HEAD + f"content-length: {declared}\r\n\r\n".encode())
        status = link.recv(65536).split(b" ")[1]
    assert status in (b"413", b"400", b"431")


def test_a_body_without_a_size_is_refused_when_it_passes_the_limit(quiet: Threaded[Served]) -> None:
    piece = b"%x\r\n%s\r\n" % (100_000, b" " * 100_000)
    assert exchange(quiet, HEAD + b"transfer-encoding: chunked\r\n\r\n", *[piece] * 11).status_code == 413


def test_a_client_that_sends_20_megabytes_regardless_gets_told(quiet: Threaded[Served]) -> None:
    data = b" " * 20_000_000
    with httpx.Client(trust_env=False, timeout=PATIENCE) as http:
        try:
            assert http.post(quiet.value.url + CHAT, content=data).status_code == 413
        except httpx.TransportError:
            pass  # the connection ended under the flood: that is an answer too
        try:
            assert http.post(quiet.value.url + CHAT, content=iter([data[:1_000_000]] * 20)).status_code == 413
        except httpx.TransportError:
            pass


def test_exactly_the_limit_is_read(quiet: Threaded[Served]) -> None:
    head = HEAD + b"content-length: 1000000\r\n\r\n"
    assert exchange(quiet, head, BODY, b" " * (1_000_000 - len(BODY))).status_code == 200


@pytest.mark.parametrize(
    "sent",
    [
        b"content-length: 100\r\n\r\n",
        b'content-length: 100\r\n\r\n{"model":',
        b"transfer-encoding: chunked\r\n\r\n",
        b'transfer-encoding: chunked\r\n\r\n9\r\n{"model":\r\n',
        b"expect: 100-continue\r\ncontent-length: 100\r\n\r\n",
    ],
)
def test_a_body_that_does_not_come_is_a_408(quiet: Threaded[Served], sent: bytes) -> None:
    with connection(quiet) as link:
        link.sendall(HEAD + sent)
        if b"expect" in sent:
            assert link.recv(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
        response = answer(link)
    assert response.status_code == 408
    assert envelope(response)["code"] == "body_timeout"


def test_a_body_that_drips_is_a_408(quiet: Threaded[Served]) -> None:
    with connection(quiet) as link:
        link.sendall(HEAD + b"content-length: 100000\r\n\r\n")
        link.settimeout(0.01)
        data = b""
        end = time.monotonic() + PATIENCE
        while b"\r\n\r\n" not in data:
            assert time.monotonic() < end
            link.sendall(b" ")
            try:
                data += link.recv(65536)
            except TimeoutError:
                continue
    assert data.startswith(b"HTTP/1.1 408 ")


def test_a_hundred_slow_callers_leave_nothing(quiet: Threaded[Served]) -> None:
    def threads() -> int:
        return len(os.listdir("/proc/self/task"))

    before = threads()
    links = [connection(quiet) for _ in range(100)]
    for link in links:
        link.sendall(HEAD + b"content-length: 100\r\n\r\n{")
    assert {answer(link).status_code for link in links} == {408}
    for link in links:
        link.close()
    poll(lambda: threads() <= before + 4, lambda: f"{threads()} threads, {before} before")


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize(
    "sent",
    [
        b"POST /v1/chat",
        HEAD,
        HEAD + b'content-length: 100\r\n\r\n{"model":',
        HEAD + b'transfer-encoding: chunked\r\n\r\n9\r\n{"model":\r\n',
        HEAD + b"content-length: %d\r\n\r\n" % len(BODY) + BODY,
    ],
)
def test_a_caller_that_goes_away_halfway_leaves_nothing(quiet: Threaded[Served], sent: bytes, reset: bool) -> None:
    for _ in range(5):
        link = connection(quiet)
        link.sendall(sent)
        if reset:
            link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        link.close()


@pytest.mark.parametrize("sent", [b"content-length: 9\r\n\r\n{", b"transfer-encoding: chunked\r\n\r\n1\r\n{\r\n"])
def test_a_caller_that_stops_sending_and_still_listens_is_told(quiet: Threaded[Served], sent: bytes) -> None:
    with connection(quiet) as link:
        link.sendall(HEAD + sent)
        link.shutdown(socket.SHUT_WR)
        response = answer(link)
    assert response.status_code == 400
    assert envelope(response)["code"] == "incomplete_body"


@pytest.mark.parametrize("name", ["authorization", "x-api-key", "content-type", "host"])
def test_a_header_that_stands_twice_is_refused(quiet: Threaded[Served], name: str) -> None:
    twice = f"{name}: Bearer one\r\n{name}: Bearer two\r\ncontent-length: {len(BODY)}\r\n\r\n".encode()
    response = exchange(quiet, b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n" + twice, BODY)
    assert response.status_code == 400
    error = envelope(response)
    assert error["code"] == "invalid_header"
    assert name in error["message"]
    assert "one" not in error["message"]


def test_two_sizes_never_smuggle_a_second_request(quiet: Threaded[Served]) -> None:
    sizes = b"content-length: 5\r\ncontent-length: 6\r\n\r\n"
    with connection(quiet) as link:
        link.sendall(HEAD + sizes + b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n")
        assert link.recv(65536).startswith(b"HTTP/1.1 400")
    both = (
        HEAD
        + b"content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\nGET /health HTTP/1.1\r\nhost: x\r\n\r\n"
    )
    with connection(quiet) as link:
        link.sendall(both)
        link.shutdown(socket.SHUT_WR)
        data = b"".join(iter(lambda: link.recv(65536), b""))
    assert data.startswith(b"HTTP/1.1 400")


@pytest.mark.parametrize(
    "bomb",
    [
        b"".join(b"x-%d: 1\r\n" % number for number in range(20_000)),
        b"x-long: " + b"a" * 1_000_000 + b"\r\n",
        b"x-" + b"n" * 1_000_000 + b": 1\r\n",
        b"x-" + b"a: b\r\n" * 200_000,
    ],
    ids=["many", "long", "long-name", "many-same"],
)
def test_header_bombs_are_refused(quiet: Threaded[Served], bomb: bytes) -> None:
    with connection(quiet) as link:
        try:
            link.sendall(HEAD + bomb + b"content-length: 0\r\n\r\n")
            data = link.recv(65536)
        except ConnectionError:
            return  # cut off while it was still being sent
    assert data == b"" or b"400" <= data.split(b" ")[1] < b"500"


def test_one_long_header_is_refused_by_name(quiet: Threaded[Served]) -> None:
    long = b"x-long: " + b"a" * 17_000 + b"\r\ncontent-length: %d\r\n\r\n" % len(BODY)
    response = exchange(quiet, HEAD + long, BODY)
    assert response.status_code == 400
    assert "`x-long` is too long" in envelope(response)["message"]


@pytest.mark.parametrize("value", [b"\xff\xfe\x80", "é€💥".encode(), b"\xed\xa0\x80", b"a\tb"])
@pytest.mark.parametrize("name", [b"authorization", b"x-sidecar-task", b"x-sidecar-strategy", b"x-sidecar-cache", b"x"])
def test_header_values_may_be_any_bytes(quiet: Threaded[Served], name: bytes, value: bytes) -> None:
    body = HEAD + name + b": Bearer " + value + b"\r\ncontent-length: %d\r\n\r\n" % len(BODY)
    assert exchange(quiet, body, BODY).status_code == 200


@pytest.mark.parametrize("value", [b"a\x00b", b"a\x01b", b"a\x7fb", b"a\rb"])
def test_control_characters_in_headers_are_refused(quiet: Threaded[Served], value: bytes) -> None:
    with connection(quiet) as link:
        link.sendall(HEAD + b"x-sidecar-task: " + value + b"\r\ncontent-length: 0\r\n\r\n")
        assert link.recv(65536).startswith(b"HTTP/1.1 400 ")


def test_requests_that_come_together_are_answered_in_order(quiet: Threaded[Served]) -> None:
    one = HEAD + b"content-length: %d\r\n\r\n" % len(BODY) + BODY
    bad = HEAD + b"content-length: 2\r\n\r\n{}"
    with connection(quiet) as link:
        link.sendall(one + bad + one)
        data = b""
        while data.count(b"HTTP/1.1 ") < 3:
            data += link.recv(65536)
    assert [int(part[:3]) for part in data.split(b"HTTP/1.1 ")[1:]] == [200, 400, 200]


@pytest.mark.parametrize(
    "line",
    [b"POST  HTTP/1.1", b"POST /v1/chat/completions", b"\x16\x03\x01\x02\x00", b"GET http://evil/ HTTP/1.1", b"\0\0\0"],
)
def test_what_is_no_http_harms_nobody(quiet: Threaded[Served], line: bytes) -> None:
    with connection(quiet) as link:
        link.sendall(line + b"\r\nhost: x\r\n\r\n")
        link.shutdown(socket.SHUT_WR)
        try:
            data = link.recv(65536)
        except ConnectionError:
            return
    assert data == b"" or b"400" <= data.split(b" ")[1] < b"500", data


def test_the_model_is_asked_with_the_body_as_it_was(quiet: Threaded[Served]) -> None:
    body = b'{"model":"m1","messages":%s,"zz":[1e30,"\\u0000"]}' % str(HELLO).replace("'", '"').encode()
    assert exchange(quiet, HEAD + b"content-length: %d\r\n\r\n" % len(body), body).status_code == 200

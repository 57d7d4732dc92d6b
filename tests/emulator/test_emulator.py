"""The emulator itself: scripts, the record, prefixes, disconnects, and the server it runs on."""

import asyncio
import json
import socket
import time
from collections.abc import Callable
from typing import Any

import httpx
import msgspec
import pytest
import uvloop
import yaml

from sidecar.emulator import Emulator, Recorded, Script, running
from sidecar.emulator.record import Ring

from .conftest import Live, http

AUTH = {"authorization": "Bearer sk-secret-value"}


def ask(text: str = "hello", **extra: Any) -> dict[str, Any]:
    return {"model": "gpt-4o", "messages": [{"role": "user", "content": text}], **extra}


def post(live: Live, body: Any, path: str = "/v1/chat/completions") -> httpx.Response:
    return http.post(live.url + path, json=body, headers=AUTH)


def text_of(answer: httpx.Response) -> str:
    return str(answer.json()["choices"][0]["message"]["content"])


def test_the_first_match_wins(scripted: Callable[[str], Live]) -> None:
    live = scripted("""
kind: emulator
replies:
- {match: {provider: groq}, text: from groq}
- {match: {model: "gpt-4*", contains: WEATHER}, text: sunny}
- {match: {tools: true}, tool_calls: [{name: f, arguments: {a: 1}}, {name: g}]}
- {match: {contains: data}, json: {a: [1, 2]}}
- {match: {model: gpt-3}, text: cut, finish: length}
- match: {contains: full}
  text: seven words
  reasoning: thought about it
  usage: {input: 100, output: 20, cached: 60}
""")
    assert text_of(post(live, ask("WEATHER"), "/groq/openai/v1/chat/completions")) == "from groq"
    assert text_of(post(live, ask("the weather?"))) == "sunny"
    tools = [{"type": "function", "function": {"name": "f"}}]
    calls = post(live, ask("x", tools=tools)).json()["choices"][0]
    assert [c["function"] for c in calls["message"]["tool_calls"]] == [
        {"name": "f", "arguments": '{"a":1}'},
        {"name": "g", "arguments": "{}"},
    ]
    assert text_of(post(live, ask("data"))) == '{"a":[1,2]}'
    assert post(live, {**ask(), "model": "gpt-3"}).json()["choices"][0]["finish_reason"] == "length"
    full = post(live, ask("full")).json()
    assert full["choices"][0]["message"]["reasoning_content"] == "thought about it"
    assert (full["usage"]["prompt_tokens"], full["usage"]["completion_tokens"]) == (100, 20)
    assert full["usage"]["prompt_tokens_details"]["cached_tokens"] == 60
    assert '"zz"' in text_of(post(live, ask("zz")))


def test_nth_counts_every_request_that_fits(scripted: Callable[[str], Live]) -> None:
    live = scripted("""
replies:
- {match: {nth: 1}, status: 503}
- {match: {nth: 2}, status: 429, code: insufficient_quota}
- {text: at last}
""")
    answers = [post(live, ask()) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [503, 429, 200, 200]
    assert answers[1].json()["error"]["type"] == "insufficient_quota"


def test_delays_and_chunks(scripted: Callable[[str], Live]) -> None:
    live = scripted("replies: [{text: abcdefghij, chunks: 4, delay: 50ms, chunk_delay: 20ms}]")
    start = time.monotonic()
    answer = post(live, ask(stream=True))
    assert time.monotonic() - start > 0.05 + 5 * 0.02
    pieces = [json.loads(line[6:]) for line in answer.text.split("\n\n")[:-2]]
    said = [one["choices"][0]["delta"].get("content") for one in pieces]
    assert [piece for piece in said if piece] == ["ab", "cde", "fg", "hij"]


@pytest.mark.parametrize(
    "text",
    [
        "kind: gateway",
        "replies: [{text: a, json: {}}]",
        "replies: [{error: no status}]",
        "replies: [{status: 500, text: both}]",
        "replies: [{status: 200}]",
        "replies: [{match: {nth: 0}}]",
        "replies: [{delay: soon}]",
        "replys: []",
    ],
)
def test_a_script_that_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(yaml.safe_load(text), Script)


@pytest.mark.parametrize(
    ("path", "provider", "protocol"),
    [
        ("/v1/chat/completions", "openai", "openai"),
        ("/chat/completions", "openai", "openai"),
        ("/openai/v1/chat/completions", "openai", "openai"),
        ("/groq/openai/v1/chat/completions", "groq", "openai"),
        ("/v1beta/openai/chat/completions", "openai", "openai"),
        ("/bedrock/v1/messages", "bedrock", "anthropic"),
        ("/models/gemini-2.5-flash:generateContent", "google", "google"),
        ("/vertex/v1/publishers/google/models/g:streamGenerateContent", "vertex", "google"),
        ("/box/api/chat", "box", "ollama"),
    ],
)
def test_prefixes(emulator: Live, path: str, provider: str, protocol: str) -> None:
    http.post(emulator.url + path, json={}, headers=AUTH)
    assert (emulator.app.requests[-1].provider, emulator.app.requests[-1].protocol) == (provider, protocol)


def test_the_record_is_kept_and_shown_without_credentials(emulator: Live) -> None:
    post(emulator, ask("find me"))
    http.get(f"{emulator.url}/v1beta/models?key=sk-secret-value", headers={"X-Goog-Api-Key": "sk-secret-value"})
    kept = emulator.app.requests[0]
    assert kept.headers["authorization"] == AUTH["authorization"]
    assert kept.body["messages"][0]["content"] == "find me" and kept.status == 200
    shown = http.get(f"{emulator.url}/_emulator/requests")
    assert "sk-secret-value" not in shown.text
    assert [one["path"] for one in shown.json()] == ["/v1/chat/completions", "/v1beta/models"]
    assert shown.json()[0]["body"] == ask("find me")
    assert http.post(f"{emulator.url}/_emulator/requests").status_code == 405


def test_unknown_paths_and_large_bodies(emulator: Live) -> None:
    assert post(emulator, {}, "/v1/nothing").json()["error"]["message"] == "Invalid URL (POST /v1/nothing)"
    assert http.get(f"{emulator.url}/v1/chat/completions", headers=AUTH).status_code == 405
    with socket.create_connection(("127.0.0.1", int(emulator.url.rpartition(":")[2]))) as raw:
        raw.sendall(b"POST /v1/messages HTTP/1.1\r\nhost: x\r\ncontent-length: 33554433\r\n\r\n")
        assert raw.recv(64).startswith(b"HTTP/1.1 413")


async def _wait(condition: Callable[[], bool]) -> None:
    for _ in range(200):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never happened")


@pytest.mark.parametrize("stream", [True, False])
def test_a_caller_who_leaves_stops_the_answer(stream: bool) -> None:
    script = msgspec.convert({"replies": [{"delay": "100ms" if stream else "60s", "chunk_delay": "60s"}]}, Script)
    app = Emulator(script)

    async def main() -> None:
        async with running(app) as port, httpx.AsyncClient() as client:
            url = f"http://127.0.0.1:{port}/v1/chat/completions"
            with pytest.raises(httpx.ReadTimeout):
                await client.post(url, json=ask(stream=stream), headers=AUTH, timeout=0.3)
            await _wait(lambda: app.requests[-1].disconnected)
        assert app.requests[-1].chunks == (1 if stream else 0)
        assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []

    asyncio.run(main())


def test_the_server_stops_although_a_stream_is_open() -> None:
    app = Emulator(msgspec.convert({"replies": [{"chunk_delay": "60s"}]}, Script))

    async def main() -> float:
        loop = asyncio.get_running_loop()
        async with running(app, grace=0.1) as port:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            body = json.dumps(ask(stream=True)).encode()
            fields = f"host: x\r\nauthorization: Bearer k\r\ncontent-length: {len(body)}\r\n\r\n"
            writer.write(b"POST /v1/chat/completions HTTP/1.1\r\n" + fields.encode() + body)
            await reader.readuntil(b"assistant")
            start = loop.time()
        writer.close()
        return loop.time() - start

    assert asyncio.run(main()) < 3


def test_it_runs_on_uvloop_and_a_taken_port_is_refused() -> None:
    async def main() -> None:
        async with running(Emulator()) as port:
            async with httpx.AsyncClient() as client:
                answers = await asyncio.gather(
                    *(
                        client.post(f"http://127.0.0.1:{port}/v1/chat/completions", json=ask(str(n)), headers=AUTH)
                        for n in range(20)
                    )
                )
            assert {answer.status_code for answer in answers} == {200}
            with pytest.raises(OSError):
                async with running(Emulator(), port=port):
                    pass
        async with running(Emulator(), port=port) as again:
            assert again == port

    uvloop.run(main())


def test_an_application_that_does_not_start_is_reported() -> None:
    async def broken(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no"})

    async def main() -> None:
        async with running(broken):
            pass

    with pytest.raises(RuntimeError):
        asyncio.run(main())


def test_the_record_is_bounded() -> None:
    ring = Ring()
    blank = {"provider": "p", "protocol": "openai", "method": "POST", "path": "/", "query": {}, "headers": {}}
    for _ in range(1100):
        ring.add(Recorded(**blank, raw=b"{}"))
    assert len(ring) == 1000
    large = bytes(2**25)
    for _ in range(5):
        ring.add(Recorded(**blank, raw=large))
    assert len(ring) == 2

"""What the tests of a running gateway share: a configuration as text, an upstream that misbehaves, and patience.

`gateway.py` starts the gateway itself; this is what stands around it.
"""

import asyncio
import functools
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import httpx

Handler = Callable[["Asked", asyncio.StreamWriter], Awaitable[None]]
T = TypeVar("T")

UP_KEY = "sk-upstream-key-0123456789abcdef"
PATIENCE = 10.0
HELLO = [{"role": "user", "content": "hello"}]
CHAT = "/v1/chat/completions"


def looped(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """A test that is a coroutine, on an event loop of its own."""

    @functools.wraps(test)
    def run(*args: Any, **kwargs: Any) -> None:
        asyncio.run(asyncio.wait_for(test(*args, **kwargs), 60))

    return run


async def eventually(check: Callable[[], Awaitable[T] | T], patience: float = PATIENCE) -> T:
    """The first true result of `check`; fails with its last one when patience runs out."""
    end = time.monotonic() + patience
    while True:
        result = check()
        if isinstance(result, Awaitable):
            result = await result
        if result:
            return result
        assert time.monotonic() < end, f"still {result!r} after {patience:g} s"
        await asyncio.sleep(0.01)


@asynccontextmanager
async def client(url: str, key: str | None = None) -> AsyncIterator[httpx.AsyncClient]:
    headers = {} if key is None else {"authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(
        base_url=url, headers=headers, trust_env=False, verify=False, timeout=PATIENCE
    ) as http:
        yield http


def envelope(response: httpx.Response) -> dict[str, Any]:
    """The error of a response: all four fields of OpenAI's envelope, a message, and an id to ask about it."""
    assert response.headers["content-type"].startswith("application/json"), response.headers
    assert response.headers["x-request-id"], response.headers
    body = response.json()
    assert body.keys() == {"error"}, body
    error: dict[str, Any] = body["error"]
    assert error.keys() == {"message", "type", "param", "code"}, error
    assert error["message"], error
    assert error["type"], error
    return error


# --- a configuration --------------------------------------------------------------------------------------------

MODEL = (
    "{{provider: {provider}, upstream: {name}, context: 100000, max_output: 8192, capabilities: all, "
    "price: {{input: 1, output: 2}}, quality: 50, speed: 50}}"
)
OFF = {kind: f"kind: {kind}\nenabled: false\n" for kind in ("rate_limit", "cache")}
ONCE = "kind: fallback\nalternatives: 0\nretries: 0\n"


def config(providers: Mapping[str, str], models: Mapping[str, str], *policies: str, gateway: str = "") -> str:
    """One YAML text: providers by name and base URL, models by name and provider, then policies. Rate limit and
    cache are off and nothing is tried twice unless a policy says otherwise."""
    lines = ["kind: gateway", "policies: []", "listen: {port: 0}", "providers:"]
    lines += [f'  {n}: {{protocol: openai, base_url: "{u}", api_key: "${{UP_KEY}}"}}' for n, u in providers.items()]
    lines += ["models:", *(f"  {n}: {MODEL.format(provider=p, name=n)}" for n, p in models.items())]
    written = "".join(policies)
    rest = [text for kind, text in OFF.items() if f"kind: {kind}\n" not in written]
    if "kind: fallback\n" not in written:
        rest.append(ONCE)
    return "\n---\n".join(["\n".join([*lines, gateway]), *policies, *rest])


STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
)


# --- an upstream that speaks OpenAI's protocol, or stops to ----------------------------------------------------


@dataclass
class Asked:
    """One request an upstream got."""

    headers: dict[str, str]
    body: dict[str, Any]


@dataclass
class Upstream:
    """Replies by model, one after the other; the last is repeated."""

    url: str
    asked: list[Asked] = field(default_factory=list)
    replies: dict[str, list[Handler]] = field(default_factory=dict)

    def on(self, model: str, *handlers: Handler) -> None:
        self.replies[model] = list(handlers)

    @property
    def models(self) -> list[str]:
        return [asked.body["model"] for asked in self.asked]


@asynccontextmanager
async def upstream(**replies: Handler | list[Handler]) -> AsyncIterator[Upstream]:
    """An upstream on a port of its own. A model without a reply says "hello"."""
    up = Upstream("")
    for model, handlers in replies.items():
        up.on(model, *(handlers if isinstance(handlers, list) else [handlers]))
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            asked = await _read(reader)
            up.asked.append(asked)
            waiting = up.replies.get(asked.body["model"]) or [says("hello")]
            await (waiting.pop(0) if len(waiting) > 1 else waiting[0])(asked, writer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            tasks.discard(task)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    up.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    try:
        yield up
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _read(reader: asyncio.StreamReader) -> Asked:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    headers = {
        name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head.split("\r\n")[1:])
    }
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Asked(headers, json.loads(body))


def http(status: int, body: bytes, *headers: str) -> bytes:
    """A whole response."""
    lines = [f"HTTP/1.1 {status} x", "connection: close", f"content-length: {len(body)}", *headers]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def says(text: str, usage: tuple[int, int] = (3, 5), finish: str = "stop") -> Handler:
    """A whole answer."""
    message = {"role": "assistant", "content": text}
    body = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "message": message, "finish_reason": finish}],
        "usage": {"prompt_tokens": usage[0], "completion_tokens": usage[1], "total_tokens": sum(usage)},
    }
    return sends(http(200, json.dumps(body).encode(), "content-type: application/json"))


def fails(status: int, message: str = "no", *headers: str, **more: str) -> Handler:
    """The provider's own error."""
    body = {"error": {"message": message, "type": "error", "param": None, "code": None, **more}}
    return sends(http(status, json.dumps(body).encode(), "content-type: application/json", *headers))


def sends(data: bytes) -> Handler:
    """These bytes, then the end of the connection."""

    async def handler(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(data)

    return handler


def streams(*texts: str, end: bytes = b"done", gate: asyncio.Event | None = None) -> Handler:
    """A stream of these texts. Before the last one `gate` is waited for. `end` is `b"done"` for a proper one, or the
    bytes to send instead before the connection ends."""

    async def handler(asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(STREAM_HEAD)
        for place, text in enumerate(texts):
            if gate is not None and place == len(texts) - 1:
                await writer.drain()
                await gate.wait()
            writer.write(chunked(event(text)))
        if end != b"done":
            writer.write(end)
            return
        writer.write(chunked(event(None, finish="stop") + event(None, usage=(3, len(texts))) + b"data: [DONE]\n\n"))
        writer.write(b"0\r\n\r\n")

    return handler


def stalls(*before: bytes) -> Handler:
    """These bytes, then nothing, until the caller leaves or the test ends."""

    async def handler(asked: Asked, writer: asyncio.StreamWriter) -> None:
        for data in before:
            writer.write(data)
        await writer.drain()
        await asyncio.Event().wait()

    return handler


def event(text: str | None, finish: str | None = None, usage: tuple[int, int] | None = None) -> bytes:
    """One chunk of a stream."""
    choice = {"index": 0, "delta": {} if text is None else {"content": text}, "finish_reason": finish}
    body: dict[str, Any] = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    body["choices"] = [] if usage else [choice]
    if usage:
        body["usage"] = {"prompt_tokens": usage[0], "completion_tokens": usage[1], "total_tokens": sum(usage)}
    return b"data: " + json.dumps(body, separators=(",", ":")).encode() + b"\n\n"


def chunked(data: bytes) -> bytes:
    """One piece of a body in chunked encoding."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def texts(body: str) -> str:
    """What a stream said, put together."""
    lines = [line[6:] for line in body.split("\n") if line.startswith('data: {"')]
    choices = [choice for line in lines for choice in json.loads(line).get("choices", ())]
    return "".join(choice["delta"].get("content") or "" for choice in choices)

"""The bare ceiling: what Granian and aiohttp can do when a gateway does nothing else.

A bare ASGI handler that decodes the body, forwards it, decodes the answer and replies; a stream's chunks are
forwarded as they come. No authentication, no policy, no metrics, no checks. Run by Granian with one worker, with
`UPSTREAM_URL` set.
"""

import gc
import os
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import msgspec

Receive = Callable[[], Awaitable[dict[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]

_decode = msgspec.json.Decoder().decode
_JSON = [(b"content-type", b"application/json")]
_SSE = [(b"content-type", b"text/event-stream; charset=utf-8")]
_UP = {"content-type": "application/json", "authorization": "Bearer sk-upstream-bench-0123456789"}
_state: dict[str, aiohttp.ClientSession] = {}


async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
    elif scope["method"] == "GET":
        await _reply(send, b"{}")
    else:
        await _chat(receive, send)


async def _chat(receive: Receive, send: Send) -> None:
    message = await receive()
    body = message["body"]
    while message.get("more_body"):
        message = await receive()
        body += message["body"]
    request = _decode(body)
    async with _state["client"].post(
        os.environ["UPSTREAM_URL"] + "/chat/completions", data=body, headers=_UP
    ) as answer:
        if request.get("stream"):
            await send({"type": "http.response.start", "status": answer.status, "headers": _SSE})
            async for chunk in answer.content.iter_any():
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        else:
            data = await answer.read()
            _decode(data)
            await _reply(send, data, answer.status)


async def _reply(send: Send, body: bytes, status: int = 200) -> None:
    await send({"type": "http.response.start", "status": status, "headers": _JSON})
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def _lifespan(receive: Receive, send: Send) -> None:
    await receive()
    _state["client"] = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await _state["client"].close()
    await send({"type": "lifespan.shutdown.complete"})

"""The emulator as a plain ASGI application: no framework, no state but its script, its memory and its record."""

import time
from collections.abc import MutableMapping
from itertools import count
from typing import Any
from urllib.parse import parse_qsl

from msgspec import Struct

from . import delivery
from .answer import Memory, Turn, compose, delays
from .delivery import Caller, Disconnected, Receive, Send
from .draw import Draw
from .ollama import VERSION
from .prompt import Prompt, Refusal
from .record import Recorded, Ring
from .routes import REQUESTS, Route, find
from .script import Cues, Reply, Script
from .wire import encode

_JSON = ("content-type", "application/json")


class _Response(Struct):
    """What is to be sent: `content` whole, or `turn` as a stream."""

    status: int
    headers: list[tuple[str, str]]
    content: bytes = b""
    turn: Turn | None = None
    delay: float = 0.0
    pace: float = 0.0


class Emulator:
    """Stands for OpenAI, Anthropic, Google and Ollama at once; the path says which one is meant.

    `requests` holds the last requests, newest last.
    """

    def __init__(self, script: Script | None = None) -> None:
        self.requests = Ring()
        self._script = script or Script()
        self._cues = Cues(self._script.replies)
        self._memory = Memory()
        self._serial = count(1)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """The ASGI entry."""
        match scope["type"]:
            case "http":
                await self._http(scope, receive, send)
            case "lifespan":
                await _lifespan(receive, send)
            case _:
                await receive()
                await send({"type": "websocket.close", "code": 1000})

    async def _http(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        query = dict(parse_qsl(scope["query_string"].decode("latin-1")))
        route = find(scope["method"], scope["path"], query, headers)
        entry = Recorded(
            provider=route.target.provider,
            protocol=route.wire.name,
            method=scope["method"],
            path=scope["path"],
            query=query,
            headers=headers,
            raw=b"",
        )
        try:
            response = await self._answer(route, entry, receive)
            await _deliver(route, response, entry, receive, send)
        except Disconnected:
            entry.disconnected = True

    async def _answer(self, route: Route, entry: Recorded, receive: Receive) -> _Response:
        serial = next(self._serial)
        reply: Reply | None = None
        prompt: Prompt | None = None
        try:
            await self._receive(route, entry, receive)
            if entry.path != REQUESTS:
                route.wire.admit(entry.headers, entry.query, self._script.keys)
            if route.action != "chat":
                return self._plain(route, entry)
            prompt = route.wire.read(entry.raw, route.target)
            self._offered(prompt)
            reply = self._cues.next(prompt)
            if reply is not None and reply.status is not None:
                raise Refusal(reply.status, reply.error, code=reply.code)
            turn = compose(prompt, reply, self._memory, serial, time.time())
        except Refusal as fault:
            return self._refused(route, fault, prompt, reply, serial)
        return self._said(route, turn, reply, serial)

    async def _receive(self, route: Route, entry: Recorded, receive: Receive) -> None:
        try:
            entry.raw = await delivery.body(receive, entry.headers.get("content-length"))
        finally:
            # Recorded even where the body never came whole; but asking for the record leaves no trace in it.
            if entry.path != REQUESTS:
                self.requests.add(entry)

    def _offered(self, prompt: Prompt) -> None:
        names = self._script.models.get(prompt.provider)
        if names is not None and prompt.model not in names:
            raise Refusal(404)

    def _plain(self, route: Route, entry: Recorded) -> _Response:
        """Everything that is no chat."""
        match route.action:
            case "requests":
                return _Response(200, [_JSON], encode([one.shown() for one in self.requests]))
            case "version":
                return _Response(200, [_JSON], encode({"version": VERSION}))
            case "models":
                names = self._script.models.get(route.target.provider, route.wire.models)
                return _Response(200, [_JSON], route.wire.listing(names, int(time.time())))
            case "method":
                raise Refusal(405, f"Not allowed to {entry.method} on {entry.path}.")
            case _:
                raise Refusal(404, f"Invalid URL ({entry.method} {entry.path})")

    def _refused(
        self, route: Route, fault: Refusal, prompt: Prompt | None, reply: Reply | None, serial: int
    ) -> _Response:
        request_id = _request_id(serial)
        status, content = route.wire.refusal(fault, prompt.model if prompt else route.target.model, request_id)
        if route.target.stream and not route.target.sse:
            # Google wraps an error in the array its caller waits for.
            content = b"[" + content + b"]"
        headers = [_JSON, *route.wire.stamp(request_id), *(reply.headers.items() if reply else ())]
        return _Response(status, headers, content, delay=delays(reply)[0])

    def _said(self, route: Route, turn: Turn, reply: Reply | None, serial: int) -> _Response:
        delay, pace = delays(reply)
        headers = [
            ("content-type", route.wire.media(turn.prompt)),
            *route.wire.stamp(_request_id(serial)),
            *(reply.headers.items() if reply else ()),
        ]
        if turn.prompt.stream:
            return _Response(200, headers, turn=turn, delay=delay, pace=pace)
        return _Response(200, headers, route.wire.whole(turn), delay=delay)


async def _deliver(route: Route, response: _Response, entry: Recorded, receive: Receive, send: Send) -> None:
    if response.turn is None and not response.delay:
        # The usual quick answer: nobody can leave before it is sent, so nobody need be watched.
        entry.status = response.status
        await delivery.whole(send, response.status, response.headers, response.content)
        return
    async with Caller(receive) as caller:
        await caller.sleep(response.delay)
        entry.status = response.status
        if response.turn is None:
            await delivery.whole(send, response.status, response.headers, response.content)
        else:
            chunks = route.wire.chunks(response.turn)
            await delivery.stream(caller, send, response.headers, chunks, response.pace, entry)


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        elif message["type"] == "lifespan.shutdown":
            await send({"type": "lifespan.shutdown.complete"})
            return


def _request_id(serial: int) -> str:
    return Draw(serial).identifier(24)

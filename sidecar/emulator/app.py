"""The emulator as a plain ASGI application: no framework, no state but its script, its memory and its record."""

import time
from collections.abc import MutableMapping
from itertools import count
from typing import Any
from urllib.parse import parse_qsl

from . import breakage, delivery
from .answer import Memory, Turn, compose, delays
from .breakage import JSON
from .delivery import Broken, Caller, Disconnected, Receive, Response, Send
from .draw import Draw
from .faults import Fault, Faults, Strikes
from .ollama import VERSION
from .prompt import Prompt, Refusal
from .record import Recorded, Ring
from .routes import REQUESTS, Route, find
from .script import Cues, Reply, Script
from .wire import encode


class Emulator:
    """Stands for OpenAI, Anthropic, Google and Ollama at once; the path says which one is meant.

    `requests` holds the last requests, newest last. `faults` may be replaced at any time: counts begin anew.
    """

    def __init__(self, script: Script | None = None, faults: Faults | None = None) -> None:
        self.requests = Ring()
        self._script = script or Script()
        self._cues = Cues(self._script.replies)
        self._strikes = Strikes(faults or Faults())
        self._memory = Memory()
        self._serial = count(1)

    @property
    def faults(self) -> Faults:
        """What goes wrong at present. What does so below HTTP is played by `entrances`, not here."""
        return self._strikes.faults

    @faults.setter
    def faults(self, faults: Faults) -> None:
        """Applies from the next request on."""
        self._strikes = Strikes(faults)

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
            await _deliver(response, entry, receive, send)
        except Disconnected:
            entry.disconnected = True
        except Broken:
            if not entry.status:
                delivery.hang_up(scope)
            raise

    async def _answer(self, route: Route, entry: Recorded, receive: Receive) -> Response:
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
            fault = self._strikes.next(prompt)
            if fault is not None:
                return self._failed(fault, route, prompt, reply, serial)
            return self._replied(route, prompt, reply, serial)
        except Refusal as refusal:
            return self._refused(route, refusal, prompt, reply, serial)

    def _failed(self, fault: Fault, route: Route, prompt: Prompt, reply: Reply | None, serial: int) -> Response:
        request_id = _request_id(serial)
        refused = breakage.refused(fault, route.wire, prompt, request_id)
        if refused is not None:
            return refused
        reply = breakage.replied(fault, route.wire, prompt, reply)
        try:
            response = self._replied(route, prompt, reply, serial)
        except Refusal as refusal:
            response = self._refused(route, refusal, prompt, reply, serial)
        breakage.spoil(fault, response, route.wire, prompt, request_id)
        return response

    def _replied(self, route: Route, prompt: Prompt, reply: Reply | None, serial: int) -> Response:
        if reply is not None and reply.status is not None:
            raise Refusal(reply.status, reply.error, code=reply.code)
        turn = compose(prompt, reply, self._memory, serial, time.time())
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

    def _plain(self, route: Route, entry: Recorded) -> Response:
        """Everything that is no chat."""
        match route.action:
            case "requests":
                return Response(200, [JSON], encode([one.shown() for one in self.requests]))
            case "version":
                return Response(200, [JSON], encode({"version": VERSION}))
            case "models":
                names = self._script.models.get(route.target.provider, route.wire.models)
                return Response(200, [JSON], route.wire.listing(names, int(time.time())))
            case "method":
                raise Refusal(405, f"Not allowed to {entry.method} on {entry.path}.")
            case _:
                raise Refusal(404, f"Invalid URL ({entry.method} {entry.path})")

    def _refused(
        self, route: Route, fault: Refusal, prompt: Prompt | None, reply: Reply | None, serial: int
    ) -> Response:
        request_id = _request_id(serial)
        status, content = route.wire.refusal(fault, prompt.model if prompt else route.target.model, request_id)
        if route.target.stream and not route.target.sse:
            # Google wraps an error in the array its caller waits for.
            content = b"[" + content + b"]"
        headers = [JSON, *route.wire.stamp(request_id), *(reply.headers.items() if reply else ())]
        return Response(status, headers, content, delay=delays(reply)[0])

    def _said(self, route: Route, turn: Turn, reply: Reply | None, serial: int) -> Response:
        delay, pace = delays(reply)
        headers = [
            ("content-type", route.wire.media(turn.prompt)),
            *route.wire.stamp(_request_id(serial)),
            *(reply.headers.items() if reply else ()),
        ]
        if turn.prompt.stream:
            return Response(200, headers, chunks=route.wire.chunks(turn), delay=delay, pace=pace)
        return Response(200, headers, route.wire.whole(turn), delay=delay)


async def _deliver(response: Response, entry: Recorded, receive: Receive, send: Send) -> None:
    if response.chunks is None and not response.delay and response.ending == "complete":
        # The usual quick answer: nobody can leave before it is sent, so nobody need be watched.
        entry.status = response.status
        await delivery.whole(send, response)
        return
    async with Caller(receive) as caller:
        await caller.sleep(response.delay)
        await delivery.paced(caller, send, response, entry)


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

"""A provider that answers with recorded bytes. A request says which by naming the exchange in its prompt.

`Break off` instead of `Play back` sends half of a stream and ends the response there, as a provider that falls over.
"""

import re
from collections.abc import Iterable
from typing import Any

from .exchanges import Exchange, framed

PROMPT = "Play back {}."
HALF = "Break off {}."
_NAMED = re.compile(rb"(Play back|Break off) ([\w-]+)\.")
_HOP = frozenset({"content-length", "transfer-encoding", "connection", "keep-alive"})
"""Headers of the connection that was recorded: the replay's server sets its own."""


class Replay:
    """An ASGI application. Under `/framed` a Google array is sent as server-sent events: the one form that Google's
    own SDK reads as a stream. `seen` counts the requests by exchange."""

    def __init__(self, exchanges: Iterable[Exchange]) -> None:
        self._exchanges = {exchange.id: exchange for exchange in exchanges}
        self.seen: dict[str, int] = {}

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            return
        named = _NAMED.search(await _body(receive))
        assert named is not None, "no exchange is named"
        exchange = self._exchanges[named[2].decode()]
        self.seen[exchange.id] = self.seen.get(exchange.id, 0) + 1
        headers = [(name, value) for name, value in exchange.headers.items() if name not in _HOP]
        pieces = exchange.pieces
        if scope["path"].startswith("/framed"):
            pieces = [framed(exchange.values, exchange.model)]
            headers = [("content-type", "text/event-stream")]
        if named[1] == b"Break off":
            pieces = pieces[: len(pieces) // 2]
        encoded = [(name.encode(), value.encode()) for name, value in headers]
        if not exchange.stream:
            encoded.append((b"content-length", b"%d" % sum(map(len, pieces))))
        await send({"type": "http.response.start", "status": exchange.status, "headers": encoded})
        for piece in pieces:
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _body(receive: Any) -> bytes:
    parts, more = [], True
    while more:
        message = await receive()
        assert message["type"] == "http.request", message
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(parts)

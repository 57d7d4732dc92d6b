"""Recorded exchanges, a real socket that answers with their bytes, and how deltas add up to an answer."""

import json
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec

from sidecar.chat import Completion, Delta, Failure, Message, Reasoning, Usage
from sidecar.providers.base import StreamReader

SHARED = Path(os.environ.get("SIDECAR_SHARED_DATA", Path(__file__).resolve().parents[3].parent / "shared" / "data"))
ABSENT = f"the recorded traffic is not at {SHARED} (SIDECAR_SHARED_DATA)"


class Exchange(msgspec.Struct):
    """One recorded answer of /v1/messages."""

    id: str
    stream: bool
    status: int
    headers: dict[str, str]
    body: bytes


def exchanges() -> list[Exchange]:
    """Every recorded exchange of the Messages API, errors too; empty where the data is absent."""
    found = []
    for name in ("recorded.jsonl", "response_fixtures_vercel.jsonl"):
        path = SHARED / "traffic" / name
        for line in path.read_text().splitlines() if path.exists() else ():
            row = json.loads(line)
            if row["provider"] == "anthropic" and row["endpoint"] == "messages":
                found.append(_exchange(row["id"], row.get("response") or row))
    return found


def _exchange(id: str, response: dict[str, Any]) -> Exchange:
    status, headers = response.get("status") or 200, response.get("headers") or {}
    if "json" in response:
        return Exchange(id, False, status, headers, json.dumps(response["json"]).encode())
    raw = response["raw"].encode() if "raw" in response else framed(response["chunks"])
    return Exchange(id, True, status, headers, raw)


def framed(values: Sequence[dict[str, Any]]) -> bytes:
    """Anthropic's own framing of server-sent events."""
    return "".join(f"event: {value['type']}\ndata: {json.dumps(value)}\n\n" for value in values).encode()


@contextmanager
def serving(exchange: Exchange) -> Iterator[str]:
    """A base URL where every POST is answered with the exchange's bytes, in small pieces when it is a stream."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["content-length"]))
            self.send_response(exchange.status)
            self.send_header("content-type", "text/event-stream" if exchange.stream else "application/json")
            self.send_header("content-length", str(len(exchange.body)))
            self.end_headers()
            for start in range(0, len(exchange.body), 700):
                self.wfile.write(exchange.body[start : start + 700])

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


class Gathered(msgspec.Struct):
    """An answer, put together from deltas or taken from a completion. `calls` are id, name, arguments."""

    text: str = ""
    reasoning: str = ""
    refusal: str | None = None
    calls: list[tuple[str, str, str]] = []
    details: list[Reasoning] = []
    finish: str | None = None
    usage: Usage | None = None
    failure: Failure | None = None


def gather(deltas: Sequence[Delta]) -> Gathered:
    """What a caller makes of these deltas. The contract of a stream is checked on the way."""
    answer = Gathered()
    for delta in deltas:
        assert answer.failure is None, "a delta after a failure"
        assert answer.finish is None, "a delta after the end"
        assert delta.content == bool(delta.text or delta.reasoning or delta.tool_calls), delta
        assert delta.index == 0
        answer.text += delta.text or ""
        answer.reasoning += delta.reasoning or ""
        answer.refusal = delta.refusal or answer.refusal
        answer.details += delta.details or []
        for call in delta.tool_calls or ():
            assert call.index is not None and call.function is not None
            if call.id is not None:
                assert call.index == len(answer.calls), "calls count from 0"
                answer.calls.append((call.id, call.function.name, call.function.arguments))
            else:
                id, name, arguments = answer.calls[call.index]
                answer.calls[call.index] = (id, name, arguments + call.function.arguments)
        answer.finish = delta.finish_reason
        answer.usage = delta.usage or answer.usage
        answer.failure = delta.failure
    return answer


def of(completion: Completion | Failure) -> Gathered:
    """The same for a whole answer."""
    if isinstance(completion, Failure):
        return Gathered(failure=completion)
    message = completion.choices[0].message
    return Gathered(
        text=message.content if isinstance(message.content, str) else "",
        reasoning=message.reasoning_content or "",
        refusal=message.refusal,
        calls=[(c.id or "", c.function.name, c.function.arguments) for c in message.tool_calls or () if c.function],
        details=message.reasoning_details or [],
        finish=completion.finish_reason,
        usage=completion.usage,
    )


def as_message(answer: Gathered) -> Message:
    """The answer as the caller sends it back."""
    return Message("assistant", content=answer.text, reasoning_details=answer.details)


def feed(reader: StreamReader, pieces: Sequence[bytes]) -> Gathered:
    """The answer of a body that came in these pieces."""
    deltas = [delta for piece in pieces for delta in reader.feed(piece)]
    return gather([*deltas, *reader.end()])


def bytewise(body: bytes) -> list[bytes]:
    """One byte at a time."""
    return [body[i : i + 1] for i in range(len(body))]


def cut(body: bytes, places: Sequence[int]) -> list[bytes]:
    """`body` in pieces, empty ones too."""
    ends = sorted(place % (len(body) + 1) for place in places)
    return [body[a:b] for a, b in zip([0, *ends], [*ends, len(body)], strict=True)]

"""Recorded exchanges, what the official SDK reads from their bytes, and how deltas add up to an answer."""

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import httpx
import msgspec
from google import genai
from google.genai import types

from sidecar.chat import Completion, Delta, Failure, ToolCall, Usage
from sidecar.providers.base import StreamReader

SHARED = Path(os.environ.get("SIDECAR_SHARED_DATA", Path(__file__).resolve().parents[3].parent / "shared" / "data"))
FILES = ("recorded.jsonl", "response_fixtures_vercel.jsonl")


class Exchange(msgspec.Struct):
    """One recorded answer of generateContent: its bytes, and the JSON values that are in them."""

    id: str
    stream: bool
    status: int
    body: bytes
    values: list[Any]
    model: str = ""


def exchanges() -> list[Exchange]:
    """Every generateContent and streamGenerateContent exchange, errors too; empty where the data is absent."""
    found = []
    for name in FILES:
        path = SHARED / "traffic" / name
        for line in path.read_text().splitlines() if path.exists() else ():
            row = json.loads(line)
            if row["provider"] == "google" and "enerateContent" in row["endpoint"]:
                found.append(_exchange(row))
    return found


def _exchange(row: dict[str, Any]) -> Exchange:
    response = row["response"]
    stream = row["endpoint"] == "streamGenerateContent"
    if "raw" in response:
        body = response["raw"].encode()
        values = [json.loads(line[5:]) for line in response["raw"].splitlines() if line.startswith("data:")]
    elif "chunks" in response:
        values = response["chunks"]
        body = framed(values)
    else:
        value = response["json"]
        values = value if isinstance(value, list) else [value]
        body = json.dumps(value, indent=2).encode()
    return Exchange(row["id"], stream, response.get("status", 200), body, values, row.get("url") or "")


def framed(values: Iterable[Any]) -> bytes:
    """Google's own framing of server-sent events."""
    return b"".join(b"data: " + json.dumps(value).encode() + b"\r\n\r\n" for value in values)


def client(body: bytes, seen: list[httpx.Request] | None = None) -> genai.Client:
    """The official client, whole, with only the network cut off: its answers are these bytes."""

    def answer(request: httpx.Request) -> httpx.Response:
        if seen is not None:
            seen.append(request)
        return httpx.Response(200, content=body, headers={"content-type": "application/json"})

    options = types.HttpOptions(api_version="v1beta", httpx_client=httpx.Client(transport=httpx.MockTransport(answer)))
    return genai.Client(api_key="k", http_options=options)


def official(exchange: Exchange) -> list[types.GenerateContentResponse]:
    """What the official SDK reads. It streams SSE only, so an array's elements are framed for it."""
    if not exchange.stream:
        return [client(exchange.body).models.generate_content(model="m", contents="x")]
    sdk = client(framed(exchange.values))
    return list(sdk.models.generate_content_stream(model="m", contents="x"))


class Gathered(msgspec.Struct):
    """An answer, put together from deltas or taken from a completion."""

    text: str = ""
    reasoning: str = ""
    calls: list[ToolCall] = []
    details: list[Any] = []
    finish: str | None = None
    usage: Usage | None = None
    failure: Failure | None = None
    finishes: int = 0


def gather(deltas: Sequence[Delta], index: int = 0) -> Gathered:
    """The answer with this index. Commit marks are checked on the way."""
    answer = Gathered()
    for delta in deltas:
        assert answer.failure is None, "a delta after a failure"
        visible = bool(delta.text or delta.reasoning or delta.tool_calls)
        assert delta.content == visible, delta
        answer.failure = delta.failure
        answer.usage = delta.usage or answer.usage
        if delta.index != index:
            continue
        answer.text += delta.text or ""
        answer.reasoning += delta.reasoning or ""
        answer.calls += delta.tool_calls or []
        answer.details += delta.details or []
        if delta.finish_reason is not None:
            answer.finish = delta.finish_reason
            answer.finishes += 1
    return answer


def of_completion(completion: Completion | Failure, index: int = 0) -> Gathered:
    """The same for a whole answer."""
    if isinstance(completion, Failure):
        return Gathered(failure=completion)
    choice = completion.choices[index]
    message = choice.message
    assert message.content is None or isinstance(message.content, str)
    return Gathered(
        text=message.content or "",
        reasoning=message.reasoning_content or "",
        calls=message.tool_calls or [],
        details=list(message.reasoning_details or []),
        finish=choice.finish_reason,
        usage=completion.usage,
        finishes=1,
    )


def run(reader: StreamReader, body: bytes, cuts: Iterable[int] = ()) -> list[Delta]:
    """All deltas of a body cut at these places."""
    out: list[Delta] = []
    last = 0
    for cut in [*sorted(cuts), len(body)]:
        out += reader.feed(body[last:cut])
        last = cut
    return [*out, *reader.end()]

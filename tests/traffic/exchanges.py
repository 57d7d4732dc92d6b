"""Every recorded chat exchange of the four protocols, as bytes a provider would send."""

import ast
import json
import random
import zlib
from collections.abc import Sequence
from typing import Any

import msgspec
from shared import DATA, shared

SOURCES = ("recorded.jsonl", "response_fixtures_vercel.jsonl", "errors_reported.jsonl")
MODELS = {
    ("openai", "chat.completions"): "test-openai",
    ("local-openai-compat", "chat.completions"): "test-openai",
    ("ollama", "/v1/chat/completions"): "test-openai",
    ("anthropic(openai-compat layer)", "chat.completions"): "test-openai",
    ("anthropic", "messages"): "test-anthropic",
    ("google", "generateContent"): "test-google",
    ("google", "streamGenerateContent"): "test-google",
    ("google(vertex)", "streamGenerateContent"): "test-google",
    ("ollama", "/api/chat"): "test-ollama",
}
"""Which model of examples/providers/gateway.yaml stands for whom; what is not listed is no chat."""


class Exchange(msgspec.Struct):
    """One answer: its bytes, the JSON values in them (none where it is not JSON), and what was asked, if known."""

    id: str
    model: str
    stream: bool
    status: int
    headers: dict[str, str]
    body: bytes
    values: list[Any]
    request: dict[str, Any] | None

    @property
    def pieces(self) -> list[bytes]:
        """The body as it goes over the wire: whole, or a stream in pieces of odd sizes, the same in every run."""
        if not self.stream or self.status != 200:
            return [self.wire]
        sizes = random.Random(self.id)
        pieces, at = [], 0
        while at < len(self.wire):
            size = sizes.choice((1, 2, 7, 64, 333, 1500))
            pieces.append(self.wire[at : at + size])
            at += size
        return pieces

    @property
    def wire(self) -> bytes:
        """The body in its content-encoding."""
        if self.headers.get("content-encoding") != "gzip":
            return self.body
        packer = zlib.compressobj(wbits=31)
        return packer.compress(self.body) + packer.flush()


def exchanges() -> list[Exchange]:
    """All of them; empty where the data is absent."""
    found = []
    for name in SOURCES:
        path = DATA / "traffic" / name
        for line in path.read_text().splitlines() if path.exists() else ():
            row = json.loads(line)
            model = MODELS.get((row["provider"], row["endpoint"]))
            if model is not None:
                found.append(_exchange(row, model))
    return found


def present() -> None:
    """Skips where the data is absent; fails in CI."""
    for name in SOURCES:
        shared("traffic", name)


def _exchange(row: dict[str, Any], model: str) -> Exchange:
    response = row["response"]
    stream = "stream" in row["scenario"] or row["endpoint"].startswith("stream")
    body, values = _body(response, model)
    error = bool(values) and isinstance(values[0], dict) and "error" in values[0]
    headers = {name.lower(): value for name, value in response.get("headers", {}).items()}
    headers.setdefault("content-type", "text/event-stream" if "chunks" in response else "application/json")
    status = response.get("status") or (400 if error else 200)
    return Exchange(row["id"], model, stream, status, headers, body, values, row["request"])


def _body(response: dict[str, Any], model: str) -> tuple[bytes, list[Any]]:
    if "json" in response:
        value = response["json"]
        indent = 2 if model in ("test-openai", "test-google") else None  # as these providers write it
        return json.dumps(value, indent=indent).encode(), value if isinstance(value, list) else [value]
    if "chunks" in response:
        return framed(response["chunks"], model), response["chunks"]
    raw = response["raw"]
    if raw.startswith("{'"):  # pasted as Python shows the body; on the wire it was JSON
        return _body({"json": ast.literal_eval(raw)}, model)
    lines = [line.removeprefix("data:").strip() for line in raw.splitlines()]
    return raw.encode(), [json.loads(line) for line in lines if line.startswith('{"')]


def framed(values: Sequence[dict[str, Any]], model: str) -> bytes:
    """Values as server-sent events, each in its provider's own framing."""
    match model:
        case "test-anthropic":
            return "".join(f"event: {value['type']}\ndata: {json.dumps(value)}\n\n" for value in values).encode()
        case "test-google":
            return b"".join(b"data: " + json.dumps(value).encode() + b"\r\n\r\n" for value in values)
    return b"".join(b"data: " + json.dumps(value).encode() + b"\n\n" for value in values) + b"data: [DONE]\n\n"

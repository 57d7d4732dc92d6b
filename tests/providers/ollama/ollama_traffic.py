"""Recorded /api/chat exchanges and the examples of Ollama's own API document."""

import json
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import msgspec

from sidecar.chat import Completion, Delta, Failure, ToolCall, Usage
from sidecar.providers.base import StreamReader

SHARED = Path(os.environ.get("SIDECAR_SHARED_DATA", Path(__file__).resolve().parents[3].parent / "shared" / "data"))


class Exchange(msgspec.Struct):
    """One answer: its bytes, and the JSON values in them."""

    id: str
    stream: bool
    body: bytes
    values: list[Any]


def exchanges() -> list[Exchange]:
    """Every recorded /api/chat exchange, then the document's answers; empty where the data is absent."""
    found = []
    path = SHARED / "traffic" / "recorded.jsonl"
    for line in path.read_text().splitlines() if path.exists() else ():
        row = json.loads(line)
        if row["endpoint"] != "/api/chat" or row["response"]["status"] != 200:
            continue
        if "raw" in row["response"]:
            body = row["response"]["raw"].encode()
            values = [json.loads(line) for line in body.splitlines() if line.strip()]
            found.append(Exchange(row["id"], True, body, values))
        else:
            value = row["response"]["json"]
            found.append(Exchange(row["id"], False, json.dumps(value).encode(), [value]))
    return found + _examples()


def _examples() -> list[Exchange]:
    path = SHARED / "specs" / "ollama-api.md"
    if not path.exists():
        return []
    text = path.read_text()
    section = text[text.index("\n## Generate a chat completion") : text.index("\n## Create a Model")]
    blocks = re.findall(r"```json\n(.*?)```", section, re.DOTALL)
    values = [json.loads(block) for block in blocks]
    answers = [value for value in values if "created_at" in value]
    found = []
    pieces: list[Any] = []
    for number, value in enumerate(answers):
        pieces.append(value)
        if value["done"]:
            body = b"".join(json.dumps(piece).encode() + b"\n" for piece in pieces)
            found.append(Exchange(f"document-{number}", len(pieces) > 1, body, pieces))
            pieces = []
    return found


class Gathered(msgspec.Struct):
    """An answer, put together from deltas or taken from a completion."""

    text: str = ""
    reasoning: str = ""
    calls: list[ToolCall] = []
    finish: str | None = None
    usage: Usage | None = None
    failure: Failure | None = None


def gather(deltas: Sequence[Delta]) -> Gathered:
    """All deltas as one answer. Commit marks are checked on the way."""
    answer = Gathered()
    for delta in deltas:
        assert answer.failure is None, "a delta after a failure"
        assert delta.content == bool(delta.text or delta.reasoning or delta.tool_calls), delta
        answer.failure = delta.failure
        answer.text += delta.text or ""
        answer.reasoning += delta.reasoning or ""
        answer.calls += delta.tool_calls or []
        answer.finish = delta.finish_reason or answer.finish
        answer.usage = delta.usage or answer.usage
    return answer


def of_completion(completion: Completion | Failure) -> Gathered:
    """The same for a whole answer."""
    if isinstance(completion, Failure):
        return Gathered(failure=completion)
    [choice] = completion.choices
    message = choice.message
    assert message.content is None or isinstance(message.content, str)
    return Gathered(
        message.content or "",
        message.reasoning_content or "",
        message.tool_calls or [],
        choice.finish_reason,
        completion.usage,
    )


def run(reader: StreamReader, body: bytes, cuts: Iterable[int] = ()) -> list[Delta]:
    """All deltas of a body cut at these places."""
    out: list[Delta] = []
    last = 0
    for cut in [*sorted(cuts), len(body)]:
        out += reader.feed(body[last:cut])
        last = cut
    return [*out, *reader.end()]

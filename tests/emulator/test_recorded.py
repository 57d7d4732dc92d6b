"""Requests that real providers answered are answered here too; those they refused need not be refused."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from .conftest import Live, http

KEYS = {"authorization": "Bearer k", "x-api-key": "k", "x-goog-api-key": "k", "anthropic-version": "2023-06-01"}
SPOKEN = ("/chat/completions", "/messages", "enerateContent", "/api/chat")


def _path(exchange: dict[str, Any]) -> str:
    url = urlsplit(exchange["url"])
    # Some hosts were taken out of the record, and the first half of the path with them.
    path = url.path if url.scheme else "/v1/chat/completions"
    return f"{path}?{url.query}" if url.query else path


def test_recorded_requests_are_answered(emulator: Live, data: Path) -> None:
    wrong, seen = [], 0
    for line in (data / "traffic" / "recorded.jsonl").read_text().splitlines():
        exchange = json.loads(line)
        path = _path(exchange)
        if exchange["response"]["status"] != 200 or not path.partition("?")[0].endswith(SPOKEN):
            continue
        seen += 1
        answer = http.post(emulator.url + path, json=exchange["request"], headers=KEYS)
        # Thinking that another signed is refused, and rightly so.
        if answer.status_code != 200 and "signature" not in answer.text:
            wrong.append((exchange["id"], answer.status_code, answer.text[:200]))
    assert wrong == []
    assert seen > 40

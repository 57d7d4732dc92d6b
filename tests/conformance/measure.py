"""Asks every cell once, over plain HTTP, and records what its caller saw."""

import asyncio
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import httpx

from sidecar.emulator import Emulator

from .cases import NEXT, TEXT, Cell

AT_ONCE = 8
PATIENCE = 40.0
_ENDLESS = re.compile(r"(and so on, )+")
_ONCE = "and so on, …"
"""How often an answer without end was heard is chance."""


@dataclass
class Outcome:
    """What came back. `tries` is what the gateway said or, where it says nothing, what the emulator was asked;
    `asked` is always the latter. `error` is that of an error event, `done` whether `[DONE]` came."""

    status: int = 0
    code: str = ""
    text: str = ""
    finish: str = ""
    error: str = ""
    done: bool = True
    tries: int | None = None
    asked: int = 0
    request_id: str = ""

    def __str__(self) -> str:
        """As it stands in the table."""
        tries = "" if self.tries is None else ", 1 try" if self.tries == 1 else f", {self.tries} tries"
        return f"{self._seen()}{tries}"

    def _seen(self) -> str:
        if self.status != 200:
            return f"{self.status or 'no answer'} `{self.code}`"
        texts = {TEXT: "its answer", NEXT: "next model's answer", "": "empty answer"}
        said = texts.get(self.text, f"“{_ENDLESS.sub(_ONCE, self.text)}”")
        if self.finish not in ("", "stop"):
            said += f" (`{self.finish}`)"
        if self.error:
            said += f", then error `{self.error}`"
        if self.done == bool(self.error):
            said += ", and `[DONE]`" if self.done else ", no error, no `[DONE]`"
        return said


@dataclass
class Target:
    """A gateway: its URL, a key, and what it calls each cell's model."""

    url: str
    key: str
    models: dict[Cell, str]
    emulator: Emulator


async def measured(target: Target, wanted: Iterable[Cell]) -> dict[Cell, Outcome]:
    """The outcome of each cell, many at once."""
    places = asyncio.Semaphore(AT_ONCE)
    headers = {"authorization": f"Bearer {target.key}"} if target.key else {}
    limits = httpx.Limits(max_connections=AT_ONCE)
    async with httpx.AsyncClient(
        base_url=target.url, headers=headers, trust_env=False, timeout=PATIENCE, limits=limits
    ) as http:

        async def one(cell: Cell) -> tuple[Cell, Outcome]:
            async with places:
                outcome = await _asked(http, target.models[cell], cell)
                outcome.asked = sum(cell.prompt.encode() in one.raw for one in target.emulator.requests)
                if outcome.tries is None and not cell.case.network:
                    outcome.tries = outcome.asked
                return cell, outcome

        return dict(await asyncio.gather(*map(one, wanted)))


async def _asked(http: httpx.AsyncClient, model: str, cell: Cell) -> Outcome:
    messages = [{"role": "user", "content": cell.prompt}]
    body = {"model": model, "messages": messages, "max_tokens": 100, "stream": cell.stream}
    outcome, text = Outcome(), ""
    try:
        async with http.stream("POST", "/v1/chat/completions", json=body) as response:
            outcome.status = response.status_code
            outcome.request_id = response.headers.get("x-request-id", "")
            if "x-sidecar-attempts" in response.headers:
                outcome.tries = int(response.headers["x-sidecar-attempts"])
            async for piece in response.aiter_text():
                text += piece
    except httpx.HTTPError as fault:
        outcome.error = type(fault).__name__
    if outcome.status != 200:
        outcome.code = _code(_decoded(text))
    elif cell.stream:
        _read_stream(outcome, text)
    else:
        _read_choice(outcome, _decoded(text), "message")
    return outcome


def _read_stream(outcome: Outcome, text: str) -> None:
    outcome.done = False
    for line in text.splitlines():
        if line == "data: [DONE]":
            outcome.done = True
        elif line.startswith("data:"):
            event = _decoded(line[5:])
            if "error" in event:
                outcome.error = _code(event)
            _read_choice(outcome, event, "delta")


def _read_choice(outcome: Outcome, body: dict[str, Any], part: str) -> None:
    for choice in body.get("choices") or ():
        outcome.text += (choice.get(part) or {}).get("content") or ""
        outcome.finish = choice.get("finish_reason") or outcome.finish


def _code(body: dict[str, Any]) -> str:
    error = body.get("error")
    if not isinstance(error, dict):
        return "no error object"
    return str(error.get("code") or error.get("type"))


def _decoded(text: str) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}

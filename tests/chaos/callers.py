"""Many callers at once, what each of them was answered, and a gateway process to do it to."""

import asyncio
import functools
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
from gateway import ROOT, Rows, Served, free_port, gateway, read_rows
from house import CHAT, HELLO, UP_KEY, config, eventually, texts

from .provider import Provider

T = TypeVar("T")
PATIENCE = 20.0


def lasting(seconds: float) -> Callable[[Callable[..., Coroutine[Any, Any, None]]], Callable[..., None]]:
    """A test that is a coroutine, on an event loop of its own; a hanging one fails after so many seconds."""

    def decorate(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
        @functools.wraps(test)
        def run(*args: Any, **kwargs: Any) -> None:
            asyncio.run(asyncio.wait_for(test(*args, **kwargs), seconds))

        return run

    return decorate


async def until(check: Callable[[], Awaitable[T | None]]) -> T:
    """The first true result of an awaited check; `eventually` is for plain ones."""
    wanted: Any = check
    found: T = await eventually(wanted, PATIENCE)
    return found


@dataclass(frozen=True)
class Answer:
    """What a caller got, and between which times (`time.monotonic`)."""

    status: int
    headers: Mapping[str, str]
    text: str
    stream: bool
    started: float
    ended: float

    @property
    def said(self) -> str:
        """The answer's text."""
        if self.stream and self.status == 200:
            return texts(self.text)
        return str(json.loads(self.text)["choices"][0]["message"]["content"])

    @property
    def whole(self) -> bool:
        """Answered, to the end, with the words of one answer of one provider, each once and in order."""
        if self.status != 200 or (self.stream and not self.text.endswith("data: [DONE]\n\n")):
            return False
        words = [word.rpartition(".") for word in self.said.split()]
        return len({source for source, _, _ in words}) == 1 and [int(w[2]) for w in words] == list(range(len(words)))

    @property
    def model(self) -> str:
        return self.headers["x-sidecar-model"]

    @property
    def attempts(self) -> int:
        return int(self.headers["x-sidecar-attempts"])

    @property
    def code(self) -> str | None:
        """The error's code."""
        return None if self.status == 200 else str(json.loads(self.text)["error"]["code"])


class Callers:
    """Callers of one gateway, on connections that are kept alive."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self.url = url
        self.session = session

    def post(self, model: str = "m1", stream: bool = False, headers: Mapping[str, str] | None = None) -> Any:
        """The request alone: for who wants to read or leave by himself."""
        body = {"model": model, "messages": HELLO, "stream": stream}
        return self.session.post(self.url + CHAT, json=body, headers=dict(headers or {}))

    async def ask(self, model: str = "m1", stream: bool = False, headers: Mapping[str, str] | None = None) -> Answer:
        started = time.monotonic()
        async with self.post(model, stream, headers) as response:
            text = await response.text()
        return Answer(response.status, response.headers, text, stream, started, time.monotonic())

    async def many(self, count: int, at_once: int = 32, model: str = "m1") -> list[Answer]:
        """So many requests, every other one a stream."""
        return await crowd([functools.partial(self.ask, model, n % 2 == 1) for n in range(count)], at_once)

    async def get(self, path: str) -> tuple[int, str]:
        async with self.session.get(self.url + path) as response:
            return response.status, await response.text()


async def crowd(jobs: Iterable[Callable[[], Awaitable[T]]], at_once: int) -> list[T]:
    """All jobs, so many at once. Their results as they ended."""
    waiting, results = iter(jobs), []

    async def work() -> None:
        for job in waiting:
            results.append(await job())

    await asyncio.gather(*(work() for _ in range(at_once)))
    return results


@asynccontextmanager
async def asking(callers: Callers, at_once: int = 32) -> AsyncIterator[list[Answer]]:
    """So many callers who ask `m1` on and on, every other one for streams. After it: what they were answered."""
    got: list[Answer] = []
    over = asyncio.Event()

    async def call(stream: bool) -> None:
        while not over.is_set():
            got.append(await callers.ask(stream=stream))

    async with asyncio.TaskGroup() as group:
        for number in range(at_once):
            group.create_task(call(number % 2 == 1))
        yield got
        over.set()


@asynccontextmanager
async def calling(url: str) -> AsyncIterator[Callers]:
    timeout = aiohttp.ClientTimeout(total=PATIENCE)
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as session:
        yield Callers(url, session)


def chain(ups: Sequence[Provider], policy: str, gateway: str = "", first: str = "") -> str:
    """A configuration: `m1` at the first provider, `m2` at the second ..., each tried after the one before it.
    `policy` is the rest of a fallback policy, `gateway` of the gateway's, `first` of the first provider's."""
    models = {f"m{n}": up.name for n, up in enumerate(ups, 1)}
    chains = f"chains: {{m1: [{', '.join(list(models)[1:])}]}}\n" if len(ups) > 1 else ""
    fallback = f"kind: fallback\nalternatives: 0\n{chains}{policy}\n"
    text = config({up.name: up.url for up in ups}, models, fallback, gateway=f"access_log: false\n{gateway}")
    return text.replace('"${UP_KEY}"', f'"${{UP_KEY}}", {first}', 1) if first else text


@asynccontextmanager
async def serving(text: str) -> AsyncIterator[tuple[Served, Callers]]:
    """A gateway in this event loop, and its callers."""
    async with gateway(text, {"UP_KEY": UP_KEY}) as served, calling(served.url) as callers:
        yield served, callers


@dataclass
class Process:
    """A `sidecar run`."""

    process: asyncio.subprocess.Process
    url: str
    folder: Path

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def rows(self) -> Rows:
        return read_rows(self.folder / "ledger.db")

    async def ended(self) -> int:
        return await asyncio.wait_for(self.process.wait(), PATIENCE)


@asynccontextmanager
async def started(folder: Path, entry: Path) -> AsyncIterator[tuple[Process, Callers]]:
    """`sidecar run` in a process of its own, ready; its log and ledger are in `folder`. Killed if it still runs."""
    port = free_port()
    variables = {"PATH": os.environ["PATH"], "UP_KEY": UP_KEY, "SIDECAR_DATABASE_URL": f"sqlite:///{folder}/ledger.db"}
    command = (sys.executable, "-m", "sidecar", "run", str(entry), "--port", str(port))
    with (folder / "log").open("wb") as log:
        process = await asyncio.create_subprocess_exec(*command, env=variables, cwd=ROOT, stdout=log, stderr=log)
    running = Process(process, f"http://127.0.0.1:{port}", folder)

    async def ready() -> bool:
        assert process.returncode is None, running.log
        try:
            return (await callers.get("/ready"))[0] == 200
        except aiohttp.ClientError:
            return False

    try:
        async with calling(running.url) as callers:
            await until(ready)
            yield running, callers
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()

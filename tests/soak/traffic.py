"""Sixteen callers who do all that callers do: ask, listen to streams, lose patience, leave, send nonsense."""

import asyncio
import json
import random
from collections import Counter

import aiohttp

CALLERS = 16
PAUSE = 0.05
"""A caller's mean pause between two requests: bounds the rate, and with the time the count."""
MODELS = ("m-openai", "m-anthropic", "m-google", "m-ollama", "auto")
WAYS = {"whole": 40, "stream": 30, "again": 10, "leaves_stream": 8, "leaves": 4, "hurried": 4, "nonsense": 4}


class Traffic:
    """`count` tells what came of the requests; a `fault` is what no caller may ever see."""

    def __init__(self, url: str, seed: int = 1) -> None:
        self._url = f"{url}/v1/chat/completions"
        self._draw = random.Random(seed)
        self.count: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self.over = asyncio.Event()

    @property
    def requests(self) -> int:
        return sum(self.count.values())

    @property
    def failed(self) -> int:
        """Requests that ended with a proper error: the whole chain failed, or a stream broke off."""
        return sum(count for what, count in self.count.items() if what.startswith("error"))

    async def run(self) -> None:
        """Until `over` is set."""
        timeout = aiohttp.ClientTimeout(total=30)
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=timeout) as session:
            await asyncio.gather(*(self._caller(session) for _ in range(CALLERS)))

    async def _caller(self, session: aiohttp.ClientSession) -> None:
        while not self.over.is_set():
            way = self._draw.choices(list(WAYS), list(WAYS.values()))[0]
            try:
                await self._request(session, way)
            except (aiohttp.ClientError, TimeoutError) as fault:
                self.faults[f"{way}: {type(fault).__name__}"] += 1
            await asyncio.sleep(self._draw.uniform(0, 2 * PAUSE))

    async def _request(self, session: aiohttp.ClientSession, way: str) -> None:
        stream = way in ("stream", "leaves_stream") or (way != "nonsense" and self._draw.random() < 0.3)
        text = "the same again" if way == "again" else f"{self._draw.random()} " + "word " * self._draw.randint(1, 200)
        body = {"model": self._draw.choice(MODELS), "messages": [{"role": "user", "content": text}], "stream": stream}
        headers = {"x-request-timeout": "50ms"} if way == "hurried" else {}
        data = b"{nonsense" if way == "nonsense" else json.dumps(body).encode()
        asking = asyncio.ensure_future(self._ask(session, data, headers, way))
        if way == "leaves":
            await asyncio.wait((asking,), timeout=self._draw.uniform(0, 0.03))
            if asking.cancel():
                self.count["left"] += 1
                await asyncio.gather(asking, return_exceptions=True)
                return
        self.count[await asking] += 1

    async def _ask(self, session: aiohttp.ClientSession, data: bytes, headers: dict[str, str], way: str) -> str:
        async with session.post(self._url, data=data, headers=headers) as response:
            if way == "leaves_stream" and response.status == 200:
                await response.content.readany()
                response.close()
                return "left"
            text = await response.text()
            return self._judged(response, text, way)

    def _judged(self, response: aiohttp.ClientResponse, text: str, way: str) -> str:
        if response.status != 200:
            error = json.loads(text)["error"]
            if response.status == 500 or (response.status == 400) != (way == "nonsense"):
                self.faults[f"{way}: {response.status} {error['code']}"] += 1
            return "nonsense" if way == "nonsense" else f"error {response.status} {error['code']}"
        if response.content_type == "text/event-stream" and not text.endswith("data: [DONE]\n\n"):
            last = text.rstrip().rpartition("data: ")[2]
            if not last.startswith('{"error"'):
                self.faults[f"{way}: a stream without an end"] += 1
            return "error in a stream"
        return "answered"

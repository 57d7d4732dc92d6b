"""`kill -9`, again and again under load: who has a whole answer finds every attempt of it in the ledger, once."""

import asyncio
import json
import os
import random
from collections import Counter
from pathlib import Path

import httpx
from gateway import read_rows
from house import CHAT, HELLO, UP_KEY, Asked, client, config, fails, looped, says, streams, upstream
from test_lifecycle import run

ROUNDS, CALLERS, ANSWERS = 4, 12, 60
RETRY = "kind: fallback\nalternatives: 0\nretries: 3\nbackoff: {initial: 1ms, max: 2ms}\n"


async def reply(asked: Asked, writer: asyncio.StreamWriter) -> None:
    """An answer or a stream; every third time an error that is worth another try."""
    answer = streams("one ", "two") if asked.body.get("stream") else says("hello")
    await (fails(503) if random.random() < 0.3 else answer)(asked, writer)


async def ask_on(http: httpx.AsyncClient, whole: dict[str, int]) -> None:
    """Ask until the gateway is gone; `whole` is how many attempts each answer took that came to its last byte."""
    for number in range(100_000):
        stream = number % 2 == 0
        try:
            response = await http.post(CHAT, json={"model": "m1", "messages": HELLO, "stream": stream})
        except httpx.TransportError:
            return
        if stream and response.status_code == 200:
            assert response.text.endswith("data: [DONE]\n\n")
        else:
            json.loads(response.content)
        whole[response.headers["x-request-id"]] = int(response.headers["x-sidecar-attempts"])


@looped
async def test_each_whole_answer_has_a_row_for_each_attempt(tmp_path: Path) -> None:
    whole: dict[str, int] = {}
    only_in_journal: set[str] = set()
    async with upstream(m1=reply) as up:
        text = config({"up": up.url}, {"m1": "up"}, RETRY)
        for turn in range(ROUNDS):
            async with run(tmp_path, text, UP_KEY=UP_KEY) as gate, client(gate.url) as http:
                await gate.up(http)
                callers = [asyncio.create_task(ask_on(http, whole)) for _ in range(CALLERS)]
                while len(whole) < (turn + 1) * ANSWERS:
                    await asyncio.sleep(random.uniform(0, 0.01))
                gate.process.kill()
                await gate.ended()
                await asyncio.gather(*callers)
            only_in_journal |= whole.keys() - {row["request_id"] for row in read_rows(tmp_path / "ledger.db")}
        async with run(tmp_path, text, UP_KEY=UP_KEY) as gate, client(gate.url) as http:
            await gate.up(http)
            gate.process.terminate()
            assert await gate.ended() == 0
    rows = Counter((row["request_id"], row["attempt"]) for row in read_rows(tmp_path / "ledger.db"))
    assert {key: count for key, count in rows.items() if count > 1} == {}
    missing = [(id, n) for id, attempts in whole.items() for n in range(1, attempts + 1) if (id, n) not in rows]
    assert missing == []
    assert max(whole.values()) > 1
    assert only_in_journal, "no kill came between an answer and its commit: this shows nothing"
    assert [name for name in os.listdir(tmp_path) if "-rows" in name] == []

"""Callers who leave and a gateway that is told to: meters stop at once, what was used is written down."""

import asyncio
import functools
import signal
from collections import Counter
from pathlib import Path

import aiohttp
import pytest
from house import eventually, texts

from .callers import Callers, Process, chain, crowd, lasting, serving, started, until
from .provider import answers, fails, providers, stalls, waits

POLICY = "retries: 0\nbreaker: {failures: 1000, requests: 100000}\n"
STREAMS = 16


@lasting(60)
async def test_who_leaves_a_stream_stops_the_meter() -> None:
    async with providers(one=stalls(before=2), two=answers()) as (one, two):
        async with serving(chain([one, two], POLICY)) as (served, callers):
            async with callers.post(stream=True) as response:
                await response.content.readany()
                request = response.headers["x-request-id"]
                response.close()
            await eventually(lambda: one.broken_off == 1)
            (row,) = await served.rows(request)
            assert (row["outcome"], row["failure"], row["estimated"]) == ("failed", "cancelled", 1)
            assert row["output_tokens"] >= 2
            assert row["input_tokens"] > 0
            assert row["cost_nano"] > 0
            assert two.asked == 0
            assert "sidecar_client_cancels_total 1.0" in (await callers.get("/metrics"))[1]


@lasting(60)
async def test_a_crowd_that_leaves_at_any_time_leaves_nothing_behind() -> None:
    """Before the answer, between tokens, in a retry's pause, in the queue: every connection upstream is closed."""
    policy = POLICY.replace("retries: 0", "retries: 5\nbackoff: {initial: 200ms, max: 1s}\nretry_budget: {share: 100}")
    left: Counter[str] = Counter()
    async with providers(one=stalls(), two=stalls(before=1), three=fails(500), four=stalls()) as ups:
        text = chain(ups, policy + "failures: {server_error: retry}", first="concurrency: 8, queue: 100")
        async with serving(text) as (served, callers):

            async def leave(number: int) -> None:
                model = f"m{number % 4 + 1}"
                calling = asyncio.ensure_future(callers.ask(model, stream=number % 8 < 4))
                await asyncio.wait((calling,), timeout=0.02 + 0.01 * (number % 16))
                left[model] += calling.cancel()
                await asyncio.gather(calling, return_exceptions=True)

            await crowd([functools.partial(leave, number) for number in range(256)], 64)
            await eventually(lambda: not any(up.running for up in ups))
            await eventually(lambda: not len(served.running.chat.watches))
            rows = await served.rows(None, 1)
    assert left == {f"m{n}": 64 for n in range(1, 5)}
    assert ups[1].broken_off == ups[1].asked
    assert {row["outcome"] for row in rows} == {"failed"}
    by_failure = Counter((row["model"], row["failure"], row["estimated"]) for row in rows)
    # Who leaves before the request has gone out has a row too, and no provider has seen it.
    assert by_failure["m2", "cancelled", 1] >= ups[1].asked > 0
    assert by_failure["m4", "cancelled", 1] >= ups[3].asked > 0
    # Some leave just when the 500 arrives: for them it was the leaving that ended it.
    assert by_failure["m3", "server_error", 0] + by_failure["m3", "cancelled", 1] >= ups[2].asked > 0
    assert ups[0].peak <= 8


async def _begun(callers: Callers, count: int) -> list[aiohttp.ClientResponse]:
    """Streams of which the first token is here."""
    responses = [await callers.post(stream=True) for _ in range(count)]
    for response in responses:
        assert b"one.1" in await response.content.readany() or response.status == 200
    return responses


async def _refused(callers: Callers) -> bool:
    """Whether new work is turned away: told so, or not let in at all."""
    try:
        answer = await callers.ask()
    except aiohttp.ClientConnectionError:
        return True
    return answer.status == 503 and answer.code == "draining" and "retry-after" in answer.headers


async def _unready(callers: Callers, process: Process) -> bool:
    assert process.process.returncode is None, process.log
    try:
        return (await callers.get("/ready"))[0] == 503
    except aiohttp.ClientConnectionError:
        return True


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_streams_that_run_when_it_is_told_to_end_are_finished(tmp_path: Path, sign: signal.Signals) -> None:
    @lasting(60)
    async def test() -> None:
        gate = asyncio.Event()
        async with providers(one=waits(gate, before=1)) as (one,):
            entry = tmp_path / "gateway.yaml"
            entry.write_text(chain([one], POLICY, gateway="limits: {drain: 20s}"))
            async with started(tmp_path, entry) as (process, callers):
                responses = await _begun(callers, STREAMS)
                calling = asyncio.create_task(callers.ask())
                await eventually(lambda: one.running == STREAMS + 1)
                process.process.send_signal(sign)
                await until(lambda: _unready(callers, process))
                assert all([await _refused(callers) for _ in range(8)])
                assert one.running == STREAMS + 1
                gate.set()
                said = [await response.text() for response in responses]
                assert (await calling).whole
                assert await process.ended() == 0
        assert all(text.endswith("data: [DONE]\n\n") for text in said)
        rows = process.rows()
        assert Counter(row["outcome"] for row in rows) == {"answered": STREAMS + 1}
        assert {row["request_id"] for row in rows} >= {r.headers["x-request-id"] for r in responses}
        assert all(row["estimated"] == 0 and row["cost_nano"] > 0 for row in rows)

    test()


@lasting(60)
async def test_when_the_grace_is_over_they_are_ended(tmp_path: Path) -> None:
    async with providers(one=stalls(before=1)) as (one,):
        entry = tmp_path / "gateway.yaml"
        entry.write_text(chain([one], POLICY, gateway="limits: {drain: 300ms}"))
        async with started(tmp_path, entry) as (process, callers):
            responses = await _begun(callers, STREAMS)
            process.process.terminate()
            for response in responses:
                try:
                    text = await response.text()
                except aiohttp.ClientError:
                    continue  # cut: the caller sees that it is not whole
                assert '"error"' in text
                assert "[DONE]" not in text
                assert len(texts(text).split()) <= 1
            assert await process.ended() == 0
            await eventually(lambda: one.running == 0)
    rows = process.rows()
    assert Counter((row["failure"], row["estimated"]) for row in rows) == {("cancelled", 1): STREAMS}
    assert all(row["cost_nano"] > 0 and row["output_tokens"] >= 1 for row in rows)

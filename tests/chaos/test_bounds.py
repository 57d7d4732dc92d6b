"""What is bounded stays bounded under 32 callers: calls at a provider, its queue, requests at once, retries, time."""

import asyncio
import functools
import time
from collections import Counter

import pytest
from house import eventually

from .callers import Answer, Callers, chain, crowd, lasting, serving
from .provider import answers, errs_in_stream, fails, providers, resets, sometimes, stalls, waits

CALLERS = 32
PLACES, QUEUE = 4, 8
FIRST = f"concurrency: {PLACES}, queue: {QUEUE}, queue_wait: 20s"
POLICY = "retries: 0\nbreaker: {failures: 1000, requests: 100000}\n"


def shed(answer: Answer, code: str) -> bool:
    """Whether it was told to come back later."""
    return answer.status == 503 and answer.code == code and int(answer.headers["retry-after"]) >= 1


@lasting(60)
async def test_what_finds_no_place_goes_to_the_next_model() -> None:
    gate = asyncio.Event()
    async with providers(one=waits(gate), two=answers()) as (one, two):
        async with serving(chain([one, two], POLICY, first=FIRST)) as (served, callers):
            calling = asyncio.create_task(callers.many(CALLERS))
            await eventually(lambda: two.asked == CALLERS - PLACES - QUEUE)
            await eventually(lambda: one.running == PLACES)
            gate.set()
            got = await calling
            rows = await served.rows(None, 2 * CALLERS - PLACES - QUEUE)
    assert all(answer.whole for answer in got)
    assert Counter(answer.model for answer in got) == {"m1": PLACES + QUEUE, "m2": CALLERS - PLACES - QUEUE}
    assert one.peak == PLACES
    failures = Counter((row["model"], row["failure"]) for row in rows if row["failure"])
    assert failures == {("m1", "saturated"): CALLERS - PLACES - QUEUE}


@lasting(60)
async def test_without_another_model_it_is_told_to_come_back() -> None:
    gate = asyncio.Event()
    async with providers(one=waits(gate)) as (one,):
        async with serving(chain([one], POLICY, first=FIRST)) as (_, callers):
            got: list[Answer] = []
            calling = asyncio.create_task(_collect(callers, CALLERS, got))
            await eventually(lambda: len(got) == CALLERS - PLACES - QUEUE)
            assert all(shed(answer, "provider_saturated") for answer in got)
            await eventually(lambda: one.running == PLACES)
            gate.set()
            await calling
            assert all(answer.whole for answer in got[CALLERS - PLACES - QUEUE :])
            assert (one.peak, one.asked) == (PLACES, PLACES + QUEUE)
            one.behave = answers()
            assert all(answer.whole for answer in await callers.many(50, at_once=PLACES + QUEUE))


@lasting(60)
async def test_who_waited_long_enough_goes_to_the_next_model() -> None:
    async with providers(one=stalls(), two=answers()) as (one, two):
        text = chain([one, two], POLICY, first=FIRST.replace("20s", "100ms"))
        async with serving(text) as (_, callers):
            calling = asyncio.create_task(callers.many(PLACES, at_once=PLACES))
            await eventually(lambda: one.running == PLACES)
            got = await callers.many(QUEUE, at_once=QUEUE)
            assert {(answer.whole, answer.model) for answer in got} == {(True, "m2")}
            assert one.asked == PLACES
            calling.cancel()
            # Who hangs up gives its place back.
            await eventually(lambda: one.running == 0)
            one.behave = answers()
            assert {answer.model for answer in await callers.many(PLACES, at_once=PLACES)} == {"m1"}


@lasting(60)
async def test_places_are_given_back_whatever_happens() -> None:
    """Failures of all sorts, and callers who leave while they wait and while they are served."""
    ways = (fails(500), resets, errs_in_stream, stalls(before=1))
    async with providers(one=sometimes(7, 0.5, *ways)) as (one,):
        async with serving(chain([one], POLICY, first=FIRST)) as (served, callers):

            async def impatient(number: int) -> None:
                asking = asyncio.ensure_future(callers.ask(stream=number % 2 == 1))
                await asyncio.wait((asking,), timeout=0.01 * (number % 20))
                asking.cancel()
                await asyncio.gather(asking, return_exceptions=True)

            await crowd([functools.partial(impatient, number) for number in range(300)], CALLERS)
            await eventually(lambda: one.running == 0 and not len(served.running.chat.watches))
            assert one.peak == PLACES
            gate = asyncio.Event()
            one.behave = waits(gate)
            calling = asyncio.create_task(callers.many(PLACES + QUEUE))
            await eventually(lambda: one.running == PLACES)
            gate.set()
            assert all(answer.whole for answer in await calling)


@lasting(60)
async def test_more_requests_than_may_run_are_shed() -> None:
    gate = asyncio.Event()
    async with providers(one=waits(gate)) as (one,):
        async with serving(chain([one], POLICY, gateway="limits: {running: 8}")) as (_, callers):
            got: list[Answer] = []
            calling = asyncio.create_task(_collect(callers, CALLERS, got))
            await eventually(lambda: len(got) == CALLERS - 8)
            assert all(shed(answer, "too_many_running") for answer in got)
            await eventually(lambda: one.running == 8)
            gate.set()
            await calling
            assert all(answer.whole for answer in got[CALLERS - 8 :])
            assert all(answer.whole for answer in await callers.many(50, at_once=4))
            assert (await callers.get("/health"))[0] == 200


async def _collect(callers: Callers, count: int, got: list[Answer]) -> None:
    """So many requests at once; answers are kept as they come."""

    async def ask(stream: bool) -> None:
        got.append(await callers.ask(stream=stream))

    await asyncio.gather(*(ask(number % 2 == 1) for number in range(count)))


@pytest.mark.parametrize("per_second", [0, 1])
def test_an_outage_is_not_multiplied(per_second: int) -> None:
    """Three retries each would be four times the traffic; the budget makes it a fifth more, and what was saved up."""
    requests, share, saved_up = 200, 0.2, 20

    @lasting(60)
    async def test() -> None:
        policy = (
            "retries: 3\nbackoff: {initial: 1ms, max: 5ms}\nbreaker: {failures: 1000, requests: 100000}\n"
            f"retry_budget: {{share: 20, per_second: {per_second}}}\n"
        )
        async with providers(one=fails(500)) as (one,):
            async with serving(chain([one], policy)) as (_, callers):
                began = time.monotonic()
                got = await callers.many(requests)
                took = time.monotonic() - began
                assert {(answer.status, answer.code) for answer in got} == {(502, "provider_server_error")}
                most = (1 + share) * requests + saved_up + per_second * took
                assert requests * (1 + share) <= one.asked <= most + 1
                assert one.asked == sum(answer.attempts for answer in got)
                # It is over: the next ones are answered, and what they earn pays for retries again.
                before, one.behave = one.asked, answers()
                assert all(answer.whole for answer in await callers.many(100))
                assert one.asked == before + 100
                print(f"{before} asked for {requests} requests: {before / requests:.2f}")

    test()


@lasting(60)
async def test_without_a_share_there_are_no_retries() -> None:
    policy = "retries: 3\nbackoff: {initial: 1ms, max: 5ms}\nretry_budget: {share: 0, per_second: 0}\n"
    async with providers(one=fails(500), two=answers()) as (one, two):
        async with serving(chain([one, two], policy)) as (_, callers):
            assert {answer.attempts for answer in [await callers.ask() for _ in range(3)]} == {2}
    assert one.asked == 3


@lasting(60)
async def test_the_whole_chain_ends_within_its_callers_time() -> None:
    """Four models that never answer would take 4 x 30 s."""
    policy = "retries: 3\ntimeouts: {first_token: 30s}\n"
    async with providers(one=stalls(), two=stalls(), three=stalls(), four=stalls()) as ups:
        async with serving(chain(ups, policy)) as (served, callers):
            for stream in (False, True):
                got = await callers.ask(stream=stream, headers={"x-request-timeout": "300ms"})
                assert (got.status, got.code) == (504, "total_timeout")
                rows = await served.rows(got.headers["x-request-id"])
                assert [row["failure"] for row in rows] == ["total_timeout"]
            await eventually(lambda: not any(up.running for up in ups))
    assert [up.asked for up in ups] == [2, 0, 0, 0]
    assert ups[0].broken_off == 2


@lasting(60)
async def test_a_stream_ends_within_it_too() -> None:
    async with providers(one=stalls(before=2)) as (one,):
        async with serving(chain([one], POLICY)) as (served, callers):
            got = await callers.ask(stream=True, headers={"x-request-timeout": "300ms"})
            assert got.status == 200
            assert '"code":"total_timeout"' in got.text.rpartition("data: ")[2]
            (row,) = await served.rows(got.headers["x-request-id"])
            assert (row["failure"], row["estimated"], row["output_tokens"]) == ("total_timeout", 1, 2)
            await eventually(lambda: one.broken_off == 1)


@lasting(60)
async def test_a_retry_that_comes_too_late_is_not_waited_for() -> None:
    """A pause of a minute is longer than the caller has: it is told of the failure at once."""
    policy = "retries: 3\nbackoff: {initial: 60s, max: 10m}\n"
    async with providers(one=fails(500, "retry-after: 60")) as (one,):
        async with serving(chain([one], policy)) as (_, callers):
            got = await callers.ask(headers={"x-request-timeout": "5s"})
            assert (got.status, got.code, got.attempts) == (502, "provider_server_error", 1)


@lasting(60)
async def test_time_that_earlier_models_took_is_gone() -> None:
    """Four times 300 ms is more than the 700 that there are: not all four are asked, and the last of them gets less."""
    policy = "retries: 0\ntimeouts: {first_token: 300ms, answer: 300ms}\n"
    async with providers(one=stalls(), two=stalls(), three=stalls(), four=stalls()) as ups:
        async with serving(chain(ups, policy)) as (served, callers):
            got = await callers.ask(headers={"x-request-timeout": "0.7"})
            assert (got.status, got.code) == (504, "total_timeout")
            rows = await served.rows(got.headers["x-request-id"], got.attempts)
    assert [row["failure"] for row in rows] == ["first_token_timeout"] * (len(rows) - 1) + ["total_timeout"]
    assert len(rows) < 4


@lasting(60)
async def test_waiting_in_a_queue_counts_too() -> None:
    """Whoever gives 300 ms is answered in that order of time, though the queue would let it wait for 20 s."""
    async with providers(one=stalls()) as (one,):
        async with serving(chain([one], POLICY, first=FIRST)) as (_, callers):
            calling = asyncio.create_task(callers.many(PLACES, at_once=PLACES))
            await eventually(lambda: one.running == PLACES)
            got = await callers.ask(headers={"x-request-timeout": "300ms"})
            assert got.status in (503, 504)
            assert one.asked == PLACES
            assert not calling.done()
            calling.cancel()


@pytest.mark.parametrize("value", ["", "soon", "0", "-1", "1h", "1e3", "nan", "inf", "0ms", "99999999", "5 s", "1,2"])
def test_a_time_that_is_none_is_a_400(value: str) -> None:
    @lasting(60)
    async def test() -> None:
        async with providers(one=answers()) as (one,):
            async with serving(chain([one], POLICY)) as (_, callers):
                got = await callers.ask(headers={"x-request-timeout": value})
                assert (got.status, got.code) == (400, "invalid_header")
                for good in ("20", "1.5", "800ms", "30s"):
                    assert (await callers.ask(headers={"x-request-timeout": good})).whole
        assert one.asked == 4

    test()

"""Hedged requests: the quicker of two answers, exactly one of them is shown, and the other's meter stops at once."""

import asyncio
from typing import Any

import pytest
from gateway import Served
from house import eventually

from .callers import chain, lasting, serving
from .provider import answers, errs_in_stream, fails, in_turn, providers, resets, sometimes, stalls, waits

POLICY = "retries: 0\nhedge: {}\ntimeouts: {{first_token: 30s}}\nbreaker: {{failures: 1000, requests: 100000}}\n"
SOON, LATE = POLICY.format("50ms"), POLICY.format("10s")


async def books(served: Served, request: str, count: int) -> list[tuple[Any, ...]]:
    rows = await served.rows(request, count)
    rows.sort(key=lambda row: int(row["attempt"]))
    return [(row["attempt"], row["model"], row["outcome"], row["failure"], row["estimated"]) for row in rows]


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_the_second_answers_when_the_first_is_slow(stream: bool) -> None:
    @lasting(60)
    async def test() -> None:
        async with providers(one=stalls(), two=answers()) as (one, two):
            async with serving(chain([one, two], SOON)) as (served, callers):
                got = await callers.ask(stream=stream)
                assert (got.whole, got.model, got.attempts) == (True, "m2", 2)
                await eventually(lambda: one.broken_off == 1)
                request = got.headers["x-request-id"]
                assert await books(served, request, 2) == [
                    (1, "m1", "failed", "cancelled", 1), (2, "m2", "answered", None, 0),
                ]  # fmt: skip
                rows = await served.rows(request, 2)
                assert all(row["cost_nano"] > 0 for row in rows)
                if not stream:
                    total = sum(row["cost_nano"] for row in rows)
                    assert round(float(got.headers["x-sidecar-cost-usd"]) * 1e9) == total
                assert "m1" not in served.running.holder.current.state.health.down

    test()


@lasting(60)
async def test_the_losers_connection_is_closed_while_the_winners_stream_still_runs() -> None:
    gate = asyncio.Event()
    async with providers(one=stalls(), two=waits(gate, before=1)) as (one, two):
        async with serving(chain([one, two], SOON)) as (_, callers):
            async with callers.post(stream=True) as response:
                await response.content.readany()
                await eventually(lambda: one.broken_off == 1)
                assert (one.running, two.running) == (0, 1)
                gate.set()
                assert (await response.text()).endswith("data: [DONE]\n\n")


@lasting(60)
async def test_the_first_may_still_be_quicker() -> None:
    async with providers(one=answers(first=0.3), two=stalls()) as (one, two):
        async with serving(chain([one, two], SOON)) as (served, callers):
            for stream in (False, True):
                got = await callers.ask(stream=stream)
                assert (got.whole, got.model, got.attempts) == (True, "m1", 2)
                assert await books(served, got.headers["x-request-id"], 2) == [
                    (1, "m1", "answered", None, 0), (2, "m2", "failed", "cancelled", 1),
                ]  # fmt: skip
            await eventually(lambda: two.broken_off == 2)
            assert one.broken_off == 0
            # The model that was asked first answered: nobody fell back.
            assert "\nsidecar_fallbacks_total 0.0\n" in (await callers.get("/metrics"))[1]


@lasting(60)
async def test_a_quick_first_model_is_never_hedged() -> None:
    async with providers(one=answers(), two=answers()) as (one, two):
        async with serving(chain([one, two], LATE)) as (_, callers):
            got = await callers.many(300)
    assert {(answer.whole, answer.model, answer.attempts) for answer in got} == {(True, "m1", 1)}
    assert two.asked == 0


@lasting(60)
async def test_what_fails_fast_is_not_waited_for() -> None:
    for way in (fails(500), resets, errs_in_stream):
        async with providers(one=way, two=answers()) as (one, two):
            # The hedge would come after an hour: the test is over long before.
            async with serving(chain([one, two], POLICY.format("60m"))) as (served, callers):
                for stream in (False, True):
                    got = await callers.ask(stream=stream)
                    assert (got.whole, got.model, got.attempts) == (True, "m2", 2)
                    outcomes = [row[2] for row in await books(served, got.headers["x-request-id"], 2)]
                    assert outcomes == ["failed", "answered"]


@lasting(60)
async def test_a_rival_that_fails_leaves_the_first_its_time() -> None:
    async with providers(one=answers(first=0.3), two=fails(500)) as (one, two):
        async with serving(chain([one, two], SOON)) as (served, callers):
            got = await callers.ask()
            assert (got.whole, got.model, got.attempts) == (True, "m1", 2)
            outcomes = [row[2] for row in await books(served, got.headers["x-request-id"], 2)]
            assert outcomes == ["answered", "failed"]


@lasting(60)
async def test_a_rival_that_may_not_be_asked_leaves_the_first_its_time() -> None:
    """Also where the policy ends calls for a limit: it is the rival's, and the first is running."""
    quota = "kind: quota\nlimits: [{per: model, requests: 3/h}]\n"
    async with providers(one=answers(first=0.3), two=answers()) as (one, two):
        policy = SOON + "failures: {over_limit: fail}\n---\n" + quota
        async with serving(chain([one, two], policy)) as (served, callers):
            assert [(await callers.ask("m2")).status for _ in range(3)] == [200, 200, 200]
            assert (await callers.ask("m2")).code == "rate_limit_exceeded"
            for stream in (False, True):
                got = await callers.ask(stream=stream)
                assert (got.status, got.whole, got.model) == (200, True, "m1"), got.text
                assert await books(served, got.headers["x-request-id"], 2) == [
                    (1, "m1", "answered", None, 0), (2, "m2", "failed", "over_limit", 0),
                ]  # fmt: skip
            # Nothing is left of the first one's own limit after this: then the call ends, as the policy wants it.
            assert (await callers.ask()).whole
            assert (await callers.ask()).code == "rate_limit_exceeded"
            assert two.asked == 3


@lasting(60)
async def test_when_both_fail_the_chain_goes_on() -> None:
    gate = asyncio.Event()

    async def late(exchange: Any) -> None:
        await gate.wait()
        await fails(500)(exchange)

    async with providers(one=late, two=late, three=answers()) as (one, two, three):
        async with serving(chain([one, two, three], SOON)) as (served, callers):
            calling = asyncio.create_task(callers.ask())
            await eventually(lambda: two.running == 1)
            gate.set()
            got = await calling
            assert (got.whole, got.model, got.attempts) == (True, "m3", 3)
            assert len(await books(served, got.headers["x-request-id"], 3)) == 3
            one.behave = two.behave = three.behave = fails(500)
            assert (await callers.ask()).code == "provider_server_error"


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_two_answers_at_the_same_moment_are_one_answer(stream: bool) -> None:
    @lasting(60)
    async def test() -> None:
        gate = asyncio.Event()
        async with providers(one=waits(gate), two=waits(gate)) as (one, two):
            async with serving(chain([one, two], SOON)) as (served, callers):
                for _ in range(20):
                    calling = asyncio.create_task(callers.ask(stream=stream))
                    await eventually(lambda: one.running == two.running == 1)
                    gate.set()
                    got = await calling
                    gate.clear()
                    assert got.whole
                    rows = await served.rows(got.headers["x-request-id"], 2)
                    outcomes = {row["model"]: row["outcome"] for row in rows}
                    assert sorted(outcomes.values()) == ["answered", "failed"], rows
                    assert outcomes[got.model] == "answered"
                    assert all(row["latency_ms"] >= 0 for row in rows)
                    # A whole answer that nobody was shown was counted by its provider all the same.
                    assert stream or {row["estimated"] for row in rows} == {0}
                await eventually(lambda: one.running == two.running == 0)

    test()


@lasting(60)
async def test_a_caller_that_hangs_up_ends_both() -> None:
    async with providers(one=stalls(), two=stalls()) as (one, two):
        async with serving(chain([one, two], SOON)) as (served, callers):
            for stream in (False, True):
                before = len(await served.rows(None, 0))
                calling = asyncio.create_task(callers.ask(stream=stream))
                await eventually(lambda: one.running == two.running == 1)
                calling.cancel()
                await eventually(lambda: one.running == two.running == 0)
                assert (await asyncio.gather(calling, return_exceptions=True))[0].__class__ is asyncio.CancelledError
                rows = (await served.rows(None, before + 2))[before:]
                told = sorted((row["model"], row["failure"], row["estimated"]) for row in rows)
                assert told == [("m1", "cancelled", 1), ("m2", "cancelled", 1)]
            assert one.broken_off == two.broken_off == 2
            assert not len(served.running.chat.watches)


@lasting(60)
async def test_the_callers_time_holds_for_both() -> None:
    async with providers(one=stalls(), two=stalls()) as (one, two):
        async with serving(chain([one, two], SOON)) as (served, callers):
            got = await callers.ask(headers={"x-request-timeout": "400ms"})
            assert (got.status, got.code) == (504, "total_timeout")
            await eventually(lambda: one.running == two.running == 0)
            assert len(await books(served, got.headers["x-request-id"], 2)) == 2
            assert not len(served.running.chat.watches)


@lasting(60)
async def test_hedged_callers_in_a_crowd_are_all_answered() -> None:
    """The first is slow one time in four and fails one time in eight; the second now and then as well."""
    slow, ways = answers(first=0.2), (fails(500), resets, errs_in_stream)
    one_ = sometimes(1, 0.375, slow, slow, *ways[:1])
    async with providers(one=one_, two=sometimes(2, 0.1, *ways), three=answers()) as ups:
        async with serving(chain(ups, SOON)) as (served, callers):
            got = await callers.many(1000)
            asked = sum(up.asked for up in ups)
            rows = await served.rows(None, asked, patience=20)
            await eventually(lambda: not any(up.running for up in ups))
            assert not len(served.running.chat.watches)
    assert all(answer.whole for answer in got)
    assert len({answer.said for answer in got}) == len(got)
    answered = [row["request_id"] for row in rows if row["outcome"] == "answered"]
    assert sorted(answered) == sorted(answer.headers["x-request-id"] for answer in got)
    assert len(rows) == sum(answer.attempts for answer in got)
    cancelled = sum(row["failure"] == "cancelled" for row in rows)
    assert cancelled >= sum(up.broken_off for up in ups) > 0
    print(f"{len(rows)} attempts for {len(got)} requests, {cancelled} cancelled")


@lasting(60)
async def test_p95_hedges_only_what_is_late_for_this_model() -> None:
    """Forty quick answers teach what is usual; then one that never comes is answered by the second."""
    async with providers(one=in_turn(*[answers()] * 40, stalls()), two=answers()) as (one, two):
        async with serving(chain([one, two], POLICY.format("p95"))) as (_, callers):
            first = [await callers.ask() for _ in range(40)]
            assert all(answer.whole for answer in first)
            late = await callers.ask()
            assert (late.whole, late.model) == (True, "m2")
    assert one.broken_off >= 1

"""A provider dies and comes back: who goes where meanwhile, who tries it, and when traffic returns."""

import asyncio
import itertools
import time

import pytest
from house import MODEL, eventually

from .callers import Answer, Callers, asking, chain, lasting, serving, until
from .provider import Exchange, answers, fails, providers, stalls, waits

POLICY = "retries: 0\nbreaker: {{failures: 3, cooldown: {}, max_cooldown: {}}}\n"
IN_VAIN = "timeouts: {first_token: 1s, answer: 1s}\n"


@lasting(60)
async def test_while_it_is_down_nobody_pays_for_it() -> None:
    """Three callers wait in vain; the next hundred do not even try."""
    async with providers(one=stalls(), two=answers()) as ups:
        async with serving(chain(ups, POLICY.format("1h", "1h") + IN_VAIN)) as (_, callers):
            first = [await callers.ask(stream=n % 2 == 1) for n in range(3)]
            rest = await callers.many(100)
    assert [answer.attempts for answer in first] == [2, 2, 2]
    assert {answer.attempts for answer in rest} == {1}
    assert {answer.model for answer in first + rest} == {"m2"}
    assert ups[0].asked == 3


@lasting(60)
async def test_when_it_is_back_the_first_probe_brings_the_traffic_back() -> None:
    async with providers(one=answers(), two=answers()) as ups:
        async with serving(chain(ups, POLICY.format("200ms", "200ms"))) as (served, callers):
            assert {answer.model for answer in await callers.many(50)} == {"m1"}
            ups[0].refuse()
            died = time.monotonic()
            while ups[1].asked < 300 or time.monotonic() < died + 1:
                assert all(answer.whole for answer in await callers.many(20, at_once=4))
            dead = time.monotonic() - died
            await ups[0].listen()
            returned = await until(lambda: _answered_by(callers, "m1"))
            assert returned.attempts == 1
            again = await callers.many(50)
            rows = await served.rows(None, 400, patience=20)
    assert {answer.model for answer in again} == {"m1"}
    refused = [row for row in rows if row["failure"] == "refused"]
    assert len(refused) == len([row for row in rows if row["failure"]])
    # Three in a row open the breaker (and up to three more callers were on their way); then one probe a cooldown.
    assert 3 < len(refused) <= 3 + 3 + dead / 0.2 + 1


async def _turns(count: int) -> None:
    """So many turns of the event loop."""
    for _ in range(count):
        await asyncio.sleep(0)


async def _answered_by(callers: Callers, model: str) -> Answer | None:
    answer = await callers.ask()
    assert answer.whole
    return answer if answer.model == model else None


@pytest.mark.parametrize("more", ["", "hedge: 10s\n"], ids=["plain", "hedged"])
def test_one_probe_at_a_time(more: str) -> None:
    @lasting(60)
    async def test() -> None:
        gate, policy = asyncio.Event(), POLICY.format("2s", "1h")
        async with providers(one=fails(500), two=answers()) as (one, two):
            async with serving(chain([one, two], policy + more)) as (_, callers):
                for _n in range(3):
                    assert (await callers.ask()).attempts == 2
                one.behave, one.peak = waits(gate), 0
                await callers.many(64)  # so that all have their connections
                await asyncio.sleep(2.1)  # the cooldown itself
                async with asking(callers) as got:
                    # All have sent before the gateway's event loop, held up for a moment, looks at the first.
                    await _turns(2)
                    time.sleep(0.1)  # noqa: ASYNC251  the hold-up itself
                    await eventually(lambda: one.running > 0)
                    seen = two.asked
                    await eventually(lambda: two.asked > seen + 600, 20)
                    assert (one.running, one.peak, one.asked) == (1, 1, 3 + 1)
                    assert {answer.model for answer in got} == {"m2"}
                    gate.set()
                    await eventually(lambda: one.asked > 100, 20)
                assert all(answer.whole for answer in got)
                assert {answer.attempts for answer in got} == {1}
                assert {answer.model for answer in await callers.many(100)} == {"m1"}

    test()


@lasting(60)
async def test_the_probe_ends_in_the_midst_of_traffic() -> None:
    """All 32 are busy when the cooldown ends, and when probes fail; each probe is alone."""
    async with providers(one=fails(500), two=answers()) as (one, two):
        async with serving(chain([one, two], POLICY.format("50ms", "100ms"))) as (_, callers):
            async with asking(callers) as got:
                await eventually(lambda: one.asked > 40)
                opened, one.peak = one.asked, 0
                await eventually(lambda: one.asked >= opened + 5)
                assert one.peak == 1
    assert not [answer for answer in got if not answer.whole]
    assert {answer.model for answer in got} == {"m2"}


@lasting(60)
async def test_who_asks_it_all_the_same_is_no_probe() -> None:
    """A caller who names the resting model and no other gets it, and what becomes of that call decides nothing."""
    gate, off = asyncio.Event(), {"x-sidecar-route": "off"}
    policy = POLICY.format("100ms", "1h")
    async with providers(one=fails(500), two=answers()) as (one, two):
        async with serving(chain([one, two], policy)) as (_, callers):
            for _n in range(3):
                await callers.ask()
            one.behave = waits(gate)
            await asyncio.sleep(0.2)  # the cooldown itself
            probe = asyncio.create_task(callers.ask())
            await eventually(lambda: one.running == 1)
            other = asyncio.create_task(callers.ask(headers=off))
            await eventually(lambda: one.running == 2)
            other.cancel()
            await eventually(lambda: one.running == 1)
            assert {answer.model for answer in await callers.many(100)} == {"m2"}
            one.behave = fails(500)
            assert (await callers.ask(headers=off)).status == 502
            assert {answer.model for answer in await callers.many(100)} == {"m2"}
            assert (one.asked, one.running) == (3 + 1 + 2, 1)
            one.behave = answers()
            gate.set()
            assert (await probe).model == "m1"
            assert {answer.model for answer in await callers.many(100)} == {"m1"}


@lasting(60)
async def test_who_found_no_place_was_no_probe() -> None:
    """The probe has one of two places, a call for another model the other: a third call is turned away, and the model
    is still being probed."""
    gate, off = asyncio.Event(), {"x-sidecar-route": "off"}
    policy = POLICY.format("100ms", "1h")
    async with providers(one=fails(500), two=answers()) as (one, two):
        text = chain([one, two], policy, first="concurrency: 2, queue: 0")
        text = text.replace("models:\n", f"models:\n  m3: {MODEL.format(provider='one', name='m3')}\n", 1)
        async with serving(text) as (_, callers):
            for _n in range(3):
                await callers.ask()
            one.behave = waits(gate)
            await asyncio.sleep(0.2)  # the cooldown itself
            inside = [asyncio.create_task(callers.ask("m1"))]
            await eventually(lambda: one.running == 1)
            inside.append(asyncio.create_task(callers.ask("m3")))
            await eventually(lambda: one.running == 2)
            assert (await callers.ask(headers=off)).code == "provider_saturated"
            inside.pop().cancel()
            await eventually(lambda: one.running == 1)
            assert {answer.model for answer in await callers.many(100)} == {"m2"}
            assert (one.asked, one.running) == (3 + 2, 1)
            gate.set()
            assert (await inside[0]).model == "m1"


@lasting(60)
async def test_a_queue_does_not_lead_to_one_that_rests() -> None:
    """Four wait in vain and send it to rest. The 28 who wait for their places need not find out one by one."""
    async with providers(one=stalls(), two=answers()) as (one, two):
        text = chain([one, two], POLICY.format("1h", "1h") + IN_VAIN, first="concurrency: 4, queue: 100")
        async with serving(text) as (_, callers):
            got = await callers.many(32)
    assert {(answer.whole, answer.model) for answer in got} == {(True, "m2")}
    assert one.asked <= 2 * 4


@lasting(60)
async def test_one_that_dies_again_after_each_recovery_is_left_alone_longer_and_longer() -> None:
    """It answers each probe and fails from then on: of the callers hardly any sees it."""
    recoveries: list[int] = []  # how often the other one had been asked by then

    async def flapping(exchange: Exchange) -> None:
        # The first after a rest is answered, then three failures send it to rest again.
        if exchange.number % 4 == 1:
            recoveries.append(two.asked)
            await answers()(exchange)
        else:
            await fails(500)(exchange)

    async with providers(one=flapping, two=answers()) as (one, two):
        async with serving(chain([one, two], POLICY.format("50ms", "10s"))) as (_, callers):
            got: list[Answer] = []
            while len(recoveries) < 6:
                got.append(await callers.ask(stream=len(got) % 2 == 1))
    assert all(answer.whole for answer in got)
    models = [answer.model for answer in got]
    switches = sum(before != after for before, after in itertools.pairwise(models))
    assert switches <= 2 * len(recoveries)
    assert one.asked <= 4 * len(recoveries)
    assert switches < len(got) / 20
    rests = [after - before for before, after in itertools.pairwise(recoveries)]
    assert rests[-1] > 2 * rests[0], "a rest is twice as long as the one before"
    print(f"{len(got)} requests, {switches} switches, requests between recoveries: {rests}")

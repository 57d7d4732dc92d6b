"""What stands in the headers of every kind of answer."""

import re
from collections.abc import Iterator

import httpx
import pytest
from gateway import KEY, MODELS, PROVIDERS, Served, Threaded, gateway, providers_environ, threaded
from house import CHAT, HELLO, UP_KEY, client, config, looped, upstream

from sidecar.emulator import Emulator
from sidecar.listen import listening


@pytest.fixture(scope="module")
def served() -> Iterator[Threaded[Served]]:
    with threaded(lambda: listening(Emulator())) as emulator:
        environ = providers_environ(f"http://127.0.0.1:{emulator.value}")
        with threaded(lambda: gateway(PROVIDERS, environ)) as gate:
            yield gate


@pytest.fixture(scope="module")
def http(served: Threaded[Served]) -> Iterator[httpx.Client]:
    headers = {"authorization": f"Bearer {KEY}"}
    with httpx.Client(base_url=served.value.url, headers=headers, trust_env=False, verify=False) as http:
        yield http


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("model", MODELS)
def test_an_answer_says_where_it_came_from(http: httpx.Client, model: str, stream: bool) -> None:
    response = http.post(CHAT, json={"model": model, "messages": HELLO, "stream": stream})
    head = response.headers
    assert re.fullmatch(r"req_[0-9a-f]{18}", head["x-request-id"])
    assert re.fullmatch(r"[0-9a-f]{12}", head["x-sidecar-policy"])
    assert re.fullmatch(r"[0-9]+\.[0-9]{2}", head["x-sidecar-overhead-ms"])
    assert head["x-sidecar-model"] == model
    assert head["x-sidecar-provider"] == model.removeprefix("test-")
    assert head["x-sidecar-cache"] == "disabled"
    assert head["x-sidecar-attempts"] == "1"
    assert "x-sidecar-tier" not in head
    assert head["cache-control"] == "no-store"
    assert head["x-content-type-options"] == "nosniff"
    assert head["content-type"].startswith("text/event-stream" if stream else "application/json")
    if stream:
        assert "x-sidecar-cost-usd" not in head
    else:
        assert re.fullmatch(r"0|0\.[0-9]+", head["x-sidecar-cost-usd"])
        assert int(head["content-length"]) == len(response.content)


@pytest.mark.parametrize("model", MODELS)
def test_what_a_translation_loses_is_named(http: httpx.Client, model: str) -> None:
    body = {"model": model, "messages": HELLO, "logit_bias": {"5": 1}, "user": "u" * 600, "metadata": {"a": "b"}}
    lost = http.post(CHAT, json=body).headers.get("x-sidecar-warnings", "")
    names = set(lost.split(", ")) - {""}
    assert names == (set() if model == "test-openai" else {"logit_bias", "user", "metadata"})


def test_request_ids_are_never_alike_and_a_callers_own_is_not_taken(http: httpx.Client) -> None:
    seen = {http.post(CHAT, json={}, headers={"x-request-id": "mine"}).headers["x-request-id"] for _ in range(50)}
    assert len(seen) == 50
    assert "mine" not in seen


def test_the_id_is_the_ledgers(http: httpx.Client, served: Threaded[Served]) -> None:
    head = http.post(CHAT, json={"model": "test-openai", "messages": HELLO}).headers
    row = served.call(served.value.rows(head["x-request-id"]))[0]
    assert row["policy"] == head["x-sidecar-policy"]
    assert f"{row['cost_nano'] / 1e9:.9f}".rstrip("0") == head["x-sidecar-cost-usd"]


@looped
async def test_a_routed_answer_names_its_tier_and_an_alias_what_it_stands_for() -> None:
    rules = "kind: classify\nrules:\n  - {name: tagged, when: task == 'hard', tier: expert}\ndefault: simple\n"
    async with upstream() as up:
        text = config({"up": up.url}, {"m1": "up"}, rules, gateway="aliases: {mine: m1, clever: 'auto:quality'}")
        async with gateway(text, {"UP_KEY": UP_KEY}) as served, client(served.url) as http:

            async def head(model: str, **headers: str) -> httpx.Headers:
                return (await http.post(CHAT, json={"model": model, "messages": HELLO}, headers=headers)).headers

            assert (await head("auto"))["x-sidecar-tier"] == "simple"
            assert (await head("auto", **{"x-sidecar-task": "hard"}))["x-sidecar-tier"] == "expert"
            routed = await head("clever")
            assert (routed["x-sidecar-tier"], routed["x-sidecar-model"]) == ("simple", "m1")
            rows = await served.rows(routed["x-request-id"])
            assert (rows[0]["requested_model"], rows[0]["strategy"]) == ("clever", "quality")
            pinned = await head("mine")
            assert pinned["x-sidecar-model"] == "m1"
            assert "x-sidecar-tier" not in pinned
            rows = await served.rows((await head("auto", **{"x-sidecar-strategy": "speed"}))["x-request-id"])
            assert (rows[0]["strategy"], rows[0]["tier"]) == ("speed", "simple")


@looped
async def test_cors_is_for_those_origins_only() -> None:
    async with upstream() as up:
        text = config({"up": up.url}, {"m1": "up"}, gateway="cors: {origins: ['https://app.example']}")
        async with gateway(text, {"UP_KEY": UP_KEY}) as served, client(served.url) as http:
            for origin, allowed in (("https://app.example", True), ("https://evil.example", False)):
                asks = {"origin": origin, "access-control-request-method": "POST"}
                before = await http.options(CHAT, headers=asks)
                assert (before.headers.get("access-control-allow-origin") == origin) is allowed
                response = await http.post(CHAT, json={"model": "m1", "messages": HELLO}, headers={"origin": origin})
                assert (response.headers.get("access-control-allow-origin") == origin) is allowed
                assert response.status_code == 200
    async with upstream() as up, gateway(config({"up": up.url}, {"m1": "up"}), {"UP_KEY": UP_KEY}) as served:
        async with client(served.url) as http:
            response = await http.post(CHAT, json={"model": "m1", "messages": HELLO}, headers={"origin": "https://x"})
            assert "access-control-allow-origin" not in response.headers

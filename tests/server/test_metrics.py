"""/metrics: what Prometheus' own checker says of it, that no caller makes series, and what is read when scraped."""

import asyncio
import re
import subprocess
from pathlib import Path

import httpx
import pytest
from gateway import gateway
from house import CHAT, HELLO, UP_KEY, client, config, eventually, fails, looped, stalls, upstream
from prometheus_client.parser import text_string_to_metric_families
from shared import tool

from sidecar.engine.metrics import MAX_SERIES, Metrics
from sidecar.stores.ledger import Row

DOC = (Path(__file__).parents[2] / "docs" / "observability.md").read_text(encoding="utf-8")
ONCE = "kind: fallback\nalternatives: 1\nretries: 0\nbreaker: {failures: 1, cooldown: 5m}\n"


def value(text: str, sample: str) -> float:
    """The value of one line."""
    found = re.search(rf"^{re.escape(sample)} (\S+)$", text, re.MULTILINE)
    assert found, f"{sample} is not in\n{text}"
    return float(found[1])


def series(text: str) -> set[str]:
    """Every series, without its value."""
    return {line.rpartition(" ")[0] for line in text.splitlines() if not line.startswith("#")}


async def ask(http: httpx.AsyncClient, model: str, **more: object) -> httpx.Response:
    return await http.post(CHAT, json={"model": model, "messages": HELLO, **more})


@looped
async def test_promtool_finds_nothing_and_every_metric_is_told_of() -> None:
    async with upstream(m2=fails(500)) as up:
        text = config({"up": up.url}, {"m1": "up", "m2": "up"}, ONCE)
        async with gateway(text, {"UP_KEY": UP_KEY}) as served, client(served.url) as http:
            assert "sidecar_fallbacks_total 0.0\n" in (await http.get("/metrics")).text
            for model in ("m1", "m2", "auto"):
                await ask(http, model)
            await http.post(CHAT, content=b"{")
            exposed = (await http.get("/metrics")).text
        for family in text_string_to_metric_families(exposed):
            if not family.name.startswith("process_"):
                assert f"`{family.name}" in DOC, f"{family.name} is not in docs/observability.md"
        ran = await asyncio.to_thread(
            subprocess.run, [tool("promtool"), "check", "metrics"], input=exposed, capture_output=True, text=True
        )
        assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


@looped
async def test_what_callers_make_up_makes_no_series() -> None:
    async with upstream() as up:
        text = config({"up": up.url}, {"m1": "up"}, "kind: cache\n")
        async with gateway(text, {"UP_KEY": UP_KEY}) as served, client(served.url) as http:
            seen = []
            for wave in range(3):
                for number in range(15):
                    odd = f"odd-{wave}-{number}"
                    headers = {"x-sidecar-task": odd, "x-sidecar-conversation": odd, "x-sidecar-cache": odd, odd: odd}
                    headers |= {"authorization": f"Bearer {odd}", "x-forwarded-for": odd, "user-agent": odd}
                    for model in (odd, "m1", "auto", f"auto:{odd}"):
                        body = {"model": model, "messages": [{"role": "user", "content": odd}], odd: {odd: 1}}
                        await http.post(CHAT, json={**body, "user": odd, "metadata": {odd: odd}}, headers=headers)
                    await http.request("BREW" if number else "GET", f"/{odd}")
                await eventually(lambda: not served.running.chat.watches)
                seen.append(series((await http.get("/metrics")).text))
            assert seen[0] == seen[1] == seen[2]


def test_names_that_come_and_go_with_reloads_are_bounded() -> None:
    metrics = Metrics()
    for number in range(3 * MAX_SERIES):
        row = Row(
            0.0, "r", 1, "answered", "chat", "auto", "t", "k", f"model-{number}", f"provider-{number}",
            f"tier-{number}", f"rule-{number}", input_tokens=3, output_tokens=5, cost_nano=7, latency_ms=9.0,
        )  # fmt: skip
        metrics.tried([row])
        metrics.answered([(200, row)])
    text = metrics.render().decode()
    for name, each in (
        ("sidecar_attempts_total", MAX_SERIES),
        ("sidecar_decisions_total", MAX_SERIES),
        ("sidecar_cost_usd_total", MAX_SERIES),
        ("gen_ai_server_request_duration_seconds_count", MAX_SERIES),
        ("gen_ai_client_token_usage_count", MAX_SERIES),
    ):
        assert len(re.findall(rf"^{name}{{", text, re.MULTILINE)) == each, name
    others = 'gen_ai_provider_name="other",gen_ai_request_model="other"'
    assert value(text, f'sidecar_attempts_total{{{others},outcome="other"}}') == 2 * MAX_SERIES + 1
    assert value(text, 'sidecar_attempts_total{gen_ai_provider_name="provider-0",gen_ai_request_model="model-0",'
                       'outcome="answered"}') == 1  # fmt: skip


def test_many_rows_at_once_count_as_one_by_one() -> None:
    def row(number: int) -> Row:
        failure = "rate_limited" if number % 5 == 4 else None
        return Row(
            0.0, "r", 1, "failed" if failure else "answered", "chat", "auto", "t", "k", f"m{number % 3}", "p",
            tier=f"tier-{number % 2}", rule="rule", cache="miss" if number % 2 else "disabled", failure=failure,
            input_tokens=3 * number, output_tokens=5 * number, cost_nano=7 * number if number % 4 else None,
            latency_ms=9.0 * number, first_token_ms=2.0 * number if number % 2 else None, overhead_ms=float(number),
        )  # fmt: skip

    rows = [row(number) for number in range(40)]
    ended = [(503 if row.failure else 200, row) for row in rows]
    together, apart = Metrics(), Metrics()
    together.tried(rows)
    together.answered(ended)
    for one in ended:
        apart.tried([one[1]])
        apart.answered([one])

    def told(metrics: Metrics) -> dict[str, float]:
        lines = [line.rsplit(" ", 1) for line in metrics.render().decode().splitlines() if line[0] != "#"]
        return {name: float(value) for name, value in lines if not name.startswith("process_")}

    assert told(together) == pytest.approx(told(apart))
    assert value(together.render().decode(), 'sidecar_requests_total{status="503"}') == 8
    assert value(together.render().decode(), "sidecar_overhead_seconds_sum") == pytest.approx(0.78)


@looped
async def test_what_is_read_when_scraped() -> None:
    async with upstream(m1=[stalls()], m2=fails(500)) as up:
        text = config({"up": up.url, "keyless": up.url}, {"m1": "up", "m2": "up", "m3": "keyless"}, ONCE)
        text = text.replace('api_key: "${UP_KEY}"}', 'api_key: "${UP_KEY}", concurrency: 1}', 1)
        text = text.replace('api_key: "${UP_KEY}"}', 'api_key: "${ABSENT}"}', 1)
        async with gateway(text, {"UP_KEY": UP_KEY}) as served, client(served.url) as http:
            assert (await ask(http, "m2")).status_code == 502
            running = [asyncio.create_task(ask(http, "m1")) for _ in range(2)]
            await eventually(lambda: served.running.stores.gates["up"].waiting == 1)
            served.running.log.dropped = 7
            served.running.ledger.dropped = 5
            found = (await http.get("/metrics")).text
            for task in running:
                task.cancel()
            await eventually(lambda: not served.running.chat.watches)
            after = (await http.get("/metrics")).text
    up_, keyless = '{gen_ai_provider_name="up"}', '{gen_ai_provider_name="keyless"}'
    assert value(found, "sidecar_requests_running") == 2
    assert value(found, f"sidecar_provider_calls_running{up_}") == 1
    assert value(found, f"sidecar_provider_calls_waiting{up_}") == 1
    assert f"sidecar_provider_calls_running{keyless}" not in found
    assert value(found, f"sidecar_models_ready{up_}") == 1
    assert value(found, f"sidecar_models_resting{up_}") == 1
    assert value(found, f"sidecar_models_ready{keyless}") == 0
    assert value(found, 'sidecar_breaker_state{gen_ai_request_model="m2"}') == 2
    assert value(found, "sidecar_log_dropped_lines_total") == 7
    assert value(found, "sidecar_ledger_dropped_rows_total") == 5
    assert (value(found, "sidecar_ready"), value(found, "sidecar_ledger_up")) == (1, 1)
    assert value(found, "sidecar_requests_running_limit") == 5000
    assert value(after, "sidecar_requests_running") == 0
    assert value(after, f"sidecar_provider_calls_running{up_}") == 0


@looped
async def test_a_gateway_that_is_not_ready_says_so() -> None:
    async with gateway("kind: gateway\npolicies: []\n") as served, client(served.url) as http:
        found = (await http.get("/metrics")).text
        assert value(found, "sidecar_ready") == 0
        served.running.ledger._fault = "the disk is full"  # what a full disk leaves behind
        assert value((await http.get("/metrics")).text, "sidecar_ledger_up") == 0

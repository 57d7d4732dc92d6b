"""Collectors that fail, are slow, or change, and the end of a gateway."""

from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceResponse,
)

from sidecar.engine import export
from sidecar.policy import load
from sidecar.server.state import RefusedError, running
from tests.gateway import gateway
from tests.house import CHAT, HELLO, UP_KEY, client, config, eventually, looped, upstream
from tests.traces.collector import collecting
from tests.traces.test_spans import stand

NOBODY = "http://127.0.0.1:9/v1/traces"


def spans_metric(text: str) -> dict[str, int]:
    """`sidecar_spans_total` by outcome."""
    lines = [line for line in text.splitlines() if line.startswith("sidecar_spans_total{")]
    return {line.split('"')[1]: int(float(line.split()[-1])) for line in lines}


@looped
async def test_a_dead_collector_costs_no_request_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "MAX_WAITING", 8)
    monkeypatch.setattr(export, "PAUSE", 60)
    async with upstream() as up:
        text = config({"up": up.url}, {"one": "up"}, gateway=f"tracing: {{endpoint: '{NOBODY}'}}")
        async with gateway(text, {"UP_KEY": UP_KEY}) as served, client(served.url) as http:
            for _ in range(12):
                response = await http.post(CHAT, json={"model": "one", "messages": HELLO})
                assert response.status_code == 200
            metric = spans_metric((await http.get("/metrics")).text)
            assert metric["dropped"] == 8, "four requests too many, two spans each"
            assert metric["exported"] == 0
    assert '"event":"traces"' in served.log, "what is left is tried once more at the end, and then told"
    assert served.running.stores.exporter.outcomes == {"exported": 0, "dropped": 8, "failed": 16}


@looped
async def test_a_slow_collector_holds_nobody_up() -> None:
    async with stand() as s:
        s.collector.open.clear()
        await s.ask()
        await eventually(lambda: s.collector.asked)
        for _ in range(5):
            assert (await s.ask()).status_code == 200
        assert not s.collector.spans
        s.collector.open.set()
        await s.collector.arrived(12)


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_busy_collector_is_asked_again(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "_jitter", lambda state: 0.01)

    @looped
    async def run() -> None:
        async with stand() as s:
            s.collector.replies = [(status, b""), (status, b"")]
            await s.ask()
            await s.collector.arrived(2)
            await eventually(lambda: s.served.running.stores.exporter.outcomes["exported"] == 2)
            assert s.collector.asked == 3
            assert s.served.running.stores.exporter.outcomes["failed"] == 0

    run()


@looped
async def test_a_collector_that_refuses_is_not_asked_again_and_that_is_told_once() -> None:
    async with stand() as s:
        s.collector.replies = [(401, b""), (401, b"")]
        for count in (1, 2):
            await s.ask()
            await eventually(lambda: s.served.running.stores.exporter.outcomes["failed"] == 2 * count)  # noqa: B023
        await s.ask()
        await s.collector.arrived(2)
        assert s.collector.asked == 3
    told = [line for line in s.served.log.splitlines() if '"event":"traces"' in line]
    assert len(told) == 2
    assert "the collector answered 401" in told[0]
    assert "mended" in told[1]


@looped
async def test_spans_that_a_collector_rejects_are_counted() -> None:
    async with stand() as s:
        partial = ExportTracePartialSuccess(rejected_spans=1, error_message="no")
        s.collector.replies = [(200, ExportTraceServiceResponse(partial_success=partial).SerializeToString())]
        await s.ask()
        await eventually(lambda: sum(s.served.running.stores.exporter.outcomes.values()) == 2)
        assert spans_metric((await s.http.get("/metrics")).text) == {"exported": 1, "dropped": 0, "failed": 1}


@pytest.mark.parametrize(
    "reply",
    [
        b"",
        b"nothing of the kind",
        b'{"partialSuccess":{"rejectedSpans":"1"}}',
        b"\xff",
        b"\x0a\x7f",  # cut off
        b"\x0a\x02\x08\x80",  # a number that does not end
        b"\x08\x01",  # a number in place of a message
        b"\x0a\x03\x0a\x01\x01",  # a message in place of a number
    ],
)
def test_a_collector_may_answer_nonsense(reply: bytes) -> None:
    @looped
    async def run() -> None:
        async with stand() as s:
            s.collector.replies = [(200, reply)]
            await s.ask()
            await eventually(lambda: s.served.running.stores.exporter.outcomes["exported"] == 2)

    run()


@looped
async def test_a_collector_cannot_reject_more_than_it_was_sent() -> None:
    async with stand() as s:
        partial = ExportTracePartialSuccess(rejected_spans=2**62)
        s.collector.replies = [(200, ExportTraceServiceResponse(partial_success=partial).SerializeToString())]
        await s.ask()
        await eventually(lambda: sum(s.served.running.stores.exporter.outcomes.values()) == 2)
        assert s.served.running.stores.exporter.outcomes["failed"] == 2


@looped
async def test_what_is_left_is_sent_when_the_gateway_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(export, "PAUSE", 60)
    async with stand() as s:
        await s.ask()
        assert not s.collector.spans
    assert len(s.collector.spans) == 2


@looped
async def test_a_reload_changes_where_spans_go_and_stops_them(tmp_path: Path) -> None:
    async with upstream() as up, collecting() as first, collecting() as second:
        entry = tmp_path / "gateway.yaml"

        def written(tracing: str) -> str:
            return config({"up": up.url}, {"one": "up"}, gateway=f"tracing: {tracing}")

        entry.write_text(written(f"{{endpoint: '{first.url}'}}"))
        async with gateway(entry, {"UP_KEY": UP_KEY, "SIDECAR_DATABASE_URL": f"{tmp_path}/x.db"}) as served:
            async with client(served.url) as http:

                async def reload(tracing: str) -> None:
                    before = served.running.holder.current
                    entry.write_text(written(tracing))
                    await eventually(lambda: served.running.holder.current is not before)

                async def ask() -> None:
                    await http.post(CHAT, json={"model": "one", "messages": HELLO})

                await ask()
                await first.arrived(2)
                await reload(f"{{endpoint: '{second.url}', content: redacted}}")
                await ask()
                await second.arrived(2)
                await reload(f"{{endpoint: '{second.url}', enabled: false}}")
                await ask()
        assert len(first.spans) == len(second.spans) == 2
        assert any("gen_ai.output.messages" in span.attributes for span in second.spans)
        assert "traceparent" not in up.asked[-1].headers


@looped
async def test_a_header_whose_secret_is_not_there_refuses_the_configuration(tmp_path: Path) -> None:
    entry = tmp_path / "gateway.yaml"
    text = config(
        {"up": NOBODY},
        {"one": "up"},
        gateway=f"tracing: {{endpoint: '{NOBODY}', headers: {{authorization: '${{ABSENT}}'}}}}",
    )
    entry.write_text(text)
    environ = {"SIDECAR_DATABASE_URL": f"{tmp_path}/x.db", "UP_KEY": UP_KEY}
    with pytest.raises(RefusedError) as refusal:
        async with running(entry, load(entry, environ, strict=True), environ):
            pass
    line = text.splitlines().index(next(line for line in text.splitlines() if "tracing" in line)) + 1
    place, _, rest = str(refusal.value).partition(" error[unset-secret]: ")
    assert place.startswith(f"{entry}:{line}:")
    assert rest.startswith("tracing header `authorization`: ABSENT is not set")

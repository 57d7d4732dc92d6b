"""What a collector is sent of requests, answered and not."""

import asyncio
import json
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from hypothesis import given
from hypothesis import strategies as st

from sidecar.engine.content import answer, shown
from tests.gateway import Served, gateway
from tests.house import (
    CHAT,
    HELLO,
    STREAM_HEAD,
    UP_KEY,
    Upstream,
    chunked,
    client,
    config,
    event,
    eventually,
    fails,
    looped,
    says,
    stalls,
    streams,
    upstream,
)
from tests.traces.collector import Collector, Seen, collecting

FALL_BACK = "kind: fallback\nalternatives: 1\nretries: 0\n"
_KEYS = st.sampled_from(
    ["choices", "index", "message", "delta", "content", "tool_calls", "function", "arguments", "id"]
)


def _nested(inside: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.lists(inside, max_size=4) | st.dictionaries(_KEYS, inside, max_size=4)


TRACE = "0af7651916cd43dd8448eb211c80319c"
SPAN = "b7ad6b7169203331"


@dataclass
class Stand:
    """A gateway between an upstream and a collector."""

    up: Upstream
    served: Served
    http: httpx.AsyncClient
    collector: Collector

    async def ask(self, model: str = "one", headers: Mapping[str, str] | None = None, **more: Any) -> httpx.Response:
        body = {"model": model, "messages": HELLO, **more}
        return await self.http.post(CHAT, json=body, headers=dict(headers or {}))


@asynccontextmanager
async def stand(*policies: str, tracing: str = "", environ: Mapping[str, str] | None = None) -> AsyncIterator[Stand]:
    async with upstream() as up, collecting() as collector:
        written = f"tracing: {{endpoint: '{collector.url}', {tracing}}}"
        text = config({"up": up.url}, {"one": "up", "two": "up"}, *policies, gateway=written)
        async with gateway(text, {"UP_KEY": UP_KEY, **(environ or {})}) as served, client(served.url) as http:
            yield Stand(up, served, http, collector)


def by_kind(spans: list[Seen]) -> tuple[Seen, list[Seen]]:
    """The request's span and its attempts', in the order in which they began."""
    (server,) = (span for span in spans if span.kind == "SERVER")
    return server, sorted((span for span in spans if span.kind == "CLIENT"), key=lambda span: span.start)


@looped
async def test_an_answer_is_a_span_and_a_span_for_its_attempt() -> None:
    async with stand() as s:
        before = time.time_ns()
        response = await s.ask(temperature=0.5, max_tokens=50, seed=7)
        after = time.time_ns()
        server, (attempt,) = by_kind(await s.collector.arrived(2))
    assert server.name == "chat one"
    assert server.parent == ""
    assert not server.failed
    assert attempt.name == "chat one"
    assert (attempt.trace, attempt.parent) == (server.trace, server.id)
    assert not attempt.failed
    assert before <= server.start <= attempt.start <= attempt.end <= server.end <= after
    said = server.attributes
    assert said["gen_ai.operation.name"] == "chat"
    assert said["gen_ai.request.model"] == "one"
    assert said["http.response.status_code"] == 200
    assert said["sidecar.request_id"] == response.headers["x-request-id"]
    assert said["sidecar.policy"] == response.headers["x-sidecar-policy"]
    assert said["sidecar.attempts"] == 1
    assert f"{said['sidecar.cost_usd']:.6f}" == response.headers["x-sidecar-cost-usd"]
    tried = attempt.attributes
    assert tried["gen_ai.provider.name"] == "up"
    assert tried["gen_ai.request.temperature"] == 0.5
    assert tried["gen_ai.request.max_tokens"] == 50
    assert tried["gen_ai.request.seed"] == 7
    assert (tried["gen_ai.usage.input_tokens"], tried["gen_ai.usage.output_tokens"]) == (3, 5)
    assert tried["gen_ai.response.finish_reasons"] == ["stop"]
    assert tried["gen_ai.response.id"] == "chatcmpl-1"
    assert tried["server.address"] == "127.0.0.1"
    assert tried["server.port"] == int(s.up.url.split(":")[2].split("/")[0])
    assert tried["sidecar.cost_usd"] == said["sidecar.cost_usd"] == 13e-6
    assert "gen_ai.input.messages" not in said | tried, "content is off unless asked for"


@looped
async def test_every_attempt_of_a_fallback_has_a_span() -> None:
    async with stand(FALL_BACK) as s:
        s.up.on("one", fails(503))
        s.up.on("two", fails(503))
        response = await s.ask("auto")
        server, attempts = by_kind(await s.collector.arrived(3))
    assert response.status_code == 503
    assert {a.attributes["gen_ai.request.model"] for a in attempts} == {"one", "two"}
    assert [a.attributes["sidecar.attempt"] for a in attempts] == [1, 2]
    assert all(a.failed and a.attributes["error.type"] == "overloaded" for a in attempts)
    assert all(a.parent == server.id for a in attempts)
    assert server.failed
    assert server.attributes["http.response.status_code"] == 503
    assert server.attributes["error.type"] == "overloaded"
    sent = [asked.headers["traceparent"] for asked in s.up.asked]
    assert sent == [f"00-{server.trace}-{a.id}-01" for a in attempts], "each try carries the id of its own span"


@looped
async def test_of_a_hedge_both_attempts_have_a_span() -> None:
    async with stand("kind: fallback\nalternatives: 1\nretries: 0\nhedge: 10ms\nchains: {one: [two]}\n") as s:
        s.up.on("one", stalls())
        response = await s.ask("one")
        server, attempts = by_kind(await s.collector.arrived(3))
    assert response.headers["x-sidecar-model"] == "two"
    slower, quicker = attempts
    assert slower.attributes["error.type"] == "cancelled"
    assert not (server.failed or slower.failed or quicker.failed)
    assert slower.parent == quicker.parent == server.id
    assert slower.start <= quicker.start < slower.end


@looped
async def test_a_stream_is_measured_to_its_first_chunk() -> None:
    async with stand() as s:
        s.up.on("one", streams("a", "b"))
        await s.ask(stream=True)
        server, (attempt,) = by_kind(await s.collector.arrived(2))
    assert server.attributes["gen_ai.request.stream"] is True
    assert 0 < attempt.attributes["gen_ai.response.time_to_first_chunk"] * 1e9 <= attempt.end - attempt.start
    assert attempt.attributes["gen_ai.usage.output_tokens"] == 2


@looped
async def test_a_stream_that_breaks_is_a_failure_though_its_status_was_200() -> None:
    async with stand() as s:
        s.up.on("one", streams("a", "b", end=b""))
        response = await s.ask(stream=True)
        server, (attempt,) = by_kind(await s.collector.arrived(2))
    assert response.status_code == 200
    assert attempt.failed
    assert server.failed
    assert server.attributes["error.type"] == attempt.attributes["error.type"] == "truncated"
    assert attempt.attributes["sidecar.usage_estimated"] is True


@looped
async def test_a_caller_that_hangs_up_is_no_error_of_ours() -> None:
    async with stand() as s:
        s.up.on("one", stalls(STREAM_HEAD, chunked(event("hello"))))
        async with s.http.stream("POST", CHAT, json={"model": "one", "messages": HELLO, "stream": True}) as response:
            await anext(response.aiter_bytes())
        server, (attempt,) = by_kind(await s.collector.arrived(2))
    assert server.attributes["http.response.status_code"] == 499
    assert server.attributes["error.type"] == attempt.attributes["error.type"] == "cancelled"
    assert not attempt.failed


@looped
async def test_a_refusal_has_a_span_and_a_cache_hit_too() -> None:
    cache = "kind: cache\n"
    async with stand(cache) as s:
        await s.ask(temperature=0)
        await s.ask(temperature=0)
        await s.ask("nobody-knows-this-model")
        spans = await s.collector.arrived(4)
    hit = next(span for span in spans if span.attributes.get("sidecar.cache") == "hit")
    assert hit.attributes["gen_ai.response.model"] == "one"
    assert hit.attributes["sidecar.cost_usd"] == 0
    assert hit.attributes["sidecar.attempts"] == 0
    refused = next(span for span in spans if span.name == "chat nobody-knows-this-model")
    assert refused.attributes["http.response.status_code"] == 404
    assert refused.attributes["error.type"] == "model_not_found"
    assert not refused.failed, "a caller's mistake is no fault of the server"


@looped
async def test_the_callers_trace_is_continued() -> None:
    async with stand() as s:
        await s.ask(headers={"traceparent": f"00-{TRACE}-{SPAN}-01", "tracestate": "vendor=value"})
        server, (attempt,) = by_kind(await s.collector.arrived(2))
    assert (server.trace, server.parent, server.state) == (TRACE, SPAN, "vendor=value")
    assert attempt.trace == TRACE
    assert s.up.asked[0].headers["traceparent"] == f"00-{TRACE}-{attempt.id}-01"
    assert s.up.asked[0].headers["tracestate"] == "vendor=value"


@looped
async def test_the_caller_decides_what_is_sampled() -> None:
    async with stand(tracing="sample: 0") as s:
        await s.ask(headers={"traceparent": f"00-{TRACE}-{SPAN}-00"})
        await s.ask()
        await s.ask(headers={"traceparent": f"00-{TRACE}-{SPAN}-01"})
        await s.collector.arrived(2)
        unsampled = s.up.asked[0].headers["traceparent"]
    assert unsampled.startswith(f"00-{TRACE}-")
    assert unsampled.endswith("-00")
    assert {span.trace for span in s.collector.spans} == {TRACE}


@looped
async def test_without_a_collector_nothing_is_sent_to_providers() -> None:
    async with upstream() as up:
        async with gateway(config({"up": up.url}, {"one": "up"}), {"UP_KEY": UP_KEY}) as served:
            async with client(served.url) as http:
                headers = {"traceparent": f"00-{TRACE}-{SPAN}-01", "tracestate": "a=b"}
                await http.post(CHAT, json={"model": "one", "messages": HELLO}, headers=headers)
    assert not {"traceparent", "tracestate"} & up.asked[0].headers.keys()


@looped
async def test_no_secret_is_in_a_span() -> None:
    key = "gw-a-key-of-a-caller-0123456789"
    policy = "kind: authenticate\nkeys: [{name: app, tenant: web, secret: '${CALLER}'}]\n"
    headers = "headers: {authorization: '${COLLECTOR_KEY}'}, content: redacted"
    environ = {"CALLER": key, "COLLECTOR_KEY": "Basic dGhlLWtleS1vZi10aGUtY29sbGVjdG9y"}
    async with stand(policy, tracing=headers, environ=environ) as s:
        s.up.on("one", fails(401, f"bad key {UP_KEY}"), says("hello"))
        for _ in range(2):
            await s.ask(headers={"authorization": f"Bearer {key}"})
        await s.collector.arrived(4)
        sent = s.collector.headers[0]
    body = b"".join(s.collector.bodies)
    assert (sent["content-type"], sent["authorization"]) == ("application/x-protobuf", environ["COLLECTOR_KEY"])
    assert b"web" in body, "who asked is told by name"
    assert not any(secret.encode() in body for secret in (key, UP_KEY, environ["COLLECTOR_KEY"]))


@looped
async def test_content_is_redacted() -> None:
    prompt = "I am ada@example.org, my card is 4111 1111 1111 1111 and my key sk-abcdefgh12345678. What is 12 + 30?"
    async with stand(tracing="content: redacted") as s:
        s.up.on("one", says("42, ada@example.org"), streams("4", "2 sk-abc", "defgh12345678"))
        for stream in (False, True):
            await s.ask(messages=[{"role": "user", "content": prompt}], stream=stream)
        spans = await s.collector.arrived(4)
    whole, streamed = (span.attributes for span in spans if span.kind == "CLIENT")
    assert json.loads(whole["gen_ai.input.messages"]) == [
        {
            "role": "user",
            "parts": [{"type": "text", "content": "I am ***, my card is *** and my key ***. What is 12 + 30?"}],
        }
    ]
    assert json.loads(whole["gen_ai.output.messages"]) == [
        {"role": "assistant", "parts": [{"type": "text", "content": "42, ***"}], "finish_reason": "stop"}
    ]
    assert json.loads(streamed["gen_ai.output.messages"])[0]["parts"] == [{"type": "text", "content": "42 ***"}]


@looped
async def test_a_cache_hit_shows_its_content() -> None:
    async with stand("kind: cache\n", tracing="content: redacted") as s:
        s.up.on("one", streams("one ", "answer"))
        for _ in range(2):
            await s.ask(stream=True, temperature=0)
        spans = await s.collector.arrived(3)
    hit = next(span.attributes for span in spans if span.attributes.get("sidecar.cache") == "hit")
    assert json.loads(hit["gen_ai.input.messages"]) == [
        {"role": "user", "parts": [{"type": "text", "content": "hello"}]}
    ]
    assert json.loads(hit["gen_ai.output.messages"])[0]["parts"] == [{"type": "text", "content": "one answer"}]


@given(st.one_of(st.binary(max_size=300), st.recursive(st.none() | st.integers() | st.text(), _nested, max_leaves=20)))
def test_any_answer_may_be_looked_at(body: Any) -> None:
    data = body if isinstance(body, bytes) else json.dumps({"choices": body}).encode()
    for whole in (data, b"data: " + data + b"\n\ndata: [DONE]\n", b"[" * 100_000):
        for stream in (False, True):
            shown(answer(whole, stream))


@looped
async def test_tool_calls_are_content_too_and_long_texts_are_cut() -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "find", "arguments": '{"who":"bob@example.org"}'}}
    messages = [
        {"role": "user", "content": "first " * 10_000},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "found 12345678901"},
    ]
    async with stand(tracing="content: redacted") as s:
        await s.ask(messages=messages)
        _, (attempt,) = by_kind(await s.collector.arrived(2))
    first, second, third = json.loads(attempt.attributes["gen_ai.input.messages"])
    assert len(first["parts"][0]["content"]) < 16_100
    assert second["parts"] == [{"type": "tool_call", "id": "call_1", "name": "find", "arguments": '{"who":"***"}'}]
    assert third["parts"] == [{"type": "tool_call_response", "id": "call_1", "result": "found ***"}]


@looped
async def test_a_number_too_large_for_a_span_does_not_spoil_the_others() -> None:
    async with stand() as s:
        await s.ask(seed=10**30)
        _, (attempt,) = by_kind(await s.collector.arrived(2))
    assert attempt.attributes["gen_ai.request.seed"] == 2**63 - 1


@looped
async def test_the_environments_names_are_known() -> None:
    async with upstream() as up, collecting() as collector:
        environ = {
            "UP_KEY": UP_KEY,
            "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url.removesuffix("/v1/traces") + "/",
            "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Basic%20abc, x-team = a",
            "OTEL_SERVICE_NAME": "chat-sidecar",
            "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=test,service.name=other",
        }
        for more, wanted in (({}, True), ({"OTEL_SDK_DISABLED": "true"}, False), (_GRPC, False)):
            async with gateway(config({"up": up.url}, {"one": "up"}), environ | more) as served:
                async with client(served.url) as http:
                    await http.post(CHAT, json={"model": "one", "messages": HELLO})
                assert (served.running.holder.current.tracing is not None) is wanted
        assert len(collector.spans) == 2
    assert collector.headers[0]["authorization"] == "Basic abc"
    assert collector.headers[0]["x-team"] == "a"
    assert collector.resources[0]["service.name"] == "chat-sidecar"
    assert collector.resources[0]["deployment.environment.name"] == "test"
    assert "service.version" in collector.resources[0]


_GRPC = {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}


@looped
async def test_concurrent_requests_keep_their_spans_apart() -> None:
    async with stand() as s:
        await asyncio.gather(*(s.ask() for _ in range(20)))
        spans = await s.collector.arrived(40)
    assert len({span.id for span in spans}) == 40
    assert len({span.trace for span in spans}) == 20
    servers = {span.trace: span.id for span in spans if span.kind == "SERVER"}
    assert all(servers[span.trace] == span.parent for span in spans if span.kind == "CLIENT")
    await eventually(lambda: s.served.running.stores.exporter.outcomes["exported"] == 40)

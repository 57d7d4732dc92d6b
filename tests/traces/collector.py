"""An OTLP/HTTP collector for tests. It reads exports by OpenTelemetry's own protobuf schema: what does not hold to it
fails the test."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.trace.v1 import trace_pb2

from sidecar.listen import listening
from tests.house import eventually


@dataclass(frozen=True)
class Seen:
    """One span that arrived."""

    trace: str
    id: str
    parent: str
    name: str
    kind: str
    start: int
    end: int
    failed: bool
    state: str
    attributes: dict[str, Any]


@dataclass
class Collector:
    """What came, and what to answer: `replies` one after the other, then 200. While `open` is not set it answers
    nobody."""

    url: str = ""
    bodies: list[bytes] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    resources: list[dict[str, Any]] = field(default_factory=list)
    schemas: set[str] = field(default_factory=set)
    spans: list[Seen] = field(default_factory=list)
    replies: list[tuple[int, bytes]] = field(default_factory=list)
    open: asyncio.Event = field(default_factory=asyncio.Event)
    asked: int = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        self.asked += 1
        await self.open.wait()
        status, reply = self.replies.pop(0) if self.replies else (200, b"")
        if status == 200:
            self.headers.append({name.decode(): value.decode() for name, value in scope["headers"]})
            self.bodies.append(body)
            self._read(body)
        headers = [(b"content-type", b"application/x-protobuf"), (b"content-length", b"%d" % len(reply))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": reply})

    async def arrived(self, count: int) -> list[Seen]:
        """All spans, once there are so many."""
        await eventually(lambda: len(self.spans) >= count)
        assert len(self.spans) == count, [span.name for span in self.spans]
        return self.spans

    def _read(self, body: bytes) -> None:
        export = ExportTraceServiceRequest.FromString(body)
        for resource in export.resource_spans:
            self.resources.append({pair.key: _value(pair.value) for pair in resource.resource.attributes})
            for scope in resource.scope_spans:
                self.schemas.add(scope.schema_url)
                self.spans.extend(_seen(span) for span in scope.spans)


def _seen(span: trace_pb2.Span) -> Seen:
    attributes = {pair.key: _value(pair.value) for pair in span.attributes}
    assert len(attributes) == len(span.attributes), f"an attribute stands twice: {span.attributes}"
    assert len(span.trace_id) == 16 and len(span.span_id) == 8
    return Seen(
        trace=span.trace_id.hex(),
        id=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        name=span.name,
        kind=trace_pb2.Span.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
        start=span.start_time_unix_nano,
        end=span.end_time_unix_nano,
        failed=span.status.code == trace_pb2.Status.STATUS_CODE_ERROR,
        state=span.trace_state,
        attributes=attributes,
    )


def _value(value: AnyValue) -> Any:
    which = value.WhichOneof("value")
    assert which is not None
    return [_value(item) for item in value.array_value.values] if which == "array_value" else getattr(value, which)


@asynccontextmanager
async def collecting() -> AsyncIterator[Collector]:
    """A collector on a port of its own."""
    collector = Collector()
    collector.open.set()
    async with listening(collector) as port:
        collector.url = f"http://127.0.0.1:{port}/v1/traces"
        try:
            yield collector
        finally:
            collector.open.set()

"""Log lines: one JSON object each, whatever they hold; a reader that does not read costs lines, never the gateway."""

import io
import json
import threading

from house import eventually, looped

from sidecar.engine import log
from sidecar.engine.log import Log


@looped
async def test_lines_are_json_in_order_and_none_is_lost() -> None:
    sink = io.BytesIO()
    lines = Log(sink, lambda: 1795216671.0946)
    for number in range(500):
        lines.write("info", "test", {"n": number, "text": 'a\nb"\x00é💥', "none": None})
    lines.keep([lines.start("info", "raw") + b'"x":%d}' % number for number in (1, 2)])
    assert lines.start("debug", "not written") == b""
    await lines.close()
    written = [json.loads(line) for line in sink.getvalue().decode().splitlines()]
    assert [line.get("n") for line in written[:-2]] == list(range(500))
    assert written[0] == {
        "time": "2026-11-20T23:17:51.094Z", "level": "info", "event": "test", "n": 0, "text": 'a\nb"\x00é💥',
    }  # fmt: skip
    assert [(line["event"], line["x"]) for line in written[-2:]] == [("raw", 1), ("raw", 2)]
    assert lines.dropped == 0


class Stuck(io.RawIOBase):
    """A pipe that nobody reads, until somebody does."""

    def __init__(self) -> None:
        self.gate, self.lines, self.stuck = threading.Event(), 0, threading.Event()

    def write(self, data: object) -> int:
        self.stuck.set()
        assert self.gate.wait(20)
        self.lines += bytes(data).count(b"\n")  # type: ignore[arg-type]
        return len(bytes(data))  # type: ignore[arg-type]


@looped
async def test_a_reader_that_does_not_read_is_not_waited_for() -> None:
    sink = Stuck()
    lines = Log(sink, lambda: 0.0)  # type: ignore[arg-type]
    lines.write("info", "first", {"n": 1})
    await eventually(sink.stuck.is_set)
    for number in range(log.MAX_WAITING + 7):
        lines.write("info", "more", {"n": number})
    assert lines.dropped == 7
    sink.gate.set()
    await lines.close()
    assert sink.lines == log.MAX_WAITING + 1


@looped
async def test_a_sink_that_is_gone_harms_nobody() -> None:
    sink = io.BytesIO()
    lines = Log(sink, lambda: 0.0)
    sink.close()
    lines.write("info", "x", {"n": 1})
    await lines.close()
    assert lines.dropped == 1

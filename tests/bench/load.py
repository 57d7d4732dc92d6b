"""The load: wrk when it is installed, else the generator of this package; the same figures from both.

Closed loop: a fixed number of connections, each asks again as soon as it has its whole answer. Only to 127.0.0.1.
"""

import http.client
import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench import wire
from tests.bench.process import BenchError

_LUA = """\
wrk.method = "POST"
wrk.path = {path}
wrk.headers = {{{headers}}}
wrk.body = {body}
function done(summary, latency, requests)
  local e = summary.errors
  io.write(string.format(
    '\\n@@{{"complete":%d,"bytes":%d,"seconds":%.6f,"p50":%.3f,"p99":%.3f,"errors":%d}}\\n',
    summary.requests, summary.bytes, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    e.connect + e.read + e.write + e.status + e.timeout))
end
"""


@dataclass(frozen=True)
class Target:
    """Whom to ask and as whom."""

    port: int
    model: str
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Sample:
    """One run of one server. Latencies in milliseconds.

    Shares: `busy` what the server used of its core, `idle` what nobody used of it, `foreign` what the user code of
    other programs (or the host of this virtual machine) took, on the core where that was more.
    """

    complete: int
    bytes: int
    seconds: float
    p50: float
    p99: float
    errors: int
    rate: float = 0.0
    busy: float = 0.0
    idle: float = 0.0
    foreign: float = 0.0


def tool() -> str:
    """The load generator this machine has, with its version."""
    if not shutil.which("wrk"):
        return "built-in generator"
    out = subprocess.run(["wrk", "-v"], capture_output=True, text=True, check=False).stdout
    return " ".join(out.split()[:2]) or "wrk"


def run(target: Target, seconds: int, connections: int, *, stream: bool, scratch: Path) -> Sample:
    """Load `target` for `seconds`; the caller is already on the core that the load shall use."""
    headers = {"Host": "127.0.0.1", "content-type": "application/json", **target.headers}  # wrk knows `Host` only so
    body = wire.request_body(target.model, stream=stream)
    if shutil.which("wrk"):
        found = _wrk(target.port, headers, body, seconds, connections, scratch)
    else:
        found = _builtin(target.port, headers, body, seconds, connections)
    return Sample(**found)


def _wrk(port: int, headers: dict[str, str], body: bytes, seconds: int, connections: int, scratch: Path) -> dict:
    script = scratch / "post.lua"
    pairs = ", ".join(f"[ {_lua(name)} ] = {_lua(value)}" for name, value in headers.items())
    script.write_text(_LUA.format(path=_lua(wire.PATH), headers=pairs, body=_lua(body.decode())))
    argv = ["wrk", "-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s", "-s", str(script)]
    out = _call([*argv, f"http://127.0.0.1:{port}{wire.PATH}"], b"", seconds)
    if "@@" not in out:
        raise BenchError(f"wrk printed no figures: {out.strip()[-200:]}")
    return json.loads(out.rpartition("@@")[2])


def _builtin(port: int, headers: dict[str, str], body: bytes, seconds: int, connections: int) -> dict:
    job = {"port": port, "seconds": seconds, "connections": connections, "headers": headers, "body": body.decode()}
    return json.loads(_call([sys.executable, "-m", "tests.bench.generator"], json.dumps(job).encode(), seconds))


def _call(argv: list[str], stdin: bytes, seconds: int) -> str:
    try:
        done = subprocess.run(argv, input=stdin, capture_output=True, timeout=seconds + 30, check=False)
    except subprocess.TimeoutExpired as error:
        raise BenchError(f"{argv[0]} did not stop by itself") from error
    if done.returncode:
        raise BenchError(f"{argv[0]}: {done.stderr.decode(errors='replace').strip()[-300:]}")
    return done.stdout.decode()


def _lua(text: str) -> str:
    return "[===[" + text + "]===]"


def check_stream(target: Target) -> None:
    """One stream; its text must be the upstream's and it must end with [DONE]."""
    reply = ask(target, stream=True)
    if not reply.rstrip().endswith(b"data: [DONE]"):
        raise BenchError(f"a stream does not end with [DONE] but with {reply[-80:]!r}")
    text, chunks = "", 0
    for line in reply.splitlines():
        if line.startswith(b"data: {"):
            chunks += 1
            for choice in json.loads(line[6:])["choices"]:
                text += choice["delta"].get("content") or ""
    if text != wire.STREAMED:
        raise BenchError(f"a stream's text is wrong after {chunks} chunks: {text[-60:]!r}")


def stream_size(target: Target) -> int:
    """How many bytes one stream is on the wire to the caller: head, chunks and framing."""
    body = wire.request_body(target.model, stream=True)
    headers = {"host": "127.0.0.1", "content-type": "application/json", **target.headers, "content-length": len(body)}
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    with socket.create_connection(("127.0.0.1", target.port), 20) as connection:
        connection.sendall(f"POST {wire.PATH} HTTP/1.1\r\n{head}\r\n".encode() + body)
        data = b""
        while not data.endswith(b"\r\n0\r\n\r\n"):
            part = connection.recv(65536)
            if not part:
                break
            data += part
    return len(data)


def check_json(target: Target) -> None:
    """One plain request; its answer must be the upstream's."""
    answer = json.loads(ask(target, stream=False))
    if answer["choices"][0]["message"]["content"] != wire.ANSWER or answer["usage"]["total_tokens"] != 105:
        raise BenchError(f"a wrong answer: {json.dumps(answer)[:200]}")


def ask(target: Target, *, stream: bool, patience: float = 20.0) -> bytes:
    """The body of one answer. A refusal is tried again for a moment: some servers are ready before they are ready."""
    deadline = time.perf_counter() + patience
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", target.port, timeout=patience)
        try:
            headers = {"content-type": "application/json", **target.headers}
            connection.request("POST", wire.PATH, wire.request_body(target.model, stream=stream), headers)
            response = connection.getresponse()
            body = response.read()
        except (OSError, http.client.HTTPException) as error:
            if time.perf_counter() > deadline:
                raise BenchError(f"no answer: {error!r}") from error
            time.sleep(0.2)
            continue
        finally:
            connection.close()
        if response.status == 200:
            return body
        if response.status < 500 or time.perf_counter() > deadline:
            raise BenchError(f"status {response.status}: {body[:300].decode(errors='replace')}")
        time.sleep(0.2)

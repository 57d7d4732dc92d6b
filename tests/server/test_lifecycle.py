"""`sidecar run` as a process of its own: how it starts, says why it does not, drains, and what it leaves on disk."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from gateway import ROOT, free_port, read_rows
from house import (
    CHAT,
    HELLO,
    ONCE,
    UP_KEY,
    client,
    config,
    envelope,
    eventually,
    looped,
    says,
    streams,
    texts,
    upstream,
)

from sidecar.emulator import Emulator
from sidecar.listen import listening


@dataclass
class Process:
    """A `sidecar run`."""

    process: asyncio.subprocess.Process
    port: int
    folder: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def rows(self) -> list[dict[str, object]]:
        return read_rows(self.folder / "ledger.db")

    async def up(self, http: httpx.AsyncClient) -> None:
        async def answers() -> bool:
            assert self.process.returncode is None, self.log
            try:
                return (await http.get("/health")).status_code == 200
            except httpx.TransportError:
                return False

        await eventually(answers, 20)

    async def ended(self) -> int:
        return await asyncio.wait_for(self.process.wait(), 20)


@asynccontextmanager
async def run(folder: Path, entry: str | Path, port: int = 0, **environ: str) -> AsyncIterator[Process]:
    """`sidecar run` on a configuration's text or file, its log and ledger in `folder`."""
    path = entry if isinstance(entry, Path) else folder / "gateway.yaml"
    if isinstance(entry, str):
        path.write_text(entry)
    port = port or free_port()
    variables = {"PATH": os.environ["PATH"], "SIDECAR_DATABASE_URL": f"sqlite:///{folder}/ledger.db", **environ}
    with (folder / "log").open("wb") as log:
        command = (sys.executable, "-m", "sidecar", "run", str(path), "--port", str(port))
        process = await asyncio.create_subprocess_exec(*command, env=variables, cwd=ROOT, stdout=log, stderr=log)
    try:
        yield Process(process, port, folder)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_lets_running_work_finish_and_takes_no_more(tmp_path: Path, sign: signal.Signals) -> None:
    @looped
    async def test() -> None:
        gate = asyncio.Event()
        async with upstream(m1=[streams("one ", "two", gate=gate), says("x")]) as up:
            text = config({"up": up.url}, {"m1": "up"}, gateway="limits: {drain: 15s}")
            async with run(tmp_path, text, UP_KEY=UP_KEY) as gate_process, client(gate_process.url) as http:
                await gate_process.up(http)
                body = {"model": "m1", "messages": HELLO, "stream": True}
                async with http.stream("POST", CHAT, json=body) as response:
                    lines = response.aiter_lines()
                    first = await anext(lines)
                    gate_process.process.send_signal(sign)

                    async def draining() -> bool:
                        return (await http.get("/ready")).status_code == 503

                    await eventually(draining)
                    assert (await http.get("/ready")).json()["reasons"] == {"server": "shutting down"}
                    refused = await http.post(CHAT, json={"model": "m1", "messages": HELLO})
                    assert refused.status_code == 503
                    assert envelope(refused)["code"] == "draining"
                    assert int(refused.headers["retry-after"]) >= 1
                    assert (await http.get("/health")).status_code == 200
                    gate.set()
                    rest = [line async for line in lines]
                assert texts("\n".join([first, *rest])) == "one two"
                assert rest[-2:] == ["data: [DONE]", ""]
                assert await gate_process.ended() == 0
                row = gate_process.rows()[0]
                assert (row["outcome"], row["output_tokens"], row["stream"]) == ("answered", 2, 1)
                assert row["request_id"] == response.headers["x-request-id"]
                assert '"event":"draining"' in gate_process.log

    test()


@looped
async def test_what_does_not_finish_within_the_grace_is_cut_off_and_written_down_as_such(tmp_path: Path) -> None:
    async with upstream(m1=streams("one ", "two", gate=asyncio.Event())) as up:
        text = config({"up": up.url}, {"m1": "up"}, gateway="limits: {drain: 100ms}")
        async with run(tmp_path, text, UP_KEY=UP_KEY) as gate, client(gate.url) as http:
            await gate.up(http)
            with pytest.raises(httpx.TransportError):
                async with http.stream(
                    "POST", CHAT, json={"model": "m1", "messages": HELLO, "stream": True}
                ) as response:
                    lines = response.aiter_lines()
                    await anext(lines)
                    gate.process.terminate()
                    async for line in lines:
                        assert "[DONE]" not in line
            assert await gate.ended() == 0
            rows = gate.rows()
            assert [(row["outcome"], row["failure"], row["estimated"]) for row in rows] == [("failed", "cancelled", 1)]


def start(folder: Path, text: str, *more: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    """A `sidecar run` that is expected to end by itself."""
    (folder / "gateway.yaml").write_text(text)
    command = [sys.executable, "-m", "sidecar", "run", str(folder / "gateway.yaml"), *more]
    variables = {"PATH": os.environ["PATH"], **environ}
    return subprocess.run(command, env=variables, cwd=ROOT, capture_output=True, text=True, timeout=20)


def one(*policies: str, gateway: str = "") -> str:
    return config({"up": "http://127.0.0.1:9/v1"}, {"m1": "up"}, *policies, gateway=gateway)


def test_a_port_that_is_taken_is_said(tmp_path: Path) -> None:
    with socket.socket() as place:
        place.bind(("127.0.0.1", 0))
        place.listen()
        port = place.getsockname()[1]
        ended = start(tmp_path, one(), "--port", str(port), UP_KEY=UP_KEY)
    assert ended.returncode == 1
    assert f"127.0.0.1:{port}" in ended.stderr
    assert "in use" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_an_unset_gateway_key_is_refused_where_it_is_named(tmp_path: Path) -> None:
    policy = "kind: authenticate\nkeys:\n  - name: app\n    secret: ${APP_KEY}\n"
    ended = start(tmp_path, one(policy), UP_KEY=UP_KEY)
    assert ended.returncode == 1
    line = (tmp_path / "gateway.yaml").read_text().split("secret:")[0].count("\n") + 1
    assert f"{tmp_path}/gateway.yaml:{line}:13: error[unset-secret]" in ended.stderr
    assert "APP_KEY is not set" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_weak_gateway_key_is_refused_without_being_shown(tmp_path: Path) -> None:
    policy = "kind: authenticate\nkeys:\n  - name: app\n    secret: ${APP_KEY}\n"
    ended = start(tmp_path, one(policy), UP_KEY=UP_KEY, APP_KEY="gw_hunter2")
    assert ended.returncode == 1
    assert "error[weak-key]" in ended.stderr
    assert "hunter2" not in ended.stdout + ended.stderr


def test_an_unset_variable_is_refused_where_it_is_named(tmp_path: Path) -> None:
    ended = start(tmp_path, "kind: gateway\nlisten: {host: '${WHERE}'}\n")
    assert ended.returncode == 1
    assert f"{tmp_path}/gateway.yaml:2:17: error[unset-variable]" in ended.stderr


@pytest.mark.parametrize("where", ["a-file", "a-folder", "not-a-database", "newer"])
def test_a_database_that_cannot_be_used_is_said(tmp_path: Path, where: str) -> None:
    path = tmp_path / "data" / "ledger.db"
    if where == "a-file":
        path.parent.write_text("in the way")
    elif where == "a-folder":
        path.mkdir(parents=True)
    else:
        path.parent.mkdir()
        path.write_bytes(b"this is no database, whatever its name says" * 100)
        if where == "newer":
            path.unlink()
            import sqlite3

            with sqlite3.connect(path) as db:
                db.execute("PRAGMA user_version = 999")
            db.close()
    before = path.read_bytes() if path.is_file() else None
    ended = start(tmp_path, one(), UP_KEY=UP_KEY, SIDECAR_DATABASE_URL=f"sqlite:///{path}")
    assert ended.returncode == 1, ended.stderr
    assert f"the database {path} cannot be used: " in ended.stderr
    assert "Traceback" not in ended.stderr
    if where == "newer":
        assert "newer version (schema 999)" in ended.stderr
    if where == "not-a-database":
        assert path.read_bytes() == before


def test_a_configuration_with_errors_does_not_start(tmp_path: Path) -> None:
    ended = start(tmp_path, "kind: gateway\nprovidrs: {}\n")
    assert ended.returncode == 1
    assert "did you mean `providers`?" in ended.stderr


@looped
async def test_without_any_key_everything_works_but_asking(tmp_path: Path) -> None:
    async with run(tmp_path, ROOT / "gateway.yaml") as gate, client(gate.url) as http:
        await gate.up(http)
        assert (await http.get("/ready")).status_code == 200
        status = (await http.get("/status.json")).json()
        shown = {p["name"]: (p["state"], p["key"], p["reason"]) for p in status["providers"]}
        assert shown["openai"] == ("down", "not set", "no key: OPENAI_API_KEY is not set")
        assert shown["anthropic"][2] == "no key: ANTHROPIC_API_KEY is not set"
        listed = (await http.get("/v1/models")).json()["data"]
        assert {model["owned_by"] for model in listed} == {"sidecar"}
        for model in ("auto", "auto:cost", "best"):
            refused = await http.post(CHAT, json={"model": model, "messages": HELLO})
            assert refused.status_code == 503
            assert "no key: " in envelope(refused)["message"]
        refused = await http.post(CHAT, json={"model": "gpt-4o-mini", "messages": HELLO})
        assert refused.status_code == 503
        assert "OPENAI_API_KEY is not set" in envelope(refused)["message"]
        gate.process.terminate()
        assert await gate.ended() == 0


@looped
async def test_one_key_on_the_shipped_configuration_simply_works(tmp_path: Path) -> None:
    emulator = Emulator()
    async with listening(emulator) as port:
        base = f"http://127.0.0.1:{port}/openai/v1"
        environ = {"OPENAI_API_KEY": "sk-test-0123456789abcdef", "OPENAI_BASE_URL": base}
        async with run(tmp_path, ROOT / "gateway.yaml", **environ) as gate, client(gate.url) as http:
            await gate.up(http)
            for model in ("auto", "fast", "cheap", "best", "gpt-4o-mini"):
                response = await http.post(CHAT, json={"model": model, "messages": HELLO})
                assert response.status_code == 200, response.text
                assert response.headers["x-sidecar-provider"] == "openai"
            listed = (await http.get("/v1/models")).json()["data"]
            assert {model["owned_by"] for model in listed} == {"sidecar", "openai"}
            gate.process.terminate()
            assert await gate.ended() == 0
        assert len(gate.rows()) == 5
        lines = [json.loads(line) for line in gate.log.splitlines()]
        events = [line["event"] for line in lines]
        assert (events[0], events.count("request"), events[-1]) == ("listening", 5, "draining")
        assert "sk-test" not in gate.log


@looped
async def test_a_provider_by_secret_file(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(f"  {UP_KEY}\n")
    async with upstream() as up:
        text = config({"up": up.url}, {"m1": "up"}, ONCE).replace("${UP_KEY}", f"file:{tmp_path}/key")
        async with run(tmp_path, text) as gate, client(gate.url) as http:
            await gate.up(http)
            assert (await http.post(CHAT, json={"model": "m1", "messages": HELLO})).status_code == 200
            assert up.asked[0].headers["authorization"] == f"Bearer {UP_KEY}"


@pytest.mark.skipif(sys.platform != "linux", reason="batch threads are Linux's")
@looped
async def test_the_servers_and_the_ledgers_threads_do_not_interrupt_the_loops(tmp_path: Path) -> None:
    async with upstream(m1=says("x")) as up:
        async with run(tmp_path, config({"up": up.url}, {"m1": "up"}), UP_KEY=UP_KEY) as gate, client(gate.url) as http:
            await gate.up(http)
            assert (await http.post(CHAT, json={"model": "m1", "messages": HELLO})).status_code == 200
            policies = _policies(gate.process.pid)
    assert policies.pop(str(gate.process.pid)) == os.SCHED_OTHER
    batch = [name for name, policy in policies.items() if policy == os.SCHED_BATCH]
    assert len(batch) >= 3, policies  # the server's, those that hand over to Python, and the ledger's


def _policies(process: int) -> dict[str, int]:
    """How the threads of a process are scheduled, by their numbers."""
    return {task.name: os.sched_getscheduler(int(task.name)) for task in Path(f"/proc/{process}/task").iterdir()}

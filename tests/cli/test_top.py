"""`sidecar top` in a terminal, in a pipe, and before what is no gateway."""

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import httpx
import msgspec
import pytest
from gateway import KEY, emulated, free_port
from hypothesis import given
from hypothesis import strategies as st

from sidecar.cli.top_screen import Size, screen
from sidecar.server.status_data import (
    AddedStatus,
    BudgetStatus,
    ModelStatus,
    ProviderStatus,
    RegistryUpdateStatus,
    ReloadStatus,
    Status,
)

ROOT = Path(__file__).parents[2]
BARE = {"PATH": os.environ["PATH"], "TERM": "xterm", "PYTHONUNBUFFERED": "1"}
CHAT = {"model": "test-openai", "messages": [{"role": "user", "content": "hi"}]}


def top(*arguments: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "sidecar", "top", *arguments]
    return subprocess.run(command, cwd=ROOT, env={**BARE, **environ}, capture_output=True, text=True, timeout=60)


class Terminal:
    """`sidecar top` in a terminal of its own, and what stands in that terminal's stream so far."""

    def __init__(self, *arguments: str, **environ: str) -> None:
        self._ours, self._theirs = pty.openpty()
        self.resize(24, 100)
        self.before = termios.tcgetattr(self._theirs)
        self.seen = ""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "sidecar", "top", *arguments],
            cwd=ROOT, env={**BARE, **environ}, stdin=self._theirs, stdout=self._theirs, stderr=self._theirs,
            start_new_session=True,
        )  # fmt: skip

    def resize(self, lines: int, columns: int) -> None:
        fcntl.ioctl(self._ours, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def read_until(self, pattern: str, after: int = 0) -> str:
        """What came from `after` on, once the pattern is in it."""
        end = time.monotonic() + 30
        while not re.search(pattern, self.seen[after:], re.DOTALL):
            assert time.monotonic() < end, f"no {pattern} in {self.seen[after:]!r}"
            if select.select([self._ours], [], [], 0.1)[0]:
                self.seen += os.read(self._ours, 65536).decode()
        return self.seen[after:]

    def type(self, text: str) -> None:
        os.write(self._ours, text.encode())

    def is_as_it_was(self) -> bool:
        """Whether the terminal has its own screen, cursor and settings again."""
        self.read_until(re.escape("\x1b[?25h\x1b[?1049l"))
        return termios.tcgetattr(self._theirs) == self.before

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)
        os.close(self._ours)
        os.close(self._theirs)


@contextmanager
def terminal(*arguments: str, **environ: str) -> Iterator[Terminal]:
    shown = Terminal(*arguments, **environ)
    try:
        yield shown
    finally:
        shown.close()


@contextmanager
def answering(status: int, body: bytes) -> Iterator[str]:
    """Anything that answers like this."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            """Silence."""

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def test_live_in_a_terminal_until_q() -> None:
    with emulated() as both, terminal("--url", both.gateway.value.url) as shown:
        first = shown.read_until(r"PROVIDER.*MODEL")
        assert "\x1b[?1049h\x1b[?25l" in first and "\x1b[32mREADY\x1b[0m" in first and "requests 0" in first

        httpx.post(f"{both.v1}/chat/completions", json=CHAT, headers={"authorization": f"Bearer {KEY}"})
        both.rows()
        shown.read_until(r"requests 1 .*test-openai +openai +\S*ready", len(shown.seen))
        shown.resize(8, 30)
        shown.process.send_signal(signal.SIGWINCH)
        small = shown.read_until(r"more lines.*\x1b\[J", len(shown.seen)).rpartition("\x1b[H")[2]
        drawn = re.sub(r"\x1b\[\w*[KJmH]", "", small).split("\r\n")
        assert len(drawn) == 8 and max(map(len, drawn)) <= 30
        shown.type("q")
        assert shown.is_as_it_was() and shown.process.wait(20) == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_the_terminal_as_it_was(number: signal.Signals) -> None:
    with emulated() as both, terminal("--url", both.gateway.value.url, NO_COLOR="1") as shown:
        assert not re.search(r"\x1b\[\d*m", shown.read_until("PROVIDER.*MODEL"))
        shown.process.send_signal(number)
        assert shown.is_as_it_was() and shown.process.wait(20) == 0


def test_a_gateway_that_goes_away_is_told_of_and_what_was_seen_stays() -> None:
    with emulated() as both:
        shown = Terminal("--url", both.gateway.value.url)
        try:
            shown.read_until("PROVIDER.*MODEL")
        except BaseException:
            shown.close()
            raise
    try:
        assert "test-openai" not in shown.read_until("as of .*no gateway answers here.*PROVIDER", len(shown.seen))
        shown.type("\x04")
        assert shown.is_as_it_was() and shown.process.wait(20) == 0
    finally:
        shown.close()


def test_where_there_is_no_terminal_it_prints_once() -> None:
    with emulated() as both:
        for arguments, environ in (((), {}), (("--once",), {"TERM": "dumb"})):
            ran = top("--url", both.gateway.value.url, *arguments, **environ)
            assert (ran.returncode, ran.stderr) == (0, "") and "\x1b" not in ran.stdout
            assert "READY" in ran.stdout and re.search(r"^openai +ready +set", ran.stdout, re.MULTILINE)


def test_what_cannot_be_read_is_told_in_one_line() -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    ran = top("--url", nobody)
    assert ran.returncode == 1 and ran.stderr.startswith(f"sidecar top: {nobody}: no gateway answers here: ")
    assert ran.stderr.count("\n") == 1 and "refused" in ran.stderr
    for url in ("gateway", "ftp://x", "http://127.0.0.1:99999"):
        ran = top("--url", url)
        assert (ran.returncode, ran.stdout) == (2, "") and ran.stderr.startswith(f"sidecar top: --url {url}: ")
    for status, body, told in (
        (401, b"{}", "refused (401): --key is needed"),
        (404, b"nope", "no gateway of ours: status 404"),
        (200, b"<html>", "no gateway of this version: JSON is malformed"),
        (200, b'{"status": 1}', "no gateway of this version: Expected"),
        (200, b'"' + b"x" * 5_000_000, "no gateway of ours: status 200, 4,194,305 bytes"),
    ):
        with answering(status, body) as url:
            ran = top("--url", url)
            assert ran.returncode == 1 and told in ran.stderr and ran.stderr.count("\n") == 1, ran.stderr
    with answering(401, b"{}") as url:
        assert "this key may not" in top("--url", url, SIDECAR_ADMIN_KEY="gw_key").stderr


EMPTY = Status(
    status="not ready", reasons={"registry": "none"}, version="1", now=100.0, started=0.0, running=0, policy="p" * 64,
    policy_since=0.0, reload=ReloadStatus("refused", 50.0, "a.yaml:1:1: error[x]: y\n"), registry_problem=None,
    providers=[], traffic=None, traffic_problem="still counting", models=[], models_omitted=0, stages=[], budgets=[],
    rollout=None, files=[], added=AddedStatus(None, None, None), record=None,
    registry_update=RegistryUpdateStatus(None, None, None, None, {}, 0, 0, []),
)  # fmt: skip


def test_a_refused_configuration_is_shown_with_its_findings() -> None:
    text = "\n".join(screen(EMPTY, "http://x", None))
    assert "NOT READY" in text and "registry: none" in text and "still counting" in text
    assert "configuration refused at " in text and "  a.yaml:1:1: error[x]: y" in text


def test_budgets_are_shown_with_what_is_left() -> None:
    spent = BudgetStatus("day", "app", "hard", "1234.5", "0.00021", "0", "1234.49979", 86_400.0)
    text = "\n".join(screen(msgspec.structs.replace(EMPTY, budgets=[spent]), "http://x", None))
    assert re.search(r"day +app +hard +1,234.5000 +0.00021 +1,234.4997 +1970-01-0", text), text


@given(st.text(), st.floats(allow_nan=False), st.integers(1, 60), st.integers(1, 90), st.booleans())
def test_any_status_fits_any_terminal_and_makes_it_do_nothing(
    name: str, number: float, lines: int, columns: int, colored: bool
) -> None:
    provider = ProviderStatus(name, name, name, "set", "down", name, 1, 2)
    figures = (name, name, False, number, number, number, (), None, name, name, True)
    model = ModelStatus(name, name, "resting", name, name, 1, 1, *figures)
    budget = BudgetStatus(name, name, "soft", name, "1234567.891", "0.00001", name, number)
    status = msgspec.structs.replace(
        EMPTY, reasons={name: name}, version=name, now=number, policy=name, policy_since=number, registry_problem=name,
        reload=ReloadStatus("refused", number, name), providers=[provider], models=[model],
        budgets=[budget],
    )  # fmt: skip
    drawn = screen(status, name, Size(columns, lines), problem=name, colored=colored)
    bare = [re.sub(r"\x1b\[\d+m", "", line) for line in drawn] if colored else drawn
    assert len(drawn) <= lines and all(len(line) <= columns and line.isprintable() for line in bare)

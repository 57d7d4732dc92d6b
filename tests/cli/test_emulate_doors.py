"""`sidecar emulate --faults` below HTTP, as users meet it: the command in a process of its own, before it OpenAI's SDK
or this gateway, with the lines that it printed as their environment."""

import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
from gateway import ROOT, process
from house import CHAT, HELLO, config, envelope

PATIENCE = httpx.Timeout(20, connect=0.3)
HI: Any = HELLO


@contextmanager
def emulate(folder: Path, *faults: str, lines: int = 4, port: int = 0) -> Iterator[dict[str, str]]:
    """The environment it prints; told to stop it must end well, whatever it is doing."""
    (folder / "faults.yaml").write_text("\n".join(["kind: faults", "seed: 7", "faults:", *(f"- {f}" for f in faults)]))
    command = [sys.executable, "-m", "sidecar", "emulate", "--faults", "faults.yaml", "--port", str(port)]
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "default::ResourceWarning"}
    with (folder / "log").open("w+") as log:
        with subprocess.Popen(command, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=log, text=True) as running:
            try:
                assert running.stdout is not None
                said = [running.stdout.readline().strip().partition("=") for _ in range(lines)]
                yield {name: value for name, _, value in said}
                running.send_signal(signal.SIGTERM)
                assert (running.wait(20), running.stdout.read()) == (0, "")
            finally:
                running.kill()
        assert (folder / "log").read_text() == ""


Sdk = Callable[[str], openai.OpenAI]


@pytest.fixture
def sdk() -> Iterator[Sdk]:
    """A client of an address, whatever the provider there is called: the path says which protocol is spoken."""
    with ExitStack() as stack:
        yield lambda url: stack.enter_context(
            openai.OpenAI(base_url=f"{root(url)}/openai/v1", api_key="k", max_retries=0, timeout=PATIENCE)
        )


def root(url: str) -> str:
    return str(httpx.URL(url).copy_with(raw_path=b"")).rstrip("/")


def ask(client: openai.OpenAI) -> str:
    """What came of it: the kind of fault below HTTP, or `well`."""
    try:
        assert client.chat.completions.create(model="m", messages=HI).choices[0].message.content
    except openai.APIConnectionError as fault:
        return type(fault.__cause__).__name__ + (" SSL" if "SSL" in str(fault.__cause__) else "")
    return "well"


def test_faults_for_the_whole_run(tmp_path: Path, sdk: Sdk) -> None:
    with emulate(
        tmp_path,
        "{fault: refused, match: {provider: openai}}",
        "{fault: connect_timeout, match: {provider: google}}",
        "{fault: dns, match: {provider: ollama}}",
        "{fault: refused, match: {provider: my.own}}",
        lines=5,
    ) as env:
        assert ask(sdk(env["OPENAI_BASE_URL"])) == ask(sdk(env["MY_OWN_BASE_URL"])) == "ConnectError"
        assert ask(sdk(env["GOOGLE_GEMINI_BASE_URL"])) == "ConnectTimeout"
        assert ask(sdk(env["ANTHROPIC_BASE_URL"])) == "well"
        assert env["OLLAMA_BASE_URL"] == "http://nowhere.invalid/ollama"
        assert ask(sdk(env["OLLAMA_BASE_URL"])) != "well"
        assert env["MY_OWN_BASE_URL"].endswith("/my.own")


@pytest.mark.parametrize(("fault", "seen"), [("refused", "ConnectError"), ("connect_timeout", "ConnectTimeout")])
def test_a_door_that_shuts_before_the_nth_connection_and_opens_again(
    tmp_path: Path, sdk: Sdk, fault: str, seen: str
) -> None:
    """For as long as is said after the answer before, however late that was."""
    slow = ["{fault: slow, match: {nth: 1}, delay: 2500ms}"] if fault == "refused" else []
    with emulate(tmp_path, f"{{fault: {fault}, match: {{provider: openai, nth: 2}}, lasting: 2s}}", *slow) as env:
        client = sdk(env["OPENAI_BASE_URL"])
        assert [ask(client), ask(client)] == ["well", seen]
        end = time.monotonic() + 30
        while ask(client) != "well":
            assert time.monotonic() < end
        assert [ask(client) for _ in range(3)] == ["well"] * 3


def test_a_door_that_is_shut_at_the_start(tmp_path: Path, sdk: Sdk) -> None:
    with emulate(tmp_path, "{fault: refused, times: 1, lasting: 2s}") as env:
        clients = [sdk(url) for url in env.values()]
        assert len({client.base_url.port for client in clients}) == 4
        # Each provider counts by itself.
        assert [ask(client) for client in clients] == ["ConnectError"] * 4
        end = time.monotonic() + 30
        while {ask(client) for client in clients} != {"well"}:
            assert time.monotonic() < end


def test_tls_that_fails_at_the_nth_connection(tmp_path: Path, sdk: Sdk, monkeypatch: pytest.MonkeyPatch) -> None:
    with emulate(tmp_path, "{fault: tls, match: {provider: openai, nth: 2}}", lines=5) as env:
        assert env["OPENAI_BASE_URL"].startswith("https://127.0.0.1:")
        assert env["ANTHROPIC_BASE_URL"].startswith("http://127.0.0.1:")
        monkeypatch.setenv("SSL_CERT_FILE", env["SSL_CERT_FILE"])
        client = sdk(env["OPENAI_BASE_URL"])
        assert [ask(client) for _ in range(4)] == ["well", "ConnectError SSL", "well", "well"]
        local = sdk(env["OPENAI_BASE_URL"].replace("127.0.0.1", "localhost"))
        assert "".join(pieces(local)).startswith("A few words")
        monkeypatch.delenv("SSL_CERT_FILE")
        assert ask(sdk(env["OPENAI_BASE_URL"])) == "ConnectError SSL"  # nobody trusts it unasked
    assert not Path(env["SSL_CERT_FILE"]).parent.exists()


def pieces(client: openai.OpenAI) -> Iterator[str]:
    with client.chat.completions.create(model="m", messages=HI, stream=True) as stream:
        yield from (chunk.choices[0].delta.content or "" for chunk in stream)


def test_draws_at_a_door_are_reproducible_and_its_own(
    tmp_path: Path, sdk: Sdk, monkeypatch: pytest.MonkeyPatch
) -> None:
    def drawn() -> list[list[str]]:
        with emulate(tmp_path, "{fault: tls, probability: 0.5, times: 5}", lines=5) as env:
            monkeypatch.setenv("SSL_CERT_FILE", env.pop("SSL_CERT_FILE"))
            return [[ask(client) for _ in range(16)] for client in map(sdk, env.values())]

    first = drawn()
    assert [seen.count("ConnectError SSL") for seen in first] == [5] * 4
    assert len(set(map(tuple, first))) == 4
    assert drawn() == first


def test_the_gateway_before_all_five(tmp_path: Path) -> None:
    with emulate(
        tmp_path,
        "{fault: refused, match: {provider: openai}}",
        "{fault: connect_timeout, match: {provider: anthropic}}",
        "{fault: dns, match: {provider: google}}",
        "{fault: tls, match: {provider: ollama, nth: 2}}",
        "{fault: total_timeout, match: {contains: for ever}, delay: 50ms}",
        lines=5,
    ) as env:
        authority = env.pop("SSL_CERT_FILE")
        models = dict(zip(("refused", "connect_timeout", "dns", "tls"), env.values(), strict=True))
        providers = {name: f"{root(url)}/openai/v1" for name, url in models.items()}
        limits = "kind: fallback\nretries: 0\nalternatives: 0\ntimeouts: {connect: 500ms, total: 4s}\n"
        (tmp_path / "gateway.yaml").write_text(config(providers, {name: name for name in models}, limits))
        environ = {"UP_KEY": "k", "SSL_CERT_FILE": authority, "PYTHONPATH": str(ROOT)}
        with (
            process(tmp_path / "gateway.yaml", environ) as url,
            httpx.Client(base_url=url, trust_env=False, timeout=20) as http,
        ):

            def asked(model: str, text: str = "hello") -> tuple[int, str]:
                messages = [{"role": "user", "content": text}]
                response = http.post(CHAT, json={"model": model, "messages": messages})
                return response.status_code, envelope(response)["code"] if response.status_code != 200 else "well"

            assert asked("refused") == (502, "provider_refused")
            assert asked("connect_timeout") == (504, "connect_timeout")
            assert asked("dns") == (502, "provider_dns")
            assert [asked("tls"), asked("tls")] == [(200, "well"), (502, "provider_tls")]
            assert asked("tls", "for ever") == (504, "total_timeout")


def test_who_leaves_through_a_door_is_gone_and_so_is_the_emulator_when_told(
    tmp_path: Path, sdk: Sdk, monkeypatch: pytest.MonkeyPatch
) -> None:
    with emulate(
        tmp_path,
        "{fault: total_timeout, delay: 10ms}",
        "{fault: tls, match: {provider: openai, nth: 9}}",
        "{fault: refused, match: {provider: google, nth: 9}, lasting: 1s}",
        lines=5,
    ) as env:
        monkeypatch.setenv("SSL_CERT_FILE", env["SSL_CERT_FILE"])
        clients = sdk(env["OPENAI_BASE_URL"]), sdk(env["GOOGLE_GEMINI_BASE_URL"])
        for client in clients:
            with client.chat.completions.create(model="m", messages=HI, stream=True) as stream:
                assert [next(stream).choices[0].delta.content for _ in range(2)] == ["", "and so on, "]
            end = time.monotonic() + 10
            while not last(env)["disconnected"]:
                assert time.monotonic() < end
        endless = [pieces(client) for client in clients]
        assert [next(stream) for stream in endless] == ["", ""]
    for stream in endless:
        with pytest.raises(openai.APIConnectionError):
            list(stream)


def last(env: dict[str, str]) -> dict[str, Any]:
    """The last request, from the emulator's own port."""
    shown: dict[str, Any] = httpx.get(f"{root(env['ANTHROPIC_BASE_URL'])}/_emulator/requests").json()[-1]
    return shown


def test_faults_of_http_pass_a_door_and_large_bodies_do(tmp_path: Path, sdk: Sdk) -> None:
    door = "{fault: refused, match: {provider: openai, nth: 9}, lasting: 1s}"
    with emulate(tmp_path, door, "{fault: reset, after: 0, match: {contains: break off}}") as env:
        url = f"{env['OPENAI_BASE_URL']}/chat/completions"
        for text, seen in (("x" * 5_000_000, 200), ("x" * 40_000_000, 413), ("break off", None)):
            body = {"model": "m", "messages": [{"role": "user", "content": text}]}
            try:
                assert httpx.post(url, json=body, headers={"authorization": "Bearer k"}).status_code == seen
            except httpx.RemoteProtocolError:
                assert seen is None
        assert ask(sdk(url)) == "well"


def free_row(count: int) -> int:
    """The first of some neighbouring ports that are free."""
    for start in random.sample(range(15_000, 30_000), 50):
        with ExitStack() as stack:
            try:
                for port in range(start, start + count):
                    stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
            except OSError:
                continue
            return start
    raise AssertionError("no free ports")


def test_the_ports_of_doors_follow_from_that_of_the_emulator(tmp_path: Path) -> None:
    port = free_row(6)
    faults = ("{fault: refused, match: {provider: other}}", "{fault: refused, match: {provider: google}}")
    with emulate(tmp_path, *faults, port=port, lines=5) as env:
        ports = {name: httpx.URL(url).port for name, url in env.items()}
    assert ports == {
        "OPENAI_BASE_URL": port,
        "ANTHROPIC_BASE_URL": port,
        "GOOGLE_GEMINI_BASE_URL": port + 3,
        "OLLAMA_BASE_URL": port,
        "OTHER_BASE_URL": port + 5,
    }
    command = [sys.executable, "-m", "sidecar", "emulate", "--faults", "faults.yaml", "--port"]
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port + 3))
        taken.listen()
        for start, why in ((port, "[Errno 98] Address already in use"), (65533, "no such port")):
            ran = subprocess.run(
                [*command, str(start)], cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True
            )
            door = f"the door of `google`, port {start + 3}: {why}"
            assert (ran.returncode, ran.stderr.decode()) == (1, f"sidecar emulate: 127.0.0.1:{start}: {door}\n")

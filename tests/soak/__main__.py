"""`python -m tests.soak --minutes 30`: emulator with faults and gateway as processes, sixteen callers, reloads now and
then; figures each minute, and at the end whether the gateway stayed flat. Everything on 127.0.0.1, in a folder that
goes away."""

import argparse
import asyncio
import contextlib
import signal
import socket
import sys
import tempfile
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from .figures import Sample, Watched, verdict
from .traffic import Traffic

ROOT = Path(__file__).resolve().parents[2]
LONGEST = 24 * 60
SAMPLES_EVERY, RELOADS_EVERY = 5, 20
PROTOCOLS = {"openai": "openai/v1", "anthropic": "anthropic", "google": "google", "ollama": "ollama"}

FAULTS = """kind: faults
seed: 7
faults:
  - {fault: server_error, probability: 0.03}
  - {fault: rate_limited, probability: 0.01, retry_after: 1s}
  - {fault: overloaded, probability: 0.005}
  - {fault: stream_error, probability: 0.01, after: 2}
  - {fault: truncated, probability: 0.01, after: 2}
  - {fault: malformed, probability: 0.005, after: 0}
  - {fault: reset, probability: 0.01, after: 0}
  - {fault: idle_timeout, probability: 0.002, after: 1}
  - {fault: first_token_timeout, probability: 0.002}
  - {fault: empty, probability: 0.005}
  - {fault: slow, probability: 0.02, delay: 300ms}
"""
SCRIPT = "kind: emulator\nreplies: [{delay: 5ms, chunk_delay: 3ms, chunks: 8}]\n"
FALLBACK = """kind: fallback
alternatives: 2
chains: {m-openai: [m-anthropic, m-google], m-anthropic: [m-google], m-google: [m-ollama], m-ollama: [m-openai]}
backoff: {initial: 20ms, max: 200ms}
breaker: {cooldown: 2s, max_cooldown: 10s}
hedge: 200ms
timeouts: {connect: 1s, first_token: 1s, idle: 1s, total: SECONDS}
"""
REFUSED = "kind: fallback\nretries: -1\n"


def configuration(folder: Path, emulator: int) -> Path:
    """A gateway with a model at each of the emulator's four providers, its cache small enough to be full soon."""
    base = f"http://127.0.0.1:{emulator}"
    lines = ["kind: gateway", "policies: [policies]", "access_log: false", "providers:"]
    for name, path in PROTOCOLS.items():
        more = ", concurrency: 8, queue: 4, queue_wait: 500ms" if name == "openai" else ""
        lines.append(f"  {name}: {{protocol: {name}, base_url: '{base}/{path}', api_key: '${{UP_KEY}}'{more}}}")
    figures = "context: 100000, max_output: 8192, capabilities: all, price: {input: 1, output: 2}"
    lines += ["models:", *(f"  m-{name}: {{provider: {name}, upstream: m, {figures}}}" for name in PROTOCOLS)]
    policies = folder / "policies"
    policies.mkdir()
    (policies / "rate_limit.yaml").write_text("kind: rate_limit\nlimits: [{per: ip, requests: 1000000/m}]\n")
    (policies / "cache.yaml").write_text("kind: cache\nmax_entries: 200\nttl: 1m\n")
    (policies / "fallback.yaml").write_text(FALLBACK.replace("SECONDS", "60s"))
    (folder / "gateway.yaml").write_text("\n".join(lines) + "\n")
    return folder / "gateway.yaml"


@asynccontextmanager
async def program(log: Path, *command: str, **environ: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process of ours; ended, if need be killed, when the context ends."""
    with log.open("wb") as sink:
        process = await asyncio.create_subprocess_exec(
            sys.executable, *command, cwd=ROOT, env={"PATH": "/usr/bin:/bin", **environ}, stdout=sink, stderr=sink
        )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), 15)
        if process.returncode is None:
            process.kill()
            await process.wait()


async def answering(url: str, process: asyncio.subprocess.Process, log: Path) -> None:
    for _ in range(400):
        if process.returncode is not None:
            break
        with contextlib.suppress(OSError):
            await asyncio.to_thread(urllib.request.urlopen, url, None, 2)
            return
        await asyncio.sleep(0.05)
    raise SystemExit(f"{url} does not answer:\n{await asyncio.to_thread(log.read_text)}")


async def reloading(folder: Path) -> None:
    """Now and then an edit; every third is one that is refused, and taken back."""
    path, number = folder / "policies" / "fallback.yaml", 0
    while True:
        await asyncio.sleep(RELOADS_EVERY)
        number += 1
        good = path.read_text()
        path.write_text(REFUSED if number % 3 == 0 else FALLBACK.replace("SECONDS", f"{60 + number % 50}s"))
        if number % 3 == 0:
            await asyncio.sleep(2)
            path.write_text(good)


async def watching(watched: Watched, traffic: Traffic, minutes: float) -> list[Sample]:
    """Samples, and a line a minute."""
    samples: list[Sample] = []
    shown = 0
    for number in range(1, int(minutes * 60 / SAMPLES_EVERY) + 1):
        await asyncio.sleep(SAMPLES_EVERY)
        samples.append(await asyncio.to_thread(watched.sample))
        if number * SAMPLES_EVERY % 60 == 0:
            count, shown = traffic.requests - shown, traffic.requests
            print(f"{number * SAMPLES_EVERY // 60:4} min  {samples[-1]}  requests {count:6}  failed {traffic.failed}")
            sys.stdout.flush()
    return samples


async def soak(minutes: float, folder: Path) -> bool:
    """One run; whether all was well."""
    emulator, port = free_ports(2)
    (folder / "faults.yaml").write_text(FAULTS)
    (folder / "script.yaml").write_text(SCRIPT)
    entry, log, tasks = configuration(folder, emulator), folder / "gateway.log", folder / "tasks"
    environ = {"UP_KEY": "sk-soak-0123456789abcdef", "SOAK_TASKS": str(tasks)}
    environ["SIDECAR_DATABASE_URL"] = f"sqlite:///{folder}/ledger.db"
    emulate = ("emulate", str(folder / "script.yaml"), "--faults", str(folder / "faults.yaml"))
    async with (
        program(folder / "emulator.log", "-m", "sidecar", *emulate, "--port", str(emulator)) as up,
        program(log, "-m", "tests.soak.served", "run", str(entry), "--port", str(port), **environ) as gateway,
    ):
        url = f"http://127.0.0.1:{port}"
        await answering(f"http://127.0.0.1:{emulator}/_emulator/requests", up, folder / "emulator.log")
        await answering(f"{url}/ready", gateway, log)
        traffic, watched = Traffic(url), Watched(gateway.pid, tasks)
        calling, editing = asyncio.create_task(traffic.run()), asyncio.create_task(reloading(folder))
        try:
            samples = await watching(watched, traffic, minutes)
        finally:
            traffic.over.set()
            editing.cancel()
            await calling
        await asyncio.sleep(2)
        print(f"at rest   {watched.sample()}")
        gateway.send_signal(signal.SIGTERM)
        status = await asyncio.wait_for(gateway.wait(), 45)
    return report(samples, traffic, status, minutes)


def report(samples: list[Sample], traffic: Traffic, status: int, minutes: float) -> bool:
    """The verdict, in words and as such."""
    flat, words = verdict(samples, warm=min(120.0, minutes * 60 / 4))
    print("", *words, "", sep="\n")
    print(f"{traffic.requests} requests:", ", ".join(f"{what} {n}" for what, n in traffic.count.most_common()))
    print(f"faults: {dict(traffic.faults) or 'none'}; exit status {status}")
    print("verdict:", "flat" if flat else "NOT flat")
    return flat and not traffic.faults and status == 0


def free_ports(count: int) -> list[int]:
    """Ports that were free a moment ago."""
    places = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [int(place.getsockname()[1]) for place in places]
    for place in places:
        place.close()
    return ports


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.soak")
    parser.add_argument("--minutes", type=float, default=30)
    minutes = min(parser.parse_args().minutes, LONGEST)
    with tempfile.TemporaryDirectory(prefix="soak-") as folder:
        return 0 if asyncio.run(soak(minutes, Path(folder))) else 1


if __name__ == "__main__":
    sys.exit(main())

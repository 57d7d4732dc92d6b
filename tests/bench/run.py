"""The measurement itself: start and weigh every server alone, then load them all in interleaved rounds."""

import contextlib
import json
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench import load
from tests.bench.install import ROOT, SkipRow
from tests.bench.load import Sample
from tests.bench.process import (
    BenchError,
    Launch,
    Memory,
    Server,
    core_seconds,
    environment,
    free_port,
    get,
    pinned,
)
from tests.bench.rows import BUILDERS, Place, Row

_SLOW_START = 5.0
_DISTURBED = 0.05
_DECISION_PATIENCE = 150


@dataclass(frozen=True)
class Plan:
    """How much is measured."""

    rounds: int = 5
    seconds: int = 4
    warm_up: int = 1
    starts: int = 3
    idle: float = 2.0
    connections: int = 32
    repeats: int = 5  # of runs that other programs disturbed, in all; the least disturbed one counts
    limit: int = 475  # seconds for everything after the installs; what was measured until then is reported
    server_cpu: int = 0
    load_cpu: int = 1


@dataclass
class Result:
    """What was found out about one row."""

    row: Row
    starts: list[float] = field(default_factory=list)
    idle: Memory | None = None
    samples: dict[str, list[Sample]] = field(default_factory=dict)
    failure: str = ""


class OutOfTime(Exception):
    """The whole run took longer than its limit."""


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


class Bench:
    """One run. A context manager: on leaving, whatever happened, every process it started is gone."""

    def __init__(self, plan: Plan, scratch: Path) -> None:
        self.plan = plan
        self.results: dict[str, Result] = {}
        self.skipped: dict[str, str] = {}
        self.decision: dict = {}
        self.cut_short = False
        self._scratch = scratch
        self._servers: dict[str, Server] = {}
        self._sizes: dict[str, int] = {}
        self._repeats = plan.repeats

    def __enter__(self) -> "Bench":
        port = free_port()
        argv = [sys.executable, "-m", "tests.bench.upstream", str(port)]
        launch = Launch(argv, port, "/count", ROOT, environment(HOME=str(self._scratch)))
        self._guard = subprocess.Popen(
            [sys.executable, "-I", "-S", str(Path(__file__).with_name("guard.py")), str(self._scratch)],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        try:
            self._start("direct", launch, self.plan.load_cpu)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(name, signal.SIG_IGN)  # a second Ctrl-C must not stop the clearing up, which is bounded
        for server in self._servers.values():
            server.end()
        for name in list(self._servers):
            self._stop(name)
        with contextlib.suppress(OSError, subprocess.TimeoutExpired):
            self._guard.communicate(b"done\n", timeout=10)

    def build(self, names: list[str], *, may_install: bool) -> None:
        """Configure the chosen rows; what cannot be measured here is skipped with its reason."""
        place = Place(self._scratch, self._servers["direct"].launch.port, may_install)
        for name in names:
            try:
                for row in BUILDERS[name](place):
                    self.results[row.name] = Result(row, samples={kind: [] for kind in row.runs})
            except SkipRow as reason:
                self.skipped[name] = str(reason)
                say(f"skipped {name}: {reason}")

    def weigh(self) -> None:
        """Start-up time and idle memory of each. Those on this interpreter first, with no other server beside them."""
        for result in sorted(self.results.values(), key=lambda r: not r.row.own_python):
            if result.row.launch is not None:
                self._attempt(result, self._weigh_one)

    def start(self, name: str, launch: Launch) -> float:
        """Start a server on the servers' core; the seconds it took to be ready."""
        return self._start(name, launch, self.plan.server_cpu)

    def pause(self, name: str) -> None:
        """Freeze a server once it has nothing left to do."""
        self._servers[name].settle()
        self._servers[name].pause()

    def resume(self, name: str) -> None:
        """Let a frozen server go on."""
        self._servers[name].resume()

    def read(self, name: str) -> float:
        """Megabytes that a server has read from disk so far."""
        return self._servers[name].read() / 1e6

    @property
    def upstream(self) -> int:
        """The port of the fake provider."""
        return self._servers["direct"].launch.port

    def rounds(self) -> None:
        """A B C, C B A, ...: all servers alive, all but one frozen."""
        for result in self.results.values():
            self._attempt(result, self._make_ready)
        for number in range(1, self.plan.rounds + 1):
            turn = list(self.results.values())
            for result in turn if number % 2 else reversed(turn):
                self._attempt(result, self._round)
            found = (f"{r.row.name} {_last(r)}" for r in self.results.values() if not r.failure)
            say(f"round {number}/{self.plan.rounds}: " + ", ".join(found))

    def decide(self) -> None:
        """The routing decision, in a process of its own on the servers' core."""
        try:
            done = subprocess.run(
                [sys.executable, "-m", "tests.bench.decision"],
                capture_output=True,
                text=True,
                cwd=ROOT,
                env=environment(HOME=str(self._scratch), SIDECAR_KEY="sk-upstream-bench-0123456789"),
                timeout=_DECISION_PATIENCE,
                check=False,
                preexec_fn=pinned(self.plan.server_cpu),
            )
        except subprocess.TimeoutExpired:
            self.decision = {"failure": f"took more than {_DECISION_PATIENCE} s"}
            return
        if done.returncode:
            self.decision = {"failure": (done.stderr.strip().splitlines() or ["no output"])[-1]}
        else:
            self.decision = json.loads(done.stdout.strip().splitlines()[-1])

    def _attempt(self, result: Result, step: Callable[[Result], None]) -> None:
        """A server that fails leaves the run, with its reason; the others go on."""
        if result.failure:
            return
        try:
            step(result)
        except (BenchError, OSError, KeyError, ValueError) as error:
            result.failure = " ".join(str(error).split()) or repr(error)
            say(f"failed {result.row.name}: {result.failure}")
            if result.row.launch is not None:
                self._stop(result.row.name)

    def _weigh_one(self, result: Result) -> None:
        row, wanted = result.row, self.plan.starts
        while len(result.starts) < wanted:
            self._stop(row.name)
            result.starts.append(self._start(row.name, row.launch, self.plan.server_cpu))
            if result.starts[0] > _SLOW_START:
                wanted = min(wanted, 2)
        self._check(row)
        server = self._servers[row.name]
        server.settle()
        time.sleep(self.plan.idle)
        result.idle = server.memory()
        if row.own_python:
            self._stop(row.name)
        else:
            server.pause()
        say(f"{row.name}: ready in {min(result.starts):.2f} s, idle {result.idle.pss:.0f} MB")

    def _make_ready(self, result: Result) -> None:
        row = result.row
        if row.name not in self._servers:
            self._start(row.name, row.launch, self.plan.server_cpu)
        server = self._servers[row.name]
        server.resume()
        self._check(row)
        if "stream" in row.runs:
            self._sizes[row.name] = load.stream_size(row.target)
        if row.launch is not None:
            server.pause()

    def _check(self, row: Row) -> None:
        load.check_json(row.target)
        if "stream" in row.runs:
            load.check_stream(row.target)

    def _round(self, result: Result) -> None:
        if result.row.renewed:
            self._stop(result.row.name)
            self._start(result.row.name, result.row.launch, self.plan.server_cpu)
        server = self._servers[result.row.name]
        server.resume()
        for kind in result.row.runs:
            self._load(result.row, kind, self.plan.warm_up)
            server.settle()
            sample = self._measure(result.row, kind, server)
            while sample.foreign > _DISTURBED and self._repeats > 0:
                self._repeats -= 1
                server.settle()
                sample = min(sample, self._measure(result.row, kind, server), key=lambda s: s.foreign)
            result.samples[kind].append(sample)
            server.settle()
        if result.row.launch is not None:
            server.pause()

    def _load(self, row: Row, kind: str, seconds: int) -> Sample:
        stream = kind == "stream"
        return load.run(row.target, seconds, self.plan.connections, stream=stream, scratch=self._scratch)

    def _measure(self, row: Row, kind: str, server: Server) -> Sample:
        asked, used, before = self._asked(), sum(server.cpu()), self._surroundings(row, server)
        sample = self._load(row, kind, self.plan.seconds)
        used = sum(server.cpu()) - used
        idle, *others = (b - a for a, b in zip(before, self._surroundings(row, server), strict=True))
        asked = self._asked() - asked
        sample.busy = min(1.0, used / sample.seconds)
        sample.idle = min(1.0, idle / sample.seconds)
        sample.foreign = max(0.0, *others) / sample.seconds
        sample.rate = (sample.complete + self._begun(row, kind, sample)) / sample.seconds
        if sample.errors > sample.complete / 1000:
            raise BenchError(f"{sample.errors} errors beside {sample.complete} answers ({kind})")
        if kind == "cache" and asked > 5 + sample.complete / 100:
            raise BenchError(f"no cache hits: {sample.complete} answers, {asked} of them from the upstream")
        if kind != "cache" and asked < sample.complete * 0.98:
            raise BenchError(f"{sample.complete} answers ({kind}), only {asked} of them from the upstream")
        return sample

    def _surroundings(self, row: Row, server: Server) -> tuple[float, float, float]:
        """Seconds so far: idle on the servers' core, and what other programs' user code took on either core."""
        user, idle = core_seconds(self.plan.server_cpu)
        load_user, _ = core_seconds(self.plan.load_cpu)
        mine = sum(resource.getrusage(who).ru_utime for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        load_side = load_user - mine - self._servers["direct"].cpu()[0]
        return idle, 0.0 if row.launch is None else user - server.cpu()[0], load_side

    def _begun(self, row: Row, kind: str, sample: Sample) -> float:
        """The streams that were under way at the end, in whole streams by their bytes: matters only to slow servers."""
        if kind != "stream":
            return 0.0
        more = sample.bytes / self._sizes[row.name] - sample.complete
        return min(max(more, 0.0), float(self.plan.connections))

    def _asked(self) -> int:
        counts = json.loads(get(self._servers["direct"].launch.port, "/count")[1])
        return counts["json"] + counts["stream"]

    def _start(self, name: str, launch: Launch | None, cpu: int) -> float:
        assert launch is not None
        self._servers[name] = Server(launch, cpu, self._scratch / f"{name}.log")
        assert self._guard.stdin is not None
        self._guard.stdin.write(b"%d\n" % self._servers[name].session)
        self._guard.stdin.flush()
        return self._servers[name].wait_ready()

    def _stop(self, name: str) -> None:
        server = self._servers.pop(name, None)
        if server is not None:
            with contextlib.suppress(OSError):
                server.stop()


def _last(result: Result) -> str:
    return "/".join(f"{runs[-1].rate:.0f}" for runs in result.samples.values() if runs)

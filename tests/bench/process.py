"""Processes under measurement: started on one core, timed, weighed, paused, and always stopped.

Every server is the leader of its own session, so that all its processes can be found (`/proc`), measured and ended
together.
"""

import contextlib
import os
import resource
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

_LOG_LIMIT = 1 << 30
_TICKS = os.sysconf("SC_CLK_TCK")
_ports = iter(range(21200, 29000))


class BenchError(Exception):
    """A server that cannot be measured; the message says why."""


@dataclass(frozen=True)
class Launch:
    """How a server is started and how one sees that it is ready."""

    argv: Sequence[str]
    port: int
    ready: str
    cwd: Path
    env: Mapping[str, str]
    patience: float = 60.0
    largest_file: int = _LOG_LIMIT


@dataclass(frozen=True)
class Memory:
    """Of all processes of a server, in MB. `pss` divides a shared page among those who share it."""

    pss: float
    rss: float
    processes: int


class Server:
    """One started server."""

    def __init__(self, launch: Launch, cpu: int, log: Path) -> None:
        self.launch = launch
        self._log = log
        with log.open("wb") as out:
            self.started = time.perf_counter()
            self._leader = subprocess.Popen(
                list(launch.argv),
                cwd=launch.cwd,
                env=dict(launch.env),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=pinned(cpu, launch.largest_file),  # noqa: PLW1509 - the harness has one thread
            )

    @property
    def session(self) -> int:
        return self._leader.pid

    def wait_ready(self) -> float:
        """Seconds from the start to the first 200 at the readiness address."""
        deadline = self.started + self.launch.patience
        while time.perf_counter() < deadline:
            if self._leader.poll() is not None:
                raise BenchError(f"ended with status {self._leader.returncode}: {self.log_tail()}")
            with contextlib.suppress(OSError):
                if get(self.launch.port, self.launch.ready)[0] == 200:
                    return time.perf_counter() - self.started
            time.sleep(0.005)
        raise BenchError(f"not ready after {self.launch.patience:.0f} s: {self.log_tail()}")

    def log_tail(self) -> str:
        """The last lines it printed, on one line."""
        with self._log.open("rb") as log:
            log.seek(max(0, self._log.stat().st_size - 2000))
            lines = log.read().decode(errors="replace").strip().splitlines()
        return " | ".join(line.strip() for line in lines[-3:])[-400:] or "(it printed nothing)"

    def pids(self) -> list[int]:
        """Every living process of its session, and every descendant of the leader wherever it went."""
        family, parents = [], {}
        for pid, (parent, session, state) in _processes().items():
            parents[pid] = parent
            if state != "Z" and session == self._leader.pid:
                family.append(pid)
        for pid in parents:
            if pid not in family and self._leader.pid in _ancestors(pid, parents):
                family.append(pid)
        return family

    def cpu(self) -> tuple[float, float]:
        """User and system seconds used so far by all its processes."""
        user = system = 0
        for pid in self.pids():
            with contextlib.suppress(OSError):
                fields = _stat(pid)
                user, system = user + int(fields[11]), system + int(fields[12])
        return user / _TICKS, system / _TICKS

    def read(self) -> int:
        """Bytes that all its processes have had the kernel fetch from disk so far."""
        fetched = 0
        for pid in self.pids():
            with contextlib.suppress(OSError):
                lines = Path(f"/proc/{pid}/io").read_text().splitlines()
                fetched += int(next(line for line in lines if line.startswith("read_bytes:")).split()[1])
        return fetched

    def memory(self) -> Memory:
        pss = rss = count = 0
        for pid in self.pids():
            with contextlib.suppress(OSError):
                lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
                figures = {name: int(rest.split()[0]) for name, _, rest in (line.partition(":") for line in lines[1:])}
                pss, rss, count = pss + figures["Pss"], rss + figures["Rss"], count + 1
        return Memory(pss / 1024, rss / 1024, count)

    def pause(self) -> None:
        """Freeze it, so that a server nobody asks cannot disturb the one that is measured."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def settle(self, limit: float = 3.0) -> None:
        """Wait until it has nothing left to do (requests dropped at the end of a run), `limit` seconds at most."""
        deadline = time.perf_counter() + limit
        before = sum(self.cpu())
        while time.perf_counter() < deadline:
            time.sleep(0.1)
            now = sum(self.cpu())
            if now - before <= 0.01:
                return
            before = now

    def end(self) -> None:
        """Ask all its processes to end."""
        self._signal(signal.SIGTERM)
        self.resume()

    def stop(self) -> None:
        """End all its processes: politely, then for certain."""
        self.end()
        deadline = time.perf_counter() + 4
        while time.perf_counter() < deadline and (self._leader.poll() is None or self.pids()):
            time.sleep(0.02)
        self._signal(signal.SIGKILL)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._leader.wait(5)

    def _signal(self, number: signal.Signals) -> None:
        for pid in self.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)


def free_port() -> int:
    """A port of 127.0.0.1 that nobody uses, outside the range from which callers' ports are taken."""
    for port in _ports:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise BenchError("no free port on 127.0.0.1")


def get(port: int, path: str, timeout: float = 5.0) -> tuple[int, bytes]:
    """Status and body of a GET, without a client library (it is called while start-up is timed)."""
    with socket.create_connection(("127.0.0.1", port), timeout) as connection:
        connection.settimeout(timeout)
        connection.sendall(f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n".encode())
        data = b""
        while b"\r\n\r\n" not in data:
            part = connection.recv(65536)
            if not part:
                return 0, b""
            data += part
    head, _, body = data.partition(b"\r\n\r\n")
    return int(head.split(b" ", 2)[1]), body


def environment(**extra: str) -> dict[str, str]:
    """A small, equal environment for everyone: no proxies, no provider keys of the person who runs this."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "LC_ALL", "TZ") if name in os.environ}
    return {**kept, **extra}


def core_seconds(cpu: int) -> tuple[float, float]:
    """Of one core since boot: user seconds over all programs, stolen time included; and idle seconds."""
    for line in Path("/proc/stat").read_text().splitlines():
        if line.startswith(f"cpu{cpu} "):
            user, nice, _, idle, waiting, _, _, stolen = (int(x) for x in line.split()[1:9])
            return (user + nice + stolen) / _TICKS, (idle + waiting) / _TICKS
    return 0.0, 0.0


def pinned(cpu: int, largest_file: int = _LOG_LIMIT) -> Callable[[], None]:
    """For a new process: stay on this core and do not fill the disk."""

    def prepare() -> None:
        os.sched_setaffinity(0, {cpu})
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))

    return prepare


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat after the command's name; the first is the state."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _processes() -> dict[int, tuple[int, int, str]]:
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                state, parent, _, session, *_ = _stat(int(entry.name))
                found[int(entry.name)] = (int(parent), int(session), state)
    return found


def _ancestors(pid: int, parents: Mapping[int, int]) -> set[int]:
    seen: set[int] = set()
    while pid in parents and pid not in seen:
        seen.add(pid)
        pid = parents[pid]
    return seen

"""What a process takes, sample by sample, and whether it takes more and more."""

import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

_ROOM = {"rss": (4.0, 0.05), "own": (4.0, 0.05), "files": (12, 0.15), "threads": (2, 0.0), "tasks": (12, 0.15)}
"""How much more the last third may take than the first and still be flat: so many (MB, count), or such a share.
PSS is shown and not judged: it grows when another program that has the same libraries loaded ends."""


@dataclass(frozen=True)
class Sample:
    """A process at one moment: MB, and counts. `own` is memory of no file, so of nobody else: where leaks show."""

    at: float
    rss: float
    pss: float
    own: float
    files: int
    threads: int
    tasks: int

    def __str__(self) -> str:
        counts = f"fds {self.files:3}  threads {self.threads:2}  tasks {self.tasks:3}"
        return f"rss {self.rss:6.1f} MB  pss {self.pss:6.1f} MB  own {self.own:6.1f} MB  {counts}"


class Watched:
    """A process of ours, to be sampled. `tasks` is the file it answers SIGUSR1 in."""

    def __init__(self, pid: int, tasks: Path) -> None:
        self._pid = pid
        self._tasks = tasks
        self._began = time.monotonic()

    def sample(self) -> Sample:
        """What it takes now."""
        proc = Path("/proc", str(self._pid))
        lines = (proc / "smaps_rollup").read_text().splitlines()[1:]
        sizes = {name: int(rest.split()[0]) / 1024 for name, _, rest in (line.partition(":") for line in lines)}
        files, threads = (len(list((proc / folder).iterdir())) for folder in ("fd", "task"))
        at = time.monotonic() - self._began
        return Sample(at, sizes["Rss"], sizes["Pss"], sizes["Anonymous"], files, threads, self._count())

    def _count(self) -> int:
        self._tasks.unlink(missing_ok=True)
        os.kill(self._pid, signal.SIGUSR1)
        for _ in range(200):
            if self._tasks.exists() and (text := self._tasks.read_text()):
                return int(text)
            time.sleep(0.005)
        return -1


def verdict(samples: Sequence[Sample], warm: float) -> tuple[bool, list[str]]:
    """Whether it stayed flat: the median of the last third against that of the first, of what came after `warm`
    seconds; and each comparison in words."""
    counted = [sample for sample in samples if sample.at >= warm]
    third = len(counted) // 3
    if not third:
        return False, ["too short a run for a verdict"]
    first, last, flat, words = counted[:third], counted[-third:], True, []
    hours = (last[len(last) // 2].at - first[len(first) // 2].at) / 3600
    for name, (room, share) in _ROOM.items():
        before, after = (median(getattr(sample, name) for sample in part) for part in (first, last))
        fits = after - before <= max(room, before * share)
        flat = flat and fits
        note = f" ({(after - before) / hours:+.1f} MB an hour)" if name in ("rss", "own") else ""
        words.append(f"{name:8} {before:7.1f} -> {after:7.1f}{note}  {'flat' if fits else 'GROWS'}")
    return flat, words

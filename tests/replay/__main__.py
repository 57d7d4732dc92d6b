"""`python -m tests.replay --requests 5000`: the same traffic under two policies, and how well a replay foretold it.
`python -m tests.replay --rows 1000000`: how long a replay of a made-up ledger takes. Everything in a folder that goes
away."""

import argparse
import json
import os
import resource
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # the tests' own modules, as pytest finds them

from .traffic import AFTER, BEFORE, agreement, environment, serve, written

SOURCE = 500
_OTHER = """replace(CAST(features AS TEXT), '"fingerprint":"', '"fingerprint":"{turn:08d}')"""
"""Every copy is another request: its fingerprint is longer by what tells it apart."""


def main() -> int:
    """0 when the replay was right: all routing, and 95 % of the costs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=0)
    parser.add_argument("--rows", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="replay-") as folder:
        if options.rows:
            speed(Path(folder), options.rows)
        return foretold(Path(folder), options.requests) if options.requests else 0


def foretold(folder: Path, count: int) -> int:
    """Serve, replay, compare."""
    before = serve(folder / "before", BEFORE, count)
    after = serve(folder / "after", AFTER.replace("LIMIT", str(count // 3)), count)
    found = agreement(before, after, folder / "after" / "gateway.yaml")
    told = found.comparison
    share = found.within * 100 / found.priced
    sys.stdout.write(
        f"{found.requests} requests, {told.moved} moved, {told.refusals.total()} refused, {told.uncertain} uncertain\n"
        f"routing   {len(found.wrong)} wrong\n"
        f"cost      {share:.2f} % of {found.priced} answers of another model within their range\n"
        f"sum       {found.total} nano-USD; foretold {told.now.mid}, from {told.now.low} to {told.now.high}\n"
    )
    return int(bool(found.wrong) or share < 95)


def speed(folder: Path, rows: int) -> None:
    """A ledger of so many rows, made of real ones, replayed."""
    served = serve(folder / "made", BEFORE, SOURCE)
    with sqlite3.connect(served.ledger) as db:
        columns = [row[1] for row in db.execute("PRAGMA table_info(request_logs)")][1:]
        same = ", ".join(columns[2:-1])
        for turn in range(rows // SOURCE - 1):
            other = _OTHER.format(turn=turn)
            db.execute(
                f"INSERT INTO request_logs ({', '.join(columns)}) "
                f"SELECT ts + {(turn + 1) * 60}, request_id || '-{turn}', {same}, {other} FROM request_logs "
                f"WHERE id <= {SOURCE}"
            )
    db.close()
    entry = written(folder / "candidate", AFTER.replace("LIMIT", str(10**9)))
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    told = subprocess.run(  # a process of its own, from its start to its end, as a user has it
        [sys.executable, "-m", "sidecar", "replay", "--ledger", served.ledger, "--policy", entry, "--format", "json"],
        env={**os.environ, **environment("http://127.0.0.1:1", folder)},
        stdout=subprocess.PIPE,
        check=True,
    ).stdout
    seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    user, kernel = after.ru_utime - before.ru_utime, after.ru_stime - before.ru_stime
    found = json.loads(told)
    sys.stdout.write(
        f"{found['rows']} rows in {seconds:.1f} s: user {user:.1f} s, system {kernel:.1f} s, "
        f"{found['rows'] / (user + kernel):,.0f} rows a second of one core; {after.ru_maxrss // 1024} MB\n"
    )


if __name__ == "__main__":
    sys.exit(main())

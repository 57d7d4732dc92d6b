"""`python -m tests.replay --requests 5000`: the same traffic under two policies, and how well a replay foretold it.
`python -m tests.replay --rows 1000000`: how long a replay of a made-up ledger takes. Everything in a folder that goes
away."""

import argparse
import sqlite3
import sys
import tempfile
import time
from pathlib import Path

from sidecar.policy import load
from sidecar.replay.callers import callers
from sidecar.replay.candidate import Candidate
from sidecar.replay.forecast import Forecast
from sidecar.replay.history import Ledger
from sidecar.replay.outcome import Replay

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
    loaded = load(entry, environment("http://127.0.0.1:1", folder), strict=True)
    assert loaded.graph is not None, loaded.text
    assert loaded.policy is not None
    began, cpu = time.perf_counter(), time.process_time()
    history = Ledger(served.ledger)
    replay = Replay(Candidate(loaded.graph, callers(loaded.policy.specs, served.ledger)), Forecast(history.answers(0)))
    found = replay.run(history.since(0))
    seconds, used = time.perf_counter() - began, time.process_time() - cpu
    sys.stdout.write(
        f"{found.rows} rows in {seconds:.1f} s ({used:.1f} s of one core): {found.rows / used:,.0f} rows/s\n"
    )


if __name__ == "__main__":
    sys.exit(main())

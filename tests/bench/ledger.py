"""`python -m tests.bench --ledger 10000000`: does a large ledger slow anything? Two gateways in one run, one with an
empty ledger and one with N rows; requests and pages of both, in turn.

The rows lie evenly over the last 90 days, of 8 models, 20 keys, 4 tenants and 4 tiers, a fifth of them cache hits. They
are made by one recursive query, and rolled up as the upgrade of a ledger without roll-ups does it. The file's pages are
dropped from the kernel's memory before the gateway starts, so start and first look read the disk.
"""

import http.client
import json
import os
import sqlite3
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from sidecar.stores import rollups
from sidecar.stores.database import migrate
from tests.bench import load
from tests.bench.load import Sample, Target
from tests.bench.process import Launch, free_port
from tests.bench.rows import KEY, Place, _example
from tests.bench.run import Bench, say

ADMIN_KEY = "an-admin-key-of-the-benchmark"
DAYS = 90
PAGES = {
    "/api/analytics, 24 h": "/api/analytics?since=24h",
    **{f"/api/analytics, 90 d by {by}": f"/api/analytics?since=90d&by={by}" for by in ("model", "key", "hour")},
    "/api/decisions": "/api/decisions?limit=100",
    "/status": "/status",
    "/status.json": "/status.json",
}
_SEEN_ANEW = {"/status", "/status.json"}
"""Their figures are kept for two seconds: every look shall be a query."""
_ROWS = f"""
    WITH RECURSIVE numbers(n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM numbers WHERE n + 1 < :rows)
    INSERT INTO request_logs (ts, request_id, attempt, outcome, surface, requested_model, tenant, key_name, model,
        provider, tier, rule, strategy, stream, cache, status, finish_reason, input_tokens, output_tokens,
        cached_tokens, cache_write_tokens, reasoning_tokens, estimated, cost_nano, latency_ms, first_token_ms,
        overhead_ms, policy)
    SELECT :now - {DAYS} * 86400.0 + n * ({DAYS} * 86400.0 / :rows), printf('req_%016x', n), n % 5 > 0,
        iif(n % 5 > 0, 'answered', 'hit'), 'chat', 'auto', 'tenant-' || (n % 4), 'key-' || (n % 20),
        'model-' || (n / 7 % 8), 'provider-' || (n / 7 % 8 / 3), 'tier-' || (n / 11 % 4), 'rule', 'balanced', n % 2,
        iif(n % 5 > 0, 'miss', 'hit'), 200, 'stop', 500 + n % 900, 20 + n % 200, 0, 0, 0, 0, 1000 + n % 90000,
        40.0 + n * 7919 % 9000, 30.0, 0.3, 'dde8fbdeee9e'
    FROM numbers"""


@dataclass
class Side:
    """One of the two gateways: its rows, and what was measured of it. Seconds; `first` and pages are milliseconds,
    `read` megabytes."""

    name: str
    rows: int
    target: Target
    launch: Launch
    upgrade: float = 0.0
    start: float = 0.0
    first: float = 0.0
    read: float = 0.0
    samples: list[Sample] = field(default_factory=list)
    pages: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in PAGES})


def compare(bench: Bench, scratch: Path, rows: int, upstream: int) -> str:
    """Both sides measured in turn, as a Markdown table."""
    sides = [_side(scratch, name, count, upstream) for name, count in (("empty", 0), ("full", rows))]
    for side in sides:
        side.start = bench.start(side.name, side.launch)
        side.first = _page(side.target.port, "/status", 0.0)
        side.read = bench.read(side.name)
        load.check_json(side.target)
        bench.pause(side.name)
    for number in range(1, bench.plan.rounds + 1):
        for side in sides:
            bench.resume(side.name)
            load.run(side.target, 1, bench.plan.connections, stream=False, scratch=scratch)
            seconds, connections = bench.plan.seconds, bench.plan.connections
            side.samples.append(load.run(side.target, seconds, connections, stream=False, scratch=scratch))
            for name, path in PAGES.items():
                pause, looks = (2.1, 2) if name in _SEEN_ANEW else (0.0, 20)
                side.pages[name] += [_page(side.target.port, path, pause) for _ in range(looks)]
            bench.pause(side.name)
        say(f"round {number}/{bench.plan.rounds}: p50 " + " / ".join(f"{s.samples[-1].p50:.1f} ms" for s in sides))
    return _table(sides)


def fill(path: Path, rows: int) -> float:
    """A ledger with so many rows, and their roll-ups. Returns the seconds that the roll-ups took."""
    migrate(path)
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA synchronous = OFF")
        began = time.perf_counter()
        db.execute(_ROWS, {"rows": rows, "now": time.time()})
        db.commit()
        made = time.perf_counter()
        db.execute("DROP TABLE rollups")
        rollups.make(db)
        db.commit()
        took = time.perf_counter() - made
        rolled = db.execute("SELECT count(*) FROM rollups").fetchone()[0]
    db.close()
    size = path.stat().st_size / 1e6
    say(f"{rows:,} rows in {made - began:.0f} s, {rolled:,} roll-ups in {took:.0f} s, {size:,.0f} MB")
    return took


def _forget(path: Path) -> None:
    """Nothing of a file in the kernel's memory, as after a reboot."""
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _side(scratch: Path, name: str, rows: int, upstream: int) -> Side:
    place = Place(scratch, upstream, may_install=False)
    database = place.directory(f"{name}-ledger") / "ledger.db"
    upgrade = 0.0
    if rows:
        upgrade = fill(database, rows)
        _forget(database)
    port = free_port()
    env = place.env(name, UPSTREAM_URL=place.url, SIDECAR_PORT=str(port), SIDECAR_KEY=KEY, SIDECAR_ADMIN_KEY=ADMIN_KEY)
    env["SIDECAR_DATABASE_URL"] = f"sqlite:///{database}"
    config = _example(place.directory(f"{name}-config")) / "gateway.yaml"
    argv = [sys.executable, "-m", "sidecar", "run", str(config)]
    launch = Launch(argv, port, "/ready", Path.cwd(), env, largest_file=1 << 40)
    return Side(name, rows, Target(port, "auto", {"authorization": f"Bearer {KEY}"}), launch, upgrade)


def _page(port: int, path: str, pause: float) -> float:
    time.sleep(pause)
    began = time.perf_counter()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", path, headers={"authorization": f"Bearer {ADMIN_KEY}", "host": "127.0.0.1"})
    response = connection.getresponse()
    answer = response.read()
    connection.close()
    if response.status != 200 or not (answer.endswith(b"</html>\n") or json.loads(answer)):
        raise SystemExit(f"{path}: status {response.status}")
    return (time.perf_counter() - began) * 1000


def _table(sides: list[Side]) -> str:
    lines = ["| | " + " | ".join(f"{side.rows:,} rows" for side in sides) + " |", "|---|" + "---:|" * len(sides)]

    def line(title: str, figure: Callable[[Side], str]) -> None:
        lines.append(f"| {title} | " + " | ".join(map(figure, sides)) + " |")

    line("upgrade: its roll-ups made, s", lambda side: f"{side.upgrade:.0f}")
    line("start to ready, s", lambda side: f"{side.start:.2f}")
    line("`/status`, first look after the start, ms", lambda side: f"{side.first:.1f}")
    line("read from disk until then, MB", lambda side: f"{side.read:.1f}")
    line("requests/s", lambda side: f"{statistics.median(s.complete / s.seconds for s in side.samples):,.0f}")
    line("request p50 / p99, ms", lambda side: " / ".join(f"{_middle(side, name):.1f}" for name in ("p50", "p99")))
    for name in PAGES:
        line(f"`{name}` p50 / p99, ms", lambda side, name=name: _spread(side.pages[name]))  # type: ignore[misc]
    return "\n".join(lines)


def _middle(side: Side, name: str) -> float:
    return statistics.median(getattr(sample, name) for sample in side.samples)


def _spread(times: list[float]) -> str:
    ordered = sorted(times)
    return f"{statistics.median(ordered):.1f} / {ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)]:.1f}"

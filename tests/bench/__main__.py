"""`python -m tests.bench`: see README.md beside this file."""

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

from tests.bench import install, ledger, report
from tests.bench.process import BenchError
from tests.bench.rows import BUILDERS, USUAL
from tests.bench.run import Bench, OutOfTime, Plan, say

_OBSERVING = {"rounds": 21, "seconds": 2, "warm_up": 2, "limit": 1800}
"""Both sides are new in each round: more of those, and longer until they are warm."""


def main(argv: list[str]) -> int:
    options = _options(argv)
    if not Path("/proc/self/smaps_rollup").exists():
        say("this harness needs Linux (/proc, CPU affinity)")
        return 2
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, _interrupted)
    signal.signal(signal.SIGALRM, _out_of_time)
    names = [name for name in BUILDERS if name in options.only]
    skipped = _install(names) if options.install and not options.ledger else {}
    plan = _plan(options)
    os.sched_setaffinity(0, {plan.load_cpu})
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="sidecar-bench-") as scratch:
        Path(scratch).chmod(0o755)
        try:
            with Bench(plan, Path(scratch)) as bench:
                if options.ledger:
                    print(ledger.compare(bench, Path(scratch), options.ledger, bench.upstream))
                    return 0
                bench.skipped.update(skipped)
                _measure(bench, [name for name in names if name not in skipped])
        except BenchError as error:
            say(f"the upstream did not start: {error}")
            return 2
        except KeyboardInterrupt:
            say("interrupted; every server is stopped")
            return 130
    say(f"took {time.perf_counter() - started:.0f} s\n")
    print(report.text(bench, markdown=options.markdown))
    if options.json:
        options.json.write_text(json.dumps(report.data(bench), indent=1) + "\n")
    return 1 if bench.cut_short or any(result.failure for result in bench.results.values()) else 0


def _options(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench", description="One table of gateways, measured in one run."
    )
    parser.add_argument(
        "--quick", action="store_true", help="one short round, under two minutes; for a first impression"
    )
    parser.add_argument("--only", type=_names, default=list(USUAL), metavar="A,B", help=f"of {', '.join(BUILDERS)}")
    parser.add_argument(
        "--observing",
        dest="only",
        action="store_const",
        const=["observing"],
        help="what metrics, logs and traces cost: the sidecar with and without them",
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every figure of every run")
    parser.add_argument("--markdown", action="store_true", help="print the table for the README")
    parser.add_argument("--no-install", dest="install", action="store_false", help="skip what is not installed yet")
    parser.add_argument("--rounds", type=int, choices=range(1, 21), metavar="N", help="1 to 20")
    parser.add_argument("--seconds", type=int, choices=range(1, 31), metavar="N", help="of one run, 1 to 30")
    parser.add_argument(
        "--ledger",
        type=int,
        metavar="ROWS",
        help="instead: a gateway with an empty ledger beside one with so many rows",
    )
    return parser.parse_args(argv)


def _names(text: str) -> list[str]:
    names = text.split(",")
    unknown = [name for name in names if name not in BUILDERS]
    if unknown:
        raise argparse.ArgumentTypeError(f"unknown: {', '.join(unknown)}; known: {', '.join(BUILDERS)}")
    return names


def _plan(options: argparse.Namespace) -> Plan:
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        say("WARNING: one core only; server, load and upstream share it, and the figures mean little")
    chosen: dict[str, int | float] = {"server_cpu": cpus[0], "load_cpu": cpus[1 % len(cpus)]}
    if options.quick:
        chosen |= {"rounds": 1, "seconds": 2, "starts": 1, "idle": 1.0, "repeats": 0, "limit": 118}
    elif "observing" in options.only:
        chosen |= _OBSERVING
    chosen |= {name: value for name in ("rounds", "seconds") if (value := getattr(options, name))}
    if options.rounds or options.seconds:
        chosen["limit"] = 1800
    return Plan(**chosen)


def _install(names: list[str]) -> dict[str, str]:
    """Before the clock runs and on all cores; returns what could not be installed, with the reason."""
    skipped = {}
    for name, needed in (("litellm", install.litellm), ("portkey", install.portkey)):
        if name in names:
            try:
                needed(may_install=True)
            except install.SkipRow as reason:
                skipped[name] = str(reason)
                say(f"skipped {name}: {reason}")
    return skipped


def _measure(bench: Bench, names: list[str]) -> None:
    signal.alarm(bench.plan.limit)
    try:
        bench.build(names, may_install=False)
        bench.weigh()
        if "sidecar" in names:
            bench.decide()
        bench.rounds()
    except OutOfTime:
        bench.cut_short = True
        say(f"out of time after {bench.plan.limit} s; what was measured until then:")
    finally:
        signal.alarm(0)


def _interrupted(*_: object) -> None:
    raise KeyboardInterrupt


def _out_of_time(*_: object) -> None:
    raise OutOfTime


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

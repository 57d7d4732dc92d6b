"""Figures into a table, ratios against the goals, JSON."""

import dataclasses
import datetime
import platform
from pathlib import Path
from statistics import median

from tests.bench import load
from tests.bench.run import Bench, Result

_COLUMNS = (
    "server",
    "JSON req/s",
    "streams/s",
    "cache hits/s",
    "p50 ms",
    "p99 ms",
    "idle PSS MB",
    "ready in s",
    "decision p50/p99 ms",
    "core used",
)
_IDLE = 0.10
_NOISE = 0.03


@dataclasses.dataclass(frozen=True)
class Goal:
    """`figure` of `own` against `other`; `limit` is a least value, or a most value when `most`."""

    text: str
    figure: str
    other: str
    limit: float
    most: bool = False
    own: str = "sidecar"


GOALS = (
    Goal("JSON: sidecar / bare", "json", "bare.json", 0.60),
    Goal("JSON: sidecar / Portkey", "json", "portkey.json", 5),
    Goal("JSON: sidecar / LiteLLM", "json", "litellm.json", 50),
    Goal("streams: sidecar / bare", "stream", "bare.stream", 0.60),
    Goal("streams: sidecar / LiteLLM", "stream", "litellm.stream", 45),
    Goal("sidecar cache hits / bare JSON", "cache", "bare.json", 1.3),
    Goal("start to ready: sidecar / LiteLLM", "start", "litellm.start", 1 / 6, most=True),
    Goal("idle PSS of sidecar, MB", "pss", "", 130, most=True),
    Goal("one routing decision, p99 ms", "decision", "", 1.0, most=True),
    Goal("JSON: metrics, logs, traces on / off", "json", "observing-off.json", 0.85, own="observing-on"),
    Goal("streams: metrics, logs, traces on / off", "stream", "observing-off.stream", 0.85, own="observing-on"),
)


def rates(result: Result | None, kind: str) -> list[float]:
    return [sample.rate for sample in result.samples.get(kind, [])] if result else []


def table(bench: Bench) -> str:
    """The rows in the order of the run; the figures are medians over the rounds."""
    lines = [_COLUMNS]
    for result in bench.results.values():
        if result.row.printed_in in ("", result.row.name):
            lines.append(_line(bench, result))
    widths = [max(len(line[i]) for line in lines) for i in range(len(_COLUMNS))]
    rule = tuple("-" * (width - 1) + ":" if i else "-" * width for i, width in enumerate(widths))
    cells = [lines[0], rule, *lines[1:]]
    return "\n".join(
        "| " + " | ".join(_pad(c, w, i) for i, (c, w) in enumerate(zip(r, widths, strict=True))) + " |" for r in cells
    )


def _pad(cell: str, width: int, column: int) -> str:
    return cell.rjust(width) if column else cell.ljust(width)


def _line(bench: Bench, result: Result) -> tuple[str, ...]:
    json_runs = result.samples.get("json", [])
    cached = bench.results.get(f"{result.row.name}-cache")
    decision = bench.decision if result.row.name == "sidecar" else {}
    return (
        result.row.title,
        _rate(result, "json"),
        _rate(result, "stream"),
        _rate(cached, "cache"),
        f"{median(s.p50 for s in json_runs):.2f}" if json_runs else "-",
        f"{median(s.p99 for s in json_runs):.2f}" if json_runs else "-",
        f"{result.idle.pss:.0f}" if result.idle else "-",
        f"{min(result.starts):.2f}" if result.starts else "-",
        f"{decision['p50_ms']:.2f} / {decision['p99_ms']:.2f}" if "p99_ms" in decision else "-",
        f"{median(s.busy for s in json_runs):.0%}" if json_runs else "-",
    )


def _rate(result: Result | None, kind: str) -> str:
    found = rates(result, kind)
    if result is None or not found:
        return "-"
    bound = result.row.launch is not None and median(s.idle for s in result.samples[kind]) > _IDLE
    value = median(found)
    return (f"{value:,.0f}" if value >= 100 else f"{value:.1f}") + ("*" if bound else "")


def notes(bench: Bench) -> list[str]:
    """What a reader must know about this table before believing it."""
    out = []
    if "*" in table(bench):
        out.append("* the load side was the limit: a part of the servers' core was idle, this server can do more")
    foreign = [s.foreign for r in bench.results.values() for runs in r.samples.values() for s in runs]
    if foreign and max(foreign) > _NOISE:
        typical = f"up to {max(foreign):.0%} of a core, {median(foreign):.0%} in half of the runs"
        out.append(f"NOISE: other programs took {typical}; measure again on a quiet machine")
    if bench.cut_short:
        out.append(f"CUT SHORT after {bench.plan.limit} s: not all rounds are in this table")
    out.extend(f"skipped {name}: {reason}" for name, reason in bench.skipped.items())
    out.extend(f"failed {r.row.name}: {r.failure}" for r in bench.results.values() if r.failure)
    if "failure" in bench.decision:
        out.append(f"routing decision not measured: {bench.decision['failure']}")
    return out


def goals(bench: Bench) -> list[tuple[str, str, str, str]]:
    """(goal, wanted, measured, verdict); rates are compared round by round."""
    out = []
    for goal in GOALS:
        if goal.own != "sidecar" and goal.own not in bench.results:
            continue
        sign = "<=" if goal.most else ">="
        wanted = f"{sign} {goal.limit:.3g}"
        values = _values(bench, goal)
        if not values:
            out.append((goal.text, wanted, "-", "not measured"))
            continue
        value = median(values)
        spread = f" ({min(values):.3g} to {max(values):.3g})" if len(values) > 1 else ""
        fine = value <= goal.limit if goal.most else value >= goal.limit
        verdict = ("reached" if fine else "NOT REACHED") + (", but noisy" if _noisy(bench, goal) else "")
        out.append((goal.text, wanted, f"{value:.3g}{spread}", verdict))
    return out


def _values(bench: Bench, goal: Goal) -> list[float]:
    own = bench.results.get("sidecar")
    if goal.figure == "pss":
        return [own.idle.pss] if own and own.idle else []
    if goal.figure == "decision":
        return [bench.decision["p99_ms"]] if "p99_ms" in bench.decision else []
    name, _, kind = goal.other.partition(".")
    other = bench.results.get(name)
    if goal.figure == "start":
        return [min(own.starts) / min(other.starts)] if own and other and own.starts and other.starts else []
    mine = rates(bench.results.get("sidecar-cache" if goal.figure == "cache" else goal.own), goal.figure)
    return [a / b for a, b in zip(mine, rates(other, kind), strict=False) if b]


def _noisy(bench: Bench, goal: Goal) -> bool:
    """Did other programs disturb one of the two sides in half of the rounds?"""
    name, _, kind = goal.other.partition(".")
    own = "sidecar-cache" if goal.figure == "cache" else goal.own
    sides = [bench.results[n].samples.get(k, []) for n, k in ((own, goal.figure), (name, kind)) if n in bench.results]
    return any(runs and median(s.foreign for s in runs) > _NOISE for runs in sides)


def machine(bench: Bench) -> dict[str, str]:
    """Where and with what it was measured."""
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    plan = bench.plan
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        "CPU": models[0].partition(":")[2].strip() if models else platform.machine(),
        "kernel": f"{platform.system()} {platform.release()}",
        "Python": platform.python_version(),
        "load": f"{load.tool()}, {plan.connections} connections, {plan.rounds} rounds of {plan.seconds} s, medians",
        **{
            r.row.title: r.row.version
            for r in bench.results.values()
            if r.row.version and not r.row.name.endswith("-cache")
        },
    }


def text(bench: Bench, *, markdown: bool) -> str:
    """Everything, for a terminal or for the README."""
    facts = machine(bench)
    found = goals(bench)
    if markdown:
        head = "Measured " + "; ".join(f"{k} {v}" if k != "date" else v for k, v in facts.items()) + "."
        rows = ["| goal | wanted | measured | |", "|---|---|---|---|", *("| " + " | ".join(g) + " |" for g in found)]
        remarks = [f"- {note}".replace("- * ", "- \\* ") for note in notes(bench)]
        return "\n".join([head, "", table(bench), "", *remarks, *([""] if remarks else []), *rows])
    widths = [max(len(g[i]) for g in found) for i in range(4)]
    rows = ["  ".join(cell.ljust(width) for cell, width in zip(g, widths, strict=True)).rstrip() for g in found]
    return "\n".join([table(bench), "", *notes(bench), "", *rows, "", *(f"{k}: {v}" for k, v in facts.items())])


def data(bench: Bench) -> dict:
    """Every figure of every run, for `--json`."""
    rows = {}
    for name, result in bench.results.items():
        rows[name] = {
            "title": result.row.title,
            "version": result.row.version,
            "starts_s": result.starts,
            "idle_mb": dataclasses.asdict(result.idle) if result.idle else None,
            "runs": {kind: [dataclasses.asdict(s) for s in runs] for kind, runs in result.samples.items()},
            "failure": result.failure,
        }
    return {
        "machine": machine(bench),
        "plan": dataclasses.asdict(bench.plan),
        "rows": rows,
        "skipped": bench.skipped,
        "decision": bench.decision,
        "goals": [dict(zip(("goal", "wanted", "measured", "verdict"), g, strict=True)) for g in goals(bench)],
    }

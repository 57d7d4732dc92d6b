"""A gateway's status as lines of text, fitted to a terminal."""

import re
from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from ..server.status_data import ModelStatus, ModelTraffic, Status

_GOOD, _BAD, _DIM, _BOLD, _PLAIN = "\x1b[32m", "\x1b[31m", "\x1b[2m", "\x1b[1m", "\x1b[0m"
_COLOR = re.compile(r"\x1b\[\d+m")
_STATES = {"ready": _GOOD, "resting": _BAD, "down": _BAD, "provider down": _BAD}
_LATEST = 2.0**32
"""Unix time past which there is nothing to tell."""
MAX_FINDINGS = 6
"""Lines of a refused configuration's findings; `sidecar validate` prints all."""


class Size(NamedTuple):
    """Of a terminal, in characters."""

    columns: int
    lines: int


def screen(status: Status, url: str, size: Size | None, *, problem: str = "", colored: bool = False) -> list[str]:
    """All there is to see, most important first, cut to the size (None: as long and wide as it is).

    `problem` is why this status is an old one.
    """
    lines = _head(status, url, problem)
    lines += ["", *_traffic(status), "", *_providers(status), "", *_models(status), *_budgets(status)]
    if size is not None:
        if len(lines) > size.lines:
            lines = [*lines[: size.lines - 1], _paint(f"{len(lines) - size.lines + 1} more lines", _DIM)]
        lines = [_cut(line, size.columns) for line in lines]
    return lines if colored else [_COLOR.sub("", line) for line in lines]


def _head(status: Status, url: str, problem: str) -> list[str]:
    ready = status.status == "ready"
    lines = [
        f"{_paint('sidecar', _BOLD)} {_clean(status.version)}  {_clean(url)}  "
        f"{_paint('READY' if ready else 'NOT READY', _GOOD if ready else _BAD)}  "
        f"up {_span(status.now - status.started)}  running {status.running:,}  "
        f"policy {_clean(status.policy)[:12]} since {_clock(status.policy_since)}"
    ]
    if problem:
        lines.append(_paint(f"as of {_clock(status.now)}: {_clean(problem)}", _BAD))
    lines += [_paint(f"{_clean(part)}: {_clean(why)}", _BAD) for part, why in status.reasons.items()]
    if status.registry_problem:
        lines.append(_paint(f"registry: {_clean(status.registry_problem)}", _BAD))
    if status.reload.outcome == "refused":
        lines.append(_paint(f"configuration refused at {_clock(status.reload.at)}; the one before serves:", _BAD))
        lines += [f"  {_clean(line)}" for line in (status.reload.findings or "").splitlines()[:MAX_FINDINGS]]
    return lines


def _traffic(status: Status) -> list[str]:
    lines = []
    if status.traffic is not None:
        t = status.traffic
        rate = "-" if t.cache_hit_rate is None else f"{t.cache_hit_rate * 100:.1f} %"
        lines.append(
            f"{_paint('last 24 h', _BOLD)}  requests {t.requests:,}  cost {_money(t.cost_usd)} USD  cache hits {rate}  "
            f"failed attempts {_paint(f'{t.failed_attempts:,}', _BAD if t.failed_attempts else '')}  "
            f"tokens {t.input_tokens:,} in, {t.output_tokens:,} out  "
            f"latency {_ms(t.latency_ms)} ms  first token {_ms(t.first_token_ms)} ms"
        )
    if status.traffic_problem:
        lines.append(_paint(_clean(status.traffic_problem), _DIM))
    return lines


def _providers(status: Status) -> list[str]:
    rows = [
        (p.name, p.state, p.key, f"{p.models:,}", f"{p.models_down:,}", p.host, p.reason or "")
        for p in status.providers
    ]
    return _table(("PROVIDER", "STATE", "KEY", "MODELS", "RESTING", "HOST", ""), rows, "<<<>><<")


def _models(status: Status) -> list[str]:
    """Those that rest, then those with traffic, the busiest first. The rest of the catalogue is on the status page."""
    known = {model.id: model for model in status.models}
    traffic = {row.model: row for row in status.traffic.models} if status.traffic is not None else {}
    resting = [model.id for model in status.models if model.state == "resting"]
    busy = sorted(traffic, key=lambda model: (-traffic[model].attempts, model))
    rows = [_model(name, known.get(name), traffic.get(name)) for name in dict.fromkeys([*resting, *busy])]
    head = ("MODEL", "PROVIDER", "STATE", "ATTEMPTS", "FAILED", "COST USD", "LATENCY MS", "FIRST MS", "TOKENS/S", "")
    return _table(head, rows, "<<<>>>>>><")


def _model(name: str, model: ModelStatus | None, traffic: ModelTraffic | None) -> tuple[str, ...]:
    speed = None if model is None else model.learned_speed
    return (
        name,
        model.provider if model is not None else traffic.provider if traffic is not None else "",
        "gone" if model is None else model.state,
        *(("-", "-", "-", "-", "-") if traffic is None else _figures(traffic)),
        "-" if speed is None else f"{speed:.0f}",
        (model.reason if model is not None else None) or "",
    )


def _figures(traffic: ModelTraffic) -> tuple[str, ...]:
    return (
        f"{traffic.attempts:,}",
        f"{traffic.failures:,}",
        _money(traffic.cost_usd),
        _ms(traffic.latency_ms),
        _ms(traffic.first_token_ms),
    )


def _budgets(status: Status) -> list[str]:
    """Accounts with the least left first, as the gateway sends them."""
    rows = [
        (b.budget, b.subject, b.mode, _money(b.limit_usd), _money(b.spent_usd), _money(b.left_usd), _clock(b.resets))
        for b in status.budgets
    ]
    head = ("BUDGET", "OF", "MODE", "LIMIT USD", "SPENT USD", "LEFT USD", "RESETS")
    return ["", *_table(head, rows, "<<<>>>>")] if rows else []


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], aligned: str) -> list[str]:
    """Columns as wide as they must be. Cells are made fit to print here."""
    cells = [head, *([_clean(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    shown = [[f"{cell:{side}{width}}" for cell, side, width in zip(row, aligned, widths, strict=True)] for row in cells]
    lines = [_paint("  ".join(shown[0]).rstrip(), _DIM)]
    for row in shown[1:]:
        painted = [_paint(cell, _STATES.get(cell.strip(), "")) for cell in row]
        lines.append("  ".join(painted).rstrip())
    return lines


def _paint(text: str, color: str) -> str:
    return f"{color}{text}{_PLAIN}" if color else text


def _cut(line: str, columns: int) -> str:
    """So many characters of a line; colours take no place, and end with it."""
    left, kept, end = columns, [], 0
    for color in _COLOR.finditer(line):
        piece = line[end : color.start()][:left]
        left -= len(piece)
        kept += [piece, color[0]]
        end = color.end()
    return "".join([*kept, line[end:][:left]])


def _clean(text: str) -> str:
    """Nothing that a terminal would act on."""
    return "".join(character if character.isprintable() else "?" for character in text)


def _clock(at: float) -> str:
    when = datetime.fromtimestamp(min(max(at, 0.0), _LATEST))
    return when.strftime("%H:%M:%S" if when.date() == datetime.now().date() else "%Y-%m-%d %H:%M")


def _span(seconds: float) -> str:
    minutes, rest = divmod(int(min(max(seconds, 0.0), _LATEST)), 60)
    days, hours = minutes // 1440, minutes // 60 % 24
    if days:
        return f"{days}d {hours}h"
    return f"{hours}h {minutes % 60:02}m" if hours else f"{minutes}m {rest:02}s"


def _money(exact: str) -> str:
    """Exact decimal text; from a cent on four places are enough."""
    whole, _, part = exact.partition(".")
    if not (whole.isdecimal() and (part or "0").isdecimal()) or (int(whole) == 0 and part < "01"):
        return _clean(exact)
    return f"{int(whole):,}.{part[:4]:0<4}"


def _ms(milliseconds: float | None) -> str:
    return "-" if milliseconds is None else f"{milliseconds:,.0f}"

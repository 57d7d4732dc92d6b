"""A comparison as text, as Markdown for a pull request, or as JSON."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import msgspec

from ..registry.price import usd
from .forecast import Range
from .outcome import Comparison, Mover

SHOWN = 12
"""Moves that are listed; as JSON there are all."""
_MICRO = 1000
"""Nano-USD to what amounts are rounded to: they are estimates."""


def as_json(found: Comparison) -> str:
    """All of it, as data."""
    data: dict[str, Any] = msgspec.to_builtins(
        msgspec.structs.replace(found, edges={}),
        enc_hook=str,
    )
    data["latency_before"], data["latency_after"] = found.latency_before.value, found.latency_after.value
    data["quality_before"], data["quality_after"] = found.quality_before.value, found.quality_after.value
    data["edges"] = [{"node": node, "outcome": out, "requests": n} for (node, out), n in found.edges.items()]
    return msgspec.json.format(msgspec.json.encode(data), indent=2).decode() + "\n"


def as_text(found: Comparison) -> str:
    """For a terminal."""
    lines = [f"{name:<12} {value}" for name, value in _facts(found)]
    if found.moves:
        lines += ["", f"{'from':<26} {'to':<26} {'requests':>8} {'was USD':>12} {'would be USD':>28}"]
        for move in found.moves[:SHOWN]:
            amounts = f"{_short(move.was_nano):>12} {_range(move.cost):>28}"
            lines.append(f"{move.before[:26]:<26} {move.after[:26]:<26} {move.requests:>8} {amounts}")
        if len(found.moves) > SHOWN:
            lines.append(f"... and {len(found.moves) - SHOWN} more (--format json shows all)")
    for title, movers in (("dearest", found.dearer), ("worst", found.worse)):
        lines += [f"{title + ' move':<12} {_mover(mover)}" for mover in movers]
    lines += ["", *(f"note         {note}" for note in _notes(found))]
    return "\n".join(lines) + "\n"


def as_markdown(found: Comparison) -> str:
    """For a comment on a pull request."""
    lines = [f"### Replay: policy `{found.policy}`", "", "| | |", "|---|---|"]
    lines += [f"| {name} | {value} |" for name, value in _facts(found)]
    if found.moves:
        lines += ["", "| from | to | requests | was USD | would be USD |", "|---|---|---:|---:|---:|"]
        lines += [
            f"| {m.before} | {m.after} | {m.requests} | {_short(m.was_nano)} | {_range(m.cost)} |"
            for m in found.moves[:SHOWN]
        ]
    if found.dearer or found.worse:
        lines += ["", "<details><summary>Worst movers</summary>", ""]
        lines += [f"- dearer: {_mover(mover)}" for mover in found.dearer]
        lines += [f"- lower quality: {_mover(mover)}" for mover in found.worse]
        lines += ["", "</details>"]
    lines += ["", *(f"- {note}" for note in _notes(found))]
    return "\n".join(lines) + "\n"


def _facts(found: Comparison) -> Iterator[tuple[str, str]]:
    if found.requests:
        yield "window", f"{_time(found.since)} to {_time(found.until)} UTC"
    yield "rows", f"{found.rows:,} of {found.requests:,} requests"
    seen = found.requests - found.skipped
    share = f" ({found.moved * 100 / seen:.1f} %)" if seen else ""
    yield "moved", f"{found.moved:,}{share}"
    if found.refusals:
        said = ", ".join(f"{code} {number:,}" for code, number in found.refusals.most_common())
        yield "refused", f"{found.refusals.total():,} that were answered then ({said})"
    if found.hits_before or found.hits_after:
        yield "cache hits", f"{found.hits_before:,} -> {found.hits_after:,}"
    change = Range(*(value - found.was_nano for value in msgspec.structs.astuple(found.now)))
    yield "cost", f"{_short(found.was_nano)} -> {_range(found.now)} USD"
    yield "change", f"{_range(change, signed=True)} USD" + (" (exact)" if found.now.exact else "")
    if found.latency_after.count:
        yield "latency", f"{found.latency_before.value:,.0f} -> about {found.latency_after.value:,.0f} ms, mean"
    if found.quality_after.count:
        yield "quality", f"{found.quality_before.value:.1f} -> {found.quality_after.value:.1f} (the registry's prior)"
    for model, cost in found.baselines.items():
        saved = Range(cost.low - found.now.high, cost.mid - found.now.mid, cost.high - found.now.low)
        yield f"all {model}", f"{_range(cost)} USD: saves {_range(saved, signed=True)}"


def _notes(found: Comparison) -> Iterator[str]:
    yield "Exact: routing, refusals, prices, and the cost of requests that stay with their model."
    if not found.now.exact:
        yield (
            "A range: output of another model, half to twice what was counted; input by another provider's "
            "tokenizer, 0.7 to 1.4 times."
        )
    yield "A prior: quality, as the registry has it. Latency: means of this ledger, or the registry's speed."
    yield "Who was refused then is not in the ledger: nobody knows whom this policy would let in."
    if found.failed:
        yield f"{found.failed:,} requests failed then; what failed is taken to fail again, and nothing else to."
    if found.skipped:
        yield f"{found.skipped:,} requests have no features and are left out."
    if found.uncertain:
        yield (
            f"{found.uncertain:,} requests hang on what was not kept; they alone may cost {_range(found.doubt)} USD. "
            "`ledger_keeps: text` keeps it."
        )
    if found.unpriced:
        yield f"{found.unpriced:,} requests involve a model without a price, and are in no sum."


def _mover(mover: Mover) -> str:
    quality = "" if mover.quality is None else f", quality {mover.quality:+.0f}"
    cost = f"{_short(mover.was_nano)} -> {_range(mover.cost)} USD"
    return f"{mover.request} {mover.before} -> {mover.after}: {cost}{quality}"


def _range(cost: Range, *, signed: bool = False) -> str:
    mark = "+" if signed else ""
    if cost.exact:
        return _short(cost.mid, mark)
    return f"{_short(cost.mid, mark)} ({_short(cost.low, mark)} to {_short(cost.high, mark)})"


def _short(nano: int, plus: str = "") -> str:
    return (plus if nano >= 0 else "") + usd(round(nano / _MICRO) * _MICRO)


def _time(ts: float) -> str:
    return datetime.fromtimestamp(ts, UTC).strftime("%Y-%m-%d %H:%M")

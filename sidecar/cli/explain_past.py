"""`sidecar explain --id`: what became of a past request, and why, as far as the ledger can tell."""

import sqlite3
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from ..engine.explain import Explanation, as_text, explanation
from ..policy import Loaded
from ..registry.price import usd
from ..replay.callers import callers
from ..replay.candidate import Candidate, Decision
from ..replay.history import Attempted, Ledger, Past


class Told(msgspec.Struct):
    """What `--format json` prints: the ledger's rows, and the explanation: of then when `recorded`, else the walk done
    again under the policy that is here. `notes` say what it is worth."""

    request: str
    rows: list[Attempted]
    recorded: bool
    explanation: Explanation | None
    notes: list[str]


def explain_past(loaded: Loaded, request: str, path: Path, form: str) -> int:
    """0 when there is an explanation, 1 when there are rows alone, 2 when there is nothing."""
    try:
        history = Ledger(path)
        past, recorded = history.one(request), history.explained(request)
        told = _told(loaded, path, request, past, recorded)
    except sqlite3.Error as fault:
        sys.stderr.write(f"sidecar explain: {path}: {fault}\n")
        return 2
    if told is None:
        sys.stderr.write(
            f"sidecar explain: there is no request `{request[:80]}` in {path}; refused ones are there only when they "
            "asked to be explained (`x-sidecar-explain: 1`)\n"
        )
        return 2
    if form == "json":
        rows = [msgspec.structs.replace(row, features=None) for row in told.rows]
        data = msgspec.json.encode(msgspec.structs.replace(told, rows=rows))
        sys.stdout.write(msgspec.json.format(data, indent=2).decode() + "\n")
    else:
        sys.stdout.write("".join(f"{line}\n" for line in _lines(told)))
    return 0 if told.explanation is not None else 1


def _told(loaded: Loaded, path: Path, request: str, past: Past | None, recorded: bytes | None) -> Told | None:
    rows = [] if past is None else past.rows
    if recorded is not None:
        try:
            found = msgspec.json.decode(recorded, type=Explanation)
            return Told(request, rows, True, found, ["recorded when it was decided"])
        except msgspec.DecodeError:
            pass  # an earlier version wrote it in another form: the walk is done again
    if past is None or loaded.graph is None or loaded.policy is None:
        return None
    if past.vector is None:
        return Told(request, rows, False, None, ["the ledger has no features of it: nothing can be decided again"])
    decision = Candidate(loaded.graph, callers(loaded.policy.specs, path)).decide(past, past.vector, notes=True)
    found = explanation(loaded.graph, decision.call, decision.end)
    return Told(request, rows, False, found, list(_notes(loaded, past, decision)))


def _notes(loaded: Loaded, past: Past, decision: Decision) -> Iterator[str]:
    assert loaded.graph is not None
    here, then = loaded.graph.short_hash, past.first.policy
    same = "the same policy" if here == then else f"another policy than then ({then})"
    yield f"walked again under {same}, with limits, budgets and cache empty and every model up"
    if decision.others or decision.unsure:
        yield "rules read words of it that were not kept: taken as if those were not there (`ledger_keeps: text`)"
    if here == then and (past.first.tier, past.first.rule) != (decision.call.tier or None, decision.call.rule or None):
        yield "it was decided differently then: see its tier and rule above"


def _lines(told: Told) -> Iterator[str]:
    yield f"request   {told.request}"
    for row in told.rows[:1]:
        yield f"then      {datetime.fromtimestamp(row.ts, UTC):%Y-%m-%d %H:%M:%S} UTC, policy {row.policy}"
        yield f"caller    key {row.key_name}, tenant {row.tenant}; asked for {row.requested_model}"
        yield f"decided   tier {row.tier or '-'}, rule {row.rule or '-'}"
    for row in told.rows:
        cost = "no price" if row.cost_nano is None else f"{usd(row.cost_nano)} USD"
        what = f"{row.outcome} ({row.failure})" if row.failure else row.outcome
        yield (
            f"attempt {row.attempt} {row.model} at {row.provider}: {what}, {row.input_tokens} tokens in, "
            f"{row.output_tokens} out, {cost}, {row.latency_ms:.0f} ms"
        )
    yield from (f"note      {note}" for note in told.notes)
    if told.explanation is not None:
        yield ""
        yield from as_text(told.explanation).splitlines()

"""Recorded decisions as a corpus: the requests of a ledger, by the features that it keeps of them."""

import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path

from ..replay.callers import callers
from ..replay.candidate import Candidate
from ..replay.history import Ledger, Past, unreadable
from ..stores.base import Principal
from ..stores.vector import Vector
from .corpus import Corpus, Walked
from .side import Side, SourceError


def from_ledger(path: Path, since: float, old: Side, new: Side) -> Corpus:
    """Requests since a Unix time, each walked by itself: every limit has room, nothing is cached, nothing is down.
    Raises SourceError, also while it is walked."""
    try:
        ledger = Ledger(path)
        known = [callers(side.policy.specs, path) for side in (old, new)]
    except sqlite3.Error as fault:
        raise SourceError(unreadable(path, fault)) from None
    sides = [_Side(Candidate(side.graph, names), names) for side, names in zip((old, new), known, strict=True)]
    return Corpus(path.name, _walks(ledger, since, sides), priced=True)


class _Side:
    """One policy, and the keys it knows: its own and the database's."""

    def __init__(self, candidate: Candidate, known: dict[str, Principal]) -> None:
        self.candidate = candidate
        self.known = known


def _walks(ledger: Ledger, since: float, sides: Iterable[_Side]) -> Iterator[Walked | None]:
    seen = kept = 0
    try:
        for past in ledger.since(since):
            seen += 1
            vector = past.vector
            kept += vector is not None
            yield None if vector is None else _walked(past, vector, *sides)
    except sqlite3.Error as fault:
        raise SourceError(unreadable(ledger.path, fault)) from None
    if not kept:
        why = f"features of none of its {seen:,} requests were kept" if seen else "no request in it"
        raise SourceError(f"{ledger.path}: {why} in that time: see `--since`, and `ledger_keeps` of the gateway")


def _walked(past: Past, vector: Vector, old: _Side, new: _Side) -> Walked:
    name = past.first.key_name
    if not old.candidate.knows(name) and not new.candidate.knows(name):
        # A key of neither: what it may do is not what is compared, and refused by both it would say nothing.
        old.known[name] = new.known[name] = Principal(name, past.first.tenant, vector.labels, claims=vector.claims)
    before, after = old.candidate.alone(past, vector), new.candidate.alone(past, vector)
    return Walked(
        past.first.request_id,
        (before.call, before.end),
        (after.call, after.end),
        past.last.usage,
        uncertain=any(decision.others or decision.unsure for decision in (before, after)),
    )

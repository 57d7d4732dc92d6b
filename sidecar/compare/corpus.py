"""What both policies are tried on: the cases beside them, a file of requests, or the built-in sample."""

from collections.abc import Iterator
from datetime import UTC, datetime, time
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from ..call import Call
from ..cases.suite import Suites, Trial, files_beside, read_suites
from ..chat import Usage
from ..engine.trial import Asked, World, known_callers, walk_once
from ..graph import Graph
from ..policy import Policy
from ..stages.authenticate import Authenticate
from ..stores.base import Principal
from ..surfaces.base import Invalid
from ..surfaces.openai_chat import OpenAIChat
from .sample import sample
from .side import Side, SourceError

MOST_LINES = 50_000
LINE_BYTES = 10_000_000


class Item(Struct, frozen=True):
    """One request, by a name that gives nothing of it away, and the world as each of the policies has it."""

    name: str
    asked: Asked
    old: World
    new: World


class Walked(Struct, frozen=True):
    """One request by its name, and what each policy makes of it: the call as the walk left it, and its end. `counted`
    is what its answer counted, where it had one; `uncertain` says that it hangs on words that were not kept."""

    name: str
    old: tuple[Call, str]
    new: tuple[Call, str]
    counted: Usage | None = None
    uncertain: bool = False


class Corpus(Struct, frozen=True):
    """Requests, walked one after another; None is one of which nothing was kept. `priced` says that they stand for
    traffic, so that their cost says something."""

    name: str
    walks: Iterator[Walked | None]
    priced: bool


def cases(old: Side, new: Side) -> tuple[Corpus | None, int]:
    """The cases beside the new policy, and those beside the old one that are not there any more; and how many findings
    kept some from being read. Every case is meant by each policy with its own names where it has them."""
    there, findings = _trials(new, old)
    items = [Item(trial.name, trial.asked, (other or trial).world, trial.world) for trial, other in there]
    known = {(item.name, item.asked.raw) for item in items}
    gone, more = _trials(old, new)
    for trial, other in gone:
        if (trial.name, trial.asked.raw) not in known:
            items.append(Item(trial.name, trial.asked, trial.world, (other or trial).world))
    written = Corpus("test cases", _walks(items, old, new), priced=False) if items else None
    return written, findings + more


def built_in(old: Side, new: Side) -> Corpus:
    """The built-in sample, asked by one who may."""
    worlds = _worlds(old, new)
    items = [Item(name, asked, *worlds) for name, asked in sample()]
    return Corpus("built-in sample", _walks(items, old, new), priced=True)


def from_file(path: Path, old: Side, new: Side) -> Corpus:
    """A request a line: an OpenAI body, or an object with `body` and `headers`. Raises SourceError."""
    worlds = _worlds(old, new)
    items = [Item(f"{path.name}:{number}", asked, *worlds) for number, asked in _lines(path)]
    if not items:
        raise SourceError(f"{path}: no request in it")
    return Corpus(path.name, _walks(items, old, new), priced=True)


def _walks(items: list[Item], old: Side, new: Side) -> Iterator[Walked]:
    for item in items:
        before, after = walk_once(old.graph, item.asked, item.old), walk_once(new.graph, item.asked, item.new)
        yield Walked(item.name, before, after)


def _trials(side: Side, other: Side) -> tuple[list[tuple[Trial, Trial | None]], int]:
    """Each trial of the files beside one side, with what it is in the other policy, if it has a meaning there."""
    files = files_beside(side.entry.parent, side.policy.gateway.spec.policies)
    here, there = read_suites(files, side.loaded), read_suites(files, other.loaded)
    also = {_identity(trial): trial for trial in there.trials}
    return [(trial, also.get(_identity(trial))) for trial in here.trials], _faults(here)


def _identity(trial: Trial) -> tuple[object, ...]:
    return trial.place, trial.document.index, trial.name


def _faults(suites: Suites) -> int:
    return len(suites.findings)


def _worlds(old: Side, new: Side) -> tuple[World, World]:
    """Noon of the registry's day, all well; asked by the holder of the first key that both have. Without one by nobody,
    where somebody on this machine need not say who they are; else by somebody made up."""
    callers = known_callers(old.policy.specs), known_callers(new.policy.specs)
    common = next((name for name in callers[0] if name in callers[1]), None)
    anybody = any(_open(side.policy) for side in (old, new))
    found: list[World] = []
    for side, known in zip((old, new), callers, strict=True):
        caller = None if common is None else known[common]
        if common is None and not anybody:
            caller = Principal("sample", "default")
        found.append(World(caller=caller, now=_noon(side.graph)))
    return found[0], found[1]


def _open(policy: Policy) -> bool:
    doors = [linked.spec for linked in policy.stages if isinstance(linked.spec, Authenticate)]
    return not doors or any(door.anonymous != "never" for door in doors)


def _noon(graph: Graph) -> float:
    return datetime.combine(graph.registry.day, time(12), UTC).timestamp()


def _lines(path: Path) -> Iterator[tuple[int, Asked]]:
    try:
        with path.open("rb") as stream:
            number = 0
            while line := stream.readline(LINE_BYTES + 1):
                number += 1
                if len(line) > LINE_BYTES or number > MOST_LINES:
                    bound = f"{MOST_LINES:,} lines" if number > MOST_LINES else f"{LINE_BYTES:,} bytes in one line"
                    raise SourceError(f"{path}:{number}: more than {bound}")
                if line.strip():
                    yield number, _request(line, f"{path}:{number}")
    except (OSError, ValueError) as fault:
        raise SourceError(f"{path}: {getattr(fault, 'strerror', None) or fault}") from None


def _request(line: bytes, where: str) -> Asked:
    try:
        data: Any = msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError) as fault:
        raise SourceError(f"{where}: not JSON: {fault}") from None
    wrapped = isinstance(data, dict) and isinstance(data.get("body"), dict)
    headers, body = (data.get("headers") or {}, data["body"]) if wrapped else ({}, data)
    if not isinstance(headers, dict) or not all(isinstance(value, str) for value in headers.values()):
        raise SourceError(f"{where}: `headers` must be an object of texts")
    raw = msgspec.json.encode({"model": "auto", **body} if isinstance(body, dict) else body)
    chat = OpenAIChat().parse(raw)
    if isinstance(chat, Invalid):
        raise SourceError(f"{where}: no gateway would take this request: {chat.message}")
    return Asked(chat, raw, {name.lower(): value for name, value in headers.items()})

"""What both policies are tried on: the cases beside them, a file of requests, or the built-in sample."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, time
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from ..cases.suite import Suites, Trial, files_beside, read_suites
from ..engine.trial import Asked, World, known_callers
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


class Corpus(Struct, frozen=True):
    """Requests to try. `priced` says that they stand for traffic, so that their cost says something."""

    name: str
    items: list[Item]
    priced: bool


def cases(old: Side, new: Side) -> tuple[Corpus, int]:
    """The cases beside the new policy, and those beside the old one that are not there any more; and how many findings
    kept some from being read. Every case is meant by each policy with its own names where it has them."""
    there, findings = _trials(new, old)
    items = [Item(trial.name, trial.asked, (other or trial).world, trial.world) for trial, other in there]
    known = {(item.name, item.asked.raw) for item in items}
    gone, more = _trials(old, new)
    for trial, other in gone:
        if (trial.name, trial.asked.raw) not in known:
            items.append(Item(trial.name, trial.asked, trial.world, (other or trial).world))
    return Corpus("test cases", items, priced=False), findings + more


def built_in(old: Side, new: Side) -> Corpus:
    """The built-in sample, asked by one who may."""
    worlds = _worlds(old, new)
    return Corpus("built-in sample", [Item(name, asked, *worlds) for name, asked in sample()], priced=True)


def from_file(path: Path, old: Side, new: Side) -> Corpus:
    """A request a line: an OpenAI body, or an object with `body` and `headers`. Raises SourceError."""
    worlds = _worlds(old, new)
    items = [Item(f"{path.name}:{number}", asked, *worlds) for number, asked in _lines(path)]
    if not items:
        raise SourceError(f"{path}: no request in it")
    return Corpus(path.name, items, priced=True)


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


def chosen(paths: Sequence[Path], old: Side, new: Side) -> tuple[list[Corpus], int]:
    """The cases, then the files that were named, else the sample; and the number of findings in the cases."""
    written, findings = cases(old, new)
    traffic = [from_file(path, old, new) for path in paths] or [built_in(old, new)]
    return [*([written] if written.items else []), *traffic], findings

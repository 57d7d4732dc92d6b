"""Documents -> Policy: all specs together, checked for what no single document can tell.

`load` is what `validate` and `run` both call: read, check, link and compile, with every finding of every step.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from .conditions import steers
from .config.check import check
from .config.codes import Code
from .config.diagnostic import Diagnostic, Place, Severity
from .config.document import Document, decode
from .config.loader import Sources, read_folder
from .config.render import render_text
from .gateway import Gateway
from .graph import Graph, compile_graph
from .link import Absent, Linked, declared_keys, key_problems, link_problems, pipeline
from .lint import lint
from .lint.allow import allowed
from .lint.context import LintContext
from .lint.secrets import plain_secrets
from .registry.index import Registry
from .registry.load import load as load_registry
from .registry.load import newest
from .registry.override import ModelSpec, merge
from .shape import shape_problems
from .spec import Spec
from .stages import STAGES
from .stages.base import PartSpec, Problem, Scope, StageSpec
from .stages.classify import Classify
from .stages.keys import Keys
from .stages.registry_override import RegistryOverride
from .stages.score import Score

PARTS: tuple[type[PartSpec], ...] = (Keys, RegistryOverride)
"""Documents that are no stages."""
KINDS: Mapping[str, type[Spec]] = {"gateway": Gateway, **{part.kind: part for part in (*STAGES, *PARTS)}}
"""What `kind:` may say."""


class Policy(Struct, frozen=True):
    """Linked specs: every name in them exists. `stages` includes the defaults of kinds nobody wrote; `parts` are the
    documents that are no stages."""

    gateway: Linked[Gateway]
    stages: tuple[Linked[StageSpec], ...]
    parts: tuple[Linked[PartSpec], ...]
    scope: Scope
    order: tuple[str, ...]

    @property
    def specs(self) -> tuple[PartSpec, ...]:
        """All that the documents say beside the gateway's."""
        return (*(linked.spec for linked in self.stages), *(linked.spec for linked in self.parts))


class Loaded(Struct, frozen=True):
    """What came of reading a configuration. `graph` is None when a finding is an error, or when one file of it was
    looked at by itself.

    `registry_problem` says why models.json is not the one that was asked for. `candidates` are the policies on trial,
    by the field of `rollout` that names them; their findings refuse them alone.
    """

    policy: Policy | None
    graph: Graph | None
    findings: tuple[Diagnostic, ...]
    sources: Sources
    folders: frozenset[Path]
    registry_problem: str | None = None
    candidates: Mapping[str, "Loaded"] = {}

    @property
    def text(self) -> str:
        """The findings as `sidecar validate` prints them; empty when there are none."""
        return self.render(())

    def stands(self) -> bool:
        """Whether the files still say what was read of them."""
        return self.sources.stand() and all(one.sources.stand() for one in self.candidates.values())

    @property
    def beside(self) -> dict[str, Graph]:
        """The policies on trial that can be used."""
        return {role: one.graph for role, one in self.candidates.items() if one.graph is not None}

    @property
    def serving(self) -> tuple[Graph, ...]:
        """The policy in use, and the canary that serves beside it."""
        canary = self.candidates.get("canary")
        return tuple(one.graph for one in (self, canary) if one is not None and one.graph is not None)

    @property
    def candidates_text(self) -> str:
        """What was found in policies on trial, and which of them are left out for it."""
        parts = []
        for role, one in self.candidates.items():
            if one.graph is None:
                parts.append(f"rollout.{role} cannot be used; traffic goes without it:\n")
            parts.append(one.text)
        return "".join(parts)

    @property
    def left_out(self) -> str | None:
        """Why policies on trial cannot be used; None when all of them can."""
        return self.candidates_text if any(one.graph is None for one in self.candidates.values()) else None

    @property
    def errors(self) -> int:
        """How many findings refuse the configuration."""
        return sum(f.severity is Severity.ERROR for f in self.findings)

    def render(self, more: Sequence[Diagnostic]) -> str:
        """The findings with others of a later step."""
        return render_text([*self.findings, *more], self.sources.texts)


class _Read(Struct):
    """The documents of a configuration. `sound` is false when the gateway's own could not be used as it is written;
    `alone` says that there is none: policies are checked by themselves. `given`: they are no file's."""

    sources: Sources
    gateway: Linked[Gateway]
    sound: bool
    alone: bool
    others: list[Document]
    findings: list[Diagnostic]
    given: bool


def load(
    entry: Path, environ: Mapping[str, str], *, strict: bool, given: bytes | None = None, still: bool = False
) -> Loaded:
    """Read `entry` and what it includes, and compile it. Never raises for what the files say.

    `strict` makes an unset variable an error; `validate` is not strict, for CI has no environment. `given` is read in
    place of the file `entry`, and by itself. `still` takes the prices of the day the registry was made, not today's:
    the same files are then the same policy on any day. Policies on trial are read when those in use are sound.
    """
    read = _read(entry, environ, strict, given)
    loaded = _compiled(entry, environ, read, strict, still)
    rollout = None if loaded.graph is None else loaded.graph.gateway.rollout
    candidates = dict[str, Loaded]()
    for role in () if rollout is None else rollout.candidates:
        on_trial = _compiled(entry, environ, _read(entry, environ, strict, None, role), strict, still)
        own = tuple(finding for finding in on_trial.findings if finding not in loaded.findings)
        candidates[role] = msgspec.structs.replace(on_trial, findings=own)
    folders = loaded.folders.union(*(one.folders for one in candidates.values()))
    return msgspec.structs.replace(loaded, candidates=candidates, folders=folders)


def _compiled(entry: Path, environ: Mapping[str, str], read: _Read, strict: bool, still: bool) -> Loaded:
    """Check, link and compile what was read."""
    gateway, findings = read.gateway, read.findings
    given = read.given
    unread = given or any(f.severity is Severity.ERROR for f in findings)
    folders = _folders(entry, gateway.spec, read.sources, environ)
    written: list[Linked[StageSpec]] = []
    parts: list[Linked[PartSpec]] = []
    broken: set[str] = set()
    for document in read.others:
        spec, faults = check(document, KINDS, environ, strict=strict)
        findings += faults
        if isinstance(spec, StageSpec):
            written.append(Linked(spec, document, str(entry)))
        elif isinstance(spec, PartSpec):
            parts.append(Linked(spec, document, str(entry)))
        elif isinstance(spec, Gateway):
            findings.append(_second(Linked(spec, document, str(entry)), gateway))
        else:
            broken.add(str(document.data.get("name") or document.kind))
    written += _defaults(written, {d.kind for d in read.others}, gateway)
    live = gateway.spec.catalogue(entry, environ)
    registry, problem, faults = _registry(read, live, parts, still)
    findings += faults
    stages = [linked for linked in written if linked.spec.enabled]
    off = frozenset(linked.spec.node for linked in written) - {linked.spec.node for linked in stages}
    scope = _scope(read, [*(s.spec for s in stages), *(p.spec for p in parts)], registry)
    findings += link_problems(gateway, stages, scope, Absent(off, frozenset(broken), unread, not read.sound))
    findings += key_problems([*stages, *parts])
    findings += [f for f in _problems([*stages, *parts], scope) if read.sound or f.code not in _OF_MODELS]
    if not given and not any(f.severity is Severity.ERROR for f in findings):
        limits = any(key.limits for _, _, key in declared_keys([*stages, *parts]))
        findings += shape_problems(gateway, stages, scope, limits=limits)
    findings += list(plain_secrets(read.sources.texts, findings))
    if any(f.severity is Severity.ERROR for f in findings):
        return Loaded(None, None, _shown(read, whole=False), read.sources, folders, problem)
    policy = Policy(gateway, tuple(stages), tuple(parts), scope, pipeline(gateway.spec, [s.spec for s in stages]))
    specs = tuple(s.spec for s in stages)
    # A file looked at by itself may lead to stages of other files.
    graph = compile_graph(gateway.spec, specs, policy.order, scope) if not given else None
    findings += lint(LintContext(gateway, (*stages, *parts), scope))
    return Loaded(policy, graph, _shown(read, whole=not given), read.sources, folders, problem)


def _shown(read: _Read, *, whole: bool) -> tuple[Diagnostic, ...]:
    """The findings in order, without the warnings that a comment allows."""
    return tuple(sorted(allowed(read.findings, read.sources.texts, whole=whole), key=lambda f: (f.place, f.code)))


def _problems(parts: Sequence[Linked[Any]], scope: Scope) -> Iterator[Diagnostic]:
    """What documents find wrong with themselves when all are seen together."""
    for linked in parts:
        yield from (linked.from_problem(problem) for problem in linked.spec.problems(scope))


_OF_MODELS = {Code.UNKNOWN_MODEL, Code.UNKNOWN_PROVIDER, Code.NO_CANDIDATES}
"""What cannot be judged while the gateway's providers and models are not known."""


def _read(
    entry: Path, environ: Mapping[str, str], strict: bool, given: bytes | None, candidate: str | None = None
) -> _Read:
    """All documents but the gateway's; the gateway's own first tells which folders there are. `candidate` is the field
    of its `rollout` whose policies are read in place of the others."""
    first = read_folder(entry, {}) if given is None else _alone(given, str(entry))
    documents, findings = first.documents()
    read = _Read(first, Linked(Gateway(), None, str(entry)), not findings, not strict, [], findings, given is not None)
    for document in documents:
        if document.kind != "gateway" or read.gateway.document is not None:
            read.others.append(document)
            continue
        spec, faults = check(document, KINDS, environ, strict=strict)
        findings += faults
        # A gateway with a fault still stands in, so that everything else is checked too.
        read.sound &= isinstance(spec, Gateway)
        standing = spec if isinstance(spec, Gateway) else Gateway(policies=_paths(document))
        read.gateway = Linked(standing, document, str(entry))
        read.alone = False
    spec = read.gateway.spec
    if candidate is not None and spec.rollout is not None:
        standing = msgspec.structs.replace(spec, policies=spec.rollout.candidates[candidate])
        read.gateway = msgspec.structs.replace(read.gateway, spec=standing)
    includes = _includes(read.gateway, entry, candidate)
    if includes and given is None:
        read.sources = read_folder(entry, includes)
        files = set(read.sources.texts) - set(first.texts)
        every, all_findings = read.sources.documents()
        findings += [f for f in all_findings if f not in findings]
        read.others += [d for d in every if d.file in files]
    return read


def _alone(data: bytes, name: str) -> Sources:
    text, findings = decode(data, name)
    return Sources({} if findings else {name: text}, "", findings)


def _paths(document: Document) -> tuple[str, ...]:
    """The policies a faulty gateway names, as far as they can be told."""
    paths = document.data.get("policies")
    plain = isinstance(paths, list) and all(isinstance(path, str) and "$" not in path for path in paths)
    return tuple(map(str, paths)) if plain and paths is not None else Gateway().policies


def _second(again: Linked[Gateway], first: Linked[Gateway]) -> Diagnostic:
    message = "there is a second gateway: a configuration has one"
    also = (first.place(("kind",)), "the first one is here")
    place, help_ = again.place(("kind",)), "move its fields there, or leave its file out of `policies`"
    return Diagnostic(Code.DUPLICATE_NAME, Severity.ERROR, message, place, help_, also)


def _includes(gateway: Linked[Gateway], entry: Path, candidate: str | None) -> dict[str, Place]:
    """Paths the gateway names. The default folder need not exist; one that is written must."""
    if gateway.document is None:
        return {}  # policies alone, to be checked by themselves
    written = candidate is not None or "policies" in gateway.document.data
    named: tuple[str, ...] = ("policies",) if candidate is None else ("rollout", candidate, "policies")
    return {
        path: gateway.place((*named, index))
        for index, path in enumerate(gateway.spec.policies)
        if written or (entry.parent / path).exists()
    }


def _defaults(
    written: Sequence[Linked[StageSpec]], kinds: Iterable[str | None], gateway: Linked[Gateway]
) -> list[Linked[StageSpec]]:
    """A stage nobody wrote a document for works with its defaults, if a pipeline that is written has it."""
    named = {*gateway.spec.pipeline, *(to for linked in written for to in linked.spec.on.values())}
    absent = [stage for stage in STAGES if stage.kind not in {*kinds, *(linked.spec.kind for linked in written)}]
    there = {None, *(stage.kind for stage in absent), *(linked.spec.kind for linked in written if linked.spec.enabled)}
    implied = [stage for stage in absent if stage.implied and stage.beside in there]
    wanted = [stage for stage in absent if stage.kind in named or (not gateway.spec.pipeline and stage in implied)]
    return [Linked(stage(), None, gateway.entry) for stage in wanted]


def _registry(
    read: _Read, live: Path, parts: Sequence[Linked[PartSpec]], still: bool
) -> tuple[Registry, str | None, list[Diagnostic]]:
    """The catalogue with the gateway's own models laid over it, and over those the overrides."""
    gateway, spec = read.gateway, read.gateway.spec
    # Policies alone, and cases, are judged by the catalogue that all have: not by what an update left on one machine.
    if spec.registry is not None:
        loaded = load_registry(live)
    else:
        loaded = load_registry() if read.alone or still else newest(live)
    ids = {card.id for card in loaded.catalogue.models}
    cards, findings, overridden = loaded.catalogue.models, list[Diagnostic](), dict[str, tuple[str, ...]]()
    written: list[tuple[Linked[Any], Mapping[str, ModelSpec]]] = [(gateway, spec.models)]
    written += ((part, part.spec.models) for part in parts if isinstance(part.spec, RegistryOverride))
    for linked, models in written:
        merged = merge(cards, models)
        cards = merged.cards
        for id, fields in merged.overridden.items():
            if id in ids:
                overridden[id] = tuple(dict.fromkeys((*overridden.get(id, ()), *fields)))
        for problem in merged.problems:
            name, *field = map(str, problem.path)
            said = problem.message.startswith(("is ", "must ")) and field
            what = f"`{field[0]}` of model `{name}` " if said else f"model `{name}`: "
            found = Problem(("models", *problem.path), Code.BAD_MODEL, what + problem.message)
            findings.append(linked.from_problem(found))
    findings += _overridden_twice(written[1:])
    day = loaded.catalogue.generated if still else datetime.now(UTC).date()
    registry = Registry(cards, day, _enabled(read), overridden)
    if loaded.problem is not None:
        found = Problem(("registry",), Code.REGISTRY_FALLBACK, loaded.problem, warning=True)
        findings.append(gateway.from_problem(found))
    return registry, loaded.problem, findings


def _overridden_twice(overrides: Sequence[tuple[Linked[Any], Mapping[str, ModelSpec]]]) -> Iterator[Diagnostic]:
    first: dict[str, Place] = {}
    for linked, models in overrides:
        for name in models:
            place = linked.place(("models", name), key=True)
            if name in first:
                message = f"model `{name}` is overridden twice: which one would win?"
                also = (first[name], "the first is here")
                yield Diagnostic(Code.DUPLICATE_NAME, Severity.ERROR, message, place, None, also)
            first.setdefault(name, place)


def _enabled(read: _Read) -> frozenset[str] | None:
    """The providers that may be asked; None when they are not known, and all are taken to be there."""
    if read.alone or not read.sound:
        return None
    return frozenset(name for name, provider in read.gateway.spec.providers.items() if provider.enabled)


def _scope(read: _Read, parts: Sequence[PartSpec], registry: Registry) -> Scope:
    classifiers = [stage for stage in parts if isinstance(stage, Classify)]
    tiers = dict.fromkeys(tier for stage in classifiers for tier in stage.tiers)
    steering = frozenset(name for stage in classifiers for rule in stage.rules for name in steers(rule.when))
    # Where a policy lies, and whether it is on trial, is no part of it: promoted, it keeps its hash.
    gateway = msgspec.structs.replace(read.gateway.spec, policies=(), rollout=None)
    digest = sha256()
    for part in (gateway, *parts, *registry.cards):
        digest.update(msgspec.json.encode(part, order="deterministic") + b"\n")
    enabled = _enabled(read)
    providers = frozenset(model.provider for model in registry) if enabled is None else enabled
    strategies = frozenset(name for stage in parts if isinstance(stage, Score) for name in stage.known_strategies)
    return Scope(registry, providers, tuple(tiers), digest.hexdigest(), steering, strategies)


def _folders(entry: Path, gateway: Gateway, sources: Sources, environ: Mapping[str, str]) -> frozenset[Path]:
    """What to watch: every folder that holds a file that counts, or may come to hold one."""
    base = entry.parent
    paths = [entry, *map(Path, sources.texts), *(base / path for path in gateway.policies)]
    paths.append(gateway.catalogue(entry, environ))
    folders = {path if path.is_dir() else path.parent for path in paths}
    return frozenset(folder.absolute() for folder in folders if folder.is_dir())

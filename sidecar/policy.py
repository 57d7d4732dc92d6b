"""Documents -> Policy: all specs together, checked for what no single document can tell.

`load` is what `validate` and `run` both call: read, check, link and compile, with every finding of every step.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import msgspec
from msgspec import Struct

from .config.check import check
from .config.codes import Code
from .config.diagnostic import Diagnostic, Place, Severity
from .config.document import Document
from .config.loader import Sources, read_folder
from .config.render import render_text
from .gateway import Gateway
from .graph import Graph, compile_graph
from .link import Linked, link_problems, pipeline
from .registry.index import Registry
from .registry.load import load as load_registry
from .registry.override import merge
from .spec import Spec
from .stages import STAGES
from .stages.base import Problem, Scope, StageSpec
from .stages.classify import Classify

KINDS: Mapping[str, type[Spec]] = {"gateway": Gateway, **{stage.kind: stage for stage in STAGES}}
"""What `kind:` may say."""


class Policy(Struct, frozen=True):
    """Linked specs: every name in them exists. `stages` includes the defaults of kinds nobody wrote."""

    gateway: Linked[Gateway]
    stages: tuple[Linked[StageSpec], ...]
    scope: Scope
    order: tuple[str, ...]


class Loaded(Struct, frozen=True):
    """What came of reading a configuration. `graph` is None when a finding is an error.

    `registry_problem` says why models.json is not the one that was asked for.
    """

    policy: Policy | None
    graph: Graph | None
    findings: tuple[Diagnostic, ...]
    sources: Sources
    folders: frozenset[Path]
    registry_problem: str | None = None

    @property
    def text(self) -> str:
        """The findings as `sidecar validate` prints them; empty when there are none."""
        return self.render(())

    @property
    def errors(self) -> int:
        """How many findings refuse the configuration."""
        return sum(f.severity is Severity.ERROR for f in self.findings)

    def render(self, more: Sequence[Diagnostic]) -> str:
        """The findings with others of a later step."""
        return render_text([*self.findings, *more], self.sources.texts)


def load(entry: Path, environ: Mapping[str, str], *, strict: bool) -> Loaded:
    """Read `entry` and what it includes, and compile it. Never raises for what the files say.

    `strict` makes an unset variable an error; `validate` is not strict, for CI has no environment.
    """
    sources, gateway, documents, findings = _read(entry, environ, strict)
    folders = _folders(entry, gateway.spec, sources)
    stages: list[Linked[StageSpec]] = []
    for document in documents:
        spec, faults = check(document, KINDS, environ, strict=strict)
        findings += faults
        if isinstance(spec, StageSpec):
            stages.append(Linked(spec, document, str(entry)))
    stages += _defaults(stages, {d.kind for d in documents}, str(entry))
    registry, problem, faults = _registry(gateway, entry)
    findings += faults
    stages = [linked for linked in stages if linked.spec.enabled]
    scope = _scope(gateway.spec, [s.spec for s in stages], registry)
    findings += link_problems(gateway, stages, scope)
    for linked in stages:
        findings += [linked.from_problem(p) for p in linked.spec.problems(scope)]
    found = tuple(sorted(findings, key=lambda f: (f.place, f.code)))
    if any(f.severity is Severity.ERROR for f in found):
        return Loaded(None, None, found, sources, folders, problem)
    policy = Policy(gateway, tuple(stages), scope, pipeline(gateway.spec, [s.spec for s in stages]))
    specs = tuple(s.spec for s in stages)
    graph = compile_graph(gateway.spec, specs, policy.order, scope)
    return Loaded(policy, graph, found, sources, folders, problem)


def _read(
    entry: Path, environ: Mapping[str, str], strict: bool
) -> tuple[Sources, Linked[Gateway], list[Document], list[Diagnostic]]:
    """All documents but the gateway's; the gateway's own first tells which folders there are."""
    first = read_folder(entry, {})
    documents, findings = first.documents()
    found: list[Linked[Gateway]] = []
    others: list[Document] = []
    for document in documents:
        if document.kind != "gateway":
            others.append(document)
            continue
        spec, faults = check(document, KINDS, environ, strict=strict)
        findings += faults
        # A gateway with a fault still stands in, so that everything else is checked too.
        found.append(Linked(spec if isinstance(spec, Gateway) else Gateway(policies=()), document, str(entry)))
    gateway = found[0] if found else Linked(Gateway(policies=()), None, str(entry))
    for again in found[1:]:
        findings.append(again.finding((), Code.DUPLICATE_NAME, "there is a second gateway: one configuration has one"))
    includes = _includes(gateway, entry)
    if not includes:
        return first, gateway, others, findings
    sources = read_folder(entry, includes)
    files = set(sources.texts) - set(first.texts)
    every, all_findings = sources.documents()
    findings += [f for f in all_findings if f not in findings]
    return sources, gateway, others + [d for d in every if d.file in files], findings


def _includes(gateway: Linked[Gateway], entry: Path) -> dict[str, Place]:
    """Paths the gateway names. The default folder need not exist; one that is written must."""
    written = gateway.document is not None and "policies" in gateway.document.data
    return {
        path: gateway.place(("policies", index))
        for index, path in enumerate(gateway.spec.policies)
        if written or (entry.parent / path).exists()
    }


def _defaults(
    stages: Sequence[Linked[StageSpec]], written: Iterable[str | None], entry: str
) -> list[Linked[StageSpec]]:
    """A stage nobody wrote a document for works with its defaults."""
    kinds = {*written, *(linked.spec.kind for linked in stages)}
    return [Linked(stage(), None, entry) for stage in STAGES if stage.kind not in kinds]


def _registry(gateway: Linked[Gateway], entry: Path) -> tuple[Registry, str | None, list[Diagnostic]]:
    """The catalogue with the gateway's own models laid over it."""
    spec = gateway.spec
    loaded = load_registry(None if spec.registry is None else entry.parent / spec.registry)
    merged = merge(loaded.catalogue.models, spec.models)
    findings = [
        gateway.from_problem(Problem(("models", *p.path), Code.BAD_MODEL, f"model `{p.path[0]}`: {p.message}"))
        for p in merged.problems
    ]
    enabled = [name for name, provider in spec.providers.items() if provider.enabled]
    registry = Registry(merged.cards, datetime.now(UTC).date(), enabled)
    if loaded.problem is not None:
        found = Problem(("registry",), Code.REGISTRY_FALLBACK, loaded.problem, warning=True)
        findings.append(gateway.from_problem(found))
    return registry, loaded.problem, findings


def _scope(gateway: Gateway, stages: Sequence[StageSpec], registry: Registry) -> Scope:
    tiers = dict.fromkeys(tier for stage in stages if isinstance(stage, Classify) for tier in stage.tiers)
    providers = frozenset(name for name, provider in gateway.providers.items() if provider.enabled)
    digest = sha256()
    for part in (gateway, *stages, *registry.cards):
        digest.update(msgspec.json.encode(part, order="deterministic") + b"\n")
    return Scope(registry, providers, tuple(tiers), digest.hexdigest())


def _folders(entry: Path, gateway: Gateway, sources: Sources) -> frozenset[Path]:
    """What to watch: every folder that holds a file that counts, or may come to hold one."""
    base = entry.parent
    paths = [entry, *map(Path, sources.texts), *(base / path for path in gateway.policies)]
    if gateway.registry is not None:
        paths.append(base / gateway.registry)
    folders = {path if path.is_dir() else path.parent for path in paths}
    return frozenset(folder.absolute() for folder in folders if folder.is_dir())

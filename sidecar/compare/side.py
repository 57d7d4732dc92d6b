"""One side of a comparison: a path, or a git revision whose YAML and JSON are laid out in a folder of their own."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from msgspec import Struct, structs

from ..config.diagnostic import Diagnostic, Place
from ..graph import Graph
from ..policy import Loaded, Policy, load

MOST_FILES = 20_000
MOST_BYTES = 256_000_000
SECONDS = 60

_GATEWAYS = ("gateway.yaml", "gateway.yml")
_SUFFIXES = (".yaml", ".yml", ".json")
_LINK = "120000"
# Nothing is fetched, nothing is asked, and messages are the ones that are known here.
_ENVIRONMENT = {"GIT_TERMINAL_PROMPT": "0", "GIT_NO_LAZY_FETCH": "1", "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"}


class SourceError(ValueError):
    """What was named cannot be read; the text says so to its user."""


class Source(Struct, frozen=True):
    """Where one side is: `name` as it is shown; files below `root` are shown by their path in the repository, after
    the revision. None is the working tree. `candidate` is the field of its `rollout` whose policies are meant."""

    name: str
    entry: Path
    root: Path | None = None
    candidate: str | None = None

    def place(self, place: Place) -> Place:
        """The place as its user knows it: the path in the repository."""
        return structs.replace(place, file=self.text(place.file, ""))

    def text(self, text: str, before: str | None = None) -> str:
        """A text without the folder that nobody knows."""
        label = f"{self.name}:" if before is None else before
        return text if self.root is None else text.replace(f"{self.root}{os.sep}", label)

    def finding(self, finding: Diagnostic, before: str | None = None) -> Diagnostic:
        """A finding with the file's name in the repository, after `before` or the revision."""

        def named(place: Place) -> Place:
            return structs.replace(place, file=self.text(place.file, before))

        also = finding.also and (named(finding.also[0]), finding.also[1])
        message = self.text(finding.message, before)
        return structs.replace(finding, place=named(finding.place), message=message, also=also)


class Side(Struct, frozen=True):
    """A source that was read and is sound."""

    source: Source
    loaded: Loaded
    policy: Policy
    graph: Graph

    @property
    def entry(self) -> Path:
        """Its gateway.yaml."""
        return self.source.entry


def read(source: Source) -> Side | Loaded:
    """Load and compile; what could not be, with its findings, when it is not sound. The environment and the day do not
    count: two revisions differ in the same way wherever they are compared. Raises SourceError when it has no such
    candidate."""
    loaded = load(source.entry, {}, strict=False, still=True)
    if source.candidate is not None and loaded.graph is not None:
        if source.candidate not in loaded.candidates:
            raise SourceError(f"{source.entry} has no `rollout: {source.candidate}:`")
        loaded = loaded.candidates[source.candidate]
    if loaded.policy is None or loaded.graph is None:
        return loaded
    return Side(source, loaded, loaded.policy, loaded.graph)


def source_of(text: str, config: Path, folder: Path) -> Source:
    """A path when there is such a file or folder, else a git revision, `REV` or `REV:path`. `config` is the gateway
    where a revision names none; `folder` is empty, and takes the revision's files. Raises SourceError."""
    path = Path(text)
    if path.exists():
        return Source(text, _gateway(path, text))
    revision, colon, inside = text.partition(":")
    top = Path(_git(["rev-parse", "--show-toplevel"], text).decode().rstrip("\n"))
    if colon and not inside.startswith("./"):
        wanted = PurePosixPath(inside)
    else:
        place = Path.cwd() / (inside if colon else config)
        wanted = PurePosixPath(os.path.relpath(place.resolve(), top.resolve()))
    if wanted.is_absolute() or ".." in wanted.parts:
        raise SourceError(f"{config} is not in the repository {top}: name a file of it with `--config`")
    if revision.startswith("-") or not revision:
        raise SourceError(f"`{text}` is neither a file nor a git revision")
    commit = _git(["rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}"], text).decode().strip()
    root = folder.resolve()
    _lay_out(commit, revision, top, root)
    entry = root / wanted
    if not entry.exists():
        raise SourceError(f"revision `{revision}` has no {wanted}: `--config` says where its gateway.yaml is")
    return Source(revision, _gateway(entry, f"{revision}:{wanted}"), root)


def _gateway(path: Path, shown: str) -> Path:
    if not path.is_dir():
        return path
    for name in _GATEWAYS:
        if (path / name).is_file():
            return path / name
    raise SourceError(f"{shown}: no gateway.yaml in it")


def _git(arguments: list[str], about: str, folder: Path | None = None, given: bytes | None = None) -> bytes:
    try:
        ran = subprocess.run(
            ["git", *arguments], cwd=folder, input=given, capture_output=True, timeout=SECONDS, check=False,
            env={**os.environ, **_ENVIRONMENT},
        )  # fmt: skip
    except FileNotFoundError:
        raise SourceError(f"{about}: no such file, and there is no `git` here to ask for a revision") from None
    except subprocess.TimeoutExpired:
        raise SourceError(f"{about}: git did not answer within {SECONDS} s") from None
    if ran.returncode == 0:
        return ran.stdout
    said = ran.stderr.decode("utf-8", "replace").strip().partition("\n")[0].removeprefix("fatal: ")
    if "not a git repository" in said:
        raise SourceError(f"{about}: no such file, and this is no git repository")
    help_ = "no such file, and no such revision (a shallow clone has but one: fetch it first)"
    raise SourceError(f"{about}: {said or help_}")


def _lay_out(commit: str, revision: str, top: Path, root: Path) -> None:
    """Write the revision's YAML and JSON below `root`. Links are kept if they lead to something there."""
    files = list(_listed(_git(["ls-tree", "-r", "-z", "--long", commit], revision, top)))
    if len(files) > MOST_FILES or sum(size for _, _, size, _ in files) > MOST_BYTES:
        bounds = f"{MOST_FILES:,} YAML and JSON files or {MOST_BYTES // 1_000_000} MB of them"
        raise SourceError(f"{revision} has more than {bounds}: check it out beside this one (`git worktree add`)")
    given = "".join(f"{oid}\n" for _, oid, _, _ in files).encode()
    stream = memoryview(_git(["cat-file", "--batch"], revision, top, given) if files else b"")
    links: list[Path] = []
    for mode, oid, size, path in files:
        start = len(head := f"{oid} blob {size}\n".encode())
        if bytes(stream[:start]) != head:
            raise SourceError(f"git does not have all files of {revision} here: fetch them first")
        data, stream = bytes(stream[start : start + size]), stream[start + size + 1 :]
        place = root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        if mode == _LINK:
            place.symlink_to(os.fsdecode(data))
            links.append(place)
        else:
            place.write_bytes(data)
    for link in links:
        if not link.resolve().is_relative_to(root):
            link.unlink()


def _listed(listing: bytes) -> Iterator[tuple[str, str, int, str]]:
    """Mode, object, size and path of every file that counts; submodules do not."""
    for row in filter(None, listing.split(b"\0")):
        head, _, path = row.partition(b"\t")
        mode, kind, oid, size = head.decode().split()
        name = os.fsdecode(path)
        if kind == "blob" and (name.endswith(_SUFFIXES) or mode == _LINK):
            yield mode, oid, int(size), name

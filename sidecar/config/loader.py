"""The files of a configuration: gateway.yaml and the folders it includes, as texts and one digest."""

import hashlib
import os
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from msgspec import Struct

from .codes import Code
from .diagnostic import Diagnostic, Place, error
from .document import Document, decode, parse, read, unreadable

MAX_PATHS = 2000
_SUFFIXES = (".yaml", ".yml")
_TEST_SUFFIXES = ("_test.yaml", "_test.yml")


class Sources(Struct, frozen=True):
    """What was read. `texts` is by the path shown to the user, the entry first; files with a finding have none.

    `digest` is the SHA-256 of every file's bytes under its path relative to the entry's folder: the same files give
    the same digest wherever they lie, and a reload with the same digest is none.
    """

    texts: dict[str, str]
    digest: str
    findings: list[Diagnostic]

    def documents(self) -> tuple[list[Document], list[Diagnostic]]:
        """All documents in the order of the files, and all findings of reading and parsing them."""
        documents: list[Document] = []
        findings = list(self.findings)
        for file, text in self.texts.items():
            found, faults = parse(text, file)
            documents += found
            findings += faults
        return documents, findings

    def stand(self) -> bool:
        """Whether every file that was read still says the same."""
        return all(decode(read(Path(file), file)[0], file)[0] == text for file, text in self.texts.items())


def read_folder(entry: Path, includes: Mapping[str, Place]) -> Sources:
    """Reads a file (or all of a folder) and what it includes; what cannot be read is a finding, never an exception.

    `includes` maps a folder or file, relative to the entry's folder, to the place that names it. Folders are read
    with those inside, sorted; symbolic links are followed. Hidden entries, Kubernetes' `..data` among them, and
    `*_test.yaml` are skipped, and a file that is reached twice is read once.
    """
    base = entry if _is_folder(entry) else entry.parent
    walk = _Walk()
    files = list(walk.files(entry, Place(str(entry))))
    for include, place in includes.items():
        files += walk.files(base / include, place)
    texts: dict[str, str] = {}
    findings = walk.findings
    digests: dict[str, bytes] = {}
    for path in files:
        data, faults = read(path, str(path))
        digests[os.path.relpath(path, base)] = hashlib.sha256(data).digest()
        if not faults:
            text, faults = decode(data, str(path))
        if faults:
            findings += faults
        else:
            texts[str(path)] = text
    return Sources(texts, _digest(digests), findings)


class _Walk:
    """Finds files; remembers what it has seen, so that no loop of links and no second mention is read again."""

    def __init__(self) -> None:
        self.findings: list[Diagnostic] = []
        self._seen: set[tuple[int, int]] = set()

    def files(self, start: Path, place: Place) -> Iterator[Path]:
        """The file itself, or the YAML files of a folder and those inside it; `place` is where it is named."""
        ahead = [start]
        while ahead:
            path = ahead.pop()
            try:
                status = path.stat()
                if (status.st_dev, status.st_ino) in self._seen:
                    continue
                self._seen.add((status.st_dev, status.st_ino))
                if len(self._seen) > MAX_PATHS:
                    message = f"more than {MAX_PATHS:,} files and folders"
                    self.findings.append(error(Code.TOO_LARGE, message, place, "include less"))
                    return
                if not stat.S_ISDIR(status.st_mode):
                    yield path
                    continue
                children = sorted(path.iterdir(), reverse=True)
            except (OSError, ValueError) as failure:
                self.findings.append(unreadable(f"`{path}`", failure, place))
                continue
            ahead += [child for child in children if _is_wanted(child)]


def _is_wanted(child: Path) -> bool:
    if child.name.startswith("."):
        return False
    if child.name.endswith(_SUFFIXES):
        return not child.name.endswith(_TEST_SUFFIXES)
    return _is_folder(child)


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except (OSError, ValueError):
        return False


def _digest(digests: Mapping[str, bytes]) -> str:
    """Path and content are each of known length in the hashed text, so no two sets of files read the same."""
    total = hashlib.sha256()
    for path, digest in sorted(digests.items()):
        total.update(hashlib.sha256(path.encode("utf-8", "surrogateescape")).digest() + digest)
    return total.hexdigest()

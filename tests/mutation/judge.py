"""One mutant at a time: written to a folder, loaded, checked and tested as `validate --deny-warnings` and `test` do."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

from sidecar.cases.judge import run
from sidecar.cases.suite import files_beside, read_suites
from sidecar.config.document import parse
from sidecar.policy import load

from .mutants import Folder, Mutant

ROOT = Path(__file__).parents[2]


def shipped() -> Folder:
    """The configuration that is shipped, without its cases."""
    paths = [ROOT / "gateway.yaml", *sorted((ROOT / "policies").glob("*.yaml"))]
    folder: Folder = {}
    for path in paths:
        if not path.name.endswith("_test.yaml"):
            (document,), _ = parse(path.read_text(encoding="utf-8"), str(path))
            folder[path.relative_to(ROOT).as_posix()] = document.data
    return folder


@contextmanager
def copied() -> Iterator[Path]:
    """The shipped configuration with its cases, in a folder of its own."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        shutil.copy(ROOT / "gateway.yaml", folder)
        shutil.copytree(ROOT / "policies", folder / "policies")
        yield folder


def caught_by(mutant: Mutant, folder: Path) -> str | None:
    """`validate` or `test`; None when nobody noticed. The folder is as it was afterwards."""
    path = folder / mutant.file
    before = path.read_bytes()
    path.write_text(yaml.safe_dump(mutant.document, sort_keys=False), encoding="utf-8")
    try:
        return found(folder)
    finally:
        path.write_bytes(before)


def found(folder: Path) -> str | None:
    """Who finds a fault with the configuration in a folder."""
    loaded = load(folder / "gateway.yaml", {}, strict=False, still=True)
    if loaded.graph is None or loaded.policy is None or loaded.findings:
        return "validate"
    suites = read_suites(files_beside(folder, loaded.policy.gateway.spec.policies), loaded)
    if suites.findings or any(run(loaded.graph, trial).differences for trial in suites.trials):
        return "test"
    return None

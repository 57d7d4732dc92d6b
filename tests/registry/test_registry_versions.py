"""models.json replaced in one step: old or new at any moment, the last versions kept, and a way back."""

import json
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sidecar.registry.load import BUNDLED, load, parse
from sidecar.registry.versions import replace, rollback, versions, written

DATA = json.loads(BUNDLED.read_bytes())


def catalogue(note: str) -> bytes:
    """The bundled catalogue with another note."""
    return json.dumps({**DATA, "notes": note}).encode()


def test_old_versions_are_kept_and_the_oldest_go(tmp_path: Path) -> None:
    path = tmp_path / "models.json"
    path.write_bytes(catalogue("by hand"))
    new = [replace(path, catalogue(f"{n}"), keep=3) for n in range(4)]
    assert versions(path) == new[:0:-1]
    assert path.read_bytes() == new[-1].read_bytes() == catalogue("3")
    assert (tmp_path / "models.json.bak").read_bytes() == catalogue("2")
    assert written(new[0]) < written(new[1])
    assert {file.name for file in tmp_path.iterdir()} == {"models.json", "models.json.bak", *(v.name for v in new[1:])}


def test_what_was_written_by_hand_can_be_brought_back(tmp_path: Path) -> None:
    path = tmp_path / "models.json"
    path.write_bytes(catalogue("by hand"))
    replace(path, catalogue("new"))
    assert [version.read_bytes() for version in versions(path)] == [catalogue("new"), catalogue("by hand")]
    rollback(path, versions(path)[1])
    assert path.read_bytes() == catalogue("by hand")
    assert (tmp_path / "models.json.bak").read_bytes() == catalogue("new")


def test_what_is_no_catalogue_is_not_written_and_no_backup(tmp_path: Path) -> None:
    path = tmp_path / "models.json"
    replace(path, catalogue("1"))
    replace(path, catalogue("2"))
    for data in (b"", b"{", b"[]", catalogue("x")[:-9]):
        with pytest.raises(ValueError, match="not written"):
            replace(path, data)
    assert path.read_bytes() == catalogue("2")
    path.write_text("{")
    replace(path, catalogue("3"))
    assert (tmp_path / "models.json.bak").read_bytes() == catalogue("1")


def test_a_full_disk_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "models.json"
    replace(path, catalogue("1"))
    was = {file: file.read_bytes() for file in tmp_path.iterdir()}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(OSError):
            replace(path, catalogue("2"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert path.read_bytes() == catalogue("1")
    assert {file: file.read_bytes() for file in tmp_path.iterdir()} == was


def test_kill_in_the_middle_leaves_a_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "models.json"
    program = (
        "import sys, itertools; from pathlib import Path; from sidecar.registry.versions import replace\n"
        "from sidecar.registry.load import BUNDLED; path, data = Path(sys.argv[1]), BUNDLED.read_bytes()\n"
        "for n in itertools.count(): replace(path, data + b' ' * n)"
    )
    replace(path, catalogue("before"))
    for _ in range(3):
        newest = versions(path)[0]
        writer = subprocess.Popen([sys.executable, "-c", program, str(path)], cwd=Path(__file__).parents[2])
        end = time.monotonic() + 20
        while versions(path)[0] == newest and time.monotonic() < end:
            time.sleep(0.001)
        writer.send_signal(signal.SIGKILL)
        writer.wait(10)
        assert not isinstance(parse(path.read_bytes()), str)
        assert load(path).source == "file"
    replace(path, catalogue("after"))
    assert load(path).catalogue.notes == "after"

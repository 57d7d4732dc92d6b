"""docs/emulator.md: its files are read as they stand there, and it names every fault and every field."""

import re
from pathlib import Path
from typing import get_args

import pytest
from msgspec import Struct

from sidecar.cli.config import read_one
from sidecar.emulator import Faults, Script
from sidecar.emulator.faults import Fault, FaultName
from sidecar.emulator.script import Match, Reply

TEXT = (Path(__file__).parents[2] / "docs" / "emulator.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("kind", "spec"), [("faults", Faults), ("emulator", Script)])
def test_its_files_are_sound(kind: str, spec: type[Faults | Script], tmp_path: Path) -> None:
    (text,) = [block for block in re.findall(r"```yaml\n(.*?)```", TEXT, re.S) if f"kind: {kind}\n" in block]
    (tmp_path / "file.yaml").write_text(text)
    assert read_one(tmp_path / "file.yaml", kind, spec) is not None


def test_every_fault_is_told_of() -> None:
    assert [name for name in get_args(FaultName) if f"`{name}`" not in TEXT] == []


@pytest.mark.parametrize("spec", [Fault, Match, Reply], ids=lambda spec: spec.__name__)
def test_every_field_is_told_of(spec: type[Struct]) -> None:
    assert [name for name in spec.__struct_fields__ if f"`{name}`" not in TEXT] == []

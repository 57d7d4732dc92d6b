"""The schemas in `schemas/`: what an editor accepts is what `check` accepts."""

from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from sidecar.config.schema import json_schemas, stale, write
from sidecar.spec import Spec

from .toys import KINDS, only

SCHEMAS = json_schemas(KINDS)


def accepts(name: str, text: str) -> bool:
    return Draft202012Validator(SCHEMAS[name]).is_valid(only(text).data)


def test_one_schema_a_kind_and_one_for_all() -> None:
    assert list(SCHEMAS) == ["gateway.schema.json", "menu.schema.json", "sidecar.schema.json"]
    for name, schema in SCHEMAS.items():
        Draft202012Validator.check_schema(schema)
        assert schema["$schema"].endswith("2020-12/schema") and schema["$id"] == name


@pytest.mark.parametrize(
    ("kind", "text", "sound"),
    [
        ("gateway", "port: 80", True),
        ("gateway", "kind: gateway\nport: ${PORT}", True),
        ("gateway", "kind: gateway\nport: x", False),
        ("gateway", "open: ${OPEN:-true}\ntables:\n  - ${T}", True),
        ("gateway", "kitchens: {a: {url: '${URL}', share: '${S}', api_key: '${KEY}'}}", True),
        ("gateway", "kitchens: {a: {url: 'https://a', api_key: 'sk-1'}}", False),
        ("gateway", "kitchens: {a: {url: 'ftp://a'}}", False),
        ("gateway", "prot: 80", False),
        ("menu", "name: lunch", False),
        ("menu", "kind: menu\nname: lunch\nsize: ${SIZE}\ncourses: [{kind: hot, plates: [a], until: '${N}s'}]", True),
        ("menu", "kind: menu\nname: lunch\ncourses: [{kind: hott}]", False),
    ],
)
def test_what_an_editor_says(kind: str, text: str, sound: bool) -> None:
    assert accepts(f"{kind}.schema.json", text) is sound
    if "kind:" in text or kind == "gateway":
        assert accepts("sidecar.schema.json", text) is sound


def test_unknown_kind_in_the_schema_for_all() -> None:
    assert not accepts("sidecar.schema.json", "kind: nothing")


def test_descriptions_come_from_the_docstrings() -> None:
    class Long(Spec):
        """First line.

        Second paragraph.
        """

        description: str = ""
        default: int = 1

    schema = json_schemas({"long": Long})["long.schema.json"]
    assert schema["description"] == "First line.\n\nSecond paragraph."
    assert schema["properties"]["default"]["anyOf"][0] == {"type": "integer"}


def test_a_spec_that_holds_itself() -> None:
    schema: dict[str, Any] = json_schemas({"tree": Tree})["tree.schema.json"]
    assert Draft202012Validator(schema).is_valid({"kind": "tree", "left": {"left": {}}})
    assert not Draft202012Validator(schema).is_valid({"kind": "tree", "left": {"left": {"x": 1}}})


class Tree(Spec):
    left: "Tree | None" = None


def test_written_then_not_stale(tmp_path: Path) -> None:
    folder = tmp_path / "schemas"
    assert stale(folder, SCHEMAS) == list(SCHEMAS)
    write(folder, SCHEMAS)
    assert stale(folder, SCHEMAS) == []
    assert stale(folder, json_schemas(KINDS)) == []
    (folder / "menu.schema.json").write_text("{}")
    assert stale(folder, SCHEMAS) == ["menu.schema.json"]

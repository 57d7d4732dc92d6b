"""What a person may write or read is told somewhere: every field, every kind, every header, every verb."""

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sidecar.cases.spec import Suite
from sidecar.cli import VERBS
from sidecar.config.schema import check_schema
from sidecar.policy import KINDS

ROOT = Path(__file__).parents[1]
DOCS = {path.name: path.read_text(encoding="utf-8") for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md"))}
TEXT = "\n".join(DOCS.values())
SAID_BY_THE_STRUCT = {"Listen.host", "Source.url", "Source.fetched_at"}
CODE = {path: path.read_text(encoding="utf-8") for path in (ROOT / "sidecar").rglob("*.py")}


def specs() -> dict[str, dict[str, Any]]:
    """Every struct of the configuration, by name, as its schema."""
    found: dict[str, dict[str, Any]] = {}
    for spec in (*KINDS.values(), Suite):
        found |= check_schema(spec)["$defs"]
    return found


@pytest.mark.parametrize("name", specs())
def test_every_struct_says_what_it_is(name: str) -> None:
    told = specs()[name].get("description", "")
    assert told and not told.startswith("Base of all specs"), f"{name} has no docstring"


def undescribed(schema: dict[str, Any], definitions: dict[str, Any]) -> bool:
    """Whether neither the field nor the struct or scalar it holds says what it is."""
    if schema.get("description"):
        return False
    parts = [*schema.get("anyOf", ()), *([schema["items"]] if isinstance(schema.get("items"), dict) else [])]
    if isinstance(schema.get("additionalProperties"), dict):
        parts.append(schema["additionalProperties"])
    if "$ref" in schema:
        parts.append(definitions[schema["$ref"].rpartition("/")[2]])
    return all(undescribed(part, definitions) for part in parts if part != {"type": "null"})


def test_every_field_is_told_of() -> None:
    """By its own description, by that of what it holds, or by name in the docstring of the struct."""
    definitions = specs()
    silent = [
        f"{name}.{field}"
        for name, schema in definitions.items()
        for field, value in schema.get("properties", {}).items()
        if field != "kind"
        and f"{name}.{field}" not in SAID_BY_THE_STRUCT
        and undescribed(value, definitions)
        and not re.search(rf"\b{field.replace('_', '.')}s?\b", schema.get("description", ""), re.IGNORECASE)
    ]
    assert silent == [], silent


def test_every_default_keeps_to_its_own_schema() -> None:
    for spec in KINDS.values():
        if not any(field.required for field in msgspec.structs.fields(spec)):
            msgspec.convert(msgspec.to_builtins(spec()), spec)


def test_every_header_is_told_of() -> None:
    headers = {header for text in CODE.values() for header in re.findall(r"\bx-sidecar-[a-z]+(?:-[a-z]+)*", text)}
    assert {"x-sidecar-model", "x-sidecar-task"} <= headers
    assert sorted(header for header in headers if header not in TEXT) == []


def test_every_verb_is_told_of() -> None:
    assert sorted(verb for verb in VERBS if f"sidecar {verb}" not in TEXT) == []


def test_every_kind_is_told_of() -> None:
    assert sorted(kind for kind in KINDS if kind not in TEXT) == []


@pytest.mark.parametrize("name", DOCS)
def test_links_between_the_documents_lead_somewhere(name: str) -> None:
    folder = ROOT if name == "README.md" else ROOT / "docs"
    links = re.findall(r"\]\((?!https?:|#|mailto:)([^)#\s]+)", DOCS[name])
    assert [link for link in links if not (folder / link).exists()] == []


@pytest.mark.parametrize(
    "path", sorted((ROOT / "examples").rglob("*.yaml")) + sorted((ROOT / "policies").glob("*.yaml"))
)
def test_shipped_yaml_opens_with_the_editors_line(path: Path) -> None:
    line = path.read_text(encoding="utf-8").splitlines()[0]
    found = re.fullmatch(r"# yaml-language-server: \$schema=(\S+)", line)
    assert found is not None and (path.parent / found[1]).is_file()

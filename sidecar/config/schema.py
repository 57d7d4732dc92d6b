"""JSON Schemas from the Structs: one to check with, and the files in `schemas/` that editors complete from.

The Structs are the only source: nobody edits the files, and CI runs `stale` over them.
"""

import functools
import inspect
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from ..spec import Spec
from .document import DEFAULT_KINDS

DIALECT = "https://json-schema.org/draft/2020-12/schema"
ANY_KIND = "sidecar.schema.json"

_ANNOTATIONS = ("title", "description", "examples", "default", "deprecated")
_CONSTRAINTS = ("enum", "pattern", "format", "minLength", "maxLength")
_REFERENCE_ALONE = {"type": "string", "pattern": r"^\$\{.+\}$"}
_REFERENCE_WITHIN = {"type": "string", "pattern": r"\$\{.+\}"}


@functools.cache
def check_schema(spec: type[Spec]) -> dict[str, Any]:
    """The schema that `check` lists a document's faults with: what msgspec accepts, in JSON Schema."""
    (root,), definitions = msgspec.json.schema_components([spec])
    return _tidy({**root, "$defs": definitions})


def json_schemas(kinds: Mapping[str, type[Spec]]) -> dict[str, dict[str, Any]]:
    """File name -> schema: `<kind>.schema.json` for each kind, and `sidecar.schema.json` for all by their `kind`.

    Unlike in `check_schema`, a number, a choice or a text of a fixed form may also be `${NAME}`.
    """
    schemas = {_file_name(kind): _one_kind(kind, spec) for kind, spec in kinds.items()}
    return {**schemas, ANY_KIND: _any_kind(kinds)}


def write(folder: Path, schemas: Mapping[str, Mapping[str, Any]]) -> None:
    """Writes every schema as a file into `folder`, which is made if need be. Raises `OSError`."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, schema in schemas.items():
        (folder / name).write_text(_text(schema), encoding="utf-8")


def stale(folder: Path, schemas: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Names of the schemas whose file in `folder` is missing or differs. Raises `OSError` if one is unreadable."""
    return [
        name
        for name, schema in schemas.items()
        if not (folder / name).is_file() or (folder / name).read_text(encoding="utf-8") != _text(schema)
    ]


def _one_kind(kind: str, spec: type[Spec]) -> dict[str, Any]:
    (name,), definitions = _components([spec])
    own = definitions[name]
    recursive = f'"#/$defs/{name}"' in json.dumps(definitions)
    shared = {other: schema for other, schema in definitions.items() if recursive or other != name}
    head = {"$schema": DIALECT, "$id": _file_name(kind), **own, **_with_kind(kind, own)}
    return {**head, "$defs": shared} if shared else head


def _any_kind(kinds: Mapping[str, type[Spec]]) -> dict[str, Any]:
    names, definitions = _components(list(kinds.values()))
    # Editors complete best from a plain list of `if kind is this, then that`.
    cases: list[dict[str, Any]] = []
    for kind, name in zip(kinds, names, strict=True):
        definitions[name] |= _with_kind(kind, definitions[name])
        then = {"$ref": f"#/$defs/{name}"}
        cases.append({"if": {"properties": {"kind": {"const": kind}}, "required": ["kind"]}, "then": then})
        if kind in DEFAULT_KINDS.values():
            cases.append({"if": {"not": {"required": ["kind"]}}, "then": then})
    return {
        "$schema": DIALECT,
        "$id": ANY_KIND,
        "title": "sidecar",
        "description": "A document of a sidecar configuration; `kind` says which.",
        "type": "object",
        "properties": {"kind": {"enum": list(kinds), "description": "What this document is."}},
        "required": [] if any(kind in kinds for kind in DEFAULT_KINDS.values()) else ["kind"],
        "allOf": cases,
        "$defs": definitions,
    }


def _components(specs: Sequence[type[Spec]]) -> tuple[list[str], dict[str, Any]]:
    """The name of each spec's definition, and all definitions, as an editor wants them."""
    roots, definitions = msgspec.json.schema_components(specs)
    names = [root["$ref"].rpartition("/")[2] for root in roots]
    return names, {name: _open(_tidy(schema)) for name, schema in sorted(definitions.items())}


def _with_kind(kind: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    """Properties and required names of a document's schema: `kind` comes first and is this one."""
    properties = {"kind": {}, **schema["properties"]}
    required = [name for name in schema.get("required", ()) if name != "kind"]
    if kind not in DEFAULT_KINDS.values():
        required = ["kind", *required]
    return {"properties": {**properties, "kind": {"const": kind}}, "required": required}


def _below(schema: Mapping[str, Any], change: Callable[[dict[str, Any]], dict[str, Any]]) -> dict[str, Any]:
    """A copy of a schema with every schema directly in it changed; values such as defaults are not schemas."""
    copy = dict(schema)
    for keyword in ("properties", "$defs"):
        if keyword in copy:
            copy[keyword] = {name: change(child) for name, child in copy[keyword].items()}
    for keyword in ("anyOf", "prefixItems"):
        if keyword in copy:
            copy[keyword] = [change(child) for child in copy[keyword]]
    for keyword in ("items", "additionalProperties"):
        if isinstance(copy.get(keyword), dict):
            copy[keyword] = change(copy[keyword])
    return copy


def _tidy(schema: dict[str, Any]) -> dict[str, Any]:
    """What msgspec writes, made to say what msgspec does: docstrings without indentation, numbers for decimals."""
    tidied = _below(schema, _tidy)
    if "description" in tidied:
        tidied["description"] = inspect.cleandoc(tidied["description"])
    if tidied.get("format") == "decimal":
        tidied["type"] = ["string", "number"]
    return tidied


def _open(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema with references to the environment allowed wherever `check` would replace them."""
    opened = _below(schema, _open)
    if "anyOf" in opened:
        return _flatten(opened)
    reference = _reference(opened)
    if reference is None:
        return opened
    annotations = {key: opened.pop(key) for key in _ANNOTATIONS if key in opened}
    return {**annotations, "anyOf": [opened, reference]}


def _flatten(schema: dict[str, Any]) -> dict[str, Any]:
    """`anyOf` within `anyOf` made one list, each choice once; what the inner one says of itself moves out."""
    branches: list[dict[str, Any]] = []
    annotations: dict[str, Any] = {}
    for branch in schema["anyOf"]:
        if "anyOf" in branch:
            annotations |= {key: branch[key] for key in _ANNOTATIONS if key in branch}
        branches += [one for one in branch.get("anyOf", [branch]) if one not in branches]
    return {**annotations, **schema, "anyOf": branches}


def _reference(schema: Mapping[str, Any]) -> dict[str, str] | None:
    """What a reference looks like in this scalar's place; None where none can stand or nothing need be added."""
    choices = schema.get("enum", ())
    if schema.get("x-secret") or len(choices) == 1:
        return None
    declared = schema.get("type")
    types = {declared} if isinstance(declared, str) else set(declared or ())
    if "string" in types or any(isinstance(choice, str) for choice in choices):
        return _REFERENCE_WITHIN if any(keyword in schema for keyword in _CONSTRAINTS) else None
    return _REFERENCE_ALONE if choices or types & {"integer", "number", "boolean"} else None


def _file_name(kind: str) -> str:
    return f"{kind}.schema.json"


def _text(schema: Mapping[str, Any]) -> str:
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"

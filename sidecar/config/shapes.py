"""Questions to a JSON Schema that msgspec made: which schemas may hold at a place, and which of them fits a value.

Only the vocabulary that msgspec writes is known: `$ref` into `$defs`, `anyOf`, types, enums, objects and arrays.
"""

from collections.abc import Mapping, Sequence
from typing import Any

Schema = Mapping[str, Any]

_TYPES: dict[type, str] = {
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    list: "array",
    dict: "object",
    type(None): "null",
}


def type_of(value: Any) -> str:
    """The JSON Schema name of a plain value's type."""
    return _TYPES[type(value)]


def types_of(shape: Schema) -> set[str]:
    """The types a schema without `anyOf` allows; those of the values when it lists values."""
    if "enum" in shape:
        return {type_of(value) for value in shape["enum"]}
    declared = shape.get("type", list(_TYPES.values()))
    types = {declared} if isinstance(declared, str) else set(declared)
    return types | {"integer"} if "number" in types else types


def alternatives(schema: Schema, definitions: Mapping[str, Schema]) -> list[Schema]:
    """The schemas one of which holds: `$ref` followed, `anyOf` flattened, annotations beside them kept."""
    if "$ref" in schema:
        target = definitions[schema["$ref"].rpartition("/")[2]]
        return alternatives(target, definitions)
    if "anyOf" not in schema:
        return [schema]
    beside = {key: value for key, value in schema.items() if key != "anyOf"}
    return [{**beside, **one} for branch in schema["anyOf"] for one in alternatives(branch, definitions)]


def fitting(shapes: Sequence[Schema], value: Any) -> list[Schema]:
    """Those that the value is meant for: of its type and, for a mapping, with its tag. All of its type if none."""
    typed = [shape for shape in shapes if type_of(value) in types_of(shape)]
    if not isinstance(value, dict):
        return typed
    return [shape for shape in typed if tag_fits(shape, value)] or typed


def tag(shape: Schema) -> tuple[str, str] | None:
    """Field and value of the constant that tells an object from others of the same union, if it has one."""
    for name, field in shape.get("properties", {}).items():
        choices = field.get("enum", ())
        if len(choices) == 1 and name in shape.get("required", ()):
            return name, choices[0]
    return None


def tag_fits(shape: Schema, value: Mapping[str, Any]) -> bool:
    """Whether a mapping has the shape's tag, or the shape none."""
    own = tag(shape)
    return own is None or value.get(own[0]) == own[1]


def inside(shapes: Sequence[Schema], value: Any, key: str | int, definitions: Mapping[str, Schema]) -> list[Schema]:
    """The schemas of the child `key` of a value that one of `shapes` describes."""
    children = [child for shape in fitting(shapes, value) if (child := _child(shape, key)) is not None]
    return [shape for child in children for shape in alternatives(child, definitions)]


def _child(shape: Schema, key: str | int) -> Schema | None:
    if isinstance(key, str):
        child = shape.get("properties", {}).get(key, shape.get("additionalProperties"))
    else:
        first = shape.get("prefixItems", ())
        child = first[key] if key < len(first) else shape.get("items")
    return child if isinstance(child, Mapping) else None

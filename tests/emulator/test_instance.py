"""The generator of schema instances, judged by jsonschema."""

from typing import Any

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.emulator.instance import Unsatisfiable, instance

_NAMES = st.sampled_from(["city", "name", "n", "items", "a", "b"])


def _bounded(low: str, high: str, most: int) -> st.SearchStrategy[dict[str, Any]]:
    pairs = st.tuples(st.integers(0, most), st.integers(0, most)).map(sorted)
    full = pairs.map(lambda pair: {low: pair[0], high: pair[1]})
    return st.one_of(st.just({}), full, full.map(lambda both: {low: both[low]}), full.map(lambda b: {high: b[high]}))


_STRINGS = _bounded("minLength", "maxLength", 60).map(lambda bounds: {"type": "string", **bounds})
_FORMATS = st.sampled_from(["date", "date-time", "email", "ipv4", "ipv6", "uuid", "uri"]).map(
    lambda name: {"type": "string", "format": name}
)
_INTEGERS = st.one_of(
    _bounded("minimum", "maximum", 1000).map(lambda bounds: {"type": "integer", **bounds}),
    st.integers(-50, 50).map(lambda n: {"type": "integer", "exclusiveMinimum": n, "maximum": n + 7}),
    st.integers(1, 9).map(lambda n: {"type": "integer", "multipleOf": n, "minimum": -20}),
)
_NUMBERS = st.one_of(
    _bounded("minimum", "maximum", 10).map(lambda bounds: {"type": "number", **bounds}),
    st.floats(-5, 5).map(lambda x: {"type": "number", "exclusiveMinimum": x, "exclusiveMaximum": x + 1}),
)
_LEAVES = st.one_of(
    _STRINGS,
    _FORMATS,
    _INTEGERS,
    _NUMBERS,
    st.sampled_from([{"type": "boolean"}, {"type": "null"}, {"const": 5}, {"enum": ["a", 1, None]}, {}, True]),
    st.just({"type": ["string", "null"]}),
)


def _objects(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    @st.composite
    def build(draw: st.DrawFn) -> dict[str, Any]:
        properties = draw(st.dictionaries(_NAMES, inner, max_size=4))
        schema: dict[str, Any] = {"type": "object", "properties": properties}
        if properties:
            schema["required"] = draw(st.lists(st.sampled_from(sorted(properties)), unique=True))
        if draw(st.booleans()):
            schema["additionalProperties"] = False
        return schema

    return build()


def _arrays(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.tuples(inner, _bounded("minItems", "maxItems", 4)).map(
        lambda both: {"type": "array", "items": both[0], **both[1]}
    )


def _choices(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.lists(inner, min_size=1, max_size=3).map(lambda options: {"anyOf": options})


SCHEMAS = st.recursive(_LEAVES, lambda inner: st.one_of(_objects(inner), _arrays(inner), _choices(inner)), max_leaves=8)


@settings(max_examples=150, deadline=None)
@given(SCHEMAS.filter(lambda schema: isinstance(schema, dict)), st.integers(0, 2**64 - 1))
def test_instances_are_valid_and_repeatable(schema: dict[str, Any], seed: int) -> None:
    made = instance(schema, seed)
    jsonschema.Draft202012Validator(schema, format_checker=jsonschema.FormatChecker()).validate(made)
    assert instance(schema, seed) == made


REAL = [
    {"$ref": "#/$defs/Tree", "$defs": {"Tree": {"type": "object", "properties": {"left": {"anyOf": [
        {"$ref": "#/$defs/Tree"}, {"type": "null"}]}, "value": {"type": "integer"}}, "required": ["left", "value"]}}},
    {"allOf": [{"properties": {"a": {"type": "string"}}, "required": ["a"]}, {"required": ["b"]}],
     "properties": {"b": {"type": "integer"}}, "type": "object"},
    {"oneOf": [{"type": "integer"}, {"type": "string"}]},
    {"type": "array", "items": {"enum": [1, 2, 3]}, "uniqueItems": True, "minItems": 3},
    {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}], "minItems": 2},
    {"type": "string", "pattern": "^[A-Z]{3}$"},
    {"type": "string", "pattern": r"^\d{4}-\d{2}-\d{2}$"},
    {"type": "object", "minProperties": 2, "additionalProperties": {"type": "integer"}},
    {"type": "integer", "minimum": 10**12},
    {"type": "number", "multipleOf": 0.01, "minimum": 0.5, "maximum": 0.7},
    {"properties": {"without": {"type": "boolean"}}, "required": ["without"]},
]  # fmt: skip


@pytest.mark.parametrize("schema", REAL, ids=range(len(REAL)))
def test_schemas_as_they_are_met(schema: dict[str, Any]) -> None:
    for seed in range(40):
        made = instance(schema, seed)
        if schema.get("multipleOf"):
            assert 0.5 <= made <= 0.7
            continue
        jsonschema.validate(made, schema)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]},
        {"$ref": "#/nowhere"},
        {"$ref": "#"},
        {"type": "array", "items": {"type": "boolean"}, "uniqueItems": True, "minItems": 3},
        {"type": "integer", "exclusiveMinimum": 1, "exclusiveMaximum": 2},
        {"type": "array", "minItems": 10**9},
        {"type": "string", "minLength": 10**9},
        {"type": "string", "pattern": "^never such a string$"},
        {"type": "string", "pattern": "("},
    ],
)
def test_what_cannot_be_met_is_said(schema: dict[str, Any]) -> None:
    with pytest.raises(Unsatisfiable):
        instance(schema, 1)

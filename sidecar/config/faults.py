"""What a JSON Schema finds wrong with a document's data: every fault, and for a union those of the branch meant.

This is the only module that imports jsonschema, and it is imported when there is something to find: 75 ms that a
sound start need not pay.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from jsonschema import Draft202012Validator, ValidationError

from .shapes import Schema, alternatives, fitting, tag_fits
from .wording import Fault


def find(schema: Schema, data: Mapping[str, Any]) -> list[Fault]:
    """All faults of the data. None at all where jsonschema cannot reckon: `multipleOf` with .nan, for one."""
    try:
        faults = [_fault(error) for error in Draft202012Validator(schema).iter_errors(data)]
    except (ValueError, OverflowError):
        return []
    # Of a tuple that is too long both `maxItems` and `items: false` complain.
    return [fault for fault in _leaves(faults, schema.get("$defs", {})) if fault.keyword != "items"]


def _fault(error: ValidationError) -> Fault:
    return Fault(
        path=tuple(error.absolute_path),
        keyword=str(error.validator),
        bound=error.validator_value,
        value=error.instance,
        schema=error.schema if isinstance(error.schema, Mapping) else {},
        of_key=list(error.absolute_schema_path)[-2:-1] == ["propertyNames"],
        branches=tuple((int(one.schema_path[0]), _fault(one)) for one in error.context or ()),
    )


def _leaves(faults: Iterable[Fault], definitions: Mapping[str, Schema]) -> Iterator[Fault]:
    for fault in faults:
        meant = _branch_meant(fault, definitions) if fault.keyword == "anyOf" else None
        if meant is None:
            yield fault
        else:
            yield from _leaves((one for index, one in fault.branches if index == meant), definitions)


def _branch_meant(fault: Fault, definitions: Mapping[str, Schema]) -> int | None:
    """By type and tag, and of several the one with the fewest faults; None when the type or the tag fits none."""
    value = fault.value
    meant = [
        index
        for index, branch in enumerate(fault.bound)
        for shape in fitting(alternatives(branch, definitions), value)
        if not isinstance(value, dict) or tag_fits(shape, value)
    ]
    indexes = [index for index, _ in fault.branches]
    return min(meant, key=indexes.count, default=None)

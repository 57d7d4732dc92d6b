"""JSON Schemas as Anthropic's constrained decoding takes them: a subset, anything else is a 400."""

from typing import Any

_SUBSCHEMA_MAPS = ("properties", "$defs", "definitions")
_SUBSCHEMA_LISTS = ("anyOf", "allOf", "prefixItems")
_REFUSED = frozenset(
    {
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "multipleOf",
        "minLength",
        "maxLength",
        "maxItems",
        "uniqueItems",
        "contains",
        "minContains",
        "maxContains",
        "minProperties",
        "maxProperties",
        "patternProperties",
        "propertyNames",
        "dependentRequired",
        "dependentSchemas",
        "unevaluatedProperties",
        "unevaluatedItems",
        "not",
        "if",
        "then",
        "else",
    }
)
_DEPTH = 64
"""Levels that are rewritten. The API refuses schemas far shallower than this."""


class Closed:
    """One schema rewritten: objects closed, `oneOf` as `anyOf`, refused keywords left out.

    `lossy` is true when the result accepts more, or other, values than the caller's schema.
    """

    def __init__(self, schema: dict[str, Any]) -> None:
        self.lossy = False
        self.schema = self._close(schema, _DEPTH)

    def _close(self, schema: Any, depth: int) -> Any:
        if not isinstance(schema, dict) or depth == 0:
            return schema
        closed: dict[str, Any] = {}
        for key, value in schema.items():
            if key in _REFUSED or (key == "minItems" and value not in (0, 1)):
                self.lossy = True
            elif key in _SUBSCHEMA_MAPS and isinstance(value, dict):
                closed[key] = {name: self._close(sub, depth - 1) for name, sub in value.items()}
            elif key in _SUBSCHEMA_LISTS and isinstance(value, list):
                closed[key] = [self._close(sub, depth - 1) for sub in value]
            elif key == "oneOf" and isinstance(value, list) and "anyOf" not in schema:
                closed["anyOf"] = [self._close(sub, depth - 1) for sub in value]
            elif key == "items":
                closed[key] = self._close(value, depth - 1)
            elif key != "additionalProperties":
                closed[key] = value
        self._shut(schema, closed)
        return closed

    def _shut(self, schema: dict[str, Any], closed: dict[str, Any]) -> None:
        kind = schema.get("type")
        if kind == "object" or (isinstance(kind, list) and "object" in kind) or "properties" in schema:
            # A map from any key to a schema cannot be said at all; the plain default loses nothing that matters.
            self.lossy = self.lossy or isinstance(schema.get("additionalProperties"), dict)
            closed["additionalProperties"] = False

"""A value that satisfies a JSON Schema: arguments of tool calls and structured answers.

Small on purpose. It covers what tool and answer schemas use: types, enum, const, bounds, formats, arrays,
objects, `$ref` into the same document, `anyOf`, `oneOf`, `allOf`, and Google's dialect (upper-case types,
`nullable`). A `pattern` is met when one of a few everyday strings meets it; `not`, `if` and `dependent*` are
not looked at.
"""

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from .draw import Draw

Schema = Mapping[str, Any]

_FORMATS: Mapping[str, Sequence[str]] = {
    "date": ("2025-03-14", "2025-11-02"),
    "date-time": ("2025-03-14T09:26:53Z", "2025-11-02T18:00:00Z"),
    "time": ("09:26:53Z", "18:00:00Z"),
    "duration": ("PT15M", "P1D"),
    "email": ("ada@example.com", "alan@example.org"),
    "hostname": ("example.com", "api.example.org"),
    "ipv4": ("192.0.2.1", "198.51.100.7"),
    "ipv6": ("2001:db8::1", "2001:db8::2"),
    "uri": ("https://example.com/", "https://example.org/page"),
    "uuid": ("7d444840-9dc0-11d1-b245-5ffdce74fad2", "f81d4fae-7dec-11d0-a765-00a0c91e6bf6"),
}
_WORDS = ("amber", "birch", "copper", "delta", "ember", "fjord", "garnet", "harbour", "indigo", "juniper")
_HINTS: Mapping[str, Sequence[str]] = {
    "city": ("Paris", "Oslo", "Lima"),
    "location": ("Paris, France", "Oslo, Norway", "Lima, Peru"),
    "country": ("France", "Norway", "Peru"),
    "name": ("Ada", "Alan", "Grace"),
    "timezone": ("Europe/Paris", "UTC"),
    "query": ("weather in Paris", "history of the fjords"),
}
_TRIES = ("a", "abc", "ABC", "USD", "A1", "a1", "1", "42", "123", "12345", "2025-03-14", "1.0.0", "EUR-123")
_DEEP = 6
"""Beyond this depth only what is required is generated, so that recursive schemas end."""
_TOO_DEEP = 40
_TOO_MANY = 20_000
"""Values in one instance: a schema may ask for a billion items, the emulator need not obey."""


class Unsatisfiable(ValueError):
    """No value was found for this schema."""


def instance(schema: Schema, seed: int) -> Any:
    """A value for `schema`, the same for the same seed."""
    return _Maker(schema, Draw(seed)).value(schema, 0, "")


class _Maker:
    def __init__(self, root: Schema, draw: Draw) -> None:
        self._root = root
        self._draw = draw
        self._made = 0

    def value(self, schema: Any, depth: int, name: str) -> Any:
        self._made += 1
        if depth > _TOO_DEEP or self._made > _TOO_MANY:
            raise Unsatisfiable("the schema never ends")
        if schema is False:
            raise Unsatisfiable("no value fits `false`")
        if not isinstance(schema, Mapping):
            return self._draw.pick(_WORDS)
        flat = self._flat(schema, depth)
        if "const" in flat:
            return flat["const"]
        options = flat.get("enum")
        if isinstance(options, Sequence) and options:
            return self._draw.pick(options)
        branches = flat.get("anyOf") or flat.get("oneOf")
        if isinstance(branches, Sequence) and branches:
            return self._branch(flat, branches, depth, name)
        return self._typed(flat, depth, name)

    def _flat(self, schema: Schema, depth: int) -> dict[str, Any]:
        """The schema with its reference followed and its `allOf` folded in."""
        if depth > _TOO_DEEP:
            raise Unsatisfiable("a reference leads back to itself")
        flat = dict(schema)
        target = flat.pop("$ref", None)
        parts = list(flat.pop("allOf", None) or [])
        if isinstance(target, str):
            parts.append(self._resolve(target))
        for part in parts:
            if isinstance(part, Mapping):
                flat = _merged(self._flat(part, depth + 1), flat)
        return flat

    def _resolve(self, target: str) -> Any:
        found: Any = self._root
        for step in target.removeprefix("#").split("/")[1:]:
            key = step.replace("~1", "/").replace("~0", "~")
            if not isinstance(found, Mapping) or key not in found:
                raise Unsatisfiable(f"{target} is not in the schema")
            found = found[key]
        return found

    def _branch(self, flat: dict[str, Any], branches: Sequence[Any], depth: int, name: str) -> Any:
        """One alternative: any one while shallow, the first that ends when deep."""
        own = {key: value for key, value in flat.items() if key not in ("anyOf", "oneOf")}
        start = self._draw.below(len(branches)) if depth < _DEEP else 0
        order = [*branches[start:], *branches[:start]]
        if depth >= _DEEP:
            order.sort(key=_weight)
        for branch in order:
            merged = _merged(own, branch) if isinstance(branch, Mapping) else branch
            try:
                return self.value(merged, depth + 1, name)
            except Unsatisfiable:
                continue
        raise Unsatisfiable("no alternative can be met")

    def _typed(self, schema: Schema, depth: int, name: str) -> Any:
        match self._type(schema):
            case "object":
                return self._object(schema, depth)
            case "array":
                return self._array(schema, depth, name)
            case "integer":
                return self._number(schema, whole=True)
            case "number":
                return self._number(schema, whole=False)
            case "boolean":
                return bool(self._draw.below(2))
            case "null":
                return None
            case _:
                return self._string(schema, name)

    def _type(self, schema: Schema) -> str:
        kind = schema.get("type")
        if isinstance(kind, Sequence) and not isinstance(kind, str):
            kind = next((one for one in kind if one != "null"), "null")
        if isinstance(kind, str):
            return kind.lower()
        if "properties" in schema or "required" in schema or "additionalProperties" in schema:
            return "object"
        if "items" in schema or "prefixItems" in schema:
            return "array"
        bounds = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")
        return "integer" if any(bound in schema for bound in bounds) else "string"

    def _object(self, schema: Schema, depth: int) -> dict[str, Any]:
        properties = schema.get("properties") or {}
        required = list(schema.get("required") or [])
        out: dict[str, Any] = {}
        for key in dict.fromkeys([*required, *properties]):
            if key not in required and (depth >= _DEEP or self._draw.below(3) == 0):
                continue
            try:
                out[key] = self.value(self._member(schema, key), depth + 1, str(key))
            except Unsatisfiable:
                if key in required:
                    raise
        self._pad(schema, out, depth)
        return out

    @staticmethod
    def _member(schema: Schema, key: str) -> Any:
        properties = schema.get("properties") or {}
        return properties[key] if key in properties else schema.get("additionalProperties", True)

    def _pad(self, schema: Schema, out: dict[str, Any], depth: int) -> None:
        """More members where `minProperties` asks: the optional ones first, then made-up names."""
        least = int(schema.get("minProperties") or 0)
        for key in [*(schema.get("properties") or {}), *(f"{word}_{n}" for n in range(9) for word in _WORDS)]:
            if len(out) >= least:
                return
            if key not in out:
                out[key] = self.value(self._member(schema, key), depth + 1, str(key))

    def _array(self, schema: Schema, depth: int, name: str) -> list[Any]:
        prefix = schema.get("prefixItems") or []
        items = schema.get("items", True)
        least = int(schema.get("minItems") or 0)
        most = int(schema["maxItems"]) if "maxItems" in schema else max(least, len(prefix), 3)
        wanted = least if depth >= _DEEP else min(most, max(least, len(prefix), 1 + self._draw.below(2)))
        if least > min(most, _TOO_MANY):
            raise Unsatisfiable("no array of this length")
        out: list[Any] = []
        seen: set[bytes] = set()
        for _ in range(wanted * 20):
            if len(out) >= wanted:
                break
            one = prefix[len(out)] if len(out) < len(prefix) else items
            try:
                item = self.value(one, depth + 1, name.removesuffix("s"))
            except Unsatisfiable:
                if len(out) < least:
                    raise
                break
            mark = msgspec.json.encode(item, order="sorted")
            if not schema.get("uniqueItems") or mark not in seen:
                seen.add(mark)
                out.append(item)
        if len(out) < least:
            raise Unsatisfiable("not enough different items")
        return out

    def _number(self, schema: Schema, *, whole: bool) -> int | float:
        step = float(schema.get("multipleOf") or (1 if whole else 0.5))
        low, high = _bounds(schema, step)
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if whole and not step.is_integer():
            # Multiples of 0.5 that are integers are the integers: the common case of a fractional step.
            step, first, last = 1.0, math.ceil(low), math.floor(high)
        if first > last:
            if whole:
                raise Unsatisfiable("no integer lies between the bounds")
            return (low + high) / 2
        # Rounded, because 70 * 0.01 is a little more than 0.7.
        number = round((first + self._draw.below(min(last - first + 1, 40))) * step, 9)
        return int(number) if whole or number.is_integer() else number

    def _string(self, schema: Schema, name: str) -> str:
        least = int(schema.get("minLength") or 0)
        most = int(schema["maxLength"]) if "maxLength" in schema else max(least, 200)
        if least > most or least > _TOO_MANY:
            raise Unsatisfiable("no string of this length")
        pattern = schema.get("pattern")
        if isinstance(pattern, str):
            return _matching(pattern, least, most)
        known = _FORMATS.get(str(schema.get("format")))
        if known is not None:
            return self._draw.pick(known)
        text = self._draw.pick(_HINTS.get(name.lower(), _WORDS))
        while len(text) < least:
            text += " " + self._draw.pick(_WORDS)
        return text[:most]


def _merged(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Both schemas at once: members are united, requirements added up, otherwise `over` wins."""
    out = {**base, **over}
    if "properties" in base and "properties" in over:
        out["properties"] = {**base["properties"], **over["properties"]}
    if "required" in base and "required" in over:
        out["required"] = [*base["required"], *over["required"]]
    return out


def _weight(branch: Any) -> int:
    """How likely an alternative is to go on for long: plain values first, references last."""
    if not isinstance(branch, Mapping):
        return 1
    if branch.get("type") == "null":
        return 0
    return 3 if "$ref" in branch else 2 if branch.get("type") in ("object", "array") else 1


def _bounds(schema: Schema, step: float) -> tuple[float, float]:
    low, high = schema.get("minimum"), schema.get("maximum")
    above, under = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
    nudge = min(step, 1e-3)
    if isinstance(above, int | float) and not isinstance(above, bool):
        low = above + nudge if low is None else max(low, above + nudge)
    if isinstance(under, int | float) and not isinstance(under, bool):
        high = under - nudge if high is None else min(high, under - nudge)
    if low is None and high is None:
        return 1.0, max(1.0, 40 * step)
    if low is None:
        return float(high or 0) - 40 * step, float(high or 0)
    return float(low), float(low) + 40 * step if high is None else float(high)


def _matching(pattern: str, least: int, most: int) -> str:
    try:
        compiled = re.compile(pattern)
    except re.error as fault:
        raise Unsatisfiable(f"pattern {pattern!r} cannot be read") from fault
    everyday = [*_TRIES, *_WORDS, *(one for known in _FORMATS.values() for one in known)]
    for text in everyday:
        if least <= len(text) <= most and compiled.search(text):
            return text
    raise Unsatisfiable(f"no everyday string meets {pattern!r}")

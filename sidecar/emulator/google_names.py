"""Google's field names: two spellings of each are read, and every name it does not know is refused."""

import re
from collections.abc import Mapping
from typing import Any

from .prompt import Refusal

# The field names of the discovery document (revision 20260327): Google refuses every other name.
_TOP = frozenset(
    [
        "cachedContent",
        "contents",
        "generationConfig",
        "model",
        "safetySettings",
        "serviceTier",
        "store",
        "systemInstruction",
        "toolConfig",
        "tools",
    ]
)
_GENERATION = frozenset(
    [
        "_responseJsonSchema",
        "candidateCount",
        "enableEnhancedCivicAnswers",
        "frequencyPenalty",
        "imageConfig",
        "logprobs",
        "maxOutputTokens",
        "mediaResolution",
        "presencePenalty",
        "responseJsonSchema",
        "responseLogprobs",
        "responseMimeType",
        "responseModalities",
        "responseSchema",
        "seed",
        "speechConfig",
        "stopSequences",
        "temperature",
        "thinkingConfig",
        "topK",
        "topP",
    ]
)
_SCHEMA = frozenset(
    [
        "anyOf",
        "default",
        "description",
        "enum",
        "example",
        "format",
        "items",
        "maxItems",
        "maxLength",
        "maxProperties",
        "maximum",
        "minItems",
        "minLength",
        "minProperties",
        "minimum",
        "nullable",
        "pattern",
        "properties",
        "propertyOrdering",
        "required",
        "title",
        "type",
    ]
)
_OPAQUE = frozenset(("args", "response", "parameters", "parametersJsonSchema", "responseSchema", "responseJsonSchema"))
_SNAKE = re.compile(r"(?<=[a-z0-9])_([a-z])")
_REPEATED = frozenset(("contents", "tools", "functionDeclarations", "parts"))
_DEEP = 64


def camel(value: Any, depth: int = 0) -> Any:
    """Field names in camel case: the JSON mapping of protobuf reads both spellings. Schemas and arguments are
    the caller's own and stay as they are."""
    if depth > _DEEP:
        raise Refusal(400, "Invalid JSON payload received. Message too deep.")
    if isinstance(value, list):
        return [camel(item, depth + 1) for item in value]
    if not isinstance(value, dict):
        return value
    out = {}
    for key, item in value.items():
        name = _SNAKE.sub(lambda match: match[1].upper(), key)
        if name in _REPEATED and isinstance(item, dict):
            # One object where a list belongs is read as a list of one.
            item = [item]
        # Within a function's answer `response` is data; as a declaration's field it is a schema: opaque both.
        out[name] = item if name in _OPAQUE else camel(item, depth + 1)
    return out


def check_names(raw: Mapping[str, Any]) -> None:
    """Refuses a field the discovery document does not have; `raw` is in camel case."""
    _refuse_unknown(raw, _TOP, "")
    how = raw.get("generationConfig")
    if isinstance(how, Mapping):
        _refuse_unknown(how, _GENERATION, "generation_config")
        _check_schema(how.get("responseSchema"), "generation_config.response_schema")
    tools = raw.get("tools")
    for place, tool in enumerate(tools if isinstance(tools, list) else ()):
        offers = tool.get("functionDeclarations") if isinstance(tool, Mapping) else None
        for index, offer in enumerate(offers if isinstance(offers, list) else ()):
            where = f"tools[{place}].function_declarations[{index}].parameters"
            _check_schema(offer.get("parameters") if isinstance(offer, Mapping) else None, where)


def _check_schema(schema: Any, where: str) -> None:
    """Google's schema is a small dialect; `parametersJsonSchema` and `responseJsonSchema` take the full one."""
    if not isinstance(schema, Mapping) or where.count(".") > _DEEP:
        return
    tidy = _names(schema)
    _refuse_unknown(tidy, _SCHEMA, where)
    properties = tidy.get("properties")
    for key, part in properties.items() if isinstance(properties, Mapping) else ():
        _check_schema(part, f"{where}.properties[{key}].value")
    _check_schema(tidy.get("items"), f"{where}.items")
    branches = tidy.get("anyOf")
    for place, part in enumerate(branches if isinstance(branches, list) else ()):
        _check_schema(part, f"{where}.any_of[{place}]")


def _names(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {_SNAKE.sub(lambda match: match[1].upper(), key): value for key, value in schema.items()}


def _refuse_unknown(value: Mapping[str, Any], known: frozenset[str], where: str) -> None:
    for name in value:
        if name not in known:
            at = f" at '{where}'" if where else ""
            raise Refusal(400, f'Invalid JSON payload received. Unknown name "{name}"{at}: Cannot find field.')

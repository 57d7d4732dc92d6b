"""The API document's schemas: the request and the status from their Structs, so that they cannot drift; the rest,
which the gateway only passes on or writes by hand, as it stands on the wire."""

import inspect
from typing import Any

import msgspec

from ..chat import ChatRequest
from ..surfaces.openai_chat import MAX_MESSAGES, MAX_TOOLS
from .admin_access import Pass
from .admin_problem import ProblemDetails
from .api_data import (
    Analytics,
    BudgetPage,
    ConfigurationState,
    Decision,
    DecisionPage,
    KeyPage,
    Login,
    MadeKey,
    ModelPage,
    NewKey,
    RegistryOutcome,
    ReloadOutcome,
    Rotation,
    UpdateOrder,
)
from .status_data import Status

REF = "#/components/schemas/"
Schema = dict[str, Any]

REQUEST_FIELDS = {
    "model": "`auto`, `auto:cost`, `auto:quality`, `auto:speed`, `auto:balanced`, an alias of the policy, a model, or "
    "`provider/model`.",
    "messages": "The conversation so far, oldest first.",
    "stream": "Answer as server-sent events.",
    "stream_options": "Only for streams.",
    "max_tokens": "Most output tokens; the older name of `max_completion_tokens`.",
    "max_completion_tokens": "Most output tokens, reasoning included.",
    "temperature": "0 is the most likely words, higher is more varied.",
    "top_p": "Only the likeliest tokens that together have this probability.",
    "n": "How many answers.",
    "seed": "For repeatable answers, where the provider can.",
    "stop": "One or more texts that end the answer.",
    "tools": "Functions the model may call.",
    "tool_choice": "`auto`, `none`, `required`, or the one function to call.",
    "parallel_tool_calls": "Whether one answer may call several functions.",
    "response_format": "`text`, `json_object`, or a JSON Schema to fit.",
    "reasoning_effort": "`none`, `minimal`, `low`, `medium`, `high`: how long to think, where the model can.",
    "presence_penalty": "-2 to 2: above 0, what was said already becomes less likely.",
    "frequency_penalty": "-2 to 2: above 0, what was said often becomes less likely.",
    "logprobs": "Return the tokens' log probabilities.",
    "top_logprobs": "How many alternatives a token with `logprobs`.",
    "user": "Your own user's id: passed on to the provider.",
}
_BOUNDS: dict[str, Schema] = {
    "model": {"minLength": 1, "maxLength": 256},
    "messages": {"minItems": 1, "maxItems": MAX_MESSAGES},
    "tools": {"maxItems": MAX_TOOLS},
    "n": {"minimum": 1, "maximum": 128},
    "max_tokens": {"minimum": 1},
    "max_completion_tokens": {"minimum": 1},
}
_ADMIN = (
    Pass,
    Login,
    Analytics,
    ModelPage,
    DecisionPage,
    Decision,
    ConfigurationState,
    ReloadOutcome,
    BudgetPage,
    UpdateOrder,
    RegistryOutcome,
    ProblemDetails,
    KeyPage,
    NewKey,
    MadeKey,
    Rotation,
)
_ROLES = ["system", "developer", "user", "assistant", "tool", "function"]
_PLAIN_WORDS = {
    "StreamOptions": "What a stream carries beside the answer.",
    "NamedFunction": "A function by name.",
}
_USAGE = "Tokens as the provider counted them; `estimated` is true when it did not."
_COUNT: Schema = {"type": "integer", "minimum": 0}
_TEXT: Schema = {"type": "string"}


def ref(name: str) -> Schema:
    """A reference to a schema of the document."""
    return {"$ref": REF + name}


def schemas() -> dict[str, Schema]:
    """Every schema by name, those of the API's answers first."""
    _, made = msgspec.json.schema_components([ChatRequest, Status, *_ADMIN], ref_template=REF + "{name}")
    made = msgspec.json.decode(msgspec.json.encode(made))  # a default that is a tuple is no JSON array
    for name, schema in made.items():
        # The dataclass-like signature that stands in for an absent docstring helps nobody.
        schema["description"] = _PLAIN_WORDS.get(name) or inspect.cleandoc(schema.get("description", ""))
    request = made["ChatRequest"]
    request["description"] = (
        "What a caller asks for; the shape is OpenAI's. Null means absent. Fields that are not listed travel on to "
        "providers that speak the same protocol."
    )
    for field, text in REQUEST_FIELDS.items():
        request["properties"][field]["description"] = text
    for field, bounds in _BOUNDS.items():
        _narrow(request["properties"][field], bounds)
    made["Message"]["properties"]["role"]["enum"] = _ROLES
    return {**_errors(), **_answers(), **made, **_small()}


def _narrow(schema: Schema, bounds: Schema) -> None:
    """Bounds that the Struct does not hold but the surface does, on the branch that is not null."""
    branches = [branch for branch in schema.get("anyOf", [schema]) if branch.get("type") != "null"]
    branches[0].update(bounds)


def _errors() -> dict[str, Schema]:
    fields: Schema = {
        "message": {"type": "string", "description": "What is wrong, for a person."},
        "type": {"type": "string", "description": "The class of error."},
        "param": {"type": ["string", "null"], "description": "The field that is wrong."},
        "code": {"type": ["string", "null"], "description": "What is wrong, in one word."},
    }
    return {
        "Error": _object("Every error but the admin API's, in OpenAI's envelope.", {"error": ref("ErrorDetail")}),
        "ErrorDetail": _object("What is wrong.", fields),
    }


def _answers() -> dict[str, Schema]:
    """What comes back from a chat. A provider that speaks OpenAI's protocol may add fields of its own."""
    choice: Schema = {
        "index": _COUNT,
        "message": ref("Message"),
        "logprobs": {"description": "As the provider sent it."},
        "finish_reason": {"type": "string", "examples": ["stop", "length", "tool_calls", "content_filter"]},
    }
    details = {"type": ["object", "null"], "additionalProperties": True}
    usage: Schema = {
        "prompt_tokens": {**_COUNT, "description": "Input, cached tokens included."},
        "completion_tokens": {**_COUNT, "description": "Output, reasoning included."},
        "total_tokens": _COUNT,
        "prompt_tokens_details": {**details, "description": "`cached_tokens`, `cache_write_tokens`, `audio_tokens`."},
        "completion_tokens_details": {**details, "description": "`reasoning_tokens`, `audio_tokens`."},
        "estimated": {"type": "boolean"},
    }
    chunk_choice: Schema = {
        "index": _COUNT,
        "delta": {"type": "object", "description": "What is new of the message; tool calls come in pieces by `index`."},
        "finish_reason": {"type": ["string", "null"]},
    }
    head: Schema = {"id": _TEXT, "created": {"type": "integer", "description": "Unix time in seconds."}, "model": _TEXT}
    whole_usage = {"anyOf": [ref("Usage"), {"type": "null"}]}
    return {
        "ChatCompletion": _object(
            "A whole answer.",
            {**head, "object": {"const": "chat.completion"}, "choices": _list(ref("Choice")), "usage": whole_usage},
            optional=("usage",),
        ),
        "Choice": _object("One answer.", choice, optional=("logprobs",)),
        "Usage": _object(_USAGE, usage, optional=(*list(usage)[3:],)),
        "ChatCompletionChunk": _object(
            "One event of a stream. The last one before `[DONE]` has the usage, when it was asked for, and no choice.",
            {
                **head,
                "object": {"const": "chat.completion.chunk"},
                "choices": _list(ref("ChunkChoice")),
                "usage": whole_usage,
                "sidecar": _object(
                    "Added by the gateway.", {"cost_usd": {"type": "number", "description": "US dollars."}}
                ),
            },
            optional=("usage", "sidecar"),
        ),
        "ChunkChoice": _object("A step of one answer.", chunk_choice),
    }


def _small() -> dict[str, Schema]:
    """Answers of the small endpoints."""
    model: Schema = {
        "id": {"type": "string", "description": "What to send as `model`."},
        "object": {"const": "model"},
        "created": {"const": 0},
        "owned_by": {"type": "string", "description": "The provider; `sidecar` for `auto` and aliases."},
        "context_window": {**_COUNT, "description": "Tokens."},
        "max_output_tokens": {**_COUNT, "description": "Tokens."},
    }
    ready: Schema = {
        "status": {"enum": ["ready", "not ready"]},
        "policy": {"type": "string", "description": "The first 12 characters of the policy's hash."},
        "database": {"type": "string", "description": "`ok`, or what is wrong."},
        "registry": {"type": "string", "description": "`ok`, or what is wrong."},
        "configuration": ref("ReloadStatus"),
        "reasons": {"type": "object", "additionalProperties": _TEXT, "description": "Why it is not ready, by part."},
    }
    return {
        "Model": _object("A name a caller may use.", model, optional=("context_window", "max_output_tokens")),
        "ModelList": _object("Names a caller may use.", {"object": {"const": "list"}, "data": _list(ref("Model"))}),
        "Health": _object("The process answers.", {"status": {"const": "ok"}}),
        "Readiness": _object("Whether to send traffic here.", ready, optional=("reasons",)),
    }


def _object(description: str, fields: Schema, optional: tuple[str, ...] = ()) -> Schema:
    required = [name for name in fields if name not in optional]
    return {"type": "object", "description": description, "required": required, "properties": fields}


def _list(items: Schema) -> Schema:
    return {"type": "array", "items": items}

"""The gateway's HTTP API as an OpenAPI 3.1 document. The same for every configuration: no secret, no name of yours."""

from typing import Any

from .. import __version__
from . import docs_admin
from . import docs_examples as examples
from .docs_headers import ANSWERED, CHAT, DECIDED, EVERY, RETRY, parameters, refer, response_headers
from .docs_schemas import ref, schemas

Node = dict[str, Any]

_ABOUT = """\
An LLM gateway that runs beside one app. It speaks OpenAI's chat completions: point the SDK's base URL at `/v1` and
send a gateway key as the API key.

The policy decides which model answers. Ask for `auto`, or name a model. Response headers that begin with `x-sidecar-`
say what was decided; errors have OpenAI's envelope, so that the SDKs raise their own classes.
"""
_KEYED: list[Node] = [{"bearer": []}, {"apiKey": []}]
_STATUS_REFUSALS: dict[str, tuple[str, Node]] = {
    "401": (
        "No admin key or token, or one that is not accepted.",
        examples.error("authentication_error", "The page needs an admin key or token.", "missing_api_key", None),
    ),
    "403": (
        "This gateway has no admin key, so that only its own machine may look.",
        examples.error("permission_error", "This gateway has no admin key.", "admin_off", None),
    ),
    "429": (
        "This address has failed to log in too often; `retry-after` says how long to wait.",
        examples.error("permission_error", "This address has failed 10 times.", "too_many_failures", None),
    ),
}
_REFUSALS: dict[str, tuple[str, Node]] = {
    "400": (
        "The request is wrong; `param` names the field. Also: no candidate has what the request needs.",
        examples.error(
            "invalid_request_error", "'messages' must hold at least one message.", "empty_array", "messages"
        ),
    ),
    "401": (
        "No gateway key, or a wrong, expired or revoked one.",
        examples.error("authentication_error", "Incorrect API key provided.", "invalid_api_key"),
    ),
    "403": (
        "The key may not use this model, or this strategy.",
        examples.error("permission_error", "This key may not use the model `gpt-5`.", "model_not_allowed", "model"),
    ),
    "404": (
        "There is no such model here.",
        examples.error("invalid_request_error", "The model `gpt-9` does not exist here.", "model_not_found", "model"),
    ),
    "405": (
        "The method is not POST.",
        examples.error("invalid_request_error", "Use POST here.", "method_not_allowed"),
    ),
    "408": (
        "The body did not arrive in time.",
        examples.error("invalid_request_error", "The body did not arrive within 30 s.", "body_timeout"),
    ),
    "413": (
        "The body is too large.",
        examples.error("invalid_request_error", "The body is larger than 10,000,000 bytes.", "request_too_large"),
    ),
    "415": (
        "The body is compressed.",
        examples.error("invalid_request_error", "Send the body without content-encoding.", "unsupported_encoding"),
    ),
    "429": (
        "A rate limit of the policy, or of the provider when no other model could answer.",
        examples.error("rate_limit_error", "Rate limit reached for requests per key.", "rate_limit_exceeded"),
    ),
    "500": (
        "A fault of the gateway.",
        examples.error("api_error", "The gateway failed on this request.", "internal_error"),
    ),
    "502": (
        "Every provider of the chain failed.",
        examples.error("api_error", "Provider `openai`: server error", "provider_server_error"),
    ),
    "503": (
        "No model can answer now, or the gateway is shutting down.",
        examples.error("api_error", "The gateway is shutting down.", "draining"),
    ),
    "504": (
        "The provider took too long.",
        examples.error("timeout_error", "Provider `openai`: no token in time", "first_token_timeout"),
    ),
}
_WAITS = frozenset({"429", "503"})
_UNDECIDED = frozenset({"405", "408", "413", "415", "500"})


def openapi() -> Node:
    """The whole document."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "sidecar",
            "version": __version__,
            "summary": "A declarative LLM gateway.",
            "description": _ABOUT,
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/", "description": "This gateway"}],
        "tags": [
            {"name": "Chat", "description": "What apps call."},
            {"name": "Operations", "description": "What probes, dashboards and people call."},
            docs_admin.TAG,
        ],
        "paths": {
            "/v1/chat/completions": {"post": _chat()},
            "/v1/models": {"get": _models()},
            "/health": {"get": _probe("health", "The process answers")},
            "/live": {"get": _probe("live", "Liveness probe")},
            "/ready": {"get": _ready()},
            "/metrics": {"get": _metrics()},
            "/status.json": {"get": _status()},
            **docs_admin.paths(),
        },
        "components": {
            "schemas": schemas(),
            "headers": response_headers(),
            "parameters": {**parameters(), **docs_admin.parameters()},
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "A gateway key, `gw_…`."},
                "apiKey": {"type": "apiKey", "in": "header", "name": "x-api-key", "description": "A gateway key."},
                "admin": docs_admin.SCHEME,
                "basic": {"type": "http", "scheme": "basic", "description": "An admin key as the password."},
            },
        },
    }


def _chat() -> Node:
    asked = {"hello": examples.HELLO, "stream": examples.STREAM, "tools": examples.TOOLS, "schema": examples.SCHEMA}
    return {
        "operationId": "createChatCompletion",
        "tags": ["Chat"],
        "summary": "Answer a conversation",
        "description": "One request of OpenAI's chat completions, to whichever model the policy chooses. With "
        "`stream` the answer comes as server-sent events; a failure after the first token ends the stream with an "
        "error event and without `[DONE]`.",
        "security": [*_KEYED, {}],
        "parameters": [{"$ref": f"#/components/parameters/{name}"} for name in parameters()],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": ref("ChatRequest"), "examples": asked}},
        },
        "responses": {"200": _answered(), **{status: _refusal(status) for status in _REFUSALS}},
    }


def _answered() -> Node:
    return {
        "description": "The answer.",
        "headers": refer(CHAT, DECIDED, ANSWERED),
        "content": {
            "application/json": {"schema": ref("ChatCompletion"), "example": examples.COMPLETION},
            "text/event-stream": {
                "schema": {"type": "string", "description": "Events, each a `ChatCompletionChunk`, then `[DONE]`."},
                "example": examples.EVENTS,
            },
        },
    }


def _refusal(status: str) -> Node:
    text, example = _REFUSALS[status]
    groups = [CHAT] if status in _UNDECIDED else [CHAT, DECIDED]
    headers = refer(*groups, *([RETRY] if status in _WAITS else []))
    return _json(text, "Error", example, headers)


def _models() -> Node:
    return {
        "operationId": "listModels",
        "tags": ["Chat"],
        "summary": "Names to send as `model`",
        "description": "`auto` and its strategies, the policy's aliases, then the models of usable providers that the "
        "key may use.",
        "security": [*_KEYED, {}],
        "responses": {"200": _json("The list.", "ModelList", examples.MODELS), **_plain_refusals()},
    }


def _probe(name: str, summary: str) -> Node:
    return {
        "operationId": name,
        "tags": ["Operations"],
        "summary": summary,
        "description": "Says only that the process runs; `/ready` says whether it can serve.",
        "security": [],
        "responses": {"200": _json("It does.", "Health", {"status": "ok"})},
    }


def _ready() -> Node:
    return {
        "operationId": "ready",
        "tags": ["Operations"],
        "summary": "Readiness probe",
        "description": "Database, registry and configuration. A refused reload does not make the gateway unready: the "
        "policy before it still serves, and `configuration` says what is wrong.",
        "security": [],
        "responses": {
            "200": _json("Send traffic.", "Readiness", examples.READY),
            "503": _json("Send none; `reasons` says why.", "Readiness", examples.NOT_READY),
        },
    }


def _metrics() -> Node:
    return {
        "operationId": "metrics",
        "tags": ["Operations"],
        "summary": "Prometheus metrics",
        "description": "Standard quantities as `gen_ai_*`, the gateway's own as `sidecar_*`.",
        "security": [],
        "responses": {
            "200": {
                "description": "The text exposition.",
                "headers": refer(EVERY),
                "content": {"text/plain": {"schema": {"type": "string"}, "example": examples.METRICS}},
            }
        },
    }


def _status() -> Node:
    return {
        "operationId": "status",
        "tags": ["Operations"],
        "summary": "The status page as data",
        "description": "What `/status` shows. Open to this machine; from elsewhere it needs an admin key or token "
        "of any role; a browser may send a key as the password of basic authentication.",
        "security": [{"admin": []}, {"basic": []}, {}],
        "responses": {
            "200": _json("The gateway now.", "Status", examples.STATUS),
            **{status: _json(text, "Error", error) for status, (text, error) in _STATUS_REFUSALS.items()},
            "400": _plain_refusals()["400"],
        },
    }


def _plain_refusals() -> Node:
    """What any page that asks for a key may answer."""
    return {status: _json(_REFUSALS[status][0], "Error", _REFUSALS[status][1]) for status in ("400", "401", "500")}


def _json(description: str, schema: str, example: Any, headers: Node | None = None) -> Node:
    content = {"application/json": {"schema": ref(schema), "example": example}}
    return {"description": description, "headers": headers or refer(EVERY), "content": content}

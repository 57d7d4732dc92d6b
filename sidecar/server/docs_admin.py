"""The admin API's part of the API document: operations under /api, their parameters, and the problems they answer."""

from typing import Any

from . import docs_admin_examples as examples
from .admin_problem import PROBLEM, TITLES
from .api_query import MAX_LIMIT, USUAL_LIMIT
from .docs_headers import EVERY, RETRY, refer
from .docs_schemas import ref

Node = dict[str, Any]

TAG: Node = {
    "name": "Administration",
    "description": "Figures, models, decisions, keys and the configuration. Takes an admin key or its token.",
}
SCHEME: Node = {
    "type": "http",
    "scheme": "bearer",
    "description": "An admin key, or a token of `/api/auth/token`. Gateway keys do not work here.",
}
PARAMETERS: dict[str, tuple[str, str, Node]] = {
    "limit": (
        "query",
        "Entries of a page.",
        {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": USUAL_LIMIT, "examples": [100]},
    ),
    "cursor": ("query", "`next` of the page before.", {"type": "string", "examples": ["NDE3Nw"]}),
    "since": (
        "query",
        "Begin: so long ago, or a time; made a whole hour. Seven days ago without it.",
        {"type": "string", "examples": ["7d", "2026-11-14T00:00:00Z"]},
    ),
    "until": ("query", "End: as `since`; now without it.", {"type": "string", "examples": ["1h"]}),
    "by": (
        "query",
        "What is told apart. Days and hours are UTC. `model` without it.",
        {"enum": ["model", "provider", "tenant", "tier", "key", "day", "hour"], "examples": ["tenant"]},
    ),
    "baseline": (
        "query",
        "A model whose price for the same tokens is compared.",
        {"type": "string", "examples": ["gpt-5"]},
    ),
    "name": ("path", "The key's name, or its id.", {"type": "string", "examples": ["app"]}),
    "id": ("path", "The request's id.", {"type": "string", "examples": ["req_5f0c1d2e3a0000002a"]}),
}
"""Name -> where it stands, what it does, and its schema with examples."""
_PROBLEMS: dict[int, tuple[str, str, str]] = {
    400: ("A parameter or the body is wrong.", "invalid", f"`limit` is a number from 1 to {MAX_LIMIT}."),
    401: (
        "No admin key or token, or a wrong one.",
        "bad-credential",
        "This is no admin key of this gateway. Gateway keys and callers' tokens do not open the admin API.",
    ),
    403: (
        "The role is not enough (`role`); or the gateway has no admin key (`admin-off`).",
        "role",
        "`reads` is viewer; this takes the role operator.",
    ),
    404: ("There is no such thing.", "not-found", "There is no request `req_x` in the ledger."),
    409: ("It is there already, or no more as it was.", "conflict", "There is a key with the name `app` already."),
    413: ("The body is too large.", "invalid", "POST /api/auth/token: Request Entity Too Large"),
    429: (
        "Too many failed logins from this address.",
        "too-many-failures",
        "This address has failed 10 times within 60 s. Wait, then try again.",
    ),
    503: ("The database cannot be used now.", "ledger", "The database cannot be used now: database is locked."),
}


def paths() -> Node:
    """Every path under /api."""
    return {
        "/api/auth/token": {"post": _token()},
        "/api/analytics": {"get": _analytics()},
        "/api/models": {"get": _models()},
        "/api/decisions": {"get": _decisions()},
        "/api/decisions/{id}": {"get": _decision()},
        "/api/keys": {"get": _keys(), "post": _create_key()},
        "/api/keys/{name}": {"delete": _revoke_key()},
        "/api/keys/{name}/rotate": {"post": _rotate_key()},
        "/api/admin/config": {"get": _config()},
        "/api/admin/reload": {"post": _reload()},
        "/api/admin/update-registry": {"post": _update_registry()},
        "/api/budgets": {"get": _budgets()},
    }


def parameters() -> Node:
    """The parameters of the admin API, by name."""
    return {
        name: {"name": name, "in": place, "required": place == "path", "description": text, "schema": schema}
        for name, (place, text, schema) in PARAMETERS.items()
    }


def operation(name: str, role: str, texts: tuple[str, str], names: tuple[str, ...] = (), *more: int) -> Node:
    """What all operations have: who may use it, its parameters, and the problems it may answer, `more` beside the usual
    ones. `texts` are a summary and a description."""
    statuses = sorted({400, 401, 403, 429, *more})
    return {
        "operationId": name,
        "tags": [TAG["name"]],
        "summary": texts[0],
        "description": f"{texts[1]}\n\nTakes the role `{role}`.",
        "security": [{"admin": []}],
        "x-role": role,
        "parameters": [{"$ref": f"#/components/parameters/{parameter}"} for parameter in names],
        "responses": {str(status): _problem(status) for status in statuses},
    }


def answered(node: Node, schema: str, example: Any, description: str, status: str = "200") -> Node:
    """The operation, with what it answers when all is well in the first place."""
    content = {"application/json": {"schema": ref(schema), "example": example}}
    good = {status: {"description": description, "headers": refer(EVERY), "content": content}}
    return {**node, "responses": {**good, **node["responses"]}}


def _problem(status: int) -> Node:
    text, kind, detail = _PROBLEMS[status]
    return {
        "description": text,
        "headers": refer(EVERY, *([RETRY] if status in (429, 503) else [])),
        "content": {
            PROBLEM: {
                "schema": ref("ProblemDetails"),
                "example": examples.problem(status, kind, TITLES[kind], detail),
            }
        },
    }


def _token() -> Node:
    texts = (
        "A token for an admin key",
        "The key is sent as a bearer token, or in the body. The token is a JWT of a few minutes, as good as its key: "
        "when the key goes or gets another role, it is refused.",
    )
    node = operation("issueToken", "viewer", texts, (), 413)
    node = _asking(node, "Login", examples.LOGIN, required=False)
    return answered(node, "Pass", examples.PASS, "The token.")


def _analytics() -> Node:
    texts = (
        "Cost, requests, tokens, latency, hit rate and savings",
        "From the ledger's roll-ups by hour. Savings compare what was paid with what the same tokens would have cost "
        "on the model of the highest quality prior, and on `baseline`.",
    )
    node = operation("analytics", "viewer", texts, ("since", "until", "by", "baseline"), 503)
    return answered(node, "Analytics", examples.ANALYTICS, "The figures.")


def _models() -> Node:
    texts = ("The catalogue", "Every model with its prices, where each figure was found, and whether it can be used.")
    node = operation("catalogue", "viewer", texts, ("limit", "cursor"))
    return answered(node, "ModelPage", examples.MODELS, "A page of models.")


def _decisions() -> Node:
    texts = ("Recent requests", "The newest first. Pages do not shift when requests come in.")
    node = operation("decisions", "viewer", texts, ("limit", "cursor"), 503)
    return answered(node, "DecisionPage", examples.DECISIONS, "A page of requests.")


def _decision() -> Node:
    texts = (
        "Why a request went where it went",
        "Its attempts; and, when it carried `x-sidecar-explain: 1`, the way through the policy: features, rules, "
        "candidates with their scores, and why others were dropped. Never its text.",
    )
    node = operation("decision", "viewer", texts, ("id",), 404, 503)
    return answered(node, "Decision", examples.DECISION, "The request.")


def _keys() -> Node:
    texts = ("Gateway keys", "Those of the database, revoked ones too, in the order they were made. Never a key.")
    node = operation("keys", "viewer", texts, ("limit", "cursor"), 503)
    return answered(node, "KeyPage", examples.KEYS, "A page of keys.")


def _create_key() -> Node:
    texts = ("Make a gateway key", "Its text is in this answer and nowhere else. In force at once.")
    node = _asking(operation("createKey", "operator", texts, (), 409, 413, 503), "NewKey", examples.NEW_KEY)
    return answered(node, "MadeKey", examples.MADE_KEY, "The key.", "201")


def _revoke_key() -> Node:
    texts = (
        "Revoke a gateway key",
        "For good. Refused here at once, and within a second by every gateway on the database.",
    )
    node = operation("revokeKey", "operator", texts, ("name",), 404, 503)
    return answered(node, "KeyEntry", examples.REVOKED_KEY, "The key as it is now.")


def _rotate_key() -> Node:
    texts = ("Renew a gateway key", "A new text for the same key; the old one works on for `grace`.")
    node = operation("rotateKey", "operator", texts, ("name",), 404, 409, 413, 503)
    node = _asking(node, "Rotation", examples.ROTATION, required=False)
    return answered(node, "MadeKey", examples.MADE_KEY, "The key with its new text.")


def _asking(node: Node, schema: str, example: Node, *, required: bool = True) -> Node:
    """The operation with a body."""
    body = {"application/json": {"schema": ref(schema), "examples": {"usual": example}}}
    return {**node, "requestBody": {"required": required, "content": body}}


def _config() -> Node:
    texts = ("The configuration in use", "The policy's hash, the files it was read from, and the last reload.")
    return answered(
        operation("configuration", "admin", texts), "ConfigurationState", examples.CONFIG, "What is in use."
    )


def _reload() -> Node:
    texts = (
        "Read the configuration again",
        "As when a file changes. A refused configuration is answered with 200 and its findings: the one before "
        "stays in use.",
    )
    return answered(operation("reload", "operator", texts), "ReloadOutcome", examples.RELOAD, "How it ended.")


def _update_registry() -> Node:
    texts = (
        "Ask the price pages now",
        "As on the schedule of `registry_update`; it may take minutes. Where it is, `registry_update.step` of "
        "`/status.json` tells. One update runs at a time on a database.",
    )
    node = operation("updateRegistry", "operator", texts, (), 409, 413, 503)
    node = _asking(node, "UpdateOrder", examples.UPDATE_ORDER, required=False)
    return answered(node, "RegistryOutcome", examples.REGISTRY_OUTCOME, "How it ended.")


def _budgets() -> Node:
    texts = ("What budgets have left", "Every account of every budget, by name and subject.")
    return answered(
        operation("budgets", "viewer", texts, ("limit", "cursor")),
        "BudgetPage",
        examples.BUDGETS,
        "A page of accounts.",
    )

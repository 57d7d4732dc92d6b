"""Headers of the API document: what a request may carry, and what responses say."""

from typing import Any

_TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

REQUEST_HEADERS: dict[str, tuple[str, list[str]]] = {
    "x-sidecar-task": ("A tag for the policy's rules, which read it as `task`.", ["extract", "legal"]),
    "x-sidecar-strategy": ("How `auto` chooses, when the model's name does not say.", ["cost", "quality", "speed"]),
    "x-sidecar-cache": (
        "`no-store`: neither read nor fill the cache. `refresh`: ask the provider and store its answer.",
        ["no-store", "refresh"],
    ),
    "x-sidecar-conversation": (
        "Any text that stays the same through a conversation; rules read it as `conversation`.",
        ["support-4711"],
    ),
    "x-sidecar-explain": (
        "`1`: keep an explanation of what was decided, for `/api/decisions/{id}`. It holds no text of the request.",
        ["1"],
    ),
    "x-request-timeout": ("Seconds that the whole chain may take: 20, 1.5 or 800ms. Then 504.", ["20"]),
    "traceparent": ("W3C trace context: the gateway's spans stand below the caller's (docs/tracing.md).", [_TRACE]),
    "x-sidecar-route": ("`off`: only the named model, no fallback.", ["off"]),
}
"""Name -> what it does, and examples."""

EVERY: dict[str, tuple[str, Any]] = {
    "x-request-id": ("Names this request in logs and in the ledger.", "req_5f0c1d2e3a0000002a"),
}
"""On every response."""

CHAT: dict[str, tuple[str, Any]] = {
    **EVERY,
    "x-sidecar-policy": ("First 12 characters of the hash of the policy that decided.", "dde8fbdeee9e"),
}
"""On every response of the chat endpoint."""

DECIDED: dict[str, tuple[str, Any]] = {
    "x-sidecar-cache": ("`hit`, `miss`, `bypass` or `disabled`.", "miss"),
    "x-sidecar-decision": (
        "The id of the explanation that `x-sidecar-explain` asked for: the request's own.",
        "req_5f0c1d2e3a0000002a",
    ),
    "x-sidecar-overhead-ms": ("Milliseconds the gateway itself took until the headers left.", "0.42"),
    "x-sidecar-tier": ("The tier the request was put into; absent on a cache hit.", "simple"),
    "x-ratelimit-limit-requests": ("Requests the tightest limit allows in its period.", 60),
    "x-ratelimit-remaining-requests": ("Requests left of it.", 59),
    "x-ratelimit-reset-requests": ("Until it is whole again.", "60s"),
    "x-ratelimit-limit-tokens": ("Tokens the tightest limit allows in its period.", 100000),
    "x-ratelimit-remaining-tokens": ("Tokens left of it.", 98765),
    "x-ratelimit-reset-tokens": ("Until it is whole again.", "60s"),
}
"""On responses to requests that went through the policy; limits only where the policy has some."""

ANSWERED: dict[str, tuple[str, Any]] = {
    "x-sidecar-model": ("The model that answered.", "gpt-4o-mini"),
    "x-sidecar-provider": ("The provider that answered.", "openai"),
    "x-sidecar-attempts": ("Providers' calls it took; 0 for an answer from the cache.", 1),
    "x-sidecar-cost-usd": (
        "US dollars of all attempts, as exact decimal text. Absent on streams, whose last chunk has it, and for "
        "models without a price.",
        "0.0000073",
    ),
    "x-sidecar-warnings": ("Fields of the request that the provider's protocol cannot carry.", "seed, logprobs"),
}
"""On responses of a request that a provider or the cache answered."""

RETRY: dict[str, tuple[str, Any]] = {"retry-after": ("Whole seconds to wait before asking again.", 12)}


def parameters() -> dict[str, dict[str, Any]]:
    """Request headers as OpenAPI parameters, by name."""
    return {
        name: {
            "name": name,
            "in": "header",
            "required": False,
            "description": text,
            "schema": {"type": "string", "examples": examples},
        }
        for name, (text, examples) in REQUEST_HEADERS.items()
    }


def response_headers() -> dict[str, dict[str, Any]]:
    """Response headers as OpenAPI headers, by name."""
    return {
        name: {
            "description": text,
            "schema": {"type": "integer" if isinstance(example, int) else "string", "examples": [example]},
        }
        for name, (text, example) in {**CHAT, **DECIDED, **ANSWERED, **RETRY}.items()
    }


def refer(*groups: dict[str, tuple[str, Any]]) -> dict[str, dict[str, str]]:
    """References to the headers of these groups."""
    return {name: {"$ref": f"#/components/headers/{name}"} for group in groups for name in group}

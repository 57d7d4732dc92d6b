"""Examples of the API document: short, and each valid by its own schema (a test says so)."""

from typing import Any

HELLO: dict[str, Any] = {
    "summary": "One question, the model chosen by the policy",
    "value": {"model": "auto", "messages": [{"role": "user", "content": "Name three rivers of Japan."}]},
}
STREAM: dict[str, Any] = {
    "summary": "A stream, with usage and cost in its last chunk",
    "value": {
        "model": "auto:speed",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Why is the sky blue?"}],
        "stream": True,
        "stream_options": {"include_usage": True},
    },
}
TOOLS: dict[str, Any] = {
    "summary": "A function offered to a named model",
    "value": {
        "model": "gpt-4o-mini",
        "messages": [{"role": "user", "content": "What is the weather in Kyoto?"}],
        "tools": [
            {
                "type": "function",
                "function": {
                    "name": "weather",
                    "description": "Weather now.",
                    "parameters": {
                        "type": "object",
                        "properties": {"city": {"type": "string"}},
                        "required": ["city"],
                    },
                },
            }
        ],
    },
}
SCHEMA: dict[str, Any] = {
    "summary": "An answer that fits a JSON Schema",
    "value": {
        "model": "auto:quality",
        "messages": [{"role": "user", "content": "Ada Lovelace was born in 1815."}],
        "response_format": {
            "type": "json_schema",
            "json_schema": {
                "name": "person",
                "strict": True,
                "schema": {
                    "type": "object",
                    "properties": {"name": {"type": "string"}, "born": {"type": "integer"}},
                    "required": ["name", "born"],
                    "additionalProperties": False,
                },
            },
        },
    },
}
COMPLETION: dict[str, Any] = {
    "id": "chatcmpl-8f1c2a",
    "object": "chat.completion",
    "created": 1795132800,
    "model": "gpt-4o-mini",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "Shinano, Tone and Ishikari.", "refusal": None},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 13, "completion_tokens": 9, "total_tokens": 22},
}
EVENTS = (
    'data: {"id":"chatcmpl-req_1","created":1795132800,"model":"gpt-4o-mini","choices":[{"index":0,'
    '"delta":{"role":"assistant","content":"Short"},"finish_reason":null}],"object":"chat.completion.chunk"}\n\n'
    'data: {"id":"chatcmpl-req_1","created":1795132800,"model":"gpt-4o-mini","choices":[],"usage":{"prompt_tokens":22,'
    '"completion_tokens":1,"total_tokens":23},"object":"chat.completion.chunk","sidecar":{"cost_usd":0.0000039}}\n\n'
    "data: [DONE]\n\n"
)
MODELS: dict[str, Any] = {
    "object": "list",
    "data": [
        {"id": "auto", "object": "model", "created": 0, "owned_by": "sidecar"},
        {
            "id": "gpt-4o-mini",
            "object": "model",
            "created": 0,
            "owned_by": "openai",
            "context_window": 128000,
            "max_output_tokens": 16384,
        },
    ],
}
READY: dict[str, Any] = {
    "status": "ready",
    "policy": "dde8fbdeee9e",
    "database": "ok",
    "registry": "ok",
    "configuration": {"outcome": "loaded", "at": 1795132800.5, "findings": None},
}
NOT_READY: dict[str, Any] = {
    **READY,
    "status": "not ready",
    "registry": "ok",
    "reasons": {"registry": "no model of a configured provider"},
}
METRICS = (
    "# HELP sidecar_requests_total Answered requests by HTTP status.\n"
    "# TYPE sidecar_requests_total counter\n"
    'sidecar_requests_total{status="200"} 12.0\n'
)
STATUS: dict[str, Any] = {
    "status": "ready",
    "reasons": {},
    "version": "0.1.0",
    "now": 1795132900.0,
    "started": 1795132800.0,
    "running": 1,
    "policy": "dde8fbdeee9e",
    "policy_since": 1795132800.0,
    "files": ["gateway.yaml", "policies/cache.yaml"],
    "reload": {"outcome": "loaded", "at": 1795132800.0, "findings": None},
    "rollout": None,
    "registry_problem": None,
    "registry_update": {
        "next": 1795143600.0,
        "step": None,
        "problem": None,
        "last": 1795057300.0,
        "outcomes": {"openai": "changed", "openrouter": "unchanged"},
        "changed": 1,
        "quarantined": 0,
        "findings": [],
    },
    "providers": [
        {
            "name": "openai",
            "protocol": "openai",
            "host": "api.openai.com",
            "key": "set",
            "state": "ready",
            "reason": None,
            "models": 22,
            "models_down": 0,
        }
    ],
    "traffic": None,
    "traffic_problem": "still counting",
    "added": {"p50_ms": 0.5, "p95_ms": 1.0, "p99_ms": 2.5},
    "record": None,
    "models": [],
    "models_omitted": 0,
    "stages": [{"stage": "cache", "kind": "cache", "outcomes": "hit", "to": "respond", "count": 12}],
    "budgets": [
        {
            "budget": "others",
            "subject": "beta",
            "mode": "hard",
            "limit_usd": "1",
            "spent_usd": "0.0375",
            "reserved_usd": "0",
            "left_usd": "0.9625",
            "resets": 1786665600.0,
        }
    ],
}


def error(kind: str, message: str, code: str | None, param: str | None = None) -> dict[str, Any]:
    """An error in OpenAI's envelope."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}

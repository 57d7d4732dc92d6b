"""Examples of the admin API's document: short, and each valid by its own schema (a test says so)."""

from typing import Any

Node = dict[str, Any]

TOKEN = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJvcHMifQ.bm90LWEtc2lnbmF0dXJl"
PASS: Node = {"token": TOKEN, "token_type": "Bearer", "expires_in": 900, "role": "operator"}
LOGIN: Node = {"summary": "The key in the body", "value": {"key": "gw_…"}}
_SAVING: Node = {
    "model": "gpt-5",
    "cost_usd": "1.25",
    "cost_nano": 1_250_000_000,
    "saved_usd": "1.2125",
    "saved_nano": 1_212_500_000,
    "share": 0.97,
}
_FIGURES: Node = {
    "name": "gpt-4o-mini",
    "requests": 250,
    "attempts": 200,
    "failures": 3,
    "unpriced_attempts": 0,
    "cache_hits": 53,
    "cache_lookups": 250,
    "cache_hit_rate": 0.212,
    "input_tokens": 200_000,
    "output_tokens": 12_500,
    "cached_tokens": 0,
    "cache_write_tokens": 0,
    "reasoning_tokens": 0,
    "cost_usd": "0.0375",
    "cost_nano": 37_500_000,
    "latency_ms": 812.4,
    "latency_p50_ms": 640.0,
    "latency_p95_ms": 1890.5,
    "first_token_ms": 310.2,
    "strongest": _SAVING,
    "baseline": None,
}
ANALYTICS: Node = {
    "since": 1795132800.0,
    "until": 1795737600.0,
    "by": "model",
    "totals": {**_FIGURES, "name": ""},
    "groups": [_FIGURES],
    "omitted": 0,
}
MODELS: Node = {
    "items": [
        {
            "id": "gpt-4o-mini",
            "provider": "openai",
            "state": "ready",
            "reason": None,
            "input_price": "0.15",
            "output_price": "0.6",
            "learned_speed": 71.3,
            "card": {
                "id": "gpt-4o-mini",
                "provider": "openai",
                "context": 128_000,
                "max_output": 16_384,
                "capabilities": ["tools", "streaming"],
                "prices": [{"input": 0.15, "output": 0.6, "valid_from": "2026-11-20"}],
            },
        }
    ],
    "next": "ImdwdC00by1taW5pIg",
}
_ROW: Node = {
    "id": "req_5f0c1d2e3a0000002a",
    "at": 1795132800.5,
    "tenant": "default",
    "key": "app",
    "requested_model": "auto",
    "tier": "simple",
    "rule": "short",
    "strategy": "balanced",
    "stream": False,
    "cache": "miss",
    "policy": "dde8fbdeee9e",
    "attempts": [
        {
            "attempt": 1,
            "outcome": "answered",
            "model": "gpt-4o-mini",
            "provider": "openai",
            "failure": None,
            "status": 200,
            "finish_reason": "stop",
            "input_tokens": 13,
            "output_tokens": 9,
            "cached_tokens": 0,
            "estimated": False,
            "cost_usd": "0.00000735",
            "latency_ms": 512.3,
            "first_token_ms": 512.1,
        }
    ],
}
DECISIONS: Node = {"items": [_ROW], "next": "NDE3Nw"}
DECISION: Node = {
    "id": _ROW["id"],
    "request": _ROW,
    "explanation": {
        "policy": "dde8fbdeee9e",
        "end": "execute",
        "model": "gpt-4o-mini",
        "chain": ["gpt-4o-mini", "claude-haiku-4-5"],
        "tier": "simple",
        "rule": "short",
        "strategy": "balanced",
        "features": {"tokens": 13, "messages": 1},
        "trace": [["authenticate", "known"], ["classify", "simple"], ["score", "chosen"]],
        "rules": [{"rule": "short", "when": "tokens < 200", "tier": "simple", "holds": True}],
        "budgets": [],
        "candidates": [{"model": "gpt-4o-mini", "score": 0.81}],
        "dropped": [["gpt-5", "tier"]],
        "refusal": None,
    },
}
_KEY: Node = {
    "id": "key_5f0c1d2e3a00",
    "name": "app",
    "prefix": "gw_4fZ8q",
    "state": "active",
    "tenant": "shop",
    "labels": {"team": "search"},
    "models": [],
    "strategies": [],
    "limits": [{"requests": "60/m"}],
    "created": 1795132800.0,
    "expires": None,
    "revoked": None,
    "rotated": None,
}
KEYS: Node = {"items": [_KEY], "next": None}
NEW_KEY: Node = {
    "summary": "A key of one tenant, with a rate of its own",
    "value": {"name": "app", "tenant": "shop", "labels": {"team": "search"}, "limits": [{"requests": "60/m"}]},
}
MADE_KEY: Node = {"key": "gw_…", "entry": _KEY}
REVOKED_KEY: Node = {**_KEY, "state": "revoked", "revoked": 1795132900.0}
ROTATION: Node = {"summary": "The old text works on for an hour", "value": {"grace": "1h"}}
CONFIG: Node = {
    "policy": "dde8fbdeee9e0f6a3b1c5d7e9f8a0b2c4d6e8f0a1b3c5d7e9f0a2b4c6d8e0f1a",
    "since": 1795132800.0,
    "files": ["gateway.yaml", "policies/route.yaml"],
    "reload": {"outcome": "loaded", "at": 1795132800.0, "findings": None},
    "registry_problem": None,
    "version": "0.1.0",
    "started": 1795132800.0,
}
RELOAD: Node = {"outcome": "unchanged", "at": 1795132900.0, "policy": "dde8fbdeee9e", "findings": None}

UPDATE_ORDER: Node = {"summary": "Show what one page would change", "value": {"scrapers": ["openai"], "dry_run": True}}
REGISTRY_OUTCOME: Node = {
    "at": 1795132900.0,
    "outcomes": {"openai": "changed", "anthropic": "quarantined"},
    "changed": ["gpt-4o-mini"],
    "quarantined": ["anthropic: jump: claude-haiku-4-5: input 1 -> 5"],
    "written": None,
}
BUDGETS: Node = {
    "items": [
        {
            "budget": "team-alpha",
            "subject": "",
            "mode": "hard",
            "limit_usd": "0.01",
            "spent_usd": "0.004",
            "reserved_usd": "0.001",
            "left_usd": "0.005",
            "resets": 1795219200.0,
        }
    ],
    "next": None,
}


def problem(status: int, kind: str, title: str, detail: str) -> Node:
    """A problem (RFC 9457)."""
    return {
        "type": f"urn:sidecar:problem:{kind}",
        "title": title,
        "status": status,
        "detail": detail,
        "instance": "req_5f0c1d2e3a0000002a",
    }

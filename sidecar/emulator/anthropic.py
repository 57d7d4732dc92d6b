"""Anthropic messages as the provider speaks them (OpenAPI of 2026-08 and recorded exchanges)."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from . import wording
from .answer import Answer, Turn
from .anthropic_request import PROTOCOL, read
from .faults import FaultName
from .prompt import Prompt, Refusal, tokens
from .signature import sign
from .wire import ENVOY, Said, Target, bearer, encode, front_page

_KINDS = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
_SAYS = {
    400: "Invalid request.",
    401: "x-api-key header is required",
    403: "Your API key does not have permission to use the specified resource.",
    404: "model: {model}",
    408: "Request timed out",
    413: "Request exceeds the maximum size",
    429: "This request would exceed your organization's rate limit. For details, refer to: "
    "https://docs.claude.com/en/api/rate-limits.",
    500: "Internal server error",
    503: "Service unavailable",
    529: "Overloaded",
}
_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}
_FAULTS: dict[FaultName, Said] = {
    "authentication": Said(401, "invalid x-api-key"),
    # An empty account is told as a bad request.
    "quota": Said(
        400,
        "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade or "
        "purchase credits.",
    ),
    "bad_gateway": Said(502, "502 Bad Gateway", media="text/html", page=front_page("cloudflare")),
    "unavailable": Said(503, ENVOY, media="text/plain"),
    "context_overflow": Said(400, "prompt is too long: {tokens} tokens > 200000 maximum"),
}
_CALLER = {"type": "direct"}


class Anthropic:
    """`POST /v1/messages`, `GET /v1/models`."""

    name = PROTOCOL
    models: Sequence[str] = ("claude-opus-4-8", "claude-sonnet-5", "claude-haiku-4-5")
    faults: Mapping[FaultName, Said] = _FAULTS
    opening = 1
    declines = ""

    def admit(self, headers: Mapping[str, str], query: Mapping[str, str], keys: Collection[str]) -> None:
        """`x-api-key`, or a bearer token as newer SDKs send it; and the version of the protocol."""
        key = headers.get("x-api-key") or bearer(headers)
        if not key:
            raise Refusal(401)
        if keys and key not in keys:
            raise Refusal(401, "invalid x-api-key")
        if "anthropic-version" not in headers:
            raise Refusal(400, "anthropic-version: header is required")

    def read(self, body: bytes, target: Target) -> Prompt:
        """See `anthropic_request.read`."""
        return read(body, target)

    def whole(self, turn: Turn) -> bytes:
        """A `message`."""
        answer = turn.answers[0]
        message = {
            **_message(turn),
            "content": _content(turn, answer),
            "stop_reason": _reason(answer),
            "stop_sequence": answer.stopped_by,
            "usage": _usage(turn, turn.usage.output),
        }
        return encode(message)

    def chunks(self, turn: Turn) -> Iterator[bytes]:
        """All events in their order; `ping` comes once, after the first block has started."""
        answer = turn.answers[0]
        opening = _event("message_start", {"message": {**_message(turn), "usage": _usage(turn, 1)}})
        pending = [opening]
        for index, block in enumerate(_content(turn, answer)):
            deltas = list(_deltas(turn, block))
            empty = {**block, **_EMPTY[block["type"]]}
            pending.append(_event("content_block_start", {"index": index, "content_block": empty}))
            if index == 0:
                pending.append(_event("ping", {}))
                yield b"".join(pending)
                pending.clear()
            for delta in deltas:
                pending.append(_event("content_block_delta", {"index": index, "delta": delta}))
                yield b"".join(pending)
                pending.clear()
            pending.append(_event("content_block_stop", {"index": index}))
        ending = {
            "stop_reason": _reason(answer),
            "stop_sequence": answer.stopped_by,
            "stop_details": None,
            "container": None,
        }
        pending.append(_event("message_delta", {"delta": ending, "usage": _final(turn)}))
        pending.append(_event("message_stop", {}))
        yield b"".join(pending)

    def media(self, prompt: Prompt) -> str:
        """Server-sent events or JSON."""
        return "text/event-stream; charset=utf-8" if prompt.stream else "application/json"

    def refusal(self, fault: Refusal, model: str, request_id: str) -> tuple[int, bytes]:
        """`{"type": "error", "error": {"type", "message"}, "request_id"}`."""
        status = fault.status
        kind = fault.code or _KINDS.get(status, "api_error" if status >= 500 else "invalid_request_error")
        message = fault.message or _SAYS.get(status, _SAYS[500 if status >= 500 else 400]).format(model=model)
        error = {"type": kind, "message": message}
        return status, encode({"type": "error", "error": error, "request_id": f"req_{request_id}"})

    def event(self, error: bytes, prompt: Prompt, *, first: bool) -> bytes:
        """The same error object as an event of the type `error`."""
        return b"event: error\ndata: " + error + b"\n\n"

    def stamp(self, request_id: str) -> list[tuple[str, str]]:
        """The headers SDKs and gateways look at."""
        return [
            ("request-id", f"req_{request_id}"),
            ("anthropic-organization-id", "00000000-0000-0000-0000-000000000000"),
            ("anthropic-ratelimit-requests-limit", "4000"),
            ("anthropic-ratelimit-requests-remaining", "3999"),
            ("anthropic-ratelimit-tokens-limit", "400000"),
            ("anthropic-ratelimit-tokens-remaining", "399000"),
        ]

    def listing(self, names: Sequence[str], now: int) -> bytes:
        """`GET /v1/models`."""
        created = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        cards = [
            {
                "type": "model",
                "id": name,
                "display_name": name.replace("-", " ").title(),
                "created_at": created,
                "capabilities": None,
                "max_input_tokens": 200_000,
                "max_tokens": 64_000,
            }
            for name in names
        ]
        first, last = (names[0], names[-1]) if names else (None, None)
        return encode({"data": cards, "has_more": False, "first_id": first, "last_id": last})


_EMPTY: dict[str, dict[str, Any]] = {
    "thinking": {"thinking": "", "signature": ""},
    "text": {"text": ""},
    "tool_use": {"input": {}},
}


def _event(kind: str, data: dict[str, Any]) -> bytes:
    return b"event: " + kind.encode() + b"\ndata: " + encode({"type": kind, **data}) + b"\n\n"


def _message(turn: Turn) -> dict[str, Any]:
    return {
        "id": f"msg_01{turn.id[:22]}",
        "type": "message",
        "role": "assistant",
        "model": turn.prompt.model,
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "stop_details": None,
        "container": None,
    }


def _content(turn: Turn, answer: Answer) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = []
    if answer.thinking:
        shown = answer.thinking if turn.reasoning_shown else ""
        # The signature is over what the caller gets: that is what will come back.
        blocks.append({"type": "thinking", "thinking": shown, "signature": sign(shown)})
    if answer.text:
        blocks.append({"type": "text", "text": answer.text, "citations": None})
    blocks.extend(
        {
            "type": "tool_use",
            "id": f"toolu_01{call.id[:22]}",
            "name": call.name,
            "input": call.arguments,
            "caller": _CALLER,
        }
        for call in answer.calls
    )
    return blocks


def _deltas(turn: Turn, block: dict[str, Any]) -> Iterator[dict[str, Any]]:
    match block["type"]:
        case "thinking":
            for piece in wording.pieces(block["thinking"], None):
                yield {"type": "thinking_delta", "thinking": piece}
            yield {"type": "signature_delta", "signature": block["signature"]}
        case "text":
            for piece in wording.pieces(block["text"], turn.chunks):
                yield {"type": "text_delta", "text": piece}
        case "tool_use":
            yield {"type": "input_json_delta", "partial_json": ""}
            text = encode(block["input"]).decode()
            for piece in wording.pieces(text, max(1, len(text) // 8)):
                yield {"type": "input_json_delta", "partial_json": piece}


def _reason(answer: Answer) -> str:
    return "stop_sequence" if answer.stopped_by is not None else _REASONS[answer.finish]


def _counts(turn: Turn) -> dict[str, Any]:
    """Anthropic counts what was cached and what was written apart from the input."""
    usage = turn.usage
    return {
        "input_tokens": usage.input - usage.cached - usage.written,
        "cache_creation_input_tokens": usage.written,
        "cache_read_input_tokens": usage.cached,
    }


def _usage(turn: Turn, output: int) -> dict[str, Any]:
    written = turn.usage.written
    hour = turn.prompt.marked == "1h"
    return {
        **_counts(turn),
        "cache_creation": {
            "ephemeral_5m_input_tokens": 0 if hour else written,
            "ephemeral_1h_input_tokens": written if hour else 0,
        },
        "output_tokens": output,
        "service_tier": "standard",
        "inference_geo": "global",
        "server_tool_use": None,
    }


def _final(turn: Turn) -> dict[str, Any]:
    thinking = tokens(turn.answers[0].thinking)
    return {
        **_counts(turn),
        "output_tokens": turn.usage.output,
        "output_tokens_details": {"thinking_tokens": thinking},
        "server_tool_use": None,
    }

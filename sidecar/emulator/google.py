"""Google generateContent as the provider speaks it (discovery 20260327 and recorded exchanges)."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any

from . import wording
from .answer import Answer, Turn
from .faults import FaultName
from .google_request import PROTOCOL, read
from .prompt import Prompt, Refusal
from .signature import token
from .wire import Said, Target, bearer, encode

_STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_SAYS = {
    400: "Request contains an invalid argument.",
    401: "Request had invalid authentication credentials. Expected OAuth 2 access token, login cookie or other valid "
    "authentication credential.",
    403: "The caller does not have permission",
    404: "models/{model} is not found for API version v1beta, or is not supported for generateContent. Call ListModels "
    "to see the list of available models and their supported methods.",
    413: "Request payload size exceeds the limit: 33554432 bytes.",
    429: "Resource has been exhausted (e.g. check quota).",
    500: "An internal error has occurred. Please retry or report in "
    "https://developers.generativeai.google/guide/troubleshooting",
    503: "The model is overloaded. Please try again later.",
    504: "Deadline expired before operation could complete.",
}
_BAD_KEY = "API key not valid. Please pass a valid API key."
_NO_KEY = (
    "Method doesn't allow unregistered callers (callers without established identity). Please use API Key or other "
    "form of API consumer identity to call this API."
)
_REASONS = {"stop": "STOP", "length": "MAX_TOKENS", "tool_calls": "STOP", "content_filter": "SAFETY"}
_KEY_DETAILS: list[dict[str, Any]] = [
    {
        "@type": "type.googleapis.com/google.rpc.ErrorInfo",
        "reason": "API_KEY_INVALID",
        "domain": "googleapis.com",
        "metadata": {"service": "generativelanguage.googleapis.com"},
    },
    {"@type": "type.googleapis.com/google.rpc.LocalizedMessage", "locale": "en-US", "message": _BAD_KEY},
]
_HTML = "text/html; charset=UTF-8"
_PAGE = (
    "<!DOCTYPE html>\n<html lang=en>\n  <meta charset=utf-8>\n  <title>{message}</title>\n"
    "  <p><b>{message}</b> <ins>That's an error.</ins>\n"
)


def _quota(period: str) -> list[dict[str, Any]]:
    violation = {
        "quotaMetric": "generativelanguage.googleapis.com/generate_content_free_tier_requests",
        "quotaId": f"GenerateRequestsPer{period}PerProjectPerModel-FreeTier",
    }
    return [{"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [violation]}]


_FAULTS: dict[FaultName, Said] = {
    "authentication": Said(400, _BAD_KEY, details=_KEY_DETAILS),
    # Timeouts and bad gateways are told by the front end, as a page.
    "request_timeout": Said(408, "Error 408 (Request Timeout)!!1", media=_HTML, page=_PAGE),
    "bad_gateway": Said(502, "Error 502 (Server Error)!!1", media=_HTML, page=_PAGE),
    "too_large": Said(400, _SAYS[413]),
    "rate_limited": Said(429, details=_quota("Minute")),
    "quota": Said(
        429,
        "You exceeded your current quota, please check your plan and billing details. For more information on this "
        "error, head to: https://ai.google.dev/gemini-api/docs/rate-limits.",
        details=_quota("Day"),
    ),
    "unavailable": Said(503, "The service is currently unavailable."),
    "overloaded": Said(503),
    "context_overflow": Said(
        400, "The input token count ({tokens}) exceeds the maximum number of tokens allowed (1048576)."
    ),
}


class Google:
    """`POST /v1beta/models/{model}:generateContent` and `:streamGenerateContent`, `GET /v1beta/models`."""

    name = PROTOCOL
    models: Sequence[str] = ("gemini-3-pro-preview", "gemini-3-flash-preview", "gemini-2.5-pro", "gemini-2.5-flash")
    faults: Mapping[FaultName, Said] = _FAULTS
    opening = 0
    declines = ""

    def admit(self, headers: Mapping[str, str], query: Mapping[str, str], keys: Collection[str]) -> None:
        """`x-goog-api-key`, `?key=`, or a bearer token. A bad key is a 400 here, a missing one a 403."""
        key = headers.get("x-goog-api-key") or query.get("key") or bearer(headers)
        if not key:
            raise Refusal(403, _NO_KEY)
        if keys and key not in keys:
            raise Refusal(400, _BAD_KEY, details=_KEY_DETAILS)

    def read(self, body: bytes, target: Target) -> Prompt:
        """See `google_request.read`."""
        return read(body, target)

    def whole(self, turn: Turn) -> bytes:
        """A `GenerateContentResponse`."""
        candidates = [
            _candidate(index, list(_parts(turn, one)), one, last=True) for index, one in enumerate(turn.answers)
        ]
        return encode(_response(turn, candidates, last=True))

    def chunks(self, turn: Turn) -> Iterator[bytes]:
        """Whole responses, each with the next piece; as events, or as one JSON array without `alt=sse`."""
        sse = turn.prompt.framing == "sse"
        steps = list(zip_longest(*(_steps(turn, one) for one in turn.answers)))
        for place, step in enumerate(steps):
            last = place == len(steps) - 1
            candidates = [
                _candidate(index, [part] if part else [], turn.answers[index], last=last)
                for index, part in enumerate(step)
                if part is not None or last
            ]
            data = encode(_response(turn, candidates, last=last))
            if sse:
                yield b"data: " + data + b"\r\n\r\n"
            else:
                yield (b",\r\n" if place else b"[") + data + (b"\n]\n" if last else b"\n")

    def media(self, prompt: Prompt) -> str:
        """Server-sent events or JSON."""
        return "text/event-stream" if prompt.stream and prompt.framing == "sse" else "application/json; charset=UTF-8"

    def refusal(self, fault: Refusal, model: str, request_id: str) -> tuple[int, bytes]:
        """`{"error": {"code", "message", "status", "details"}}`."""
        status = fault.status
        message = fault.message or _SAYS.get(status, _SAYS[500 if status >= 500 else 400]).format(model=model)
        word = fault.code or _STATUSES.get(status, "UNAVAILABLE" if status > 500 else "FAILED_PRECONDITION")
        error: dict[str, Any] = {"code": status, "message": message, "status": word}
        details = list(fault.details)
        if fault.wait is not None:
            details.append({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{fault.wait:g}s"})
        if details:
            error["details"] = details
        return status, encode({"error": error})

    def event(self, error: bytes, prompt: Prompt, *, first: bool) -> bytes:
        """The error object where the next response would stand."""
        if prompt.framing == "sse":
            return b"data: " + error + b"\r\n\r\n"
        return (b"[" if first else b",\r\n") + error + b"\n]\n"

    def stamp(self, request_id: str) -> list[tuple[str, str]]:
        """The headers Google sends."""
        return [
            ("vary", "Origin"),
            ("x-content-type-options", "nosniff"),
            ("server-timing", "gfet4t7; dur=1"),
        ]

    def listing(self, names: Sequence[str], now: int) -> bytes:
        """`GET /v1beta/models`."""
        cards = [
            {
                "name": f"models/{name}",
                "version": "001",
                "displayName": name.replace("-", " ").title(),
                "inputTokenLimit": 1_048_576,
                "outputTokenLimit": 65_536,
                "supportedGenerationMethods": ["generateContent"],
            }
            for name in names
        ]
        return encode({"models": cards})


def _signs(turn: Turn) -> bool:
    """Gemini 3 signs always, older models when they were asked to think."""
    return turn.prompt.thinking or turn.prompt.model.startswith("gemini-3")


def _calls(turn: Turn, answer: Answer) -> Iterator[dict[str, Any]]:
    for place, call in enumerate(answer.calls):
        made: dict[str, Any] = {"name": call.name, "args": call.arguments}
        if turn.prompt.model.startswith("gemini-3"):
            made["id"] = call.id[:8]
        part: dict[str, Any] = {"functionCall": made}
        if place == 0 and _signs(turn):
            part["thoughtSignature"] = token(answer.seed & 0xFFFF_FFFF_FFFF_FFFF)
        yield part


def _parts(turn: Turn, answer: Answer) -> Iterator[dict[str, Any]]:
    if answer.thinking and turn.reasoning_shown:
        yield {"text": answer.thinking, "thought": True}
    if answer.text:
        part: dict[str, Any] = {"text": answer.text}
        if not answer.calls and _signs(turn):
            part["thoughtSignature"] = token(answer.seed & 0xFFFF_FFFF_FFFF_FFFF)
        yield part
    yield from _calls(turn, answer)


def _steps(turn: Turn, answer: Answer) -> Iterator[dict[str, Any]]:
    """The parts of a stream; text that is signed ends with an empty part that carries the signature."""
    if turn.reasoning_shown:
        for piece in wording.pieces(answer.thinking, None):
            yield {"text": piece, "thought": True}
    for piece in wording.pieces(answer.text, turn.chunks):
        yield {"text": piece}
    yield from _calls(turn, answer)
    closing: dict[str, Any] = {"text": ""}
    if not answer.calls and answer.text and _signs(turn):
        closing["thoughtSignature"] = token(answer.seed & 0xFFFF_FFFF_FFFF_FFFF)
    yield closing


def _candidate(index: int, parts: list[dict[str, Any]], answer: Answer, *, last: bool) -> dict[str, Any]:
    content: dict[str, Any] = {"parts": parts} if parts else {}
    made: dict[str, Any] = {"content": {**content, "role": "model"}}
    if last:
        made["finishReason"] = _REASONS[answer.finish]
        if answer.calls:
            made["finishMessage"] = "Model generated function call(s)."
    return {**made, "index": index}


def _response(turn: Turn, candidates: list[dict[str, Any]], *, last: bool) -> dict[str, Any]:
    return {
        "candidates": candidates,
        "usageMetadata": _usage(turn, last=last),
        "modelVersion": turn.prompt.model,
        "responseId": turn.id[:22],
    }


def _usage(turn: Turn, *, last: bool) -> dict[str, Any]:
    """Candidates and thoughts are counted apart; only the last chunk of a stream has the full figures."""
    usage = turn.usage
    said: dict[str, Any] = {"promptTokenCount": usage.input}
    if last:
        said["candidatesTokenCount"] = usage.output - usage.reasoning
    said["totalTokenCount"] = usage.input + (usage.output if last else 0)
    if usage.cached:
        said["cachedContentTokenCount"] = usage.cached
        said["cacheTokensDetails"] = [{"modality": "TEXT", "tokenCount": usage.cached}]
    said["promptTokensDetails"] = [{"modality": "TEXT", "tokenCount": usage.input}]
    if last and usage.reasoning:
        said["thoughtsTokenCount"] = usage.reasoning
    return said

"""OpenAI chat completions as the provider speaks them (OpenAPI 2.3.0 and recorded exchanges)."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any

from . import wording
from .answer import Answer, Call, Turn
from .faults import FaultName
from .openai_request import PROTOCOL, read
from .prompt import Prompt, Refusal
from .wire import ENVOY, Said, Target, bearer, encode, front_page

_KINDS = {
    401: "invalid_request_error",
    408: "internal_error",
    429: "requests",
    500: "server_error",
    503: "server_error",
    529: "server_error",
}
_CODES = {404: "model_not_found", 429: "rate_limit_exceeded"}
_NO_KEY = (
    "You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer auth "
    "(i.e. Authorization: Bearer YOUR_KEY)."
)
_BAD_KEY = (
    "Incorrect API key provided: {key}. You can find your API key at https://platform.openai.com/account/api-keys."
)
_SAYS = {
    400: "Invalid request.",
    401: _BAD_KEY.format(key="********"),
    403: "You are not allowed to use this model.",
    413: "Maximum content size limit (33554432) exceeded.",
    404: "The model `{model}` does not exist or you do not have access to it.",
    429: "Rate limit reached for {model} in organization org-emulator on requests per min (RPM): Limit 500, "
    "Used 500, Requested 1. Please try again in 120ms. Visit https://platform.openai.com/account/rate-limits "
    "to learn more.",
    500: "The server had an error while processing your request. Sorry about that!",
    503: "The server is currently overloaded with other requests. Sorry about that! You can retry your request, or "
    "contact us through our help center at help.openai.com if the error persists.",
}
_FAULTS: dict[FaultName, Said] = {
    "authentication": Said(401, code="invalid_api_key"),
    "request_timeout": Said(
        408,
        "Timed out generating response. Please try again with a shorter prompt or with `max_tokens` set to a lower "
        "value.",
        "request_timeout",
    ),
    "quota": Said(
        429,
        "You exceeded your current quota, please check your plan and billing details. For more information on this "
        "error, read the docs: https://platform.openai.com/docs/guides/error-codes/api-errors.",
        "insufficient_quota",
    ),
    "bad_gateway": Said(502, "502 Bad Gateway", media="text/html", page=front_page("cloudflare")),
    "unavailable": Said(503, ENVOY, media="text/plain"),
    "overloaded": Said(503),
    "context_overflow": Said(
        400,
        "This model's maximum context length is 128000 tokens. However, your messages resulted in {tokens} tokens. "
        "Please reduce the length of the messages.",
        "context_length_exceeded",
        "messages",
    ),
    # Azure's words: api.openai.com itself ends such answers with the finish reason of that name.
    "content_filter": Said(
        400,
        "The response was filtered due to the prompt triggering Azure OpenAI's content management policy. Please "
        "modify your prompt and retry. To learn more about our content filtering policies please read our "
        "documentation: https://go.microsoft.com/fwlink/?linkid=2198766",
        "content_filter",
        "prompt",
    ),
}


class OpenAI:
    """`POST /v1/chat/completions`, `GET /v1/models`."""

    name = PROTOCOL
    models: Sequence[str] = ("gpt-5", "gpt-5-mini", "gpt-4.1", "gpt-4.1-mini", "gpt-4o", "gpt-4o-mini", "o4-mini")
    faults: Mapping[FaultName, Said] = _FAULTS
    opening = 1
    declines = ""

    def admit(self, headers: Mapping[str, str], query: Mapping[str, str], keys: Collection[str]) -> None:
        """`Authorization: Bearer`, or Azure's `api-key`."""
        key = bearer(headers) or headers.get("api-key")
        if not key:
            raise Refusal(401, _NO_KEY)
        if keys and key not in keys:
            # OpenAI shows the ends of the key; a short one is not shown at all, lest it be shown whole.
            ends = f"{key[:3]}{'*' * 8}{key[-2:]}" if len(key) > 16 else "*" * 8
            raise Refusal(401, _BAD_KEY.format(key=ends), code="invalid_api_key")

    def read(self, body: bytes, target: Target) -> Prompt:
        """See `openai_request.read`."""
        return read(body, target)

    def whole(self, turn: Turn) -> bytes:
        """A `chat.completion`."""
        choices = [
            {
                "index": index,
                "message": _message(turn, one),
                "logprobs": _logprobs(turn.prompt, one.seed, one.text),
                "finish_reason": one.finish,
            }
            for index, one in enumerate(turn.answers)
        ]
        return encode({**_head(turn, "chat.completion"), "choices": choices, "usage": _usage(turn)})

    def chunks(self, turn: Turn) -> Iterator[bytes]:
        """`chat.completion.chunk` events: the role first, the choices in step, finish, usage, `[DONE]`."""
        head = _head(turn, "chat.completion.chunk")
        tail: dict[str, Any] = {"usage": None} if turn.prompt.include_usage else {}

        def event(index: int, delta: dict[str, Any], logprobs: Any = None, finish: str | None = None) -> bytes:
            choice = {"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
            return b"data: " + encode({**head, "choices": [choice], **tail}) + b"\n\n"

        opening = {"role": "assistant", "content": "", "refusal": None}
        yield b"".join(event(index, opening) for index in range(len(turn.answers)))
        steps = zip_longest(*(_deltas(turn, one) for one in turn.answers))
        for step in steps:
            yield b"".join(event(index, *part) for index, part in enumerate(step) if part is not None)
        closing = [event(index, {}, finish=one.finish) for index, one in enumerate(turn.answers)]
        if turn.prompt.include_usage:
            closing.append(b"data: " + encode({**head, "choices": [], "usage": _usage(turn)}) + b"\n\n")
        yield b"".join(closing) + b"data: [DONE]\n\n"

    def media(self, prompt: Prompt) -> str:
        """Server-sent events or JSON."""
        return "text/event-stream; charset=utf-8" if prompt.stream else "application/json"

    def refusal(self, fault: Refusal, model: str, request_id: str) -> tuple[int, bytes]:
        """`{"error": {"message", "type", "param", "code"}}`."""
        status = fault.status
        message = fault.message
        if message is None:
            message = _SAYS.get(status, _SAYS[500] if status > 500 else _SAYS[400]).format(model=model)
        code = fault.code
        if code is None and (model or status != 404):
            code = _CODES.get(status)
        kind = _KINDS.get(status, "server_error" if status >= 500 else "invalid_request_error")
        if code == "insufficient_quota":
            kind = code
        return status, encode({"error": {"message": message, "type": kind, "param": fault.param, "code": code}})

    def event(self, error: bytes, prompt: Prompt, *, first: bool) -> bytes:
        """The error object as one more event."""
        return b"data: " + error + b"\n\n"

    def stamp(self, request_id: str) -> list[tuple[str, str]]:
        """The headers SDKs and gateways look at."""
        return [
            ("x-request-id", f"req_{request_id}"),
            ("openai-version", "2020-10-01"),
            ("openai-processing-ms", "1"),
            ("x-ratelimit-limit-requests", "10000"),
            ("x-ratelimit-remaining-requests", "9999"),
            ("x-ratelimit-limit-tokens", "2000000"),
            ("x-ratelimit-remaining-tokens", "1999000"),
            ("x-ratelimit-reset-requests", "6ms"),
            ("x-ratelimit-reset-tokens", "0s"),
        ]

    def listing(self, names: Sequence[str], now: int) -> bytes:
        """`GET /v1/models`."""
        cards = [{"id": name, "object": "model", "created": now, "owned_by": "emulator"} for name in names]
        return encode({"object": "list", "data": cards})


def _head(turn: Turn, kind: str) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{turn.id}",
        "object": kind,
        "created": turn.created,
        "model": turn.prompt.model,
        "service_tier": "default",
        "system_fingerprint": "fp_emulator",
    }


def _message(turn: Turn, answer: Answer) -> dict[str, Any]:
    message: dict[str, Any] = {
        "role": "assistant",
        "content": None if answer.calls and not answer.text else answer.text,
        "refusal": None,
        "annotations": [],
    }
    if turn.reasoning_shown and answer.thinking:
        message["reasoning_content"] = answer.thinking
    if answer.calls:
        message["tool_calls"] = [_call(call, call.text()) for call in answer.calls]
    return message


def _call(call: Call, arguments: str) -> dict[str, Any]:
    return {"id": f"call_{call.id}", "type": "function", "function": {"name": call.name, "arguments": arguments}}


def _deltas(turn: Turn, answer: Answer) -> Iterator[tuple[dict[str, Any], Any]]:
    if turn.reasoning_shown:
        for piece in wording.pieces(answer.thinking, None):
            yield {"reasoning_content": piece}, None
    prompt = turn.prompt
    if prompt.logprobs is not None and turn.chunks is None:
        parts = _tokens(answer.text)
    else:
        parts = wording.pieces(answer.text, turn.chunks)
    for piece in parts:
        yield {"content": piece}, _logprobs(prompt, answer.seed, piece)
    for place, call in enumerate(answer.calls):
        yield {"tool_calls": [{"index": place, **_call(call, "")}]}, None
        for piece in _tokens(call.text()):
            yield {"tool_calls": [{"index": place, "function": {"arguments": piece}}]}, None


def _tokens(text: str) -> list[str]:
    return [text[start : start + 4] for start in range(0, len(text), 4)]


def _logprobs(prompt: Prompt, seed: int, text: str) -> dict[str, Any] | None:
    if prompt.logprobs is None:
        return None
    entries: list[dict[str, Any]] = []
    for token in _tokens(text):
        entry = _logprob(token, -((seed + len(entries)) % 97) / 100)
        # The runners-up are made up; what matters to callers is their number and their order.
        rivals = [_logprob(f"{token[:2]}{rank}", entry["logprob"] - rank) for rank in range(1, prompt.logprobs)]
        entries.append({**entry, "top_logprobs": [entry, *rivals][: prompt.logprobs]})
    return {"content": entries, "refusal": None}


def _logprob(token: str, value: float) -> dict[str, Any]:
    return {"token": token, "logprob": value, "bytes": list(token.encode(errors="replace"))}


def _usage(turn: Turn) -> dict[str, Any]:
    usage = turn.usage
    return {
        "prompt_tokens": usage.input,
        "completion_tokens": usage.output,
        "total_tokens": usage.input + usage.output,
        "prompt_tokens_details": {"cached_tokens": usage.cached, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": usage.reasoning,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }

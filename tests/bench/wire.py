"""The bytes on the wire: the request every gateway gets and the answers the fake upstream gives.

The shapes are those of gpt-4o-mini: a chat completion of some 700 bytes with its usage block, and a stream of 67
chunks of some 200 bytes each, then the usage chunk when it was asked for, then `[DONE]`.
"""

import json

PATH = "/v1/chat/completions"
MODEL = "gpt-4o-mini"
CHUNKS = 67
ANSWER = (
    "Retry only what is safe to repeat, wait longer after every failure, and add a little chance to each wait so that "
    "clients do not come back together."
)
_WORDS = (
    "A",
    " breaker",
    " opens",
    " when",
    " failures",
    " pile",
    " up",
    ",",
    " then",
    " lets",
    " one",
    " call",
    " test.",
)
# The first chunk names the role, the last one the finish reason.
_TOKENS = [_WORDS[i % len(_WORDS)] for i in range(CHUNKS - 2)]
STREAMED = "".join(_TOKENS)
_USAGE = {
    "prompt_tokens": 74,
    "completion_tokens": 31,
    "total_tokens": 105,
    "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
    "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
}
_HEAD = (
    "HTTP/1.1 200 OK\r\n"
    "date: Mon, 05 Jan 2026 10:00:00 GMT\r\n"
    "openai-processing-ms: 412\r\n"
    "openai-version: 2020-10-01\r\n"
    "x-ratelimit-limit-requests: 30000\r\n"
    "x-ratelimit-remaining-requests: 29999\r\n"
    "x-ratelimit-reset-requests: 2ms\r\n"
    "x-request-id: req_5d0c2f6f1f1e4a0b9b6d8f0a3c7e2b11\r\n"
)


def request_body(model: str, *, stream: bool) -> bytes:
    """What every caller sends: a short chat, some 480 bytes of JSON."""
    system = "You are a careful assistant inside a customer service tool. Answer briefly, in plain words."
    question = (
        "Our service calls a payment provider that sometimes answers with 503 for half a minute. What should the "
        "retry policy look like so that we neither lose payments nor make the outage worse?"
    )
    body: dict[str, object] = {
        "model": model,
        "messages": [{"role": "system", "content": system}, {"role": "user", "content": question}],
        "temperature": 0,
        "max_tokens": 128,
    }
    if stream:
        body["stream"] = True
    return _dump(body)


def json_answer() -> bytes:
    """The whole HTTP response to a plain request."""
    message = {"role": "assistant", "content": ANSWER, "refusal": None, "annotations": []}
    body = _dump(
        {
            "id": "chatcmpl-Cu7Kq3W0xJm5YtBvN2dRfLpZ8aEsH",
            "object": "chat.completion",
            "created": 1767607200,
            "model": "gpt-4o-mini-2024-07-18",
            "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
            "usage": _USAGE,
            "service_tier": "default",
            "system_fingerprint": "fp_560af6e559",
        }
    )
    head = f"{_HEAD}content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    return head.encode() + body


def stream_writes(*, usage: bool) -> list[bytes]:
    """One entry a write: the head with the first chunk, 66 more chunks, and the end of the stream."""
    head = f"{_HEAD}content-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n".encode()
    deltas: list[dict[str, str]] = [{"role": "assistant", "content": ""}, *({"content": t} for t in _TOKENS), {}]
    writes = [_framed(_chunk(delta, usage, last=i == CHUNKS - 1)) for i, delta in enumerate(deltas)]
    writes[0] = head + writes[0]
    tail = _event({**_base(), "choices": [], "usage": _USAGE}) if usage else b""
    writes.append(_framed(tail + b"data: [DONE]\n\n") + b"0\r\n\r\n")
    return writes


def _base() -> dict[str, object]:
    return {
        "id": "chatcmpl-Cu7Kq3W0xJm5YtBvN2dRfLpZ8aEsH",
        "object": "chat.completion.chunk",
        "created": 1767607200,
        "model": "gpt-4o-mini-2024-07-18",
        "system_fingerprint": "fp_560af6e559",
    }


def _chunk(delta: dict[str, str], usage: bool, *, last: bool) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": "stop" if last else None}
    return _event({**_base(), "choices": [choice], **({"usage": None} if usage else {})})


def _event(data: dict[str, object]) -> bytes:
    return b"data: " + _dump(data) + b"\n\n"


def _framed(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


def _dump(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()

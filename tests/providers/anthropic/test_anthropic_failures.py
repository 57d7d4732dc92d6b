"""Non-2xx answers as the closed list of failures."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.chat import Failure, FailureKind
from sidecar.providers.anthropic import Anthropic
from sidecar.providers.failures import bounded_text, retry_after, status_kind

ADAPTER = Anthropic()


def error(kind: str, message: str) -> bytes:
    return json.dumps({"type": "error", "error": {"type": kind, "message": message}, "request_id": "r"}).encode()


TABLE = [
    (400, "invalid_request_error", "max_tokens: 5 > 4, which is the maximum", FailureKind.BAD_REQUEST, "max_tokens"),
    (
        400,
        "invalid_request_error",
        "messages.1.content.0.text: blank",
        FailureKind.BAD_REQUEST,
        "messages.1.content.0.text",
    ),
    (400, "invalid_request_error", "prompt is too long: 3 tokens > 2 maximum", FailureKind.CONTEXT_OVERFLOW, None),
    (
        400,
        "invalid_request_error",
        "input length and `max_tokens` exceed context limit: 1 + 2 > 2",
        FailureKind.CONTEXT_OVERFLOW,
        None,
    ),
    (
        400,
        "invalid_request_error",
        "Your credit balance is too low to access the Anthropic API.",
        FailureKind.QUOTA,
        None,
    ),
    (400, "invalid_request_error", "You have reached your specified API usage limits.", FailureKind.QUOTA, None),
    (401, "authentication_error", "invalid x-api-key", FailureKind.AUTHENTICATION, None),
    (402, "billing_error", "pay", FailureKind.QUOTA, None),
    (403, "permission_error", "no", FailureKind.AUTHENTICATION, None),
    (404, "not_found_error", "model: claude-x", FailureKind.NOT_FOUND, None),
    (413, "request_too_large", "Request exceeds the maximum size", FailureKind.TOO_LARGE, None),
    (
        429,
        "rate_limit_error",
        "This request would exceed your organization's rate limit",
        FailureKind.RATE_LIMITED,
        None,
    ),
    (500, "api_error", "Internal server error", FailureKind.SERVER_ERROR, None),
    (503, "api_error", "unavailable", FailureKind.UNAVAILABLE, None),
    (503, "overloaded_error", "Overloaded", FailureKind.OVERLOADED, None),
    (504, "timeout_error", "late", FailureKind.BAD_GATEWAY, None),
    (529, "overloaded_error", "Overloaded", FailureKind.OVERLOADED, None),
    (409, "newest_error", "x", FailureKind.BAD_REQUEST, None),
]


@pytest.mark.parametrize(("status", "kind", "message", "expected", "param"), TABLE)
def test_errors(status: int, kind: str, message: str, expected: FailureKind, param: str | None) -> None:
    got = ADAPTER.failure(status, {"retry-after": "3"}, error(kind, message))
    assert got == Failure(expected, message, status, 3.0, param, kind)


STATUSES = [
    (301, FailureKind.NOT_FOUND),
    (400, FailureKind.BAD_REQUEST),
    (401, FailureKind.AUTHENTICATION),
    (402, FailureKind.QUOTA),
    (403, FailureKind.AUTHENTICATION),
    (404, FailureKind.NOT_FOUND),
    (405, FailureKind.BAD_REQUEST),
    (408, FailureKind.REQUEST_TIMEOUT),
    (413, FailureKind.TOO_LARGE),
    (422, FailureKind.BAD_REQUEST),
    (429, FailureKind.RATE_LIMITED),
    (500, FailureKind.SERVER_ERROR),
    (502, FailureKind.BAD_GATEWAY),
    (503, FailureKind.UNAVAILABLE),
    (504, FailureKind.BAD_GATEWAY),
    (524, FailureKind.SERVER_ERROR),
    (529, FailureKind.OVERLOADED),
]
BODIES = [
    (b"", ""),
    (b"\xff\xfe\x00", "\ufffd\ufffd"),
    (b"<html><head><title>502 Bad\nGateway</title></head></html>", "502 Bad Gateway"),
    (b"<h1>Sorry</h1> <p>later</p>", "Sorry later"),
    (b"upstream connect error", "upstream connect error"),
    (b"[]", "[]"),
    (b'{"error": "text"}', '{"error": "text"}'),
    (b"x" * 100_000, "x" * 2000),
    (b"<" * 100_000, "<" * 2000),
]


@pytest.mark.parametrize(("status", "expected"), STATUSES)
@pytest.mark.parametrize(("body", "text"), BODIES, ids=lambda value: str(value)[:20])
def test_a_server_in_between(status: int, expected: FailureKind, body: bytes, text: str) -> None:
    assert ADAPTER.failure(status, {}, body) == Failure(expected, text, status)
    assert status_kind(status) is expected and bounded_text(body) == text


def test_texts_are_bounded() -> None:
    got = ADAPTER.failure(400, {}, error("k" * 5000, "m" * 5000))
    assert len(got.message) == 2000 and len(got.code or "") == 100
    assert ADAPTER.failure(400, {}, b'{"error": {}}').message == "the provider sent an error without a message"


DATE = "Wed, 21 Oct 2015 07:28:00 GMT"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "31"}, 31.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after": "-1"}, 0.0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after-ms": "x", "retry-after": "9"}, 9.0),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:30 GMT", "date": DATE}, 30.0),
        ({"retry-after": "Wed, 21 Oct 2015 07:27:30 GMT", "date": DATE}, 0.0),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:30 GMT"}, None),
        ({"retry-after": "Wed, 99 Oct 2015 07:28:30 GMT", "date": DATE}, None),
        ({"retry-after": "Wed, 21 Oct 2015 08:28:30 +0100", "date": "Wed, 21 Oct 2015 07:28:00 -0000"}, 30.0),
    ],
)
def test_retry_after(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(headers) == seconds


@given(st.text(max_size=40), st.text(max_size=40), st.binary(max_size=60))
def test_no_header_and_no_body_is_a_fault(after: str, date: str, body: bytes) -> None:
    ADAPTER.failure(500, {"retry-after": after, "retry-after-ms": date, "date": date}, body)

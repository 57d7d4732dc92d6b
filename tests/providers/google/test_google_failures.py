"""Google's errors as kinds a policy can decide on."""

import json
from typing import Any

import pytest
from google_traffic import SHARED

from sidecar.chat import FailureKind as Kind
from sidecar.providers.google import Google

QUOTA_TEXT = "You exceeded your current quota, please check your plan and billing details."


def error(code: int, status: str, message: str, *details: dict[str, Any]) -> bytes:
    body: dict[str, Any] = {"code": code, "message": message, "status": status}
    if details:
        body["details"] = list(details)
    return json.dumps({"error": body}).encode()


def info(reason: str) -> dict[str, Any]:
    return {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": reason, "metadata": {"service": "g"}}


def retry(delay: str) -> dict[str, Any]:
    return {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": delay}


def quota(*ids: str) -> dict[str, Any]:
    violations = [{"quotaMetric": "m", "quotaId": i, "quotaDimensions": {"model": "x"}, "quotaValue": "2"} for i in ids]
    return {"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": violations}


MINUTE = "GenerateRequestsPerMinutePerProjectPerModel-FreeTier"
DAY = "GenerateRequestsPerDayPerProjectPerModel-FreeTier"
TABLE: list[tuple[int, bytes, Kind, float | None]] = [
    (400, error(400, "INVALID_ARGUMENT", "API key not valid.", info("API_KEY_INVALID")), Kind.AUTHENTICATION, None),
    (400, error(400, "INVALID_ARGUMENT", "API key expired.", info("API_KEY_INVALID")), Kind.AUTHENTICATION, None),
    (403, error(403, "PERMISSION_DENIED", "blocked", info("API_KEY_SERVICE_BLOCKED")), Kind.AUTHENTICATION, None),
    (403, error(403, "PERMISSION_DENIED", "no access"), Kind.AUTHENTICATION, None),
    (401, error(401, "UNAUTHENTICATED", "who?"), Kind.AUTHENTICATION, None),
    (400, error(400, "INVALID_ARGUMENT", "Invalid value at 'contents'"), Kind.BAD_REQUEST, None),
    (
        400,
        error(
            400,
            "INVALID_ARGUMENT",
            "The input token count (3475108) exceeds the maximum number of tokens allowed (1048576).",
        ),
        Kind.CONTEXT_OVERFLOW,
        None,
    ),
    (
        400,
        error(400, "INVALID_ARGUMENT", "Request payload size exceeds the limit: 20971520 bytes."),
        Kind.TOO_LARGE,
        None,
    ),
    (400, error(400, "FAILED_PRECONDITION", "Please enable billing on your project."), Kind.QUOTA, None),
    (400, error(400, "FAILED_PRECONDITION", "User location is not supported."), Kind.BAD_REQUEST, None),
    (404, error(404, "NOT_FOUND", "models/x is not found"), Kind.NOT_FOUND, None),
    (413, b"<html><title>413 Too Large</title></html>", Kind.TOO_LARGE, None),
    (429, error(429, "RESOURCE_EXHAUSTED", QUOTA_TEXT, quota(MINUTE), retry("34s")), Kind.RATE_LIMITED, 34.0),
    (429, error(429, "RESOURCE_EXHAUSTED", QUOTA_TEXT, quota(MINUTE, DAY), retry("34.07s")), Kind.QUOTA, 34.07),
    (429, error(429, "RESOURCE_EXHAUSTED", QUOTA_TEXT), Kind.QUOTA, None),
    (429, error(429, "RESOURCE_EXHAUSTED", QUOTA_TEXT + "\nPlease retry in 45.5s."), Kind.RATE_LIMITED, 45.5),
    (429, error(429, "RESOURCE_EXHAUSTED", "Please retry in 250ms."), Kind.RATE_LIMITED, 0.25),
    (429, error(429, "RESOURCE_EXHAUSTED", "Your prepayment credits are depleted."), Kind.QUOTA, None),
    (429, error(429, "RESOURCE_EXHAUSTED", "Resource has been exhausted (e.g. check quota)."), Kind.RATE_LIMITED, None),
    (429, b"[" + error(429, "RESOURCE_EXHAUSTED", "Resource exhausted.") + b"]", Kind.RATE_LIMITED, None),
    (500, error(500, "INTERNAL", "An internal error has occurred."), Kind.SERVER_ERROR, None),
    (503, error(503, "UNAVAILABLE", "The model is overloaded. Please try again later."), Kind.OVERLOADED, None),
    (503, b"upstream connect error", Kind.OVERLOADED, None),
    (504, error(504, "DEADLINE_EXCEEDED", "Deadline expired"), Kind.SERVER_ERROR, None),
    (502, b"<html><body><h1>Bad Gateway</h1></body></html>", Kind.BAD_GATEWAY, None),
    (429, b"", Kind.RATE_LIMITED, None),
]


@pytest.mark.parametrize(("status", "body", "kind", "after"), TABLE)
def test_failures(status: int, body: bytes, kind: Kind, after: float | None) -> None:
    failure = Google().failure(status, {}, body)
    assert (failure.kind, failure.status, failure.retry_after) == (kind, status, after)
    assert len(failure.message) <= 2000


def test_the_objects_delay_goes_before_the_header() -> None:
    body = error(429, "RESOURCE_EXHAUSTED", "x", retry("34s"))
    assert Google().failure(429, {"retry-after": "7"}, body).retry_after == 34.0
    assert Google().failure(429, {"retry-after": "7"}, b"").retry_after == 7.0
    odd = error(429, "RESOURCE_EXHAUSTED", "x", retry("infs"))
    assert Google().failure(429, {"retry-after": "7"}, odd).retry_after == 7.0


def test_the_field_at_fault_and_the_status_are_kept() -> None:
    bad = {"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [{"field": "contents[0].parts"}]}
    failure = Google().failure(400, {}, error(400, "INVALID_ARGUMENT", "Invalid\n\x00 JSON", bad))
    assert (failure.param, failure.code, failure.message) == ("contents[0].parts", "INVALID_ARGUMENT", "Invalid JSON")


REPORTED = SHARED / "traffic" / "errors_reported.jsonl"
KINDS = {"reported-07": Kind.OVERLOADED, "reported-10": Kind.RATE_LIMITED}


@pytest.mark.skipif(not REPORTED.exists(), reason=f"no reported errors under {SHARED}")
@pytest.mark.parametrize("id", KINDS)
def test_reported_errors(id: str) -> None:
    row = next(r for line in REPORTED.read_text().splitlines() if (r := json.loads(line))["id"] == id)
    response = row["response"]
    body = response["raw"].encode() if "raw" in response else json.dumps(response["json"]).encode()
    failure = Google().failure(response["status"], {}, body)
    assert failure.kind is KINDS[id]
    assert "again later" in failure.message

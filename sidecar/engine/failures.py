"""What follows from a failure: try the same model again, try the next, or tell the caller; and what it is told."""

from ..call import Plan
from ..chat import Failure, Problem
from ..chat import FailureKind as F

RETRY = frozenset(
    {
        F.REFUSED, F.DNS, F.CONNECT_TIMEOUT, F.RESET, F.REQUEST_TIMEOUT, F.RATE_LIMITED, F.SERVER_ERROR,
        F.OVERLOADED, F.STREAM_ERROR, F.MALFORMED, F.TRUNCATED,
    }
)  # fmt: skip
"""Worth the same model once more: the fault may be gone."""

FINAL = frozenset({F.BAD_REQUEST, F.TOO_LARGE, F.CONTENT_FILTER, F.CANCELLED})
"""The caller's own doing: no other model is bothered with it."""

BLAMELESS = FINAL | {F.CONTEXT_OVERFLOW}
"""Says nothing of the model's health: the request would not have fitted on a good day either."""

RESTS = frozenset({F.RATE_LIMITED, F.QUOTA, F.OVERLOADED})
"""The provider itself says that the model should be left alone for a while."""

_STATUS = {
    F.BAD_REQUEST: (400, "invalid_request_error", None),
    F.CONTEXT_OVERFLOW: (400, "invalid_request_error", "context_length_exceeded"),
    F.CONTENT_FILTER: (400, "invalid_request_error", "content_filter"),
    F.NOT_FOUND: (404, "invalid_request_error", "model_not_found"),
    F.TOO_LARGE: (413, "invalid_request_error", "request_too_large"),
    F.RATE_LIMITED: (429, "rate_limit_error", "provider_rate_limited"),
    F.QUOTA: (429, "insufficient_quota", "insufficient_quota"),
    F.OVERLOADED: (503, "overloaded_error", "provider_overloaded"),
    F.FIRST_TOKEN_TIMEOUT: (504, "timeout_error", "first_token_timeout"),
    F.IDLE_TIMEOUT: (504, "timeout_error", "idle_timeout"),
    F.TOTAL_TIMEOUT: (504, "timeout_error", "total_timeout"),
    F.CONNECT_TIMEOUT: (504, "timeout_error", "connect_timeout"),
    F.REQUEST_TIMEOUT: (504, "timeout_error", "provider_timeout"),
}


def worth_retry(failure: Failure, plan: Plan) -> bool:
    """Whether the same model gets another try: not when it asks for a longer wait than the plan allows."""
    return failure.kind in RETRY and (failure.retry_after or 0.0) <= plan.backoff_max


def problem(failure: Failure, provider: str, message: str) -> Problem:
    """What the caller is told of the last failure. A provider's 401 is not the caller's: that is a 502."""
    status, kind, code = _STATUS.get(failure.kind, (502, "api_error", f"provider_{failure.kind}"))
    wait = failure.retry_after
    if wait is None and status in (429, 503):
        wait = 1.0
    if failure.kind in FINAL:
        return Problem(status, kind, message, failure.code or code, failure.param, wait)
    return Problem(status, kind, f"Provider `{provider}`: {message}", code, None, wait)

"""What the caller is told of a failure, and what a failure says of the model."""

from ..chat import Failure, Problem
from ..chat import FailureKind as F

CALLERS = frozenset(
    {F.BAD_REQUEST, F.TOO_LARGE, F.CONTENT_FILTER, F.CANCELLED, F.OVER_BUDGET, F.UNPRICED, F.OVER_LIMIT}
)
"""The caller's own doing, or the policy's word on it: the text is told as it is."""

BLAMELESS = CALLERS | {F.CONTEXT_OVERFLOW, F.SATURATED, F.TOTAL_TIMEOUT}
"""Says nothing of the model's health: the request would not have fitted on a good day either."""

UNSENT = frozenset({F.OVER_BUDGET, F.UNPRICED, F.OVER_LIMIT, F.SATURATED})
"""No provider was asked: the attempt was turned away on this side."""

RESTS = frozenset({F.RATE_LIMITED, F.QUOTA, F.OVERLOADED, F.UNAVAILABLE})
"""The provider itself says that the model should be left alone for a while."""

_STATUS = {
    F.BAD_REQUEST: (400, "invalid_request_error", None),
    F.CONTEXT_OVERFLOW: (400, "invalid_request_error", "context_length_exceeded"),
    F.CONTENT_FILTER: (400, "invalid_request_error", "content_filter"),
    F.UNPRICED: (402, "invalid_request_error", "model_unpriced"),
    F.NOT_FOUND: (404, "invalid_request_error", "model_not_found"),
    F.TOO_LARGE: (413, "invalid_request_error", "request_too_large"),
    F.RATE_LIMITED: (429, "rate_limit_error", "provider_rate_limited"),
    F.OVER_BUDGET: (429, "insufficient_quota", "budget_exceeded"),
    F.OVER_LIMIT: (429, "rate_limit_error", "rate_limit_exceeded"),
    F.QUOTA: (429, "insufficient_quota", "insufficient_quota"),
    F.UNAVAILABLE: (503, "overloaded_error", "provider_unavailable"),
    F.SATURATED: (503, "overloaded_error", "provider_saturated"),
    F.OVERLOADED: (503, "overloaded_error", "provider_overloaded"),
    F.FIRST_TOKEN_TIMEOUT: (504, "timeout_error", "first_token_timeout"),
    F.IDLE_TIMEOUT: (504, "timeout_error", "idle_timeout"),
    F.TOTAL_TIMEOUT: (504, "timeout_error", "total_timeout"),
    F.CONNECT_TIMEOUT: (504, "timeout_error", "connect_timeout"),
    F.REQUEST_TIMEOUT: (504, "timeout_error", "provider_timeout"),
}


def problem(failure: Failure, provider: str, message: str) -> Problem:
    """What the caller is told of the last failure. A provider's 401 is not the caller's: that is a 502."""
    status, kind, code = _STATUS.get(failure.kind, (502, "api_error", f"provider_{failure.kind}"))
    wait = failure.retry_after
    if wait is None and status in (429, 503):
        wait = 1.0
    if failure.kind in CALLERS:
        return Problem(status, kind, message, failure.code or code, failure.param, wait)
    return Problem(status, kind, f"Provider `{provider}`: {message}", code, None, wait)

"""Google's errors (google.rpc.Status) as the closed list of failures."""

import re
from collections.abc import Mapping
from math import isfinite

from ..chat import Failure, FailureKind
from .failures import bounded, bounded_text, retry_after, status_kind
from .google_wire import Detail, Error, decode

_KINDS = {
    "UNAUTHENTICATED": FailureKind.AUTHENTICATION,
    "PERMISSION_DENIED": FailureKind.AUTHENTICATION,
    "NOT_FOUND": FailureKind.NOT_FOUND,
    "INVALID_ARGUMENT": FailureKind.BAD_REQUEST,
    "FAILED_PRECONDITION": FailureKind.BAD_REQUEST,
    "OUT_OF_RANGE": FailureKind.BAD_REQUEST,
    "RESOURCE_EXHAUSTED": FailureKind.RATE_LIMITED,
    "UNAVAILABLE": FailureKind.OVERLOADED,
    "INTERNAL": FailureKind.SERVER_ERROR,
    "UNKNOWN": FailureKind.SERVER_ERROR,
    "DEADLINE_EXCEEDED": FailureKind.SERVER_ERROR,
}
_OVERFLOW = re.compile(r"token count.*exceeds|exceeds the maximum number of tokens|context (length|window)", re.I)
_PAYLOAD = re.compile(r"payload size exceeds", re.I)
_BILLING = re.compile(r"\bbilling\b|prepay|credits? (are|is) depleted", re.I)
_RETRY_IN = re.compile(r"retry in ([0-9.]+m?s)", re.I)


def failed(status: int, headers: Mapping[str, str], body: bytes) -> Failure:
    """A non-2xx answer: an error object, one in an array, or whatever a server in between sent."""
    kind = FailureKind.OVERLOADED if status == 503 else status_kind(status)
    after = retry_after(headers)
    try:
        error = next((answer.error for answer in decode(body) if answer.error is not None), None)
    except (ValueError, RecursionError):
        error = None
    if error is None:
        return Failure(kind, bounded_text(body), status, after)
    return answered(error, status, kind, after)


def answered(error: Error, status: int | None, otherwise: FailureKind, after: float | None = None) -> Failure:
    """The failure an error object stands for. `otherwise` is its kind when neither its status nor code say."""
    details = error.details or []
    message = error.message or ""
    delay = next((detail.retry_delay for detail in details if detail.retry_delay), None)
    if delay is None and (hint := _RETRY_IN.search(message)) is not None:
        delay = hint[1]
    seconds = _seconds(delay)
    return Failure(
        kind=_kind(error, details, otherwise, seconds),
        message=bounded(message) or error.status or "the provider sent an error without a message",
        status=status,
        retry_after=seconds if seconds is not None else after,
        param=next((found.field for d in details for found in d.field_violations or () if found.field), None),
        code=error.status,
    )


def _kind(error: Error, details: list[Detail], otherwise: FailureKind, seconds: float | None) -> FailureKind:
    kind = _KINDS.get(error.status or "")
    if kind is None:
        kind = otherwise if error.code is None else status_kind(error.code)
    message = error.message or ""
    if any((detail.reason or "").startswith("API_KEY_") for detail in details):
        return FailureKind.AUTHENTICATION
    if kind is FailureKind.RATE_LIMITED:
        return _exhausted(message, details, seconds)
    if kind is FailureKind.BAD_REQUEST:
        if _OVERFLOW.search(message):
            return FailureKind.CONTEXT_OVERFLOW
        if _PAYLOAD.search(message):
            return FailureKind.TOO_LARGE
        if error.status == "FAILED_PRECONDITION" and _BILLING.search(message):
            return FailureKind.QUOTA
    return kind


def _exhausted(message: str, details: list[Detail], seconds: float | None) -> FailureKind:
    """Rate or quota. The sentence about plan and billing comes with limits per minute too, so the quota's own
    id decides where there is one; without one, a delay means that waiting helps."""
    quotas = [found.quota_id for detail in details for found in detail.violations or () if found.quota_id]
    if quotas:
        daily = any("PerDay" in quota or "Daily" in quota for quota in quotas)
        return FailureKind.QUOTA if daily else FailureKind.RATE_LIMITED
    if seconds is None and _BILLING.search(message):
        return FailureKind.QUOTA
    return FailureKind.RATE_LIMITED


def _seconds(delay: str | None) -> float | None:
    """Seconds of a protobuf duration ("34.07s"); Google's own messages write milliseconds as well."""
    if delay is None:
        return None
    number, scale = (delay[:-2], 1000.0) if delay.endswith("ms") else (delay.removesuffix("s"), 1.0)
    try:
        value = float(number)
    except ValueError:
        return None
    return max(0.0, value / scale) if isfinite(value) else None

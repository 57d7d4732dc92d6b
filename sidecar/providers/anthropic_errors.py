"""Anthropic's errors as the closed list of failures."""

import re
from collections.abc import Mapping

import msgspec
from msgspec import Struct

from ..chat import Failure, FailureKind
from .anthropic_wire import WireError
from .failures import bounded, bounded_text, retry_after, status_kind

_KINDS = {
    "invalid_request_error": FailureKind.BAD_REQUEST,
    "authentication_error": FailureKind.AUTHENTICATION,
    "permission_error": FailureKind.AUTHENTICATION,
    "billing_error": FailureKind.QUOTA,
    "not_found_error": FailureKind.NOT_FOUND,
    "request_too_large": FailureKind.TOO_LARGE,
    "rate_limit_error": FailureKind.RATE_LIMITED,
    "overloaded_error": FailureKind.OVERLOADED,
}
_OVERFLOW = re.compile(r"prompt is too long|exceeds? (the )?context|context (window|length|limit)", re.I)
_BILLING = re.compile(r"credit balance|\bbilling\b|API usage limits|spend(ing)? limit", re.I)
_FIELD = re.compile(r"([a-z][a-z0-9_]*(?:\.[a-z0-9_]+)*): ")
_MAX_CODE = 100


class _Envelope(Struct):
    error: WireError | None = None


_envelope = msgspec.json.Decoder(_Envelope)


def failed(status: int, headers: Mapping[str, str], body: bytes) -> Failure:
    """A non-2xx answer: the error's own type decides, the status where a server in between answered."""
    after = retry_after(headers)
    try:
        error = _envelope.decode(body).error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        error = None
    if error is None:
        return Failure(status_kind(status), bounded_text(body), status, after)
    return msgspec.structs.replace(errored(error, status, status_kind(status)), retry_after=after)


def errored(error: WireError | None, status: int | None, otherwise: FailureKind) -> Failure:
    """The failure an error object stands for; `otherwise` when its type says no more than that it failed."""
    error = error or WireError()
    kind = _KINDS.get(error.type or "", otherwise)
    text = error.message or ""
    param = None
    if kind in (FailureKind.BAD_REQUEST, FailureKind.TOO_LARGE) and _OVERFLOW.search(text):
        kind = FailureKind.CONTEXT_OVERFLOW
    elif kind is not FailureKind.OVERLOADED and _BILLING.search(text):
        # An empty account is told as a 400 or a 403, and no retry helps.
        kind = FailureKind.QUOTA
    elif kind is FailureKind.BAD_REQUEST and (field := _FIELD.match(text)) is not None:
        param = field[1]
    message = bounded(text) or error.type or "the provider sent an error without a message"
    return Failure(kind, bounded(message), status, param=param, code=(error.type or "")[:_MAX_CODE] or None)

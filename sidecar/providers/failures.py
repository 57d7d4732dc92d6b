"""What every provider's error answers have in common: status, retry-after and a text fit to be kept."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import isfinite

from ..chat import FailureKind
from .base import MAX_MESSAGE

_KINDS = {
    400: FailureKind.BAD_REQUEST,
    401: FailureKind.AUTHENTICATION,
    402: FailureKind.QUOTA,
    403: FailureKind.AUTHENTICATION,
    404: FailureKind.NOT_FOUND,
    408: FailureKind.REQUEST_TIMEOUT,
    410: FailureKind.NOT_FOUND,
    413: FailureKind.TOO_LARGE,
    429: FailureKind.RATE_LIMITED,
    502: FailureKind.BAD_GATEWAY,
    503: FailureKind.UNAVAILABLE,
    504: FailureKind.BAD_GATEWAY,
    529: FailureKind.OVERLOADED,
}

_TITLE = re.compile(r"<title[^>]*>([^<]*)", re.IGNORECASE)
_TAG = re.compile(r"<[^<>]*>")
_READ = 8 * MAX_MESSAGE


def status_kind(status: int) -> FailureKind:
    """The failure an HTTP status alone stands for."""
    kind = _KINDS.get(status)
    if kind is not None:
        return kind
    if status >= 500:
        return FailureKind.SERVER_ERROR
    # A redirect or a bare 1xx/2xx is not this API: the address is wrong, asking again will not help.
    return FailureKind.BAD_REQUEST if status >= 400 else FailureKind.NOT_FOUND


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait as the headers say (names in lower case), never negative; None when they do not say.

    An HTTP date is measured against the answer's own `date` header: adapters have no clock, and the
    provider's clock is the one it means.
    """
    millis = _seconds(headers.get("retry-after-ms"))
    if millis is not None:
        return millis / 1000
    value = headers.get("retry-after")
    seconds = _seconds(value)
    if seconds is not None or value is None:
        return seconds
    until, now = _date(value), _date(headers.get("date"))
    return None if until is None or now is None else max(0.0, (until - now).total_seconds())


def bounded_text(body: bytes) -> str:
    """A body of any kind as one short line: HTML down to its title or words, control characters gone."""
    text = body[:_READ].decode("utf-8", "replace")
    if text.lstrip()[:1] == "<":
        title = _TITLE.search(text)
        text = title[1] if title and title[1].strip() else _TAG.sub(" ", text)
    return bounded(text)


def bounded(text: str) -> str:
    """A provider's words as one line of at most MAX_MESSAGE characters without control characters."""
    printable = "".join(char if char.isprintable() else " " for char in text[:_READ])
    return " ".join(printable.split())[:MAX_MESSAGE]


def _seconds(value: str | None) -> float | None:
    try:
        number = float(value or "")
    except ValueError:
        return None
    return max(0.0, number) if isfinite(number) else None


def _date(value: str | None) -> datetime | None:
    try:
        moment = parsedate_to_datetime(value or "")
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)

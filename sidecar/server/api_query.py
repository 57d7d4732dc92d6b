"""Reading what a request of the admin API asks for: query parameters, pages, times. Each fault says how to mend it."""

import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any, get_args

import msgspec
from litestar import Request

from ..spec import Duration, seconds
from .admin_problem import RefusedError

MAX_LIMIT = 500
USUAL_LIMIT = 100
_DURATION = get_args(Duration)[1].pattern
_LONGEST = 512


def parameters(request: Request[Any, Any, Any], known: Collection[str]) -> dict[str, str]:
    """The query's parameters, each at most once, none that is unknown. Raises RefusedError."""
    found: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if name not in known:
            listed = ", ".join(f"`{one}`" for one in known) or "none"
            raise invalid(f"There is no parameter `{name[:64]}` here; there is: {listed}.")
        if name in found:
            raise invalid(f"The parameter `{name}` stands twice.")
        if len(value) > _LONGEST:
            raise invalid(f"The parameter `{name}` is too long.")
        found[name] = value
    return found


def limit(given: dict[str, str]) -> int:
    """How many entries a page shall have. Raises RefusedError."""
    text = given.get("limit", str(USUAL_LIMIT))
    if not (text.isascii() and text.isdecimal() and len(text) < 6 and 0 < int(text) <= MAX_LIMIT):
        raise invalid(f"`limit` is a number from 1 to {MAX_LIMIT}.")
    return int(text)


def cursor(place: str | int) -> str:
    """Where the next page begins, as text that says nothing to its reader."""
    return urlsafe_b64encode(msgspec.json.encode(place)).rstrip(b"=").decode()


def after(given: dict[str, str], kind: type[str] | type[int]) -> Any:
    """The place that a cursor stands for; None without one. Raises RefusedError."""
    text = given.get("cursor")
    if text is None:
        return None
    try:
        place = msgspec.json.decode(urlsafe_b64decode(text + "=" * (-len(text) % 4)), type=kind)
    except (ValueError, msgspec.DecodeError):
        place = None
    if place is None or (isinstance(place, int) and not 0 <= place < 2**63):
        raise invalid("`cursor` is what a page before gave as `next`, to the letter.")
    return place


def moment(given: dict[str, str], name: str, now: float, default: float) -> float:
    """A time as Unix seconds: so long ago (`7d`), or ISO 8601, taken as UTC without a zone. Raises RefusedError."""
    text = given.get(name)
    if text is None:
        return default
    if re.fullmatch(_DURATION, text):
        return max(0.0, now - seconds(text))
    try:
        parsed = datetime.fromisoformat(text)
        found = (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        found = -1.0
    if found < 0:
        raise invalid(f"`{name}` is a length of time before now, such as 24h or 7d, or a time: 2026-11-21T10:00:00Z.")
    return found


def one_of(given: dict[str, str], name: str, values: Collection[str]) -> str | None:
    """A parameter that has one of few values. Raises RefusedError."""
    value = given.get(name)
    if value is not None and value not in values:
        raise invalid(f"`{name}` is one of {', '.join(values)}.")
    return value


def invalid(detail: str) -> RefusedError:
    """A request that is wrong."""
    return RefusedError(400, "invalid", detail)

"""Errors of the admin API: RFC 9457 `application/problem+json`, each with the id of its request."""

import sqlite3
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException
from msgspec import Struct

from ..engine.holder import Holder
from .chat_route import next_request_id
from .respond import SECURITY_HEADERS

PROBLEM = "application/problem+json"
TYPE = "urn:sidecar:problem:"
TITLES = {
    "invalid": "The request is wrong",
    "no-credential": "An admin key or token is needed",
    "bad-credential": "The admin key or token is not accepted",
    "admin-off": "The admin API is off",
    "role": "The role is not enough",
    "not-found": "There is no such thing",
    "method": "Another method is needed",
    "conflict": "It is there already",
    "too-many-failures": "Too many failed logins",
    "registry": "The registry cannot be written",
    "ledger": "The database cannot be read",
    "internal": "A fault of the gateway",
}
"""What `type` may end with, and the title that belongs to it."""
_KINDS = {404: "not-found", 405: "method"}


class RefusedError(Exception):
    """A request of the admin API that is not served; `kind` is one of TITLES, `detail` is for its sender."""

    def __init__(self, status: int, kind: str, detail: str, retry_after: float | None = None) -> None:
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.detail = detail
        self.retry_after = retry_after


class ProblemDetails(Struct, frozen=True):
    """An error of the admin API (RFC 9457). `type` says which, `instance` is the request's id, as in `x-request-id`."""

    type: str
    title: str
    status: int
    detail: str
    instance: str


def answer(refusal: RefusedError) -> Response[bytes]:
    """A refusal as a response."""
    instance = next_request_id()
    problem = ProblemDetails(
        TYPE + refusal.kind, TITLES.get(refusal.kind, refusal.kind), refusal.status, refusal.detail, instance
    )
    headers = {**SECURITY_HEADERS, "x-request-id": instance}
    if refusal.status == HTTPStatus.UNAUTHORIZED:
        headers["www-authenticate"] = 'Bearer realm="sidecar admin"'
    if refusal.retry_after is not None:
        headers["retry-after"] = str(max(1, round(refusal.retry_after)))
    return Response(msgspec.json.encode(problem), status_code=refusal.status, media_type=PROBLEM, headers=headers)


def refused(_: Request[Any, Any, Any], refusal: RefusedError) -> Response[bytes]:
    """The handler of RefusedError."""
    return answer(refusal)


def unreadable(_: Request[Any, Any, Any], fault: sqlite3.Error) -> Response[bytes]:
    """The handler of a database that is locked, full or broken."""
    return answer(RefusedError(503, "ledger", f"The database cannot be used now: {fault}.", 1.0))


def wrong(request: Request[Any, Any, Any], fault: HTTPException) -> Response[bytes]:
    """The handler of what the framework refuses: an unknown path, another method, a body that is too large."""
    kind = _KINDS.get(fault.status_code, "internal" if fault.status_code >= 500 else "invalid")
    detail = f"{request.method} {request.url.path[:200]}: {fault.detail}"
    return answer(RefusedError(fault.status_code, kind, detail))


def broken(holder: Holder) -> Callable[[Request[Any, Any, Any], Exception], Response[bytes]]:
    """The handler of what nobody foresaw: the log says where, the sender only that."""

    def handler(_: Request[Any, Any, Any], fault: Exception) -> Response[bytes]:
        response = answer(RefusedError(500, "internal", "The gateway failed on this request."))
        holder.log_fault(response.headers["x-request-id"], fault)
        return response

    return handler

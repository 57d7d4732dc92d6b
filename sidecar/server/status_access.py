"""Who may see the status page: whoever sits on this machine, and from elsewhere whoever holds an admin key or token.

A loopback address alone proves little. A reverse proxy on this machine forwards strangers, and any web page can make
the browser next door ask 127.0.0.1 in its name (DNS rebinding, CORS). So the request must also be addressed to this
machine by name, come straight, and not be made by another site.
"""

import base64
import binascii
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from litestar import Request
from litestar.datastructures import State

from ..chat import Problem
from .admin_access import Access
from .admin_problem import RefusedError
from .body import client_ip, credential_of, is_loopback

_FORWARDED = ("forwarded", "x-forwarded-for", "x-real-ip", "via")
_NEEDED = Problem(
    401,
    "authentication_error",
    "From outside this machine the status page needs an admin key or token: as `Authorization: Bearer <key>`, "
    "or as the password of the browser's dialogue. Gateway keys open models, not this page.",
    "missing_api_key",
)
_CODES = {"admin-off": "admin_off", "too-many-failures": "too_many_failures"}


def refusal(access: Access, request: Request[Any, Any, State]) -> Problem | None:
    """Why this caller may not look; None when it may."""
    if _next_door(request):
        return None
    found = credential_of(request.scope)
    if isinstance(found, Problem):
        return found
    shown = found or _password(request.headers.get("authorization", ""))
    if not shown:
        return _NEEDED
    try:
        access.check(shown, client_ip(request.scope), "viewer")
    except RefusedError as no:
        kind = "authentication_error" if no.status == 401 else "permission_error"
        return Problem(no.status, kind, no.detail, _CODES.get(no.kind, "invalid_api_key"), retry_after=no.retry_after)
    return None


def _next_door(request: Request[Any, Any, State]) -> bool:
    """Whether the caller is a process of this machine that asks for itself."""
    if not is_loopback(client_ip(request.scope)):
        return False
    if "origin" in request.headers or any(name in request.headers for name in _FORWARDED):
        return False
    return _names_this_machine(request.headers.get("host", ""))


def _names_this_machine(host: str) -> bool:
    """Whether a Host header means this machine wherever it is resolved; `127.example.com` does not."""
    try:
        name = urlsplit(f"//{host}").hostname or ""
        return name == "localhost" or name.endswith(".localhost") or ip_address(name).is_loopback
    except ValueError:
        return False


def _password(authorization: str) -> str:
    """The password of HTTP basic authentication: what a browser can be made to send."""
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(encoded.strip(), validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        return ""

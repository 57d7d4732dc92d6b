"""Who may use the admin API: whoever shows an admin key, or a token that was given for one. No gateway key, no JWT of a
caller and no address opens it; and an admin key opens no model.
"""

import secrets
from collections.abc import Callable, Mapping
from ipaddress import ip_address, ip_network
from typing import Any

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from msgspec import Struct

from ..chat import Problem
from ..engine.holder import Holder
from ..identity.admins import Admin, AdminTokens, Role
from ..identity.jwt import Fault
from ..stores.memory import MemoryCounters
from .admin_problem import RefusedError
from .body import client_ip, credential_of

MAX_FAILURES = 10
WINDOW = 60.0
"""Failed logins of one address in so many seconds; then it waits, whatever it shows."""
MAX_ADDRESSES = 4096
VARIABLE = "SIDECAR_SECRET_KEY"
SECRET_BYTES = 32
"""Of what our own tokens are signed with (RFC 7518, section 3.2)."""

_OFF = (
    "This gateway has no admin key. Set SIDECAR_ADMIN_KEY, or list keys under `admin: keys:` in gateway.yaml; "
    "`openssl rand -hex 24` makes one."
)
_NONE = "Send an admin key, or a token of /api/auth/token, as `Authorization: Bearer …`."
_WRONG = "This is no admin key of this gateway. Gateway keys and callers' tokens do not open the admin API."

Guard = Callable[[ASGIConnection[Any, Any, Any, Any], BaseRouteHandler], None]


class WeakSecretError(ValueError):
    """The secret that tokens would be signed with can be guessed."""


class Pass(Struct, frozen=True):
    """A token for the admin API, to be sent as `Authorization: Bearer`. `expires_in` is seconds."""

    token: str
    token_type: str
    expires_in: int
    role: Role


def signing_secret(environ: Mapping[str, str]) -> bytes:
    """What tokens are signed with: SIDECAR_SECRET_KEY, or one of this process alone. Raises WeakSecretError."""
    text = environ.get(VARIABLE, "").strip().encode()
    if not text:
        return secrets.token_bytes(SECRET_BYTES)
    if len(text) < SECRET_BYTES:
        raise WeakSecretError(
            f"{VARIABLE} is shorter than {SECRET_BYTES} bytes: `openssl rand -hex 32` makes a good one"
        )
    return text


def shown(connection: ASGIConnection[Any, Any, Any, Any]) -> str:
    """The credential of a request, empty without one. Raises RefusedError for headers that contradict each other."""
    found = credential_of(connection.scope)
    if isinstance(found, Problem):
        raise RefusedError(found.status, "bad-credential" if found.status == 401 else "invalid", found.message)
    return found


class Access:
    """Judges credentials of the admin API. Use on one event loop."""

    def __init__(self, holder: Holder, secret: bytes, clock: Callable[[], float]) -> None:
        self._holder = holder
        self._tokens = AdminTokens(secret)
        self._clock = clock
        self._failures = MemoryCounters(MAX_ADDRESSES)

    def needs(self, role: Role) -> Guard:
        """A guard that lets in who has at least this role."""

        def guard(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
            self.check(shown(connection), client_ip(connection.scope), role)

        return guard

    def check(self, presented: str, address: str, role: Role) -> None:
        """Let a key or token in that has at least this role. Raises RefusedError."""
        admin = self._admit(presented, address, tokens=True)
        if not admin.may(role):
            detail = f"`{admin.name}` is {admin.role}; this takes the role {role}."
            raise RefusedError(403, "role", detail)

    def login(self, key: str, address: str) -> Pass:
        """A token for who shows an admin key; a token is not exchanged for another. Raises RefusedError."""
        admin = self._admit(key, address, tokens=False)
        lifetime = self._holder.current.admins.lifetime
        return Pass(self._tokens.issue(admin, lifetime, self._clock()), "Bearer", int(lifetime), admin.role)

    def _admit(self, presented: str, address: str, *, tokens: bool) -> Admin:
        admins, now, place = self._holder.current.admins, self._clock(), _network(address)
        if not admins.all:
            raise RefusedError(403, "admin-off", _OFF)
        if not presented:
            raise RefusedError(401, "no-credential", _NONE)
        # Taken before the look and given back when it was right: who guesses learns nothing once it has to wait.
        quota = self._failures.take(("admin", place), MAX_FAILURES, WINDOW, 1, now)
        if quota.wait:
            detail = f"This address has failed {MAX_FAILURES} times within {WINDOW:g} s. Wait, then try again."
            raise RefusedError(429, "too-many-failures", detail, quota.wait)
        found: Admin | Fault | None = admins.find(presented)
        if found is None and tokens and presented.count(".") == 2:
            found = self._tokens.judge(presented, admins, now)
        if isinstance(found, Admin) or found is Fault.EXPIRED:
            self._failures.adjust(("admin", place), -1, now)
        if not isinstance(found, Admin):
            raise RefusedError(401, "bad-credential", _WRONG if found is None else found.value)
        return found


def _network(address: str) -> str:
    """The address, or of IPv6 the network that one household has: it may use any address in it."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address[:64]
    return str(parsed) if parsed.version == 4 else str(ip_network((parsed, 64), strict=False))

"""Who may use the admin API: keys of its own, and the short-lived tokens that these are exchanged for.

A token is a JWT signed here with HMAC-SHA-256, and judged as those of other issuers are: one algorithm, whatever the
token says of it. It is as good as its key: when the key goes, changes or gets another role, it is refused.
"""

import hmac
import secrets
from base64 import urlsafe_b64encode
from hashlib import sha256
from typing import Any, Literal, get_args

import msgspec
from msgspec import Struct

from .jwt import Claims, Fault, Issuer, Key, KeySet, Tokens
from .keys import digest

Role = Literal["viewer", "operator", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)
"""From the one that may least to the one that may all; each may what those before it may."""
ISSUER, AUDIENCE = "sidecar", "sidecar-admin"
_HEADER = b'{"alg":"HS256","typ":"JWT"}'


class Admin(Struct, frozen=True):
    """One admin key: its name, what it may do, and the SHA-256 of its text."""

    name: str
    role: Role
    digest: bytes

    def may(self, role: Role) -> bool:
        """Whether it may do what takes this role."""
        return ROLES.index(self.role) >= ROLES.index(role)

    @property
    def mark(self) -> str:
        """Tells a key from another of the same name, and nothing more of it."""
        return sha256(self.digest).hexdigest()[:16]


class Admins(Struct, frozen=True):
    """All admin keys, and the seconds that a token of theirs is good for."""

    all: tuple[Admin, ...] = ()
    lifetime: float = 900.0

    def find(self, key: str) -> Admin | None:
        """Who holds this key. Every digest is compared, each in constant time."""
        found, presented = None, digest(key)
        for admin in self.all:
            if hmac.compare_digest(admin.digest, presented):
                found = admin
        return found

    def holder(self, said: Admin) -> Admin | None:
        """The admin a token was made for, if it still is what the token says."""
        return next((admin for admin in self.all if (admin.name, admin.role, admin.mark) == _told(said)), None)


class AdminTokens:
    """Makes and judges tokens. `secret` is what they are signed with, 32 bytes or more."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        issuer = Issuer(
            keys=KeySet(Key("HS256", None, self._signed)),
            algorithms=frozenset({"HS256"}),
            audience=frozenset({AUDIENCE}),
            leeway=0.0,
            required=("iat", "jti", "key"),
            principal=_principal,
        )
        self._tokens: Tokens[Admin] = Tokens({ISSUER: issuer})

    def issue(self, admin: Admin, lifetime: float, now: float) -> str:
        """A token for who has shown this admin's key, good for `lifetime` seconds."""
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": admin.name,
            "role": admin.role,
            "key": admin.mark,
            "iat": int(now),
            "exp": int(now + lifetime),
            "jti": secrets.token_urlsafe(12),
        }
        message = _encoded(_HEADER) + b"." + _encoded(msgspec.json.encode(claims))
        return (message + b"." + _encoded(self._sign(message))).decode()

    def judge(self, token: str, admins: Admins, now: float) -> Admin | Fault:
        """Who holds a token, or why it is refused."""
        said = self._tokens.judge(token, digest(token), now)
        if isinstance(said, Fault):
            return said
        return admins.holder(said) or Fault.UNKNOWN_KEY

    def _sign(self, message: bytes) -> bytes:
        return hmac.digest(self._secret, message, "sha256")

    def _signed(self, message: bytes, signature: bytes) -> bool:
        return hmac.compare_digest(self._sign(message), signature)


def _principal(claims: Claims) -> Admin | None:
    name, role, mark = (claims.get(claim) for claim in ("sub", "role", "key"))
    if not isinstance(name, str) or not isinstance(mark, str) or role not in ROLES:
        return None
    return Admin(name, role, mark.encode())


def _told(said: Admin) -> tuple[Any, ...]:
    """What a token says; in place of the digest it has the mark."""
    return said.name, said.role, said.digest.decode()


def _encoded(data: bytes) -> bytes:
    return urlsafe_b64encode(data).rstrip(b"=")

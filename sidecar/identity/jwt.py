"""Bearer tokens that others sign: JSON Web Tokens (RFC 7519), judged against keys in memory and a time that is given.

A key serves one algorithm, and the token chooses neither: `alg: none` and an HMAC made with a public key find no key.
The times, the issuer and the audience are compared here and not by PyJWT, which reads a clock of its own.
"""

import binascii
import re
from base64 import urlsafe_b64decode
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from math import inf
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import UNSET, Struct, UnsetType

from ..spec import Secret

MAX_TOKEN = 12 * 1024
"""Characters; one with 200 groups has about 10,000."""
MAX_KNOWN = 1024
"""Verified tokens that are remembered."""
MAX_KEYS = 64
"""Keys of one set that are looked at."""
MIN_SECRET = 16
"""Bytes of an HS256 secret: shorter ones can be guessed. RFC 7518, section 3.2, wants 32; secrets that are in use for
years are often shorter."""
ANYBODY = ""
"""In place of an issuer's name: whoever signs with the right secret, whatever the token calls it."""
MIN_RSA = 2048
"""Bits of an RSA key (RFC 7518, section 3.3)."""
_MOST_TRIED = 4
_DEPTH = 8
_LONGEST = 256
_FORM = re.compile(r"([\w-]+)\.([\w-]+)\.([\w-]+)", re.ASCII)
_ALGORITHMS: Mapping[tuple[str, str | None], str] = {("RSA", None): "RS256", ("EC", "P-256"): "ES256"}

Claims = Mapping[str, Any]
P = TypeVar("P")


class UnfitKeyError(ValueError):
    """Not a key that may verify tokens; the text says why and holds nothing of the key."""


class WeakKeyError(UnfitKeyError):
    """A key that could be guessed or computed."""


class Fault(StrEnum):
    """Why a token is refused, as its sender is told: no name and no value of this gateway or of the token."""

    TOO_LARGE = "The token is too large."
    MALFORMED = "The token is not a JWT that can be read."
    CRITICAL = "The token asks for an extension that is not supported."
    ALGORITHM = "The token's signature algorithm is not accepted."
    ISSUER = "The token's issuer is not accepted."
    NO_KEYS = "The keys of the token's issuer are not at hand just now."
    UNKNOWN_KEY = "The token is signed with a key that is not known."
    SIGNATURE = "The token's signature is not valid."
    EXPIRED = "The token has expired."
    EARLY = "The token is not valid yet."
    AUDIENCE = "The token is not meant for this gateway."
    CLAIMS = "The token lacks a claim that is needed here."


class Key(Struct, frozen=True, eq=False):
    """A key ready to check a signature: `check(message, signature)`. The key itself is inside, and is not printed."""

    algorithm: str
    kid: str | None
    check: Callable[[bytes, bytes], bool]


class KeySet:
    """The keys of one issuer, exchanged as a whole; `version` tells that they were. Good before `until` (Unix time)."""

    def __init__(self, *keys: Key) -> None:
        self.keys = keys
        self.until = inf
        self.version = 0

    def find(self, algorithm: str, kid: str | None) -> Sequence[Key]:
        """The keys that a token may be signed with. Where one of both has no `kid`, all others of it are tried."""
        return [key for key in self.keys if key.algorithm == algorithm and (kid == key.kid or None in (kid, key.kid))]

    def ask(self) -> None:
        """A token names a key that is not here: the set may be out of date."""


class Issuer(Struct, Generic[P], frozen=True):
    """Whose tokens are taken, and on what terms. `principal` reads its holder from the claims; None lacks one. Without
    an `audience` it does not matter for whom a token was meant."""

    keys: KeySet
    algorithms: frozenset[str]
    audience: frozenset[str]
    leeway: float
    required: tuple[str, ...]
    principal: Callable[[Claims], P | None]


class _Verified(Struct, Generic[P], frozen=True):
    """A token that was found good: it stays so from `begins` to `ends`, and while the keys are those of `version`."""

    principal: P
    keys: KeySet
    version: int
    begins: float
    ends: float


class _Header(Struct):
    alg: str
    kid: str | None = None
    crit: msgspec.Raw | UnsetType = UNSET


class _Parsed(Struct, frozen=True):
    header: _Header
    claims: dict[str, Any]
    message: bytes
    signature: bytes


class Tokens(Generic[P]):
    """Who holds a token, or why it is refused. The one verified longest ago and not seen since is forgotten first."""

    def __init__(self, issuers: Mapping[str, Issuer[P]]) -> None:
        self.issuers = issuers
        self._known: OrderedDict[bytes, _Verified[P]] = OrderedDict()

    def judge(self, token: str, digest: bytes, now: float) -> P | Fault:
        """`digest` is the token's own: a token verified before costs a look-up."""
        known = self._known.get(digest)
        if known is not None:
            keys = known.keys
            if keys.version == known.version and known.begins <= now < known.ends and now < keys.until:
                self._known.move_to_end(digest)
                return known.principal
            del self._known[digest]
        found = self._verify(token, now)
        if isinstance(found, Fault):
            return found
        self._known[digest] = found
        if len(self._known) > MAX_KNOWN:
            self._known.popitem(last=False)
        return found.principal

    def _verify(self, token: str, now: float) -> _Verified[P] | Fault:
        if len(token) > MAX_TOKEN:
            return Fault.TOO_LARGE
        parsed = _parse(token)
        if parsed is None:
            return Fault.MALFORMED
        if parsed.header.crit is not UNSET:
            return Fault.CRITICAL
        claims = parsed.claims
        name = claims.get("iss")
        issuer = (self.issuers.get(name) if isinstance(name, str) else None) or self.issuers.get(ANYBODY)
        if issuer is None:
            return Fault.ISSUER
        if (fault := _unsigned(parsed, issuer, now)) is not None:
            return fault
        return _terms(claims, issuer, now)


def secret_key(secret: Secret) -> Key:
    """A shared secret, for HS256. Raises UnfitKeyError."""
    text = secret.reveal().encode()
    if len(text) < MIN_SECRET:
        raise WeakKeyError(f"the secret is shorter than {MIN_SECRET} bytes")
    return _key("HS256", None, lambda algorithm: algorithm.prepare_key(text))


def public_key(pem: str) -> Key:
    """A public key in PEM form: RSA for RS256, P-256 for ES256. Raises UnfitKeyError."""
    if "PRIVATE KEY" in pem:
        raise UnfitKeyError("it is a private key: only the issuer may have that")
    for name in _ALGORITHMS.values():
        try:
            return _key(name, None, lambda algorithm: algorithm.prepare_key(pem.encode()))
        except WeakKeyError:
            raise
        except UnfitKeyError:
            continue
    raise UnfitKeyError("it is not a public key in PEM form, RSA or P-256")


def key_set(body: bytes) -> tuple[Key, ...]:
    """The usable keys of a JSON Web Key Set (RFC 7517); others in it are passed over. Raises UnfitKeyError."""
    try:
        found = msgspec.json.decode(body, type=_JWKS).keys
    except (msgspec.DecodeError, ValueError, RecursionError):
        raise UnfitKeyError("it is not a JSON Web Key Set") from None
    keys = tuple(key for raw in found[:MAX_KEYS] if (key := _from_jwk(raw)) is not None)
    if not keys:
        raise UnfitKeyError("no key in it can verify RS256 or ES256")
    return keys


def claim(claims: Claims, path: str) -> Any:
    """The claim at a dotted path, or None. Names hold dots themselves (`kubernetes.io.namespace`, URLs): at each step
    the longest name that is there is taken."""
    if path in claims:
        return claims[path]
    end = path.rfind(".")
    while end > 0:
        inner = claims.get(path[:end])
        if isinstance(inner, dict):
            return claim(inner, path[end + 1 :])
        end = path.rfind(".", 0, end)
    return None


def text(value: Any) -> str | None:
    """A claim as a name: a short text without control characters, a number or a truth value; None for all else."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    return value if isinstance(value, str) and 0 < len(value) <= _LONGEST and value.isprintable() else None


def _parse(token: str) -> _Parsed | None:
    form = _FORM.fullmatch(token)
    if form is None:
        return None
    try:
        header, payload, signature = (urlsafe_b64decode(part + "=" * (-len(part) % 4)) for part in form.groups())
        claims = msgspec.json.decode(payload, type=dict[str, Any])
        # Numbers beyond 64 bits and deep nesting are nothing that rules could read.
        if not _plain(claims, _DEPTH):
            return None
        parsed = msgspec.json.decode(header, type=_Header)
        return _Parsed(parsed, claims, token[: form.end(2)].encode(), signature)
    except (binascii.Error, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def _plain(value: Any, depth: int) -> bool:
    match value:
        case dict():
            return depth > 0 and all(_plain(inner, depth - 1) for inner in value.values())
        case list():
            return depth > 0 and all(_plain(inner, depth - 1) for inner in value)
        case int():
            return -(2**63) <= value < 2**63
    return True


def _unsigned(parsed: _Parsed, issuer: Issuer[P], now: float) -> Fault | None:
    """Why the signature does not count."""
    header, keys = parsed.header, issuer.keys
    if header.alg not in issuer.algorithms:
        return Fault.ALGORITHM
    if now >= keys.until:
        return Fault.NO_KEYS
    fitting = keys.find(header.alg, header.kid)
    if not fitting:
        keys.ask()
        return Fault.UNKNOWN_KEY
    if any(key.check(parsed.message, parsed.signature) for key in fitting[:_MOST_TRIED]):
        return None
    return Fault.SIGNATURE


def _terms(claims: dict[str, Any], issuer: Issuer[P], now: float) -> _Verified[P] | Fault:
    """Whether a token that was signed may be used here and now, and by whom."""
    times = [claims.get("exp"), claims.get("nbf", -inf), claims.get("iat", -inf)]
    if times[0] is None:
        return Fault.CLAIMS
    if any(isinstance(moment, bool) or not isinstance(moment, int | float) for moment in times):
        return Fault.MALFORMED
    ends, begins = times[0] + issuer.leeway, max(times[1], times[2]) - issuer.leeway
    if now >= ends:
        return Fault.EXPIRED
    if now < begins:
        return Fault.EARLY
    if issuer.audience:
        meant = claims.get("aud")
        audience = meant if isinstance(meant, list) else [meant]
        if not any(isinstance(one, str) and one in issuer.audience for one in audience):
            return Fault.AUDIENCE
    if any(claim(claims, path) is None for path in issuer.required):
        return Fault.CLAIMS
    principal = issuer.principal(claims)
    if principal is None:
        return Fault.CLAIMS
    return _Verified(principal, issuer.keys, issuer.keys.version, begins, ends)


class _JWKS(Struct):
    keys: list[msgspec.Raw]


class _JWK(Struct, omit_defaults=True):
    """The members that are read of a key; the private ones are not among them."""

    kty: str
    kid: str | None = None
    crv: str | None = None
    use: str | None = None
    alg: str | None = None
    key_ops: list[str] | None = None
    n: str | None = None
    e: str | None = None
    x: str | None = None
    y: str | None = None


def _from_jwk(raw: msgspec.Raw) -> Key | None:
    try:
        jwk = msgspec.json.decode(raw, type=_JWK)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None
    name = _ALGORITHMS.get((jwk.kty, jwk.crv))
    if name is None or jwk.alg not in (None, name) or jwk.use not in (None, "sig"):
        return None
    if jwk.key_ops is not None and "verify" not in jwk.key_ops:
        return None
    try:
        return _key(name, jwk.kid, lambda algorithm: algorithm.from_jwk(msgspec.to_builtins(jwk)))
    except UnfitKeyError:
        return None


def _key(name: str, kid: str | None, prepare: Callable[[Any], Any]) -> Key:
    """A key as PyJWT prepares it. Raises UnfitKeyError."""
    # Here, because they are 60 ms at start that a gateway without JWT does not pay.
    import jwt
    from cryptography.exceptions import UnsupportedAlgorithm  # what a curve of another kind raises, past PyJWT

    algorithm = jwt.get_algorithm_by_name(name)
    try:
        key = prepare(algorithm)
    except (jwt.PyJWTError, UnsupportedAlgorithm, ValueError, TypeError):
        raise UnfitKeyError("it is not a key for " + name) from None
    if name == "ES256" and key.curve.name != "secp256r1":
        raise UnfitKeyError("its curve is not P-256")
    if name == "RS256" and key.key_size < MIN_RSA:
        raise WeakKeyError(f"the RSA key has fewer than {MIN_RSA} bits")
    return Key(name, kid, lambda message, signature: algorithm.verify(message, key, signature))

"""`kind: authenticate`: who is calling, by gateway key or by a token that an issuer signed.

Keys stand in git as SHA-256 hashes or as references to a secret, never as text: here, or in `kind: keys`. Others are in
the database. Without a key a caller is refused, unless `anonymous` lets it in.
"""

import re
from typing import Annotated, ClassVar, Literal
from urllib.parse import urlsplit

from msgspec import Meta

from ..call import Call
from ..chat import Problem as Refusal
from ..config.codes import Code
from ..identity.jwt import Claims, Fault, claim, text
from ..identity.keys import PREFIX, digest
from ..spec import URL, Duration, Name, SecretRef, Spec, seconds
from ..stores.base import Principal, Tokens
from .base import NEXT, REFUSE, Problem, Run, Scope, StageSpec
from .keys import ORIGIN_HELP, Key

Text = Annotated[str, Meta(min_length=1, max_length=256)]
ClaimPath = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=256,
        description="A claim's name; dots lead into nested ones: kubernetes.io.namespace.",
        examples=["team"],
    ),
]


class JWT(Spec, frozen=True):
    """Tokens of one issuer, verified with exactly one of `secret`, `public_key` and `jwks_url`.

    A token must not be expired, and name this issuer and this audience. Both may be left out where a `secret` says
    well enough whose tokens they are.
    """

    name: Name
    issuer: (
        Annotated[Text, Meta(description="The `iss` claim, to the letter.", examples=["https://login.example.com/"])]
        | None
    ) = None
    audience: Annotated[tuple[Text, ...], Meta(description="The `aud` claim: one of these.")] = ()
    algorithms: Annotated[
        tuple[Literal["RS256", "ES256", "HS256"], ...], Meta(min_length=1, description="Signatures that are taken.")
    ] = ("RS256",)
    secret: (
        Annotated[SecretRef, Meta(description="The shared secret of HS256: 16 bytes or more, better 32.")] | None
    ) = None
    public_key: Annotated[SecretRef, Meta(description="Where the issuer's public key is, in PEM form.")] | None = None
    jwks_url: (
        Annotated[URL, Meta(description="Where the issuer publishes its keys: https, or http on this machine.")] | None
    ) = None
    jwks_ca: Annotated[SecretRef, Meta(description="Who vouches for that URL's host, in PEM form.")] | None = None
    jwks_token: Annotated[SecretRef, Meta(description="Bearer token to send there; read anew each time.")] | None = None
    jwks_refresh: Annotated[Duration, Meta(description="How often the keys are fetched.")] = "10m"
    jwks_grace: Annotated[Duration, Meta(description="How long they serve on while the URL cannot be reached.")] = "24h"
    leeway: Annotated[Duration, Meta(description="How far the issuer's clock may be off.")] = "30s"
    required: Annotated[tuple[ClaimPath, ...], Meta(description="Claims without which a token is refused.")] = ("sub",)
    tenant: Annotated[ClaimPath, Meta(description="The claim that names the tenant; without it `default`.")] | None = (
        None
    )
    labels: Annotated[dict[str, ClaimPath], Meta(description="Label -> the claim it is taken from.")] = {}

    @property
    def sources(self) -> dict[str, str]:
        """Where its keys are from: field and value; exactly one in a sound policy."""
        written = {"secret": self.secret, "public_key": self.public_key, "jwks_url": self.jwks_url}
        return {field: value for field, value in written.items() if value is not None}

    def principal(self, claims: Claims) -> Principal | None:
        """Who holds a token with these claims; None when it does not say so as it should."""
        tenant = "default" if self.tenant is None else text(claim(claims, self.tenant))
        subject = text(claims["sub"]) if "sub" in claims else ""
        if tenant is None or subject is None:
            return None
        labels = {label: text(claim(claims, path)) for label, path in self.labels.items()}
        return Principal(
            key=f"{self.name}|{subject}",
            tenant=tenant,
            labels={label: value for label, value in labels.items() if value is not None},
            claims=claims,
        )


class Authenticate(StageSpec, frozen=True, tag="authenticate"):
    """Accepts `Authorization: Bearer <key or token>` and `x-api-key: <key or token>`."""

    keys: Annotated[tuple[Key, ...], Meta(description="Gateway keys; `kind: keys` may hold more.")] = ()
    jwt: Annotated[tuple[JWT, ...], Meta(description="Issuers whose tokens are taken in place of a key.")] = ()
    anonymous: Annotated[
        Literal["never", "loopback", "always"],
        Meta(description="Who may call without a gateway key: nobody, processes on this machine, or everybody."),
    ] = "loopback"
    anonymous_tenant: Name = "default"

    kind: ClassVar[str] = "authenticate"
    outcomes: ClassVar = {"known": NEXT, "anonymous": NEXT, "denied": REFUSE}
    gives: ClassVar = {"known": "caller", "anonymous": "caller"}

    def problems(self, scope: Scope) -> list[Problem]:
        """What is wrong with one key, and with the issuers."""
        found: list[Problem] = []
        for index, key in enumerate(self.keys):
            if (key.hash is None) == (key.secret is None):
                message = f"key `{key.name}` needs exactly one of `hash` and `secret`"
                found.append(Problem(("keys", index), Code.KEY_ORIGIN, message, ORIGIN_HELP))
            found += key.problems(("keys", index), scope)
        for index, issuer in enumerate(self.jwt):
            found += _jwt_problems(("jwt", index), issuer)
            for field, what in (("name", "called"), ("issuer", "for")):
                value = getattr(issuer, field)
                if value in [getattr(other, field) for other in self.jwt[:index]]:
                    message = f"there are two entries {what} `{value or 'any issuer'}`"
                    found.append(Problem(("jwt", index, field), Code.DUPLICATE_NAME, message, "make them one"))
        return found

    def build(self, scope: Scope) -> Run:
        """Looks the digest up; keys and issuers are in the state, because secrets are read when opening."""
        mode = self.anonymous
        nobody = Principal("anonymous", self.anonymous_tenant)

        def run(call: Call) -> str:
            credential = call.credential
            if credential:
                principal = call.state.keys.find(call.key_digest())
                if principal is not None:
                    if principal.revoked or (principal.expires is not None and principal.expires <= call.now):
                        call.refusal = _REVOKED if principal.revoked else _EXPIRED
                        return "denied"
                    return _admit(call, principal, "known")
                if call.state.tokens is not None and credential.count(".") == 2:
                    return _judge(call, call.state.tokens)
            open_door = mode == "always" or (mode == "loopback" and call.local)
            # SDKs insist on sending some key: where no key is needed, only what looks like ours is judged.
            if open_door and not credential.startswith(PREFIX):
                return _admit(call, nobody, "anonymous")
            call.refusal = _WRONG if credential else _MISSING
            return "denied"

        return run


def _judge(call: Call, tokens: Tokens) -> str:
    found = tokens.judge(call.credential, call.key_digest(), call.now)
    if isinstance(found, Principal):
        # What is counted from here on is counted for the holder: tokens are renewed. No caller can send a line break.
        call.digest = digest(f"\n{found.key}")
        return _admit(call, found, "known")
    if found == Fault.NO_KEYS:
        call.refusal = Refusal(503, "api_error", found, "keys_unavailable", retry_after=1.0)
    else:
        call.refusal = Refusal(401, "authentication_error", str(found), "invalid_token")
    return "denied"


def _jwt_problems(path: tuple[str | int, ...], jwt: JWT) -> list[Problem]:
    """Keys that are missing, are two, do not go with the algorithms, or come over a way that cannot be trusted."""
    found: list[Problem] = []

    def wrong(field: str, message: str, help_: str, code: Code = Code.BAD_VALUE) -> None:
        found.append(Problem((*path, field) if field else path, code, message, help_))

    sources = list(jwt.sources)
    if not sources:
        wrong("", f"`{jwt.name}` has no key to verify tokens with", _SOURCES, Code.MISSING_FIELD)
    for source in sources[1:]:
        wrong(source, f"`{jwt.name}` has both `{sources[0]}` and `{source}`", "keep the one that its issuer uses")
    for field in ("issuer", "audience"):
        if sources and jwt.secret is None and not getattr(jwt, field):
            message = f"`{jwt.name}` has no `{field}`: whoever the holder of the key signs for would be let in"
            wrong("", message, f"give it an `{field}`; only a `secret` can do without", Code.MISSING_FIELD)
    for place, algorithm in enumerate(jwt.algorithms):
        if len(sources) == 1 and (sources[0] == "secret") != (algorithm == "HS256"):
            message = f"{algorithm} is not verified with `{sources[0]}`"
            help_ = "HS256 needs `secret`" if algorithm == "HS256" else "write `algorithms: [HS256]`"
            found.append(Problem((*path, "algorithms", place), Code.BAD_VALUE, message, help_))
    for field in ("jwks_ca", "jwks_token"):
        if jwt.jwks_url is None and getattr(jwt, field) is not None:
            wrong(field, f"`{field}` is of no use without `jwks_url`", "take it out")
    if jwt.jwks_url is not None and (problem := _distrusted(jwt.jwks_url)) is not None:
        # At the entry where the URL holds a password: the line of a finding is shown.
        wrong("" if "@" in jwt.jwks_url else "jwks_url", *problem)
    if seconds(jwt.leeway) > _MOST_LEEWAY:
        wrong(
            "leeway", "`leeway` lets tokens outlive their end by more than 5m", "30s is plenty for clocks that are set"
        )
    if seconds(jwt.jwks_refresh) < _LEAST_REFRESH:
        wrong(
            "jwks_refresh", "`jwks_refresh` is shorter than 10s", "a new key is fetched when a token names it: try 10m"
        )
    return found


def _distrusted(url: str) -> tuple[str, str] | None:
    """What is wrong with a URL that keys are to come from, and what to do."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return "`jwks_url` is not a URL", "such as https://login.example.com/.well-known/jwks.json"
    if parts.username is not None:
        return "`jwks_url` holds a user name or a password", "what must stay secret goes into `jwks_token`"
    if parts.scheme != "https" and host not in ("localhost", "::1") and not _LOOPBACK.fullmatch(host):
        return "`jwks_url` is not https: who is on the way could put in keys of their own", "write https://"
    return None


def _admit(call: Call, principal: Principal, outcome: str) -> str:
    call.principal = principal
    features = call.features
    features.tenant, features.key = principal.tenant, principal.key
    features.labels, features.claims = principal.labels, principal.claims
    return outcome


_SOURCES = "give it one of `secret`, `public_key` and `jwks_url`"
_MOST_LEEWAY = 300.0
_LEAST_REFRESH = 10.0
_LOOPBACK = re.compile(r"127(\.\d{1,3}){3}")
_WRONG = Refusal(401, "authentication_error", "Incorrect API key provided.", "invalid_api_key")
_REVOKED = Refusal(401, "authentication_error", "This API key has been revoked.", "key_revoked")
_EXPIRED = Refusal(401, "authentication_error", "This API key has expired.", "key_expired")
_MISSING = Refusal(
    401, "authentication_error", "No API key provided: send `Authorization: Bearer <gateway key>`.", "missing_api_key"
)

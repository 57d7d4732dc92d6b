"""Who may call, as the policy says it: gateway keys and issuers with their secrets read. Part of the open step."""

from ..config.codes import Code
from ..config.diagnostic import Diagnostic
from ..identity.jwks import RemoteKeySets, Source
from ..identity.jwt import ANYBODY, Issuer, KeySet, Tokens, UnfitKeyError, WeakKeyError, public_key, secret_key
from ..identity.keys import digest
from ..identity.secrets import LockedError, MissingError, Resolve
from ..link import declared_keys
from ..policy import Policy
from ..spec import seconds, unix_time
from ..stages.authenticate import JWT, Authenticate
from ..stages.keys import Key
from ..stores.base import Principal
from ..stores.keys import SHOWN, StoredKey

MIN_KEY = 16
"""Characters of a gateway key: shorter ones can be guessed."""


def gateway_keys(policy: Policy, resolve: Resolve) -> tuple[dict[bytes, Principal], list[Diagnostic]]:
    """The keys that stand in the policy, by digest; and what is wrong with their secrets."""
    keys: dict[bytes, Principal] = {}
    findings: list[Diagnostic] = []
    for linked, index, key in declared_keys([*policy.stages, *policy.parts]):
        path = ("keys", index, "secret" if key.hash is None else "hash")
        try:
            found = key_digest(key, resolve)
        except MissingError as fault:
            findings.append(linked.finding(path, _code(fault), f"key `{key.name}`: {fault}"))
            continue
        except WeakKeyError as fault:
            findings.append(
                linked.finding(path, Code.WEAK_KEY, str(fault), "`sidecar keys create NAME` makes a good one")
            )
            continue
        if found in keys:
            message = f"key `{key.name}` is the same as key `{keys[found].key}`"
            findings.append(linked.finding(path, Code.DUPLICATE_NAME, message, "keep one of them"))
        elif found is not None:
            keys[found] = key.principal()
    return keys, findings


def key_digest(key: Key, resolve: Resolve) -> bytes | None:
    """What a key of the policy is looked up by; None when its secret may be absent and is. Raises MissingError, and
    WeakKeyError for a secret that could be guessed."""
    if key.hash is not None:
        return bytes.fromhex(key.hash.removeprefix("sha256:"))
    secret = resolve(key.secret or "")
    if secret is None:
        return None
    if len(secret.reveal()) < MIN_KEY:
        raise WeakKeyError(f"key `{key.name}` is shorter than {MIN_KEY} characters")
    return digest(secret.reveal())


def stored_key(entry: Key, text: str, now: float) -> StoredKey:
    """A new key for the database: an entry as the policy would have it, and the key's text, of which a hash is kept.
    `now` is Unix seconds."""
    return StoredKey(
        name=entry.name,
        hash=digest(text).hex(),
        prefix=text[:SHOWN],
        created=now,
        tenant=entry.tenant,
        labels=entry.labels,
        models=entry.models,
        strategies=entry.strategies,
        limits=entry.rates,
        expires=None if entry.expires is None else unix_time(entry.expires),
    )


def tokens(
    policy: Policy, resolve: Resolve, remote: RemoteKeySets
) -> tuple[Tokens[Principal] | None, list[Diagnostic]]:
    """All issuers of the policy with their keys; None when it names none."""
    issuers: dict[str, Issuer[Principal]] = {}
    findings: list[Diagnostic] = []
    named = False
    for linked in policy.stages:
        if not isinstance(linked.spec, Authenticate) or not linked.spec.enabled:
            continue
        for index, jwt in enumerate(linked.spec.jwt):
            named = True
            path: tuple[str | int, ...] = ("jwt", index, *jwt.sources)
            try:
                keys = _keys(jwt, resolve, remote)
            except MissingError as fault:
                findings.append(linked.finding(path, _code(fault), f"issuer `{jwt.name}`: {fault}"))
                continue
            except UnfitKeyError as fault:
                code = Code.WEAK_KEY if isinstance(fault, WeakKeyError) else Code.BAD_VALUE
                findings.append(linked.finding(path, code, f"issuer `{jwt.name}`: {fault}"))
                continue
            if keys is not None:
                issuers[jwt.issuer or ANYBODY] = Issuer(
                    keys=keys,
                    algorithms=frozenset(jwt.algorithms),
                    audience=frozenset(jwt.audience),
                    leeway=seconds(jwt.leeway),
                    required=jwt.required,
                    principal=jwt.principal,
                )
    return Tokens(issuers) if named else None, findings


def _code(fault: MissingError) -> Code:
    return Code.VAULT_LOCKED if isinstance(fault, LockedError) else Code.UNSET_SECRET


def _keys(jwt: JWT, resolve: Resolve, remote: RemoteKeySets) -> KeySet | None:
    """The keys of an issuer; None when its secret may be absent and is. Raises MissingError and UnfitKeyError."""
    if jwt.jwks_url is not None:
        lasting = seconds(jwt.jwks_refresh), seconds(jwt.jwks_grace)
        return remote.get(Source(jwt.jwks_url, jwt.jwks_ca, jwt.jwks_token, *lasting))
    secret = resolve(jwt.secret or jwt.public_key or "")
    if secret is None:
        return None
    key = secret_key(secret) if jwt.secret is not None else public_key(secret.reveal())
    if key.algorithm not in jwt.algorithms:
        raise UnfitKeyError(f"the key is one for {key.algorithm}, which `algorithms` does not list")
    return KeySet(key)

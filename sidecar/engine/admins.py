"""Admin keys as the gateway's document says them, with their secrets read. Part of the open step."""

from collections.abc import Collection, Mapping

from ..config.codes import Code
from ..config.diagnostic import Diagnostic
from ..gateway import AdminKey
from ..identity.admins import Admin, Admins
from ..identity.keys import digest
from ..identity.secrets import MissingError, Resolve
from ..policy import Policy
from ..spec import seconds
from .callers import MIN_KEY

VARIABLE = "SIDECAR_ADMIN_KEY"
"""The one admin key of a gateway whose document names none."""


def admins(
    policy: Policy, read: Resolve, environ: Mapping[str, str], callers: Collection[bytes]
) -> tuple[Admins, list[Diagnostic]]:
    """Who may use the admin API; and what is wrong with their secrets. `callers` are the digests of gateway keys: a
    key is for one of both."""
    spec, linked = policy.gateway.spec.admin, policy.gateway
    found: list[Admin] = []
    findings: list[Diagnostic] = []
    keys = spec.keys or _from(environ)
    for index, key in enumerate(keys):
        path = ("admin", "keys", index, "secret" if key.secret else "hash") if spec.keys else ()
        try:
            admin = _admin(key, read)
        except MissingError as fault:
            findings.append(linked.finding(path, Code.UNSET_SECRET, f"admin key `{key.name}`: {fault}"))
            continue
        if admin is None:
            message = f"admin key `{key.name}` is shorter than {MIN_KEY} characters"
            findings.append(linked.finding(path, Code.WEAK_KEY, message))
        elif admin.digest in callers:
            message = (
                f"admin key `{key.name}` is a gateway key as well: whoever may call models could change the gateway"
            )
            findings.append(linked.finding(path, Code.DUPLICATE_NAME, message, "make another key for one of them"))
        else:
            found.append(admin)
    return Admins(tuple(found), seconds(spec.token_ttl)), findings


def _from(environ: Mapping[str, str]) -> tuple[AdminKey, ...]:
    written = environ.get(VARIABLE, "").strip()
    return (AdminKey("environment", secret=f"env:{VARIABLE}"),) if written else ()


def _admin(key: AdminKey, read: Resolve) -> Admin | None:
    """The key with its digest; None when it is too short. Raises MissingError."""
    if key.hash is not None:
        return Admin(key.name, key.role, bytes.fromhex(key.hash.removeprefix("sha256:")))
    secret = read(key.secret or "")
    if secret is None:
        raise MissingError("an admin key cannot be absent")
    text = secret.reveal()
    return Admin(key.name, key.role, digest(text)) if len(text) >= MIN_KEY else None

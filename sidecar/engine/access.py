"""With which keys providers are asked: the references of the policy, read. Part of the open step."""

from collections.abc import Callable, Mapping
from hashlib import sha256

from msgspec import Struct, field

from ..config.codes import Code
from ..config.diagnostic import Diagnostic
from ..gateway import Gateway, Provider, ProviderKey
from ..identity.secrets import LockedError, MissingError, Resolve
from ..identity.vault import VARIABLE
from ..link import Linked
from ..spec import Secret
from .keyring import Key, Report, Rests, Ring

Remembered = Mapping[tuple[str, bytes], Rests]
"""What rests, by provider and digest of the key."""


class KeyInUse(Struct, frozen=True):
    """One of several keys as the status page shows it: never its text. `key` is None when it cannot be read, and
    `missing` says why."""

    spec: ProviderKey
    key: Key | None
    missing: str | None


class Access(Struct):
    """The keys of all enabled providers. A provider has one `secret` (or None, and needs none), or a ring; those that
    cannot be used are `unready`. `closed` is what `State` says of tenants."""

    secrets: dict[str, Secret | None] = field(default_factory=dict)
    rings: dict[str, Ring] = field(default_factory=dict)
    in_use: dict[str, list[KeyInUse]] = field(default_factory=dict)
    unready: dict[str, str] = field(default_factory=dict)
    closed: dict[str, dict[str, str | None]] = field(default_factory=dict)
    rests: dict[tuple[str, bytes], Rests] = field(default_factory=dict)
    findings: list[Diagnostic] = field(default_factory=list)


def read_access(gateway: Linked[Gateway], resolve: Resolve, remembered: Remembered, report: Report) -> Access:
    """Read every key. One that is not there is no fault of the configuration; a vault that is locked is a finding.

    A key that is the same as before keeps its rest: what is `remembered`.
    """
    access = Access()
    for name, provider in gateway.spec.providers.items():
        if not provider.enabled:
            continue
        keys = []
        access.secrets[name] = None
        for path, spec in provider.every_key:
            try:
                secret, missing = resolve(spec.secret), f"{spec.secret} is not set"
            except LockedError as fault:
                help_ = f"`sidecar vault key` prints a new key for {VARIABLE}; docs/vault.md tells the rest"
                access.findings.append(
                    gateway.finding(("providers", name, *path), Code.VAULT_LOCKED, str(fault), help_)
                )
                continue
            except MissingError as fault:
                secret, missing = None, str(fault)
                if provider.api_key is not None:
                    access.unready[name] = f"no key: {fault}"
            if secret is None:
                keys.append(KeyInUse(spec, None, missing))
                continue
            place = name, sha256(secret.reveal().encode("utf-8", "surrogateescape")).digest()
            rests = access.rests[place] = remembered.get(place, {})
            keys.append(KeyInUse(spec, Key(spec.secret, secret, spec.weight, spec.tenant, rests), None))
        if provider.keys:
            access.in_use[name] = keys
            _hand_out(access, name, keys, report)
        elif keys and keys[0].key is not None:
            access.secrets[name] = keys[0].key.secret
    return access


def _hand_out(access: Access, name: str, keys: list[KeyInUse], report: Report) -> None:
    """One key for all needs no ring."""
    found = [one.key for one in keys if one.key is not None]
    tenants = {one.spec.tenant for one in keys if one.spec.tenant is not None}
    if not found:
        access.unready[name] = _missing(keys, lambda spec: True)
    elif len(found) == 1 and not tenants:
        access.secrets[name] = found[0].secret
    else:
        access.rings[name] = Ring(name, found, tenants, report)
    served = {key.tenant for key in found}
    closed: dict[str, str | None] = {
        tenant: None if tenant in served else _missing(keys, lambda spec, tenant=tenant: spec.tenant == tenant)  # type: ignore[misc]
        for tenant in tenants
    }
    if None not in served:
        closed[""] = _missing(keys, lambda spec: spec.tenant is None)
    if any(closed.values()) and found:
        access.closed[name] = closed


def _missing(keys: list[KeyInUse], counts: Callable[[ProviderKey], bool]) -> str:
    reasons = [one.missing for one in keys if one.missing is not None and counts(one.spec)]
    return f"no key: {'; '.join(reasons)}" if reasons else "no key: it has keys for some tenants only"


def only_for_tenants(provider: Provider) -> dict[str, str | None]:
    """What `Access.closed` says of a provider when all of its keys can be read."""
    tenants = {key.tenant for key in provider.keys}
    if None in tenants or not tenants:
        return {}
    return {"": _missing([], lambda spec: True), **{tenant: None for tenant in tenants if tenant is not None}}

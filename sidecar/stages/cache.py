"""`kind: cache`: whole answers to the very same request, kept in memory.

Tenant-safe by construction: the key holds the tenant, every field of the body, the headers that steer the decision
and the policy's hash. Sharing between tenants is asked for by name.
"""

from hashlib import blake2b
from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta, Raw

from ..call import Call
from ..spec import Duration, Size, seconds
from .base import NEXT, RESPOND, Run, Scope, StageSpec

_fields = msgspec.json.Decoder(dict[str, Raw]).decode


class Cache(StageSpec, frozen=True, tag="cache"):
    """Exact cache. A caller bypasses it with `x-sidecar-cache: no-store` or renews it with `refresh`."""

    ttl: Duration = "1h"
    max_entries: Annotated[int, Meta(ge=1, le=1_000_000)] = 1000
    max_bytes: Size = "64MiB"
    share: Annotated[Literal["key", "tenant", "all"], Meta(description="Who may be answered with whose answers.")] = (
        "tenant"
    )

    kind: ClassVar[str] = "cache"
    outcomes: ClassVar = {"hit": RESPOND, "miss": NEXT, "bypass": NEXT}

    def build(self, scope: Scope) -> Run:
        """Binds the policy's hash and the scope of sharing into every key."""
        share, ttl, policy = self.share, seconds(self.ttl), scope.policy_hash.encode()

        def run(call: Call) -> str:
            asked = call.headers.get("x-sidecar-cache", "")
            if asked == "no-store":
                call.cache = "bypass"
                return "bypass"
            call.cache_key = key = _key(call, share, policy)
            call.cache_ttl = ttl
            call.cache = "miss"
            if asked == "refresh":
                return "miss"
            call.hit = call.state.cache.get(key, call.now)
            if call.hit is None:
                return "miss"
            call.cache = "hit"
            return "hit"

        return run


def _key(call: Call, share: str, policy: bytes) -> bytes:
    """A digest over everything that may change the answer; the order of the body's fields does not."""
    features = call.features
    digest = blake2b(policy, digest_size=24)
    who = {"all": "", "tenant": features.tenant, "key": f"{features.tenant}\0{features.key}"}[share]
    route = call.headers.get("x-sidecar-route", "")
    allowed = ",".join(sorted(call.principal.models)) if call.principal else ""
    steer = "\0".join((share, who, allowed, features.task, features.strategy, route))
    digest.update(steer.encode("utf-8", "surrogatepass"))
    for name, value in sorted(_fields(call.raw).items()):
        digest.update(b"\0" + name.encode("utf-8", "surrogatepass") + b"\0")
        digest.update(value)
    return digest.digest()

"""`kind: cache`: whole answers to the very same request, kept in memory.

Tenant-safe by construction: the key holds the tenant, every field of the body, whatever else steers the decision
(headers and labels that some rule reads) and the policy's hash. Sharing between tenants is asked for by name.
"""

from hashlib import blake2b
from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta

from ..call import Call
from ..chat import body_fields
from ..spec import Duration, Size, seconds
from .base import NEXT, RESPOND, Run, Scope, StageSpec


class Cache(StageSpec, frozen=True, tag="cache"):
    """Exact cache. A caller bypasses it with `x-sidecar-cache: no-store` or renews it with `refresh`."""

    ttl: Duration = "1h"
    max_entries: Annotated[int, Meta(ge=1, le=1_000_000, description="Beyond it the answer used longest ago goes.")] = (
        1000
    )
    max_bytes: Size = "64MiB"
    share: Annotated[Literal["key", "tenant", "all"], Meta(description="Who may be answered with whose answers.")] = (
        "tenant"
    )

    kind: ClassVar[str] = "cache"
    outcomes: ClassVar = {"hit": RESPOND, "miss": NEXT, "bypass": NEXT}
    gives: ClassVar = {"hit": "answer"}
    needs: ClassVar = ("caller",)

    def build(self, scope: Scope) -> Run:
        """Binds the policy's hash and the scope of sharing into every key."""
        share, ttl, policy = self.share, seconds(self.ttl), scope.policy_hash.encode()
        steering = tuple(sorted(scope.steering))

        def run(call: Call) -> str:
            asked = call.headers.get("x-sidecar-cache", "")
            if asked == "no-store":
                call.cache = "bypass"
                return "bypass"
            call.cache_key = key = _key(call, share, policy, steering)
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


def _key(call: Call, share: str, policy: bytes, steering: tuple[str, ...]) -> bytes:
    """A digest over everything that may change the answer; the order of the body's fields does not."""
    features = call.features
    who = "" if share == "all" else features.tenant
    if share == "key":
        who += f"\0{features.key}"
    route = call.headers.get("x-sidecar-route", "")
    holder = call.principal
    allowed = ",".join((*sorted(holder.models), ":", *holder.strategies)) if holder else ""
    steer = "\0".join((share, who, allowed, features.task, features.strategy, route))
    parts: list[bytes | msgspec.Raw] = [policy, steer.encode("utf-8", "surrogatepass")]
    if steering:
        parts += (b"\0", msgspec.json.encode([_steer(call, name) for name in steering]))
    for name, value in sorted(body_fields(call.raw).items()):
        # With its length: a name may hold any character, and no two bodies may read the same.
        parts += (f"\0{len(name)}:{name}\0".encode("utf-8", "surrogatepass"), value)
    return blake2b(b"".join(parts), digest_size=24).digest()


def _steer(call: Call, name: str) -> object:
    """What a rule reads beside the body: `header:x-app` is one header, other names are features."""
    if name.startswith("header:"):
        return call.headers.get(name[7:])
    value = getattr(call.features, name)
    return value if isinstance(value, str) else sorted(value.items())

"""Several keys of one provider: which goes with an attempt, and which rest after the provider refused them.

A key that is not accepted (401), or whose account has nothing left, rests at all models; one that may not use a model
(403), or uses it too much (429), rests at that model. Touched only on the event loop; `now` is Unix seconds, handed in.
"""

from collections.abc import Callable, Collection, Sequence
from typing import Any

from msgspec import Struct

from ..chat import Failure, FailureKind
from ..spec import Secret

REFUSED = 300.0
"""Seconds a key rests that is not accepted, or has nothing left, unless the provider says how long."""
LIMITED = 30.0
"""Seconds a key rests that is rate limited, unless the provider says how long."""
SHORTEST, LONGEST = 1.0, 3600.0
"""Bounds on what a provider says."""
FAULTS = frozenset({FailureKind.AUTHENTICATION, FailureKind.RATE_LIMITED, FailureKind.QUOTA})
"""Failures that are the key's, not the model's."""

Report = Callable[[str, str, dict[str, Any]], None]
"""Takes level, event and fields of a log line."""


class Rest(Struct, frozen=True):
    """A key is left alone until a time, for a failure."""

    until: float
    kind: FailureKind


Rests = dict[str, Rest]
"""Where one key rests: by model, or at all of them under the empty name."""


class Key:
    """One key as it stands in the policy. `shown` is its reference; `rests` outlives the policy it is in."""

    __slots__ = ("rests", "secret", "shown", "tenant", "turn", "weight")

    def __init__(self, shown: str, secret: Secret, weight: int, tenant: str | None, rests: Rests) -> None:
        self.shown = shown
        self.secret = secret
        self.weight = weight
        self.tenant = tenant
        self.rests = rests
        self.turn = 0
        """How far its turn has come: grows by its weight with each choice it could have been, falls when it is."""

    def rest(self, model: str, now: float) -> Rest | None:
        """Why it cannot be sent to a model now; None when it can."""
        if not self.rests:
            return None
        resting = [rest for at in ("", model) if (rest := self.rests.get(at)) is not None and rest.until > now]
        return max(resting, key=lambda rest: rest.until, default=None)

    def resting(self, now: float) -> str | None:
        """Where it rests, why and for how long, in words; None when nowhere."""
        rests = [(at, rest) for at, rest in self.rests.items() if rest.until > now]
        words = [f"{rest.kind.value}{f' at {at}' if at else ''} for {rest.until - now:.0f} s" for at, rest in rests]
        return "; ".join(words) or None


class Ring:
    """The keys of one provider. `tenants` with keys of their own, whether these could be read or not, are served with
    those alone."""

    def __init__(self, provider: str, keys: Sequence[Key], tenants: Collection[str], report: Report) -> None:
        self._provider = provider
        self._shared = [key for key in keys if key.tenant is None]
        self._own = {tenant: [key for key in keys if key.tenant == tenant] for tenant in tenants}
        self._report = report
        self.keys = keys

    def take(self, tenant: str, model: str, now: float, but: Collection[Key] = ()) -> Key | None:
        """The key whose turn it is (smoothly by weight, not in bursts), of those that do not rest and are not `but`."""
        chosen: Key | None = None
        total = 0
        for key in self._pool(tenant):
            if (key.rests and key.rest(model, now) is not None) or key in but:
                continue
            key.turn += key.weight
            total += key.weight
            if chosen is None or key.turn > chosen.turn:
                chosen = key
        if chosen is not None:
            chosen.turn -= total
        return chosen

    def has_another(self, tenant: str, model: str, now: float, but: Collection[Key]) -> bool:
        """Whether `take` would find a key."""
        return any(key not in but and key.rest(model, now) is None for key in self._pool(tenant))

    def refused(self, key: Key, model: str, failure: Failure, now: float) -> None:
        """The provider refused a key, with one of FAULTS. The only key of its kind rests for a rate limit only when
        the provider says how long: there is none to use meanwhile."""
        if failure.kind is FailureKind.RATE_LIMITED:
            alone = len(self._pool(key.tenant or "")) == 1
            pause, at = None if alone else LIMITED, model
        else:
            pause, at = REFUSED, model if failure.status == 403 else ""
        if failure.retry_after is not None:
            pause = min(max(failure.retry_after, SHORTEST), LONGEST)
        if pause is None:
            return
        before = key.rests.get(at)
        if before is not None and before.until >= now + pause:
            return
        key.rests[at] = Rest(now + pause, failure.kind)
        if before is None or before.until <= now:
            fields = {"provider": self._provider, "key": key.shown, "tenant": key.tenant, "model": at or None}
            self._report("warning", "key", {**fields, "failure": failure.kind.value, "rests_s": round(pause)})

    def failure(self, tenant: str, model: str, now: float) -> Failure:
        """What a call fails with when `take` found no key: as the key that will be back first did."""
        resting = [rest for key in self._pool(tenant) if (rest := key.rest(model, now)) is not None]
        if not resting:
            return Failure(FailureKind.AUTHENTICATION, "there is no key for this caller")
        first = min(resting, key=lambda rest: rest.until)
        return Failure(first.kind, "all keys rest after failures", retry_after=first.until - now)

    def _pool(self, tenant: str) -> list[Key]:
        return self._own.get(tenant, self._shared)

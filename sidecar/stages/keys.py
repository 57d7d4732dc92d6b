"""`kind: keys`: gateway keys declared in git, apart from the stage that lets them in. Only hashes, never a key.

The entries are those of `kind: authenticate`; all of them, and the keys of the database, are looked up as one.
"""

from typing import Annotated, ClassVar

from msgspec import Meta

from ..config.codes import Code
from ..spec import Moment, Name, SecretRef, Spec, unix_time
from ..stores.base import Principal
from .base import PartSpec, Problem, Scope, unknown_model
from .rates import Rate, parse


class KeyLimit(Spec, frozen=True):
    """A rate of one key's own: requests, tokens (input and output together), or both."""

    requests: Rate | None = None
    tokens: Annotated[Rate, Meta(description="Input and output tokens together.")] | None = None


class Key(Spec, frozen=True):
    """One gateway key: exactly one of `hash` (sha256:<64 hex>) and `secret` (where the text is found)."""

    name: Name
    hash: Annotated[str, Meta(pattern=r"^sha256:[0-9a-f]{64}$")] | None = None
    secret: SecretRef | None = None
    tenant: Name = "default"
    labels: Annotated[dict[str, str], Meta(description="Whatever rules may want to know of it.")] = {}
    models: Annotated[tuple[Name, ...], Meta(description="Models this key may name or be routed to; empty: all.")] = ()
    strategies: Annotated[
        tuple[Name, ...],
        Meta(
            description="Strategies it may be routed with; the first one where the policy's own is none of them. "
            "Empty: all."
        ),
    ] = ()
    limits: Annotated[tuple[KeyLimit, ...], Meta(description="Rates of its own.")] = ()
    expires: (
        Annotated[Moment, Meta(description="From when on it is refused: 2027-01-31, 2027-01-31T18:00:00Z (UTC).")]
        | None
    ) = None
    revoked: Annotated[bool, Meta(description="True refuses it, wherever else it still stands.")] = False

    @property
    def rates(self) -> tuple[tuple[str, int, float], ...]:
        """Its limits as what is counted, how many, and in how many seconds."""
        written = [pair for limit in self.limits for pair in (("requests", limit.requests), ("tokens", limit.tokens))]
        return tuple((what, *parse(rate)) for what, rate in written if rate is not None)

    def principal(self) -> Principal:
        """Who holds it."""
        return Principal(
            key=self.name,
            tenant=self.tenant,
            labels=self.labels,
            models=frozenset(self.models),
            strategies=self.strategies,
            limits=self.rates,
            expires=None if self.expires is None else unix_time(self.expires),
            revoked=self.revoked,
        )

    def problems(self, path: tuple[str | int, ...], scope: Scope) -> list[Problem]:
        """A day that is on no calendar, limits on nothing, models that are unknown or called by another name: that
        name is never compared."""
        found: list[Problem] = []
        try:
            unix_time(self.expires or "2000-01-01")
        except ValueError as fault:
            found.append(Problem((*path, "expires"), Code.BAD_VALUE, f"`{self.expires}` never comes: {fault}"))
        for index, limit in enumerate(self.limits):
            if limit == KeyLimit():
                message = "a limit without `requests` and `tokens` limits nothing"
                found.append(Problem((*path, "limits", index), Code.BAD_VALUE, message, "give it a rate, such as 60/m"))
        for index, name in enumerate(self.models):
            place, model = (*path, "models", index), scope.registry.find(name)
            if model is None:
                found.append(unknown_model(place, name, scope.registry))
            elif model.id != name:
                message = f"`{name}` is another name of `{model.id}`"
                found.append(Problem(place, Code.UNKNOWN_MODEL, message, f"write `{model.id}`"))
        return found


class Keys(PartSpec, frozen=True, tag="keys"):
    """Gateway keys by hash. They are let in by `kind: authenticate`, as its own are."""

    keys: tuple[Key, ...]

    kind: ClassVar[str] = "keys"

    def problems(self, scope: Scope) -> list[Problem]:
        """What is wrong with one key; that keys are two is found where all documents are seen."""
        found = []
        for index, key in enumerate(self.keys):
            if key.secret is not None:
                message = f"key `{key.name}`: `kind: keys` takes hashes only"
                found.append(Problem(("keys", index, "secret"), Code.KEY_ORIGIN, message, ORIGIN_HELP))
            elif key.hash is None:
                message = f"key `{key.name}` has no `hash`"
                found.append(Problem(("keys", index), Code.KEY_ORIGIN, message, ORIGIN_HELP))
            found += key.problems(("keys", index), scope)
        return found


ORIGIN_HELP = "`sidecar keys create NAME --git` prints a key and the entry with its hash"

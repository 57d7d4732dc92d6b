"""`kind: authenticate`: who is calling, by gateway key.

Keys stand in git as SHA-256 hashes or as references to a secret, never as text. Without a key a caller is refused,
unless `anonymous` lets it in.
"""

from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from ..call import Call
from ..chat import Problem as Refusal
from ..config.codes import Code
from ..identity.keys import PREFIX
from ..spec import Name, SecretRef, Spec
from ..stores.base import Principal
from .base import NEXT, REFUSE, Problem, Run, Scope, StageSpec, unknown_model


class Key(Spec, frozen=True):
    """One gateway key: exactly one of `hash` (sha256:<64 hex>) and `secret` (where the text is found)."""

    name: Name
    hash: Annotated[str, Meta(pattern=r"^sha256:[0-9a-f]{64}$")] | None = None
    secret: SecretRef | None = None
    tenant: Name = "default"
    labels: Annotated[dict[str, str], Meta(description="Whatever rules may want to know of it.")] = {}
    models: Annotated[tuple[Name, ...], Meta(description="Models this key may name or be routed to; empty: all.")] = ()


class Authenticate(StageSpec, frozen=True, tag="authenticate"):
    """Accepts `Authorization: Bearer <key>` and `x-api-key: <key>`."""

    keys: tuple[Key, ...] = ()
    anonymous: Annotated[
        Literal["never", "loopback", "always"],
        Meta(description="Who may call without a gateway key: nobody, processes on this machine, or everybody."),
    ] = "loopback"
    anonymous_tenant: Name = "default"

    kind: ClassVar[str] = "authenticate"
    outcomes: ClassVar = {"known": NEXT, "anonymous": NEXT, "denied": REFUSE}
    gives: ClassVar = {"known": "caller", "anonymous": "caller"}

    def problems(self, scope: Scope) -> list[Problem]:
        """Each key has one origin, each name and hash stands once, the models it may use exist."""
        found: list[Problem] = []
        seen: dict[str, str] = {}
        for index, key in enumerate(self.keys):
            if (key.hash is None) == (key.secret is None):
                found.append(
                    Problem(
                        ("keys", index), Code.KEY_ORIGIN,
                        f"key `{key.name}` needs exactly one of `hash` and `secret`",
                        "`sidecar keys create NAME` prints a key and the entry with its hash",
                    )
                )  # fmt: skip
            if key.name in seen.values():
                message = f"there are two keys called `{key.name}`"
                found.append(Problem(("keys", index, "name"), Code.DUPLICATE_NAME, message, "give each its own name"))
            elif key.hash in seen:
                message = f"key `{key.name}` has the hash of key `{seen[key.hash]}`: they are one key"
                found.append(Problem(("keys", index, "hash"), Code.DUPLICATE_NAME, message, "keep one of them"))
            seen[key.hash or f"secret of {key.name}"] = key.name
            found += _unknown_models(index, key, scope)
        return found

    def build(self, scope: Scope) -> Run:
        """Looks the digest up; the keys themselves are in the state, because secrets are read when opening."""
        mode = self.anonymous
        nobody = Principal("anonymous", self.anonymous_tenant)

        def run(call: Call) -> str:
            credential = call.credential
            if credential:
                principal = call.state.keys.find(call.key_digest())
                if principal is not None:
                    return _admit(call, principal, "known")
            open_door = mode == "always" or (mode == "loopback" and call.local)
            # SDKs insist on sending some key: where no key is needed, only what looks like ours is judged.
            if open_door and not credential.startswith(PREFIX):
                return _admit(call, nobody, "anonymous")
            call.refusal = _WRONG if credential else _MISSING
            return "denied"

        return run


def _unknown_models(index: int, key: Key, scope: Scope) -> list[Problem]:
    """A key that lists a model by a name that is never compared could never use it."""
    found = []
    for place, name in enumerate(key.models):
        path, model = ("keys", index, "models", place), scope.registry.find(name)
        if model is None:
            found.append(unknown_model(path, name, scope.registry))
        elif model.id != name:
            message = f"`{name}` is another name of `{model.id}`"
            found.append(Problem(path, Code.UNKNOWN_MODEL, message, f"write `{model.id}`"))
    return found


def _admit(call: Call, principal: Principal, outcome: str) -> str:
    call.principal = principal
    features = call.features
    features.tenant, features.key, features.labels = principal.tenant, principal.key, principal.labels
    return outcome


_WRONG = Refusal(401, "authentication_error", "Incorrect API key provided.", "invalid_api_key")
_MISSING = Refusal(
    401, "authentication_error", "No API key provided: send `Authorization: Bearer <gateway key>`.", "missing_api_key"
)

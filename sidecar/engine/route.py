"""What the open step makes of a graph: providers with their keys, stores, and the pair that serves traffic."""

from collections.abc import Mapping, Sequence

from msgspec import Struct

from ..conditions import FirstMatch
from ..graph import Graph
from ..identity.admins import Admins
from ..providers.base import Adapter, Target
from ..registry.index import Model
from ..stages.base import Run
from ..stores.base import State
from ..stores.gate import Gate
from .access import KeyInUse
from .keyring import Key, Ring
from .recorder import Recorder
from .retry import Allowance
from .traces import Tracing


class Route(Struct, frozen=True):
    """One model at one provider, ready to be called. `gate` bounds the provider's calls at once; `queue_wait` is how
    many seconds one waits for a place.

    Where the provider has a `ring` of keys, `keyed` has the same route with each of them, and `key` is which one.
    """

    model: Model
    provider: str
    adapter: Adapter
    target: Target
    gate: Gate | None = None
    queue_wait: float = 10.0
    ring: Ring | None = None
    key: Key | None = None
    keyed: Mapping[Key, "Route"] = {}


class Canary(Struct, frozen=True):
    """A second graph that takes some of the requests: `threshold` of every 10,000 for which `when` holds. `gates` say
    who is asking, where `when` wants to know."""

    live: "Live"
    threshold: int
    salt: str
    when: FirstMatch | None = None
    gates: tuple[Run, ...] = ()


class Shadow(Struct, frozen=True):
    """A second graph that `threshold` of every 10,000 requests are judged by as well."""

    live: "Live"
    threshold: int


class Rollout(Struct, frozen=True):
    """The policies on trial beside those in use."""

    canary: Canary | None
    shadow: Shadow | None


class Live(Struct, frozen=True):
    """A graph with everything it needs to run. The Holder swaps one of these for the next in one assignment."""

    graph: Graph
    state: State
    routes: Mapping[str, Route]
    allowance: Allowance
    body_limit: int
    answer_limit: int
    body_timeout: float
    running_limit: int
    opened: float
    keys: Mapping[str, Sequence[KeyInUse]]
    admins: Admins
    recorder: Recorder | None
    """Makes what the ledger keeps of requests; None where it is to keep nothing."""
    policy_header: tuple[bytes, bytes]
    """`x-sidecar-policy`, which is on every response."""
    tracing: Tracing | None = None
    rollout: Rollout | None = None

    @property
    def on_trial(self) -> dict[str, "Live | None"]:
        """The policies on trial by the field of `rollout` that names them; None for one that cannot be used."""
        spec, rollout = self.graph.gateway.rollout, self.rollout or Rollout(None, None)
        found = {"canary": rollout.canary, "shadow": rollout.shadow}
        return {role: one.live if (one := found[role]) else None for role in (spec.candidates if spec else ())}

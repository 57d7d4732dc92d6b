"""What the open step makes of a graph: providers with their keys, stores, and the pair that serves traffic."""

from collections.abc import Mapping, Sequence

from msgspec import Struct

from ..graph import Graph
from ..identity.admins import Admins
from ..providers.base import Adapter, Target
from ..registry.index import Model
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

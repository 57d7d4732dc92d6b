"""What the open step makes of a graph: providers with their keys, stores, and the pair that serves traffic."""

from collections.abc import Mapping

from msgspec import Struct

from ..graph import Graph
from ..identity.admins import Admins
from ..providers.base import Adapter, Target
from ..registry.index import Model
from ..stores.base import State
from ..stores.gate import Gate
from .recorder import Recorder
from .retry import Allowance


class Route(Struct, frozen=True):
    """One model at one provider, ready to be called. `gate` bounds the provider's calls at once; `queue_wait` is how
    many seconds one waits for a place."""

    model: Model
    provider: str
    adapter: Adapter
    target: Target
    gate: Gate | None = None
    queue_wait: float = 10.0


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
    admins: Admins
    recorder: Recorder | None
    """Makes what the ledger keeps of requests; None where it is to keep nothing."""
    policy_header: tuple[bytes, bytes]
    """`x-sidecar-policy`, which is on every response."""

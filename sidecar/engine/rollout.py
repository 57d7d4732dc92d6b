"""Policies on trial: which requests the canary takes, and what the shadow would have decided.

Which side a request is on is a pure function of the request and the configuration: a conversation stays on its side
over reloads, restarts and replicas, and a larger percentage takes more without letting go of any.
"""

from collections.abc import Mapping
from hashlib import blake2b

from msgspec.structs import replace

from ..call import Call
from ..conditions import Condition, FirstMatch
from ..gateway import Rollout as Spec
from ..graph import Graph
from ..stages.authenticate import Authenticate
from ..stages.base import Run
from .route import Canary, Live, Rollout, Shadow
from .shadow import Shadows, unwalked
from .walk import walk

PARTS = 10_000
_NOTHING = Rollout(None, None)
_IDENTITY = frozenset({"tenant", "key", "labels", "claims"})


def place(salt: str, kind: str, *who: str) -> int:
    """Where somebody stands, 0 to 9,999: always at the same place, and all places are alike."""
    text = "\0".join((salt, kind, *who)).encode("utf-8", "surrogatepass")
    return int.from_bytes(blake2b(text, digest_size=8).digest()) % PARTS


def followed(call: Call) -> tuple[str, ...]:
    """What a request stays together with: its conversation, else its user at this key, else nothing but itself."""
    features = call.features
    if features.conversation:
        return "conversation", features.conversation
    if features.user:
        return "user", call.key_digest().hex(), features.user
    return "request", call.id


def takes(canary: Canary, call: Call) -> bool:
    """Whether this request is the canary's. `call` has its id, and has not been walked."""
    if place(canary.salt, *followed(call)) >= canary.threshold:
        return False
    if canary.when is None:
        return True
    features = call.features
    if canary.gates:
        known = replace(call, features=replace(features))
        any(gate(known) == "known" for gate in canary.gates)
        features = known.features
    return canary.when.index(features) == 0


def on_trial(live: Live, call: Call, shadows: Shadows) -> tuple[Live, str]:
    """Take a call through the graph in use, or the canary's: which it was, and the end it came to."""
    trial = live.rollout or _NOTHING
    canary, shadow = trial.canary, trial.shadow
    if canary is not None and takes(canary, call):
        return canary.live, walk(canary.live.graph, call)
    if shadow is None or place("shadow", "request", call.id) >= shadow.threshold:
        return live, walk(live.graph, call)
    asked = unwalked(call)
    end = walk(live.graph, call)
    shadows.follow(shadow.live, live.graph.short_hash, asked, call, end)
    return live, end


def rollout(graph: Graph, opened: Mapping[str, Live]) -> Rollout:
    """The `rollout` of the graph in use, with those of its candidates that could be opened."""
    spec = graph.gateway.rollout or Spec()
    canary, shadow = None, None
    if spec.canary is not None and "canary" in opened:
        when = None if spec.canary.when is None else Condition(spec.canary.when)
        canary = Canary(
            live=opened["canary"],
            threshold=round(spec.canary.percent * PARTS / 100),
            salt=f"canary {spec.canary.salt}",
            when=None if when is None else FirstMatch([when], {}),
            gates=_gates(graph) if when is not None and when.names & _IDENTITY else (),
        )
    if spec.shadow is not None and "shadow" in opened:
        shadow = Shadow(opened["shadow"], round(spec.shadow.sample * PARTS / 100))
    return Rollout(canary, shadow)


def _gates(graph: Graph) -> tuple[Run, ...]:
    return tuple(graph.nodes[spec.node].run for spec in graph.stages if isinstance(spec, Authenticate))

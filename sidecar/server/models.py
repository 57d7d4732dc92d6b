"""`GET /v1/models`: what a caller may put into `model`."""

from typing import Any

from ..call import Call
from ..chat import ChatRequest, Message, Problem
from ..engine.route import Live
from ..features import Features
from ..stages.authenticate import Authenticate


def model_list(live: Live, call: Call) -> dict[str, Any] | Problem:
    """OpenAI's list: `auto` and its strategies, aliases, then the registry's models of usable providers.

    `call` has only the caller's identity; it passes the policy's authenticate stages and no others.
    """
    for spec in live.graph.stages:
        if isinstance(spec, Authenticate) and live.graph.nodes[spec.node].run(call) == "denied":
            return call.refusal or Problem(401, "authentication_error", "No access.", "denied")
    allowed = call.principal.models if call.principal is not None else frozenset()
    down = live.state.health.down
    strategies = call.principal.strategies if call.principal is not None else ()
    routed = [f"auto:{name}" for name in strategies or ("cost", "quality", "speed", "balanced")]
    aliases = live.graph.aliases.items()
    names = ["auto", *routed, *(a for a, to in aliases if not strategies or to in routed or ":" not in to)]
    rows = [_row(name, "sidecar") for name in names]
    rows += [
        {**_row(m.id, m.provider), "context_window": m.context, "max_output_tokens": m.max_output}
        for m in live.graph.registry.routable
        if m.provider not in down and (not allowed or m.id in allowed)
    ]
    return {"object": "list", "data": rows}


def nobody(live: Live, now: float) -> Call:
    """A call that asks for nothing: carries a caller's identity through the authenticate stages."""
    chat = ChatRequest("", [Message("user")])
    return Call(id="", chat=chat, features=Features(), state=live.state, now=now)


def _row(name: str, owner: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 0, "owned_by": owner}

"""One in so many decisions, told of in the log at level debug: which way a request took through the graph, and why.

What is told are names from the configuration and the features that rules read; no content, no header, no key.
"""

from ..call import Call
from .log import Log

MAX_DROPPED = 20
"""Dropped models told of."""


class Sample:
    """Sees every call that ended, and tells of the first, and of one in so many after it, as the log's style says."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._every = log.style.sample
        self._seen = 0

    def see(self, call: Call) -> None:
        """Tell of this call, if it is its turn."""
        self._seen += 1
        if (self._seen - 1) % self._every == 0:
            self._log.write("debug", "decision", _told(call))


def sampled(log: Log) -> Sample | None:
    """What tells this log of decisions; None when its level is above debug."""
    return Sample(log) if log.style.level == "debug" else None


def _told(call: Call) -> dict[str, object]:
    features = call.features
    return {
        "request_id": call.id,
        "way": [f"{node}: {outcome}" for node, outcome in call.trace],
        "tier": call.tier or None,
        "rule": call.rule or None,
        "strategy": call.strategy or None,
        "chain": [model.id for model in call.chain],
        "dropped": [f"{model}: {why}" for model, why in call.dropped[:MAX_DROPPED]],
        "dropped_count": len(call.dropped),
        "tokens": features.tokens,
        "turns": features.turns,
        "tools": features.tools,
        "images": features.images,
        "stream": features.stream,
    }

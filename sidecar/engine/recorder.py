"""What is kept of a request for `sidecar replay`, made once when it settles: two to three microseconds."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import msgspec
from msgspec import Raw

from ..call import Call
from ..conditions import steers
from ..graph import Graph
from ..stages.base import StageSpec
from ..stages.budget import Budget
from ..stages.classify import Classify
from ..stages.quota import Quota
from ..stores.ledger import NO_FEATURES
from ..stores.vector import Fingerprints, Vector, claims_named, headers_named, mark

MAX_BYTES = 32 * 1024
"""Of one vector: a larger one, of claims without end, is not kept."""
LONGEST = 256
"""Characters of a header that are kept."""
ALWAYS = ("x-sidecar-task", "x-sidecar-strategy", "x-sidecar-cache", "x-sidecar-route")
SECRET = frozenset({"authorization", "proxy-authorization", "x-api-key", "cookie"})
"""Never kept, whatever a condition reads."""
READS_USER = re.compile(r"""(?<![.\w"'-])user\b(?!["'-])""")
CONVERSATION = "x-sidecar-conversation"


class Recorder:
    """Makes the vectors of one graph's requests."""

    def __init__(self, graph: Graph, fingerprints: Fingerprints) -> None:
        asked = list(conditions(graph.stages))
        outside = frozenset[str]().union(*map(steers, asked))
        named = set[str]().union(*map(headers_named, asked)) - SECRET
        if "conversation" in outside:
            named.add(CONVERSATION)
        self._named = tuple(sorted(named))
        self._claims = tuple(sorted(set[str]().union(*map(claims_named, asked))))
        self._user = any(READS_USER.search(condition) for condition in asked)
        self._text = graph.gateway.ledger_keeps == "text"
        self._fingerprints = fingerprints

    def features(self, call: Call) -> Raw:
        """The vector of a call that is over, as JSON."""
        f, headers, patterns = call.features, call.features.headers, call.patterns
        kept: dict[str, str | None] = {name: headers[name][:LONGEST] for name in ALWAYS if name in headers}
        for name in self._named:
            kept[name] = headers[name][:LONGEST] if name in headers else None
        vector = Vector(
            f.tokens, f.system_tokens, f.last_tokens, f.max_tokens, f.messages, f.turns, f.tools, f.tool_results,
            f.images, f.documents, f.audio, f.has_code, f.json_object, f.json_schema, f.reasoning,
            f.reasoning_effort[:LONGEST], f.choices,
            None if f.temperature == 1.0 else f.temperature, len(call.raw), call.local,
            self._fingerprints.address(call.ip), self._fingerprints.of(call.raw), kept, f.labels,
            self._told(f.claims) if self._claims else {}, f.user[:LONGEST] if self._user else None,
            {mark(pattern): found for pattern, found in patterns.items()} if patterns else {},
            f.text if self._text else None,
        )  # fmt: skip
        data = _encode(vector)
        return Raw(data) if len(data) <= MAX_BYTES else NO_FEATURES

    def _told(self, claims: Mapping[str, Any]) -> dict[str, Any]:
        return {name: claims[name] for name in self._claims if name in claims}


def conditions(stages: Iterable[StageSpec]) -> Iterator[str]:
    """Every condition of a policy, and what its limits and budgets tell callers apart by."""
    for stage in stages:
        if isinstance(stage, Classify):
            yield from (rule.when for rule in stage.rules)
        elif isinstance(stage, Budget):
            yield from (text for budget in stage.budgets for text in (budget.when, budget.per) if text is not None)
        elif isinstance(stage, Quota):
            for limit in stage.limits:
                yield from limit.parts
                if limit.when is not None:
                    yield limit.when


_encode: Callable[[Vector], bytes] = msgspec.json.Encoder().encode

"""The same traffic through two policies, each served by a real gateway before an emulator; and what a replay of the
first one's ledger says of the second."""

import json
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from gateway import gateway, threaded

from sidecar.emulator import Emulator
from sidecar.listen import listening
from sidecar.policy import load
from sidecar.replay.callers import callers
from sidecar.replay.candidate import Candidate
from sidecar.replay.forecast import Forecast
from sidecar.replay.history import Ledger
from sidecar.replay.outcome import Comparison, Forecasted, Replay

KEYS = {"web": "gw-key-of-the-web-app", "batch": "gw-key-of-batch-jobs"}
GATEWAY = """\
kind: gateway
providers:
  openai: {protocol: openai, base_url: "${BASE}/openai/v1", api_key: "${UP}"}
  anthropic: {protocol: anthropic, base_url: "${BASE}/anthropic", api_key: "${UP}"}
  google: {protocol: google, base_url: "${BASE}/google", api_key: "${UP}"}
models:
  small: {provider: openai, context: 100000, max_output: 8000, capabilities: all, quality: 30, speed: 100,
          price: {input: 0.2, output: 0.8}}
  middle: {provider: google, context: 200000, max_output: 8000, capabilities: all, quality: 55, speed: 100,
           price: {input: 1, output: 4, cache_read: 0.1}}
  large: {provider: anthropic, context: 200000, max_output: 8000, capabilities: all, quality: 90, speed: 100,
          price: {input: 3, output: 15, cache_read: 0.3, cache_write_5m: 3.75}}
policies: [policies.yaml]
access_log: false
"""
SHARED = """
---
kind: authenticate
anonymous: never
keys:
  - {name: web, secret: "${WEB}", tenant: web, labels: {plan: gold}}
  - {name: batch, secret: "${BATCH}", tenant: batch, models: [small, middle]}
---
kind: rate_limit
limits: [{per: key, requests: 1000000/m}]
---
kind: fallback
retries: 0
"""
BEFORE = (
    """kind: classify
patterns: {proof: '(?i)\\bprove\\b', design: '(?i)architecture'}
tiers: [low, mid, high]
default: mid
rules:
  - {name: task, when: 'task == "legal"', tier: high}
  - {name: proof, when: proof, tier: high}
  - {name: long, when: tokens > 600, tier: mid}
  - {name: design, when: design, tier: mid}
  - {name: short, when: last_tokens < 12, tier: low}
---
kind: score
weights: {cost: 50, quality: 50, speed: 0}
tiers: {low: {models: [small]}, mid: {models: [middle, small]}, high: {models: [large, middle], strategy: quality}}
"""
    + SHARED
)
AFTER = (
    """kind: classify
patterns: {needs_proof: '(?i)\\bprove\\b', design: '(?i)architecture'}
tiers: [low, mid, high]
default: low
rules:
  - {name: task, when: 'task == "legal" && labels.plan == "gold"', tier: high}
  - {name: tools, when: tools > 0, tier: high}
  - {name: proof, when: needs_proof, tier: high}
  - {name: long, when: tokens > 400 || stream, tier: mid}
  - {name: short, when: last_tokens < 12, tier: low}
---
kind: score
weights: {cost: 50, quality: 50, speed: 0}
tiers: {low: {models: [small]}, mid: {models: [middle, small]}, high: {models: [large, middle], strategy: quality}}
---
kind: quota
limits: [{per: tenant, requests: LIMIT/h}]
"""
    + SHARED
)
TOOL = {"type": "function", "function": {"name": "look_up", "parameters": {"type": "object", "properties": {}}}}
WORDS = re.findall(
    r"\w+", "the of a network model price answer stream policy reads which writes table token cost and then"
)


@dataclass
class Served:
    """What a gateway made of the traffic: a request id (or None) and a status for each request, and its ledger."""

    ids: list[str]
    statuses: list[int]
    ledger: Path
    base: str
    rows: dict[str, list[dict[str, Any]]]


@dataclass
class Agreement:
    """How well a replay foretold. `wrong` are places of requests that went elsewhere; `priced` are those for which it
    gave a range, `within` those that kept to it; `total` is what all cost that went where they should."""

    requests: int
    wrong: list[int]
    priced: int
    within: int
    comparison: Comparison
    total: int


def requests(count: int, seed: int = 7) -> Iterator[tuple[str, dict[str, Any], dict[str, str]]]:
    """Key, body and headers: questions short and long, proofs, designs, tools, streams, tags, and some again."""
    draw, past = random.Random(seed), list[tuple[str, dict[str, Any], dict[str, str]]]()
    for _ in range(count):
        if past and draw.random() < 0.15:
            yield draw.choice(past[-50:])
            continue
        size = draw.choice((5, 9, 30, 120, 500))
        text = " ".join(draw.choices(WORDS, k=size)) + f" {draw.randrange(10**9)}?"
        text = draw.choice(("", "", "", "Prove that ", "An architecture: ")) + text
        body: dict[str, Any] = {"model": "auto", "messages": [{"role": "user", "content": text}]}
        if draw.random() < 0.2:
            body["messages"].insert(0, {"role": "system", "content": " ".join(draw.choices(WORDS, k=80))})
        if draw.random() < 0.2:
            body["stream"] = True
        if draw.random() < 0.2:
            body["max_tokens"] = draw.choice((20, 400))
        if draw.random() < 0.1:
            body["tools"] = [TOOL]
        if draw.random() < 0.1:
            body["model"] = draw.choice(("middle", "auto:cost", "auto:quality"))
        headers = {"x-sidecar-task": draw.choice(("legal", "title"))} if draw.random() < 0.2 else {}
        asked = (draw.choice(("web", "web", "batch")), body, headers)
        past.append(asked)
        yield asked


def serve(folder: Path, policies: str, count: int, more: str = "") -> Served:
    """The traffic through a gateway with these policies; its files are in `folder` from then on."""
    entry = written(folder, policies, more)
    ids, statuses = [], []
    with threaded(lambda: listening(Emulator())) as port:
        base = f"http://127.0.0.1:{port.value}"
        environ = environment(base, folder)
        with threaded(lambda: gateway(entry, environ)) as served, httpx.Client(trust_env=False, timeout=30) as http:
            for key, body, headers in requests(count):
                answer = http.post(
                    f"{served.value.v1}/chat/completions",
                    content=json.dumps(body),
                    headers={"authorization": f"Bearer {KEYS[key]}", "content-type": "application/json", **headers},
                )
                ids.append(answer.headers["x-request-id"])
                statuses.append(answer.status_code)
            rows: dict[str, list[dict[str, Any]]] = {}
            for row in served.call(served.value.rows()):
                rows.setdefault(row["request_id"], []).append(row)
    return Served(ids, statuses, folder / "ledger.db", base, rows)


def written(folder: Path, policies: str, more: str = "") -> Path:
    """A configuration's files."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "policies.yaml").write_text(policies, encoding="utf-8")
    (folder / "gateway.yaml").write_text(GATEWAY + more, encoding="utf-8")
    return folder / "gateway.yaml"


def environment(base: str, folder: Path) -> dict[str, str]:
    """What the configuration reads."""
    keys = {"WEB": KEYS["web"], "BATCH": KEYS["batch"]}
    return {"BASE": base, "UP": "sk-up", "SIDECAR_DATABASE_URL": f"sqlite:///{folder}/ledger.db", **keys}


def replayed(ledger: Path, entry: Path) -> tuple[Comparison, dict[str, Forecasted]]:
    """The comparison, and each request's verdict by its id."""
    loaded = load(entry, environment("http://127.0.0.1:1", ledger.parent), strict=True)
    assert loaded.graph is not None, loaded.text
    assert loaded.policy is not None
    history = Ledger(ledger)
    replay = Replay(
        Candidate(loaded.graph, callers(loaded.policy.specs, ledger)),
        Forecast(history.answers(0)),
        [*loaded.graph.registry.routable][:1],
    )
    verdicts = {past.first.request_id: verdict for past in history.since(0) if (verdict := replay.take(past))}
    return replay.run(()), verdicts


def agreement(before: Served, after: Served, entry: Path) -> Agreement:
    """The second policy's own ledger beside what the first one's ledger foretells of it."""
    found, verdicts = replayed(before.ledger, entry)
    wrong, priced, within, total = [], 0, 0, 0
    for place, (then, now, status) in enumerate(zip(before.ids, after.ids, after.statuses, strict=True)):
        verdict, rows = verdicts[then], after.rows.get(now, [])
        went = "refused" if status != 200 else "cache" if rows[0]["outcome"] == "hit" else rows[-1]["model"]
        others = {"refused" if end == "refuse" else model for end, model in verdict.decision.others}
        if verdict.after != went:
            # Where it hangs on words that were not kept, one of the named ways is all that can be foretold.
            if went not in others:
                wrong.append(place)
            continue
        cost = sum(row["cost_nano"] or 0 for row in rows)
        total += cost
        assert verdict.alone is not None
        if not verdict.alone.exact:
            priced += 1
            within += verdict.alone.low <= cost <= verdict.alone.high
    return Agreement(len(before.ids), wrong, priced, within, found, total)

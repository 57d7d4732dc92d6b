"""One routing decision at scale: 4,000 models and 1,000 CEL rules, without HTTP.

`python -m tests.bench.decision` prints `measure()` as JSON; the harness runs it on the core the servers use.
"""

import gc
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from sidecar.call import Call
from sidecar.engine.walk import walk
from sidecar.features import extract
from sidecar.policy import load
from sidecar.stores.base import State
from sidecar.stores.health import LiveHealth
from sidecar.stores.memory import MemoryCache, MemoryCounters, MemoryKeys
from sidecar.surfaces.base import Invalid
from sidecar.surfaces.openai_chat import OpenAIChat
from tests.bench import wire

MODELS = 4_000
RULES = 1_000
WARM_UP = 200
DECISIONS = 3_000
_TIERS = ("simple", "moderate", "complex", "expert")


def documents() -> dict[str, str]:
    """The configuration as {file name: text}; varied figures, and no rule that fires: every rule is evaluated."""
    models = "\n".join(_model(i) for i in range(1, MODELS + 1))
    rules = "\n".join(
        f"  - {{name: r{i:04}, when: 'task == \"t{i:04}\" && tokens > {10 + i % 90}', tier: {_TIERS[i % 4]}}}"
        for i in range(1, RULES + 1)
    )
    provider = "{protocol: openai, base_url: http://127.0.0.1:9/v1, api_key: env:SIDECAR_KEY}"
    return {
        "gateway.yaml": f"kind: gateway\nproviders:\n  up: {provider}\nmodels:\n{models}\n",
        "policies/rate_limit.yaml": "kind: rate_limit\nlimits: [{per: ip, requests: 100000000/m}]\n",
        "policies/classify.yaml": f"kind: classify\nrules:\n{rules}\ndefault: moderate\n",
    }


def _model(i: int) -> str:
    context = (8_192, 32_768, 128_000, 200_000, 1_000_000)[i % 5]
    output = min(context // 2, (2_048, 4_096, 8_192, 16_384)[i % 4])
    price = f"{{input: {0.05 + i % 97 * 0.05:.2f}, output: {0.2 + i % 89 * 0.2:.2f}}}"
    figures = f"price: {price}, quality: {20 + i % 75}, speed: {15 + i % 211}"
    return f"  m{i:04}: {{provider: up, context: {context}, max_output: {output}, capabilities: all, {figures}}}"


def measure() -> dict:
    """Milliseconds a decision takes (p50, p99, max), and the seconds to compile the configuration."""
    with tempfile.TemporaryDirectory(prefix="sidecar-decision-") as name:
        home = Path(name)
        for file, text in documents().items():
            path = home / file
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        started = time.perf_counter()
        decide = _door(home)
        compiled = time.perf_counter() - started
        return {"models": MODELS, "rules": RULES, "compile_s": compiled, **_time(decide)}


def _door(home: Path) -> Callable[[bytes], object]:
    """Compile `home/gateway.yaml` and return request body -> the model chosen: parse, features, and the walk.

    Limits and authentication take their defaults, as in traffic; the speeds learned do not change meanwhile (when one
    does, the next decision of its tier sorts the candidates again).
    """
    loaded = load(home / "gateway.yaml", {}, strict=True)
    if loaded.graph is None:
        raise ValueError(loaded.text)
    graph, surface = loaded.graph, OpenAIChat()
    state = State(MemoryCounters(), MemoryCache(1, 1), LiveHealth(), MemoryKeys({}))

    def decide(body: bytes) -> object:
        chat = surface.parse(body)
        if isinstance(chat, Invalid):
            raise ValueError(chat.message)
        now = time.time()
        features = extract(chat, {})
        call = Call(id="", chat=chat, features=features, state=state, now=now, raw=body, model="auto", local=True)
        if walk(graph, call) != "execute":
            raise ValueError(str(call.refusal))
        return call.chain[0].id

    return decide


def _time(decide: Callable[[bytes], object]) -> dict:
    body = wire.request_body("auto", stream=False)
    for _ in range(WARM_UP):
        decide(body)
    gc.collect()
    gc.freeze()
    taken = []
    for _ in range(DECISIONS):
        before = time.perf_counter_ns()
        decide(body)
        taken.append(time.perf_counter_ns() - before)
    taken.sort()
    p50, p99, worst = taken[len(taken) // 2], taken[len(taken) * 99 // 100], taken[-1]
    return {"p50_ms": p50 / 1e6, "p99_ms": p99 / 1e6, "max_ms": worst / 1e6, "decisions": len(taken)}


if __name__ == "__main__":
    print(json.dumps(measure()))

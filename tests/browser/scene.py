"""A gateway that has been in use for two weeks, in front of the emulator: the shipped policies, others on trial, a
budget, keys.

What happened before today is written to the ledger as rows with the times of then; what happened just now is real
traffic: answers, cache hits, an explained request, a fallback from a model that fails, refusals.
"""

import random
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
from gateway import ROOT, Served, gateway

from sidecar.chat import Usage
from sidecar.emulator import Emulator, Script
from sidecar.identity.keys import generate, hash_text
from sidecar.listen import listening
from sidecar.policy import load
from sidecar.registry.index import Registry
from sidecar.stores.keys import SHOWN, KeyTable, StoredKey
from sidecar.stores.ledger import Row
from sidecar.stores.sqlite import SQLiteLedger
from sidecar.stores.updates import Entry, Updates

KEYS = {name: generate() for name in ("web-app", "batch", "support-bot")}
TENANTS = {"web-app": "shop", "batch": "data", "support-bot": "support"}
PROMPTS = (
    "What is the capital of Portugal?",
    "Summarise the difference between TCP and UDP for a colleague who writes front ends, in five sentences.",
    "Is a hot dog a sandwich? Argue both sides briefly.",
    "Find the root cause: after the deploy p99 rose from 40 ms to 900 ms, CPU is flat, connections doubled.",
    "Design a migration plan from one Postgres to a sharded one without downtime; list the trade-offs.",
    "Prove that there are infinitely many primes.",
)
BUDGET = """\
kind: budget
budgets:
  - {name: everybody, limit: 60, window: week}
  - {name: support, per: tenant, when: tenant == "support", limit: 2.5, window: day}
  - {name: each-key, per: key, limit: 5, window: day, mode: soft}
"""
SCRIPT = {
    "kind": "emulator",
    "replies": [{"match": {"contains": "overloaded"}, "status": 503, "error": "overloaded"}],
}
ROLLOUT = """\
rollout:
  shadow: {policies: [policies-next]}
  canary: {policies: [policies-next], percent: 1, when: 'tenant == "data"'}
"""
_PAST = (
    ("simple", "gpt-5-nano", "openai", 40, 500),
    ("simple", "llama3.2:3b", "ollama", 25, 800),
    ("moderate", "gemini-3.5-flash", "google", 30, 900),
    ("complex", "claude-sonnet-5", "anthropic", 12, 2400),
    ("expert", "gpt-5.5", "openai", 6, 5200),
    ("complex", "gpt-5-mini", "openai", 9, 1400),
    ("moderate", "gemini-2.5-flash-lite", "google", 14, 600),
)
"""Tier, model, provider, weight, and milliseconds of a usual request."""


@asynccontextmanager
async def lived_in(folder: Path, days: int = 14, rows: int = 4000) -> AsyncIterator[Served]:
    """The gateway, with all that stands in its database."""
    entry = _configuration(folder)
    async with listening(Emulator(msgspec.convert(SCRIPT, Script))) as port:
        base = f"http://127.0.0.1:{port}"
        environ = {
            "OPENAI_BASE_URL": f"{base}/openai/v1",
            "ANTHROPIC_BASE_URL": f"{base}/anthropic",
            "GOOGLE_GEMINI_BASE_URL": f"{base}/google",
            "OLLAMA_BASE_URL": f"{base}/ollama",
            "OPENAI_API_KEY": "sk-emulated-0123456789",
            "ANTHROPIC_API_KEY": "sk-ant-emulated-0123456789",
            "GEMINI_API_KEY": "emulated-google-0123456789",
            "SIDECAR_DATABASE_URL": f"sqlite:///{folder}/ledger.db",
        }
        _kept(folder / "ledger.db")
        ledger = SQLiteLedger(folder / "ledger.db")
        registry = load(entry, environ, strict=True).graph.registry
        for row in past(registry, time.time(), days, rows):
            ledger.add(row)
        await ledger.close()
        async with gateway(entry, environ) as served:
            await traffic(served)
            yield served


async def traffic(served: Served) -> None:
    """What happened just now."""
    async with httpx.AsyncClient(base_url=served.v1, trust_env=False, timeout=20) as http:
        for number, prompt in enumerate(PROMPTS * 2):
            await say(http, prompt, list(KEYS)[number % 3])
        await say(http, PROMPTS[1], "web-app", **{"x-sidecar-explain": "1"})
        await say(http, "What if everything is overloaded?", "batch")
        await http.post(
            "/chat/completions", json=_asked("no key"), headers={"authorization": "Bearer wrong-key-000000"}
        )
    await served.running.records.flush()


async def say(http: httpx.AsyncClient, text: str, key: str, **headers: str) -> httpx.Response:
    """One question to `auto`."""
    return await http.post(
        "/chat/completions", json=_asked(text), headers={"authorization": f"Bearer {KEYS[key]}", **headers}
    )


def past(registry: Registry, now: float, days: int, count: int) -> list[Row]:
    """Rows of the days before: busier by day than by night, some failed and asked again, a fifth from the cache."""
    chance = random.Random(7)
    kinds = [kind for kind in _PAST for _ in range(kind[3])]
    found = []
    for number in range(count):
        day, hour = chance.random() ** 0.8, (chance.gauss(14, 4.5)) % 24
        at = now // 86_400 * 86_400 - int(day * days) * 86_400 + hour * 3600
        if at >= now:
            at -= 86_400
        tier, model, provider, _, latency = chance.choice(kinds)
        key = chance.choices(list(KEYS), (6, 2, 3))[0]
        factor = chance.lognormvariate(0, 0.6)
        usage = Usage(int(9000 * factor), int(1800 * factor))
        price = registry.find(model).price
        accounts = [f"each-key|{key}"] if at >= now // 86_400 * 86_400 else []
        accounts += ["support|support"] if accounts and key == "support-bot" else []
        accounts += ["everybody|"] if at >= (now // 86_400 - time.gmtime(now).tm_wday) * 86_400 else []
        row = Row(
            at, f"req_{number:016x}", 1, "answered", "chat", "auto", TENANTS[key], key, model, provider, tier,
            "short-question", "balanced", 0, "miss", None, 200, "stop", usage.input_tokens, usage.output_tokens,
            cost_nano=price.cost(usage) if price else 0, latency_ms=round(latency * factor, 3),
            first_token_ms=round(latency * factor * 0.3, 3), overhead_ms=0.4, policy="dde8fbdeee9e",
            budgets=",".join(accounts),
        )  # fmt: skip
        if chance.random() < 0.2:
            row = msgspec.structs.replace(
                row, attempt=0, outcome="hit", cache="hit", cost_nano=0, latency_ms=1.2, input_tokens=0, output_tokens=0
            )
        elif chance.random() < 0.02:
            found.append(msgspec.structs.replace(row, outcome="failed", failure="overloaded", cost_nano=0))
            row = msgspec.structs.replace(row, attempt=2)
        found.append(row)
    return sorted(found, key=lambda row: row.ts)


def _asked(text: str) -> dict[str, Any]:
    return {"model": "auto", "messages": [{"role": "user", "content": text}]}


def _configuration(folder: Path) -> Path:
    shutil.copytree(ROOT / "policies", folder / "policies")
    for path in (folder / "policies").glob("*_test.yaml"):
        path.unlink()
    entry = folder / "gateway.yaml"
    text = (ROOT / "gateway.yaml").read_text(encoding="utf-8")
    entry.write_text(text.replace("enabled: false", "enabled: true"), encoding="utf-8")
    keys = "".join(
        f"  - {{name: {name}, hash: '{hash_text(key)}', tenant: {TENANTS[name]}}}\n" for name, key in KEYS.items()
    )
    (folder / "policies" / "authenticate.yaml").write_text(f"kind: authenticate\nanonymous: never\nkeys:\n{keys}")
    (folder / "policies" / "budget.yaml").write_text(BUDGET)
    _on_trial(folder)
    return entry


def _on_trial(folder: Path) -> None:
    """The same policies with simple questions sent to better models, beside those in use."""
    shutil.copytree(folder / "policies", folder / "policies-next")
    score = folder / "policies-next" / "score.yaml"
    score.write_text(score.read_text().replace("max_quality: 45", "min_quality: 52"))
    with (folder / "gateway.yaml").open("a") as entry:
        entry.write(ROLLOUT)


def _kept(path: Path) -> None:
    """What commands before have left in the database: keys, and an update of the registry."""
    table, now = KeyTable(path), time.time()
    for name, tenant, revoked in (("contractor", "shop", None), ("old-laptop", "data", now - 86_400)):
        text = generate()
        table.add(
            StoredKey(
                name=name,
                hash=hash_text(text).removeprefix("sha256:"),
                prefix=text[:SHOWN],
                created=now - 864_000,
                tenant=tenant,
                revoked=revoked,
            )
        )
    table.close()
    entries = [
        Entry(now - 90_000, "openai", "gpt-5-mini", "prices.input", "0.3", "0.25", "a" * 64, "changed", ""),
        Entry(now - 90_000, "google", "gemini-3.5-flash", "context", "1000000", "1048576", "b" * 64, "changed", ""),
        Entry(now - 90_000, "anthropic", "claude-fable-5", "prices.output", "25.0", "250.0", "c" * 64, "quarantined",
              "ten times the price before"),
    ]  # fmt: skip
    Updates(path).commit(entries, [], lambda: None)

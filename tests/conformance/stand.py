"""What the cells run against: the emulator, with a door for each fault below HTTP, and this project's gateway."""

import contextlib
import socket
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import yaml
from gateway import Served, gateway

from sidecar.emulator import Emulator, entrances, running

from .cases import CASES, FAULTY, WELL, WIRES, Case, Cell, faults, script

KEY = "gw-key-of-the-conformance-run"
ENVIRON = {"GATEWAY_KEY": KEY, "PROVIDER_KEY": "sk-provider-of-the-conformance-run"}
PATHS = {"openai": "/openai/v1", "anthropic": "/anthropic", "google": "/google", "ollama": "/ollama"}
NEIGHBOURS = dict(zip(WIRES, (*WIRES[1:], WIRES[0]), strict=True))
"""Whose model is next when one of these fails: another protocol's, so that every fallback is a translation."""

POLICIES = """
kind: rate_limit
enabled: false
---
kind: cache
enabled: false
---
kind: authenticate
anonymous: never
keys: [{name: conformance, secret: "${GATEWAY_KEY}"}]
---
kind: fallback
alternatives: 0
retries: 1
backoff: {initial: 1ms, max: 5ms}
retry_budget: {share: 100, per_second: 1000}
breaker: {failures: 1000, error_rate: 100, requests: 100000, slow_factor: 0}
"""
PATIENT = {"connect": "5s", "first_token": "10s", "idle": "10s", "total": "30s"}
HASTY = {"connect": "500ms", "first_token": "2s", "idle": "1s", "total": "20s"}
"""Only where a case waits for its end: on a busy machine any answer may take a second. `total` is longer than a whole
answer may take, five times `first_token`."""
BRIEF = {"connect": "5s", "first_token": "10s", "idle": "10s", "total": "2s"}
"""Only where nothing else ends an answer."""


@dataclass
class Places:
    """Base URLs: of the emulator, and of its doors."""

    emulator: Emulator
    base: str
    doors: Mapping[str, str]

    def url(self, wire: str, case: Case | None = None) -> str:
        """Where a wire is spoken, or where a fault of the network awaits it."""
        return f"{self.doors[case.name] if case and case.network else self.base}{PATHS[wire]}"


@asynccontextmanager
async def places(cases: Sequence[Case], port: int = 0) -> AsyncIterator[Places]:
    """The emulator with the faults of these cases."""
    emulator = Emulator(script(), faults(cases))
    host = "127.0.0.1"
    async with running(emulator, host, port) as port, entrances(emulator.faults, host, port) as ways:
        yield Places(emulator, f"http://{host}:{port}", ways.urls)


def playable() -> tuple[Case, ...]:
    """The cases that can be played here: `.invalid` must be unknown at once, and a full queue keep one waiting."""
    absent = set() if sys.platform == "linux" else {"connect_timeout"}
    began = time.monotonic()
    with contextlib.suppress(socket.gaierror):
        socket.getaddrinfo("nowhere.invalid", 80)
        absent.add("dns")  # somebody answers for names that do not exist
    if time.monotonic() - began > 0.1:
        absent.add("dns")
    return tuple(case for case in CASES if case.name not in absent)


@asynccontextmanager
async def ours(found: Places, wanted: Sequence[Cell], timeouts: Mapping[str, str]) -> AsyncIterator[Served]:
    """This project's gateway before those places."""
    async with gateway(configuration(found, wanted, timeouts), ENVIRON) as served:
        yield served


def model_of(cell: Cell, prefix: str = "", shared: bool = False) -> str:
    """What a cell's model is called at the gateway. `shared`: one for all faults of a wire, as far as possible."""
    name = f"{prefix}{'chained' if cell.chained else 'alone'}-{cell.wire}"
    if not shared:
        return f"{name}-{cell.key}"
    return f"{name}-{cell.case.name}" if cell.case.network else name


def configuration(found: Places, wanted: Sequence[Cell], timeouts: Mapping[str, str]) -> str:
    """A gateway.yaml: a model for each cell, a well one for each wire."""
    providers = {wire: _provider(wire, found.url(wire)) for wire in WIRES}
    models = {f"well-{wire}": _model(wire, WELL) for wire in WIRES}
    chains = {}
    for cell in wanted:
        provider, model = cell.wire, model_of(cell)
        if cell.case.network:
            provider = f"{cell.wire}-{cell.case.name}"
            providers[provider] = {
                "protocol": cell.wire,
                "base_url": found.url(cell.wire, cell.case),
                "api_key": "${PROVIDER_KEY}",
            }
        models[model] = _model(provider, FAULTY)
        if cell.chained:
            chains[model] = [f"well-{NEIGHBOURS[cell.wire]}"]
    entry = {"kind": "gateway", "policies": [], "listen": {"port": 0}, "providers": providers, "models": models}
    *policies, fallback = yaml.safe_load_all(POLICIES)
    return yaml.safe_dump_all(
        [entry, *policies, {**fallback, "timeouts": dict(timeouts), "chains": chains}], sort_keys=False
    )


def _provider(wire: str, url: str) -> dict[str, str]:
    return {"protocol": wire, "base_url": url, "api_key": "${PROVIDER_KEY}"}


def _model(provider: str, upstream: str) -> dict[str, object]:
    figures = {"context": 100_000, "max_output": 8192, "capabilities": "all", "price": {"input": 1, "output": 2}}
    # A larger window than the one that failed, so that an overflow may fall back.
    figures |= {"context": 200_000} if upstream == WELL else {}
    return {"provider": provider, "upstream": upstream, **figures}

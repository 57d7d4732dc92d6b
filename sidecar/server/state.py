"""Everything a running gateway holds, made in one place and ended in one place."""

import asyncio
import sqlite3
import sys
import time
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

from msgspec import Struct

from ..engine.holder import Holder
from ..engine.log import Log
from ..engine.metrics import Metrics
from ..engine.open import Stores, open_loaded, terms
from ..engine.records import Records
from ..engine.reload import Reloader, read_vault
from ..engine.route import Live
from ..engine.sample import sampled
from ..engine.settle import Settler
from ..engine.shadow import Shadows
from ..engine.upstream import Upstream
from ..identity.secrets import resolve
from ..policy import Loaded
from ..spec import Secret
from ..stores.budgets import Accounts, Terms
from ..stores.changes import Changes
from ..stores.decisions import Decisions
from ..stores.disagreements import Disagreements
from ..stores.health import LiveHealth
from ..stores.keys import TABLE, read_keys
from ..stores.memory import MemoryCounters
from ..stores.sqlite import SQLiteLedger
from ..stores.vector import fingerprint_key
from ..surfaces.openai_chat import OpenAIChat
from .admin_access import VARIABLE, Access, WeakSecretError, signing_secret
from .chat_route import ChatRoute
from .registry_updates import RegistryUpdates

_RELOAD = "reload"


class RefusedError(Exception):
    """The configuration cannot be opened; the text is what the command line prints."""


class Running(Struct):
    """A gateway that serves. `database` is the ledger's file."""

    holder: Holder
    log: Log
    ledger: SQLiteLedger
    metrics: Metrics
    records: Records
    changes: Changes
    stores: Stores
    chat: ChatRoute
    shadows: Shadows
    updates: RegistryUpdates
    access: Access
    reloader: Reloader
    started: float

    @property
    def registry_problem(self) -> str | None:
        """Why models.json is not the one that was asked for."""
        return self.holder.registry_problem

    def not_ready(self) -> dict[str, str]:
        """Why the gateway should get no traffic; empty when it should."""
        reasons = {}
        if self.chat.draining:
            reasons["server"] = "shutting down"
        if self.ledger.fault is not None:
            reasons["database"] = self.ledger.fault
        if not self.holder.current.routes:
            reasons["registry"] = "no model of a configured provider"
        return reasons


@asynccontextmanager
async def running(
    entry: Path, loaded: Loaded, environ: Mapping[str, str], log: Log | None = None
) -> AsyncIterator[Running]:
    """Open everything, watch the configuration, and close all of it in order. Raises RefusedError. `log` is where lines
    go: standard error, as JSON, by default. It ends with the gateway."""
    if loaded.graph is None:
        raise RefusedError(loaded.text)
    gateway = loaded.graph.gateway
    secret = _signing_secret(environ)
    ledger = _open_ledger(gateway.ledger(entry, environ))
    stores = Stores(MemoryCounters(), LiveHealth(), database=ledger.path)
    changes, live = await _open_stores(ledger, stores, loaded, environ)
    metrics, log = Metrics(), log or Log(sys.stderr.buffer, time.time)
    holder = Holder(live, metrics, log, time.time)
    _tell(holder, loaded, ledger.notices)
    decisions = Decisions(ledger.path)
    records = Records(ledger, decisions, metrics, log if gateway.access_log else None, asyncio.get_running_loop())
    upstream = Upstream()
    shadows = Shadows(Disagreements(ledger.path), metrics, holder.log)
    chat = ChatRoute(OpenAIChat(), holder, upstream, Settler(records, stores.health, sampled(log)), shadows)
    stores.report = holder.log
    reloader = Reloader(entry, loaded, holder, stores, environ)
    changes.hear("provider_keys", reloader.reopen)
    updates = RegistryUpdates(entry, holder, metrics, ledger.path, environ)
    exporting = _owned(stores.exporter.run(upstream, holder.log), "traces", holder)
    access = Access(holder, secret, time.time)
    jobs = {
        _RELOAD: reloader.run(loaded.folders),
        "jwks": stores.key_sets.run(partial(_secret, stores, environ), holder.log),
        "changes": changes.run(),
        "registry update": updates.run(),
    }
    now = time.time()
    try:
        async with _working(jobs, holder, reloader):
            yield Running(
                holder, log, ledger, metrics, records, changes, stores, chat, shadows, updates, access, reloader, now
            )
    finally:
        changes.close()
        await stores.exporter.stop(exporting)
        await upstream.close()
        await records.flush()
        await shadows.close()
        await ledger.close()
        await log.close()


async def _open_stores(
    ledger: SQLiteLedger, stores: Stores, loaded: Loaded, environ: Mapping[str, str]
) -> tuple[Changes, Live]:
    """What the database holds, and the graph on top of it. Raises RefusedError, and the ledger is closed then."""
    try:
        changes = await _open_changes(ledger.path, stores)
        live = await _opened(loaded, stores, environ)
        await _recall(stores.budgets, ledger, terms(*loaded.serving))
        stores.fingerprints.use(await _fingerprint_key(ledger.path, environ))
    except RefusedError:
        await ledger.close()
        raise
    return changes, live


async def _fingerprint_key(path: Path, environ: Mapping[str, str]) -> bytes:
    try:
        return await asyncio.to_thread(fingerprint_key, path, environ.get(VARIABLE, "").strip())
    except sqlite3.Error as fault:
        raise RefusedError(f"the database {path} cannot be used: {fault}\n") from fault


@asynccontextmanager
async def _working(
    jobs: Mapping[str, Coroutine[Any, Any, None]], holder: Holder, reloader: Reloader
) -> AsyncIterator[None]:
    """What runs beside the requests, by name; ended and awaited at the end."""
    tasks = [_owned(job, name, holder) for name, job in jobs.items()]
    try:
        yield
    finally:
        reloader.stop()
        for task in tasks:
            if task.get_name() != _RELOAD:  # it ends by itself: a thread of its own waits for files
                task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _opened(loaded: Loaded, stores: Stores, environ: Mapping[str, str]) -> Live:
    """The graph with what the vault holds. Raises RefusedError."""
    problem = await read_vault(stores, environ)
    if problem is not None:
        raise RefusedError(problem)
    live = open_loaded(loaded, stores, environ)
    if isinstance(live, list):
        raise RefusedError(loaded.render(live))
    return live


def _secret(stores: Stores, environ: Mapping[str, str], reference: str) -> Secret | None:
    """A secret that is read while the gateway runs, from the vault as it is then."""
    return resolve(reference, environ, stores.vault.secret)


def _signing_secret(environ: Mapping[str, str]) -> bytes:
    try:
        return signing_secret(environ)
    except WeakSecretError as fault:
        raise RefusedError(f"{fault}\n") from fault


def _open_ledger(path: Path) -> SQLiteLedger:
    try:
        return SQLiteLedger(path)
    except (OSError, sqlite3.Error) as fault:
        raise RefusedError(f"the database {path} cannot be used: {fault}\n") from fault


async def _open_changes(path: Path, stores: Stores) -> Changes:
    """Read the tables that others write, now and after each change. While they cannot be read the last state stays."""

    async def read() -> None:
        stores.keys.store(await asyncio.to_thread(read_keys, path))

    try:
        changes = Changes(path, stores.tell)
        changes.hear(TABLE, read)
        await read()
    except sqlite3.Error as fault:
        raise RefusedError(f"the database {path} cannot be used: {fault}\n") from fault
    return changes


def _tell(holder: Holder, loaded: Loaded, notices: Sequence[str]) -> None:
    """What was found on the way here that keeps nobody from serving."""
    for notice in notices:
        holder.log("warning", "ledger", {"notice": notice})
    holder.unchanged(loaded.left_out)
    holder.read_registry(loaded.registry_problem)


async def _recall(budgets: Accounts, ledger: SQLiteLedger, serving: Sequence[Terms]) -> None:
    """What was spent before this process began still counts."""
    budgets.ledger = ledger
    try:
        await budgets.recall(serving, time.time())
    except sqlite3.Error as fault:
        raise RefusedError(f"the database {ledger.path} cannot be used: {fault}\n") from fault
    budgets.adopt(serving)


def _owned(job: Coroutine[Any, Any, None], name: str, holder: Holder) -> asyncio.Task[None]:
    """A task that runs as long as the gateway does. When it ends before, that does not go unnoticed."""

    def ended(task: asyncio.Task[None]) -> None:
        fault = None if task.cancelled() else task.exception()
        if isinstance(fault, Exception):
            holder.log_fault(name, fault)
            if name == _RELOAD:
                holder.refuse("hot reload has stopped: restart the gateway to use changed files\n")

    task = asyncio.create_task(job, name=name)
    task.add_done_callback(ended)
    return task

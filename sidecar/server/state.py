"""Everything a running gateway holds, made in one place and ended in one place."""

import asyncio
import sqlite3
import sys
import time
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, BinaryIO

from msgspec import Struct

from ..engine.holder import Holder
from ..engine.log import Log
from ..engine.metrics import Metrics
from ..engine.open import Stores, terms
from ..engine.records import Records
from ..engine.reload import Reloader
from ..engine.rollout import open_loaded
from ..engine.settle import Settler
from ..engine.shadow import Shadows
from ..engine.upstream import Upstream
from ..policy import Loaded
from ..stores.budgets import Accounts, Terms
from ..stores.changes import Changes
from ..stores.decisions import Decisions
from ..stores.disagreements import Disagreements
from ..stores.health import LiveHealth
from ..stores.keys import TABLE, read_keys
from ..stores.memory import MemoryCounters, MemoryKeys
from ..stores.sqlite import SQLiteLedger
from ..surfaces.openai_chat import OpenAIChat
from .admin_access import Access, WeakSecretError, signing_secret
from .chat_route import ChatRoute
from .registry_updates import RegistryUpdates

_RELOAD = "reload"


class RefusedError(Exception):
    """The configuration cannot be opened; the text is what the command line prints."""


class Running(Struct):
    """A gateway that serves. `database` is the ledger's file."""

    holder: Holder
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
    entry: Path, loaded: Loaded, environ: Mapping[str, str], sink: BinaryIO | None = None
) -> AsyncIterator[Running]:
    """Open everything, watch the configuration, and close all of it in order. Raises RefusedError. `sink` is where log
    lines go; standard error by default."""
    if loaded.graph is None:
        raise RefusedError(loaded.text)
    gateway = loaded.graph.gateway
    secret = _secret(environ)
    stores = Stores(MemoryCounters(), LiveHealth())
    live = open_loaded(loaded, stores, environ)
    if isinstance(live, list):
        raise RefusedError(loaded.render(live))
    ledger = _open_ledger(gateway.ledger(entry, environ))
    await _recall(stores.budgets, ledger, terms(*loaded.serving))
    metrics = Metrics(ledger, stores.health, stores.budgets)
    log = Log(sink or sys.stderr.buffer, time.time)
    holder = Holder(live, metrics, log, time.time)
    changes = await _open_changes(ledger.path, holder, stores.keys)
    _tell(holder, loaded, ledger.notices)
    decisions = Decisions(ledger.path)
    records = Records(ledger, decisions, metrics, log if gateway.access_log else None, asyncio.get_running_loop())
    upstream = Upstream()
    shadows = Shadows(Disagreements(ledger.path), metrics, holder.log)
    chat = ChatRoute(OpenAIChat(), holder, upstream, Settler(records, stores.health), shadows)
    reloader = Reloader(entry, holder, stores, environ, loaded.sources.texts)
    updates = RegistryUpdates(entry, holder, metrics, ledger.path, environ)
    watching = _owned(reloader.run(loaded.folders), _RELOAD, holder)
    others = [
        _owned(stores.key_sets.run(environ, holder.log), "jwks", holder),
        _owned(changes.run(), "changes", holder),
        _owned(updates.run(), "registry update", holder),
    ]
    try:
        yield Running(
            holder, ledger, metrics, records, changes, stores, chat, shadows, updates,
            Access(holder, secret, time.time), reloader, time.time(),
        )  # fmt: skip
    finally:
        reloader.stop()
        for task in others:
            task.cancel()
        await asyncio.gather(watching, *others, return_exceptions=True)
        changes.close()
        await upstream.close()
        await records.flush()
        await shadows.close()
        await ledger.close()
        await log.close()


def _secret(environ: Mapping[str, str]) -> bytes:
    try:
        return signing_secret(environ)
    except WeakSecretError as fault:
        raise RefusedError(f"{fault}\n") from fault


def _open_ledger(path: Path) -> SQLiteLedger:
    try:
        return SQLiteLedger(path)
    except (OSError, sqlite3.Error) as fault:
        raise RefusedError(f"the database {path} cannot be used: {fault}\n") from fault


async def _open_changes(path: Path, holder: Holder, keys: MemoryKeys) -> Changes:
    """Read the tables that others write, now and after each change. While they cannot be read the last state stays."""

    async def read() -> None:
        keys.store(await asyncio.to_thread(read_keys, path))

    try:
        changes = Changes(path, holder.log)
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
        await ledger.close()
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

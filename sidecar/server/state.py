"""Everything a running gateway holds, made in one place and ended in one place."""

import asyncio
import sqlite3
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import BinaryIO

from msgspec import Struct

from ..engine.holder import Holder
from ..engine.log import Log
from ..engine.metrics import Metrics
from ..engine.open import Stores
from ..engine.records import Records
from ..engine.reload import Reloader
from ..engine.rollout import open_loaded
from ..engine.settle import Settler
from ..engine.shadow import Shadows
from ..engine.upstream import Upstream
from ..policy import Loaded
from ..stores.changes import Changes
from ..stores.disagreements import Disagreements
from ..stores.health import LiveHealth
from ..stores.keys import TABLE, read_keys
from ..stores.memory import MemoryCounters, MemoryKeys
from ..stores.sqlite import SQLiteLedger
from ..surfaces.openai_chat import OpenAIChat
from .chat_route import ChatRoute
from .registry_updates import RegistryUpdates


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
    """Open everything, watch the configuration, and close all of it in order. Raises RefusedError.

    `sink` is where log lines go; standard error by default.
    """
    if loaded.graph is None:
        raise RefusedError(loaded.text)
    gateway = loaded.graph.gateway
    stores = Stores(MemoryCounters(), LiveHealth())
    live = open_loaded(loaded, stores, environ)
    if isinstance(live, list):
        raise RefusedError(loaded.render(live))
    ledger = _open_ledger(gateway.ledger(entry, environ))
    metrics = Metrics(ledger, stores.health)
    log = Log(sink or sys.stderr.buffer, time.time)
    holder = Holder(live, metrics, log, time.time)
    holder.unchanged(loaded.left_out)
    changes = await _open_changes(ledger.path, holder, stores.keys)
    for notice in ledger.notices:
        holder.log("warning", "ledger", {"notice": notice})
    records = Records(ledger, metrics, log if gateway.access_log else None, asyncio.get_running_loop())
    upstream = Upstream()
    shadows = Shadows(Disagreements(ledger.path), metrics, holder.log)
    chat = ChatRoute(OpenAIChat(), holder, upstream, Settler(records, stores.health), shadows)
    reloader = Reloader(entry, holder, stores, environ)
    watching = asyncio.create_task(reloader.run(loaded.folders), name="reload")
    watching.add_done_callback(lambda task: _watch_ended(task, holder))
    fetching = asyncio.create_task(stores.key_sets.run(environ, holder.log), name="jwks")
    listening = asyncio.create_task(changes.run(), name="changes")
    updates = RegistryUpdates(entry, holder, metrics, ledger.path, environ)
    updating = asyncio.create_task(updates.run(), name="registry update")
    for task in (fetching, listening, updating):
        task.add_done_callback(lambda task: _ended(task, holder))
    holder.read_registry(loaded.registry_problem)
    try:
        yield Running(holder, ledger, metrics, records, changes, stores, chat, shadows, updates, time.time())
    finally:
        reloader.stop()
        fetching.cancel()
        listening.cancel()
        updating.cancel()
        await asyncio.gather(watching, fetching, listening, updating, return_exceptions=True)
        changes.close()
        await upstream.close()
        await records.flush()
        await shadows.close()
        await ledger.close()
        await log.close()


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


def _watch_ended(task: asyncio.Task[None], holder: Holder) -> None:
    """Hot reload ends with the gateway; when it ends before, that must not go unnoticed."""
    fault = None if task.cancelled() else task.exception()
    if isinstance(fault, Exception):
        holder.log_fault("reload", fault)
        holder.refuse("hot reload has stopped: restart the gateway to use changed files\n")


def _ended(task: asyncio.Task[None], holder: Holder) -> None:
    """What runs as long as the gateway does must not end unnoticed before."""
    fault = None if task.cancelled() else task.exception()
    if isinstance(fault, Exception):
        holder.log_fault(task.get_name(), fault)

"""Everything a running gateway holds, made in one place and ended in one place."""

import asyncio
import sqlite3
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import BinaryIO

from msgspec import Struct

from ..engine.holder import Holder
from ..engine.log import Log
from ..engine.metrics import Metrics
from ..engine.open import Stores, open_graph
from ..engine.records import Records
from ..engine.reload import Reloader, read_vault
from ..engine.route import Live
from ..engine.settle import Settler
from ..engine.upstream import Upstream
from ..identity.secrets import resolve
from ..policy import Loaded
from ..spec import Secret
from ..stores.changes import Changes
from ..stores.health import LiveHealth
from ..stores.keys import TABLE, read_keys
from ..stores.memory import MemoryCounters
from ..stores.sqlite import SQLiteLedger
from ..surfaces.openai_chat import OpenAIChat
from .chat_route import ChatRoute


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
    if loaded.policy is None or loaded.graph is None:
        raise RefusedError(loaded.text)
    gateway = loaded.graph.gateway
    ledger = _open_ledger(gateway.ledger(entry, environ))
    stores = Stores(MemoryCounters(), LiveHealth(), database=ledger.path)
    try:
        changes = await _open_changes(ledger.path, stores)
        live = await _opened(loaded, stores, environ)
    except RefusedError:
        await ledger.close()
        raise
    metrics = Metrics(ledger, stores.health)
    log = Log(sink or sys.stderr.buffer, time.time)
    holder = Holder(live, metrics, log, time.time)
    for notice in ledger.notices:
        holder.log("warning", "ledger", {"notice": notice})
    records = Records(ledger, metrics, log if gateway.access_log else None, asyncio.get_running_loop())
    upstream = Upstream()
    chat = ChatRoute(OpenAIChat(), holder, upstream, Settler(records, stores.health))
    stores.report = holder.log
    reloader = Reloader(entry, loaded, holder, stores, environ)
    watching = asyncio.create_task(reloader.run(loaded.folders), name="reload")
    watching.add_done_callback(lambda task: _watch_ended(task, holder))
    changes.hear("provider_keys", reloader.reopen)
    read = partial(_secret, stores, environ)
    fetching = asyncio.create_task(stores.key_sets.run(read, holder.log), name="jwks")
    listening = asyncio.create_task(changes.run(), name="changes")
    for task in (fetching, listening):
        task.add_done_callback(lambda task: _ended(task, holder))
    holder.read_registry(loaded.registry_problem)
    try:
        yield Running(holder, ledger, metrics, records, changes, stores, chat, time.time())
    finally:
        reloader.stop()
        fetching.cancel()
        listening.cancel()
        await asyncio.gather(watching, fetching, listening, return_exceptions=True)
        changes.close()
        await upstream.close()
        await records.flush()
        await ledger.close()
        await log.close()


async def _opened(loaded: Loaded, stores: Stores, environ: Mapping[str, str]) -> Live:
    """The graph with what the vault holds. Raises RefusedError."""
    problem = await read_vault(stores, environ)
    if problem is not None or loaded.policy is None or loaded.graph is None:
        raise RefusedError(problem or loaded.text)
    live = open_graph(loaded.policy, loaded.graph, stores, environ)
    if isinstance(live, list):
        raise RefusedError(loaded.render(live))
    return live


def _secret(stores: Stores, environ: Mapping[str, str], reference: str) -> Secret | None:
    """A secret that is read while the gateway runs, from the vault as it is then."""
    return resolve(reference, environ, stores.vault.secret)


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

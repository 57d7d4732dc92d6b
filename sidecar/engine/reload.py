"""Hot reload: folders are watched, a whole new graph is built beside the old one, and one reference is swapped.

Folders and not files, because editors and Kubernetes replace files (a ConfigMap swaps its `..data` link). The same
policy again is no reload. A refused edit changes nothing and is loud.

Secrets in the vault change without a file: then the policy in use is opened anew.
"""

import asyncio
import gc
import sqlite3
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from time import time

from watchfiles import Change, awatch

from ..config.diagnostic import Diagnostic
from ..graph import Graph
from ..identity.vault import Vault
from ..policy import Loaded, load
from ..stores.provider_keys import ProviderKeys
from .holder import Holder
from .open import Stores, open_loaded, terms
from .route import Live

DEBOUNCE_MS = 200
TICK_MS = 2_000
"""How often to look at what no change of a file tells: a new day (prices are those of the day), another folder under
the same name, and what was edited before the watch began."""
REST = 0.05
"""Seconds for which files must have said the same. Who writes to a file in place empties it first."""
LOOKS = 20
"""How often files that do not come to rest are read before they are taken as they are."""
_SUFFIXES = (".yaml", ".yml", ".json", ".bak")


class Reloader:
    """Watches what the configuration was read from, for as long as `run` runs. `loaded` is what serves."""

    def __init__(self, entry: Path, loaded: Loaded, holder: Holder, stores: Stores, environ: Mapping[str, str]) -> None:
        self.last = holder.last
        """How the last reading ended, whether it changed anything or not."""
        self._entry = entry
        self._loaded = loaded
        self._holder = holder
        self._stores = stores
        self._environ = environ
        self._stop = asyncio.Event()
        self._turn = asyncio.Lock()
        self._stale = False
        """Whether what serves was opened with secrets that are not those of the vault any more."""

    @property
    def files(self) -> tuple[str, ...]:
        """What the policy in use was read from."""
        return tuple(self._loaded.sources.texts)

    async def run(self, folders: frozenset[Path]) -> None:
        """Watch until `stop`. The folders watched follow what the configuration includes, and what is put in their
        place: a folder is watched, not its name."""
        while not self._stop.is_set():
            wanted, watched, seen = folders, _identities(folders), False
            async for changes in awatch(
                *sorted(folders),
                watch_filter=_concerns_us,
                debounce=DEBOUNCE_MS,
                step=50,
                stop_event=self._stop,
                rust_timeout=TICK_MS,
                yield_on_timeout=True,
                recursive=False,
                ignore_permission_denied=True,
            ):
                # At the first tick the files are read even so: they may have changed before they were watched.
                if changes or not seen or self._new_day() or _identities(folders) != watched:
                    wanted, seen = await self.reload(), True
                    if _identities(wanted) != watched:
                        break
            folders = wanted

    async def reload(self) -> frozenset[Path]:
        """Read everything again; swap, refuse, or leave alone. Returns the folders to watch. Who comes meanwhile waits:
        what was read first must not take the place of what was read last."""
        async with self._turn:
            return await self._reload()

    async def reopen(self) -> None:
        """The vault has changed: serve with what is in it now; when that cannot be, go on as before and be loud."""
        async with self._turn:
            refused = await self._open(self._loaded)
            if refused is not None:
                self._stale = True
                self._holder.refuse(refused)
            elif self._stale:
                self._stale = False
                await self._reload()  # the last word was of the vault: what is to be said of the files?

    async def _reload(self) -> frozenset[Path]:
        loaded = await self._read()
        if loaded.graph is None:
            self.last = self._holder.refuse(loaded.text)
        elif self._same(loaded.graph, loaded) and not self._stale:
            self.last = self._holder.unchanged(loaded.left_out)
        elif (refused := await self._open(loaded)) is not None:
            self.last = self._holder.refuse(refused)
        else:
            self._stale = False
            self.last = self._holder.last
        self._holder.read_registry(loaded.registry_problem)  # when what it says is true of what serves
        return loaded.folders

    async def _read(self) -> Loaded:
        """What the files say when they are at rest: half of an edit can be a sound policy, and was never meant."""
        for _ in range(LOOKS):
            loaded = await asyncio.to_thread(load, self._entry, self._environ, strict=True)
            await asyncio.sleep(REST)
            if await asyncio.to_thread(loaded.stands):
                break
        return loaded

    def _same(self, graph: Graph, loaded: Loaded) -> bool:
        """The same policies and models, on the same day: prices are valid from a day on."""
        live = self._holder.current
        current = live.graph
        on_trial = {role: one and one.graph.hash for role, one in live.on_trial.items()}
        return (
            graph.hash == current.hash
            and graph.registry.day == current.registry.day
            and graph.gateway.rollout == current.gateway.rollout
            and {role: one.graph and one.graph.hash for role, one in loaded.candidates.items()} == on_trial
        )

    def _new_day(self) -> bool:
        return self._holder.current.graph.registry.day != datetime.now(UTC).date()

    def stop(self) -> None:
        """End `run`."""
        self._stop.set()

    async def _open(self, loaded: Loaded) -> str | None:
        """Serve with what was loaded, what the vault holds and what was spent; or why that cannot be."""
        budgets, before, serving = self._stores.budgets, self._stores.vault, terms(*loaded.serving)
        problem = await read_vault(self._stores, self._environ)
        if problem is not None:
            return problem
        try:
            await budgets.recall(serving, time())
        except sqlite3.Error as fault:
            live: Live | list[Diagnostic] | str = f"what budgets have spent cannot be read: {fault}\n"
        else:
            live = open_loaded(loaded, self._stores, self._environ)
        if not isinstance(live, Live):
            self._stores.vault = before
            budgets.abandon()
            return live if isinstance(live, str) else loaded.render(live)
        budgets.adopt(serving)
        if loaded is self._loaded:
            self._holder.renew(live)
        else:
            self._loaded = loaded
            if loaded.left_out is None:
                self._holder.swap(live, loaded.text + loaded.candidates_text)
            else:
                self._holder.swap(live, loaded.text)
                self._holder.left_out(loaded.left_out)
        # What was replaced, and what reading the files left, refers to itself in circles: at the collector's own
        # pace, set for requests, it would stay for hours.
        gc.collect()
        return None


async def read_vault(stores: Stores, environ: Mapping[str, str]) -> str | None:
    """Take over what the vault holds now; or why it cannot be read."""
    if stores.database is None:
        return None
    try:
        rows = await asyncio.to_thread(ProviderKeys(stores.database).rows)
    except (OSError, sqlite3.Error) as fault:
        return f"the vault in {stores.database} cannot be read: {fault}\n"
    stores.vault = Vault({row.name: row.sealed for row in rows}, environ)
    return None


def _concerns_us(change: Change, path: str) -> bool:
    """Configuration only, and folders that come and go, Kubernetes' `..data` among them: the ledger lives beside them
    and changes all the time."""
    name = Path(path).name
    return name.endswith(_SUFFIXES) or "." not in name or Path(path).is_dir()


def _identities(folders: frozenset[Path]) -> frozenset[tuple[Path, int, int]]:
    """Which folders these names stand for now; one that is gone is left out."""
    found = set()
    for folder in folders:
        with suppress(OSError):
            status = folder.stat()
            found.add((folder, status.st_dev, status.st_ino))
    return frozenset(found)

"""Hot reload: folders are watched, a whole new graph is built beside the old one, and one reference is swapped.

Folders and not files, because editors and Kubernetes replace files (a ConfigMap swaps its `..data` link). The same
policy again is no reload. A refused edit changes nothing and is loud.
"""

import asyncio
import gc
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from time import time

from watchfiles import Change, awatch

from ..graph import Graph
from ..policy import Loaded, load
from .holder import Holder, Reload
from .open import Stores, terms
from .rollout import open_loaded

DEBOUNCE_MS = 200
TICK_MS = 30_000
"""How often to look whether a new day has begun: models' prices are those of the day."""
_SUFFIXES = (".yaml", ".yml", ".json", ".bak")


class Reloader:
    """Watches what the configuration was read from, for as long as `run` runs."""

    def __init__(
        self, entry: Path, holder: Holder, stores: Stores, environ: Mapping[str, str], files: Iterable[str]
    ) -> None:
        self.files = tuple(files)
        """What the policy in use was read from."""
        self.last = holder.last
        """How the last reading ended, whether it changed anything or not."""
        self._entry = entry
        self._holder = holder
        self._stores = stores
        self._environ = environ
        self._stop = asyncio.Event()
        self._turn = asyncio.Lock()

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
            loaded = await asyncio.to_thread(load, self._entry, self._environ, strict=True)
            self._holder.read_registry(loaded.registry_problem)
            if loaded.graph is None:
                self.last = self._holder.refuse(loaded.text)
            elif self._same(loaded.graph, loaded):
                self.last = self._holder.unchanged(loaded.left_out)
            else:
                self.last = await self._open(loaded)
            return loaded.folders

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

    async def _open(self, loaded: Loaded) -> Reload:
        budgets, serving = self._stores.budgets, terms(*loaded.serving)
        try:
            await budgets.recall(serving, time())
        except sqlite3.Error as fault:
            budgets.abandon()
            return self._holder.refuse(f"what budgets have spent cannot be read: {fault}\n")
        live = open_loaded(loaded, self._stores, self._environ)
        if isinstance(live, list):
            budgets.abandon()
            return self._holder.refuse(loaded.render(live))
        budgets.adopt(serving)
        self.files = tuple(loaded.sources.texts)
        swapped = self._holder.swap(live, loaded.text + loaded.candidates_text)
        if loaded.left_out is not None:
            swapped = self._holder.left_out(loaded.left_out)
        # What was replaced, and what reading the files left, refers to itself in circles: at the collector's own
        # pace, set for requests, it would stay for hours.
        gc.collect()
        return swapped


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

"""The one mutable reference to what serves traffic, and what happened at the last reload."""

import traceback
from collections.abc import Callable
from enum import StrEnum

from msgspec import Struct

from .log import Log
from .metrics import Metrics
from .route import Live


class Outcome(StrEnum):
    """How a reload ended."""

    LOADED = "loaded"
    UNCHANGED = "unchanged"
    REFUSED = "refused"
    LEFT_OUT = "candidate refused"


class Reload(Struct, frozen=True):
    """The last reload that looked at something new. `text` is what `sidecar validate` would print."""

    outcome: Outcome
    at: float
    text: str
    policy: str


class Holder:
    """`current` is read once a request and kept to the end of its stream; `swap` is one assignment."""

    def __init__(self, live: Live, metrics: Metrics, log: Log | None, clock: Callable[[], float]) -> None:
        self.current = live
        self._metrics = metrics
        self._log = log
        self._clock = clock
        self.last = Reload(Outcome.LOADED, live.opened, "", live.graph.short_hash)
        self.registry_problem: str | None = None
        for outcome in (Outcome.LOADED, Outcome.REFUSED):
            metrics.reloaded(outcome, 0)
        self._show(live)

    def swap(self, live: Live, text: str) -> Reload:
        """Serve with `live` from now on; requests under way finish on what they began with. `text` are its warnings."""
        self.current = live
        self.last = Reload(Outcome.LOADED, self._clock(), text, live.graph.short_hash)
        self._metrics.reloaded(Outcome.LOADED)
        self._show(live)
        level, findings = ("warning", text) if text else ("info", None)
        self.log(level, "reload", {"outcome": "loaded", "policy": live.graph.short_hash, "findings": findings})
        return self.last

    def renew(self, live: Live) -> None:
        """Serve with the same policy, opened anew with other secrets. What was said of the files stays."""
        self.current = live
        self.log("info", "vault", {"outcome": "reopened", "policy": live.graph.short_hash})

    def refuse(self, text: str) -> Reload:
        """Keep what serves, and be loud about it."""
        self.last = Reload(Outcome.REFUSED, self._clock(), text, self.current.graph.short_hash)
        self._metrics.reloaded(Outcome.REFUSED)
        self._metrics.synchronized.set(0)
        self.log("error", "reload", {"outcome": "refused", "kept": self.last.policy, "findings": text})
        return self.last

    def left_out(self, text: str) -> Reload:
        """A policy on trial cannot be used: what serves does so without it, and is loud about it."""
        self.last = Reload(Outcome.LEFT_OUT, self._clock(), text, self.current.graph.short_hash)
        self._metrics.reloaded(Outcome.LEFT_OUT)
        self._metrics.synchronized.set(0)
        self.log("error", "reload", {"outcome": Outcome.LEFT_OUT, "policy": self.last.policy, "findings": text})
        return self.last

    def unchanged(self, left_out: str | None = None) -> Reload:
        """The files say again what already serves: a refused edit was taken back. `left_out` is what keeps a policy on
        trial from being used."""
        if left_out is not None:
            told = (self.last.outcome, self.last.text) == (Outcome.LEFT_OUT, left_out)
            return self.last if told else self.left_out(left_out)
        found = Reload(Outcome.UNCHANGED, self._clock(), "", self.current.graph.short_hash)
        if self.last.outcome in (Outcome.REFUSED, Outcome.LEFT_OUT):
            self.last = found
        self._metrics.synchronized.set(1)
        return found

    def read_registry(self, problem: str | None) -> None:
        """What was found when models.json was read: why it is not in use, or None. Told when it changes."""
        if problem != self.registry_problem:
            self.registry_problem = problem
            self.log("info" if problem is None else "warning", "registry", {"problem": problem or "mended"})

    def log(self, level: str, event: str, fields: dict[str, object]) -> None:
        """One line to the log, if there is one."""
        if self._log is not None:
            self._log.write(level, event, fields)

    def log_fault(self, request_id: str, fault: Exception) -> None:
        """A bug of ours: where it happened, without the values it happened with."""
        frames = [
            f"{f.filename.rpartition('/')[2]}:{f.lineno} {f.name}" for f in traceback.extract_tb(fault.__traceback__)
        ]
        self.log("error", "fault", {"id": request_id, "kind": type(fault).__name__, "frames": frames[-8:]})

    def _show(self, live: Live) -> None:
        self._metrics.policy(live.graph.short_hash, self._clock())
        self._metrics.on_trial({role: one.graph.short_hash if one else None for role, one in live.on_trial.items()})

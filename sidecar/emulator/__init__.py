"""The providers' side of the wire, offline: four protocols, deterministic answers, scripted replies.

It serves `sidecar emulate`, `sidecar demo`, the tests and the benchmark. It shares no code with the provider
adapters on purpose: a misreading of a wire format there must meet an independent reading here.
"""

from ..listen import listening as running
from .app import Emulator
from .doors import Entrances, entrances
from .faults import Fault, FaultName, Faults
from .record import Recorded
from .script import Match, Reply, Script, ScriptedCall, ScriptedUsage

__all__ = [
    "Emulator",
    "Entrances",
    "Fault",
    "FaultName",
    "Faults",
    "Match",
    "Recorded",
    "Reply",
    "Script",
    "ScriptedCall",
    "ScriptedUsage",
    "entrances",
    "running",
]

"""What every stage is: one file with its Spec (what the user writes), its compile step and its run.

1. `Spec`      what the user wrote, valid by itself (`kind: cache` -> `stages/cache.py`).
2. `problems`  what is wrong only when all is seen together: names that do not exist, bad expressions.
3. `build`     once a reload: a `Run`, with everything it needs bound.
4. `Run`       once a request: reads and writes the Call, returns the name of an outcome. No I/O, no clock.

An outcome that the policy names under `on:` leads to that node; others lead to the stage's own default.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Annotated, ClassVar

from msgspec import Meta, Struct

from ..call import Call
from ..config.codes import Code
from ..config.wording import nearest
from ..registry.index import Registry
from ..spec import Name, Spec

Run = Callable[[Call], str]

NEXT = "next"
EXECUTE = "execute"
RESPOND = "respond"
REFUSE = "refuse"
ONWARD = "next, or execute"
"""To the next stage; after the last one the plan is complete."""
TERMINALS = frozenset({EXECUTE, RESPOND, REFUSE})
"""Where a walk ends: call a provider, answer from the cache, or say no."""


class Scope(Struct, frozen=True):
    """What a stage may look at while it is checked and built: all linked specs' names, and the policy's hash.

    `steering` is what rules read beside the request's body (`conditions.steers`): no cached answer may ignore it.
    `strategies` are those that a score stage knows; empty when there is none to ask.
    """

    registry: Registry
    providers: frozenset[str] = frozenset()
    tiers: tuple[str, ...] = ()
    policy_hash: str = ""
    steering: frozenset[str] = frozenset()
    strategies: frozenset[str] = frozenset()


class Problem(Struct, frozen=True):
    """Something wrong at `path` in the stage's own document; becomes a Diagnostic with file and line."""

    path: tuple[str | int, ...]
    code: Code
    message: str
    help: str | None = None
    warning: bool = False


class PartSpec(Spec, frozen=True, tag_field="kind"):
    """A document of the policy. Those that are no stages add to what stages, or the registry, know."""

    kind: ClassVar[str]

    def problems(self, scope: Scope) -> list[Problem]:
        """What is wrong only when all documents are seen together."""
        return []


class StageSpec(PartSpec, frozen=True, tag_field="kind"):
    """Fields every stage has."""

    name: Annotated[Name, Meta(description="The node's name in the graph; the kind when absent.")] | None = None
    enabled: Annotated[bool, Meta(description="False leaves the stage out of the graph.")] = True
    on: Annotated[dict[str, Name], Meta(description="Outcome -> the node to go to instead of the default.")] = {}

    noun: ClassVar[str] = "stage"
    implied: ClassVar[bool] = True
    """Whether the default pipeline has it although nobody wrote a document for it."""
    outcomes: ClassVar[Mapping[str, str]]
    """Outcome -> where it leads unless `on` says otherwise: `next` or a terminal."""
    gives: ClassVar[Mapping[str, str]] = {}
    """Outcome -> what is known from then on: `caller`, `model` or `answer`."""
    needs: ClassVar[tuple[str, ...]] = ()
    """What must be known before a walk comes here."""
    beside: ClassVar[str | None] = None
    """A kind without which nobody wants this stage by default."""

    @property
    def node(self) -> str:
        """The node's name."""
        return self.name or self.kind

    def edges(self, scope: Scope) -> Mapping[str, str]:
        """All outcomes this stage can have under this policy, with their defaults."""
        return self.outcomes

    def build(self, scope: Scope) -> Run:
        """The function that runs once a request."""
        raise TypeError(f"stage {self.kind} has no build step")


def among(word: str, names: Collection[str], what: str) -> str:
    """A help text: the name that was probably meant, or all there are."""
    known = list(names) if isinstance(names, Sequence) else sorted(names)
    return nearest(word, known) or f"{what} are: {', '.join(known)}"


def unknown_model(path: tuple[str | int, ...], name: str, registry: Registry) -> Problem:
    """The problem of naming a model that neither the registry nor gateway.yaml has."""
    close = registry.suggest(name)
    help_ = f"did you mean `{close}`?" if close else "`sidecar models` lists them"
    return Problem(path, Code.UNKNOWN_MODEL, f"`{name}` is not a model", help_)

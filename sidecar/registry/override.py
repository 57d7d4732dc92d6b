"""`models:` in gateway.yaml and `kind: registry_override`: models of the user's own, and changes to the registry's.

Every field is optional. What is left out keeps the registry's figure, or the figure of the model named in `like`.
"""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct
from msgspec.structs import replace

from ..spec import Name, Percent, Spec
from .card import (
    ALL_CAPABILITIES,
    Capability,
    CardProblem,
    ContextSize,
    Effort,
    Figure,
    ModelCard,
    OutputSize,
    Price,
    Quality,
    Rejects,
    Status,
    card_problems,
    name_clashes,
    names,
)

_FROM_USER = "set in gateway.yaml"
_REQUIRED = ("provider", "context", "max_output")


class ModelSpec(Spec, frozen=True, kw_only=True):
    """One entry under `models:`; the key is the model's id."""

    provider: Annotated[Name, Meta(description="Name of an entry under `providers:`.")] | None = None
    upstream: Annotated[Name, Meta(description="The provider's own name for it; the id when absent.")] | None = None
    like: Annotated[Name, Meta(description="A model of the registry to copy every figure from.")] | None = None
    family: Name | None = None
    aliases: tuple[Name, ...] | None = None
    context: ContextSize | None = None
    max_output: OutputSize | None = None
    capabilities: (
        Annotated[tuple[Capability, ...] | Literal["all"], Meta(description="What it can do, or `all`.")] | None
    ) = None
    rejects: Rejects | None = None
    tools_effort: Effort | None = None
    price: (
        Annotated[Price, Meta(description="USD per million tokens. It replaces the whole price list; 0 and 0 is free.")]
        | None
    ) = None
    quality: Annotated[Percent, Meta(description="Quality prior, 0 to 100.")] | None = None
    speed: Annotated[float, Meta(gt=0, le=100_000, description="Output tokens a second.")] | None = None
    ttft_ms: Annotated[float, Meta(ge=0, le=1_000_000, description="Milliseconds to the first token.")] | None = None
    status: Annotated[Status, Meta(description="`retired` takes a model out of routing.")] | None = None


class Merged(Struct, frozen=True):
    """The cards with the user's changes laid over them, and what was wrong with the changes.

    An entry with a problem is left out: its base card, if it has one, stays as it was. `overridden` are the fields of
    the registry's own cards that the user has set.
    """

    cards: tuple[ModelCard, ...]
    problems: tuple[CardProblem, ...] = ()
    overridden: Mapping[str, tuple[str, ...]] = {}


def merge(base: Sequence[ModelCard], overrides: Mapping[str, ModelSpec]) -> Merged:
    """Lay `overrides` over `base`: changed cards keep their place, new ones follow in the order written.

    Problem paths start at the mapping's key: ``("my-model", "context")``.
    """
    known = {name: card for card in base for name in names(card)}
    changed: dict[str, ModelCard] = {card.id: card for card in base}
    problems: list[CardProblem] = []
    for key, spec in overrides.items():
        card, found = _card(key, spec, known)
        problems += found
        if card is not None:
            changed[key] = card
    originals = {card.id: card for card in base}
    faulty = {str(problem.path[0]) for problem in problems}
    while True:
        # A faulty entry gives way to its original, whose names may clash in turn: look until nothing does.
        kept = (originals.get(key) if key in faulty else card for key, card in changed.items())
        cards = tuple(card for card in kept if card is not None)
        clash = next(iter(name_clashes(cards)), None)
        if clash is None:
            overridden = {key: _set(spec) for key, spec in overrides.items() if key in originals.keys() - faulty}
            return Merged(cards, tuple(problems), overridden)
        later, name, earlier = clash
        key, rival = (later.id, earlier) if later.id in overrides.keys() - faulty else (earlier, later.id)
        problems.append(CardProblem((key, "aliases"), f"the name `{name}` already belongs to `{rival}`"))
        faulty.add(key)


def _card(key: str, spec: ModelSpec, known: Mapping[str, ModelCard]) -> tuple[ModelCard | None, list[CardProblem]]:
    """The card an entry stands for, or None with the reasons."""
    base = known.get(key)
    if base is not None and base.id != key:
        return None, [CardProblem((key,), f"is another name of `{base.id}`: change that entry")]
    if spec.like is not None:
        model = known.get(spec.like)
        if model is None:
            return None, [CardProblem((key, "like"), f"`{spec.like}` is not a model of the registry")]
        base = _copy(model, key, base)
    if base is None:
        missing = [field for field in _REQUIRED if getattr(spec, field) is None]
        if missing:
            message = "is required: the registry has no model of this name, and there is no `like`"
            return None, [CardProblem((key, field), message) for field in missing]
        base = _blank(key, spec)
    card = replace(base, **_changes(spec))
    found = [CardProblem((key, *_as_written(p.path)), p.message) for p in card_problems(card)]
    return (None if found else card), found


def _copy(model: ModelCard, key: str, base: ModelCard | None) -> ModelCard:
    """`model`'s figures under another id. It is the same model upstream, so the upstream name is copied too."""
    return replace(model, id=key, upstream=model.upstream or model.id, aliases=() if base is None else base.aliases)


def _blank(key: str, spec: ModelSpec) -> ModelCard:
    """A card for a model the registry does not know. Anything that speaks a chat protocol can stream."""
    return ModelCard(
        id=key,
        provider=spec.provider or "",
        context=spec.context or 0,
        max_output=spec.max_output or 0,
        capabilities=("streaming",),
    )


def _changes(spec: ModelSpec) -> dict[str, Any]:
    """The fields of a card that an entry sets."""
    changes: dict[str, Any] = {
        field: getattr(spec, field)
        for field in (
            "provider", "upstream", "family", "aliases", "context", "max_output", "capabilities", "rejects",
            "tools_effort", "status",
        )
        if getattr(spec, field) is not None
    }  # fmt: skip
    if spec.capabilities == "all":
        changes["capabilities"] = ALL_CAPABILITIES
    if spec.price is not None:
        changes["prices"] = (spec.price,)
    if spec.quality is not None:
        changes["quality"] = Quality(value=spec.quality, note=_FROM_USER)
    if spec.speed is not None:
        changes["speed"] = Figure(value=spec.speed, note=_FROM_USER)
    if spec.ttft_ms is not None:
        changes["ttft_ms"] = Figure(value=spec.ttft_ms, note=_FROM_USER)
    if spec.status is not None:
        changes["retires"] = None
    return changes


def _set(spec: ModelSpec) -> tuple[str, ...]:
    return tuple(field for field in spec.__struct_fields__ if getattr(spec, field) is not None)


def _as_written(path: tuple[str | int, ...]) -> tuple[str | int, ...]:
    """A card's path as the user wrote it: one `price`, not a list of them."""
    return ("price", *path[2:]) if path[:1] == ("prices",) else path

"""The registry as the data plane sees it: small immutable models, found by any of their names."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from difflib import get_close_matches
from types import MappingProxyType

from msgspec import Struct

from .card import ModelCard, Status, name_clashes, names
from .price import PriceList, price_on


class Model(Struct, frozen=True):
    """A card compiled for one day. `upstream` is the provider's own name for it.

    `price` is None for an unpriced model. `quality` is 0..100, `speed` output tokens a second, `ttft`
    milliseconds to the first token; None means not known. `rejects` are request fields it refuses.
    `tools_effort` is the only reasoning_effort its provider takes together with function tools.
    """

    id: str
    provider: str
    upstream: str
    context: int
    max_output: int
    capabilities: frozenset[str] = frozenset()
    rejects: frozenset[str] = frozenset()
    price: PriceList | None = None
    quality: float | None = None
    speed: float | None = None
    ttft: float | None = None
    family: str | None = None
    status: Status = "current"
    retires: date | None = None
    tools_effort: str | None = None


class Registry:
    """All models, compiled. Immutable: another day or other cards make another Registry."""

    __slots__ = ("_by_name", "_cards", "cards", "day", "models", "overridden", "routable")

    cards: tuple[ModelCard, ...]
    """What was written, in the order it was written."""
    models: tuple[Model, ...]
    """The same, compiled, in the same order."""
    routable: tuple[Model, ...]
    """Models a policy may choose by pattern: of a configured provider, and not retired."""
    day: date
    """The day whose prices are in force."""
    overridden: Mapping[str, tuple[str, ...]]
    """Models of models.json that the configuration changes: id to the fields it sets."""

    def __init__(
        self,
        cards: Iterable[ModelCard],
        day: date,
        providers: Iterable[str] | None = None,
        overridden: Mapping[str, tuple[str, ...]] = MappingProxyType({}),
    ) -> None:
        """Compile the cards. `providers` are the configured ones; None means all.

        The cards' names must be unique (`load` and `merge` see to it); a clash is a programming error.
        """
        self.cards = tuple(cards)
        self.day = day
        self.overridden = overridden
        clashes = name_clashes(self.cards)
        if clashes:
            card, name, other = clashes[0]
            raise ValueError(f"`{card.id}` and `{other}` are both called `{name}`")
        self.models = tuple(compile_card(card, day) for card in self.cards)
        configured = None if providers is None else frozenset(providers)
        self.routable = tuple(
            m for m in self.models if not gone(m, day) and (configured is None or m.provider in configured)
        )
        found: dict[str, Model] = {}
        for card, model in zip(self.cards, self.models, strict=True):
            found.update(dict.fromkeys(names(card), model))
        self._by_name: Mapping[str, Model] = MappingProxyType(found)
        self._cards: Mapping[str, ModelCard] = MappingProxyType({card.id: card for card in self.cards})

    def find(self, name: str) -> Model | None:
        """The model with this id, alias, `provider/id` or `provider/alias`."""
        return self._by_name.get(name)

    def card(self, name: str) -> ModelCard | None:
        """The card behind a model: figures with their sources, all price lists."""
        model = self.find(name)
        return None if model is None else self._cards[model.id]

    def suggest(self, name: str) -> str | None:
        """The name most like a mistyped one, for a help text."""
        close = get_close_matches(name, self._by_name, n=1, cutoff=0.6)
        return close[0] if close else None

    def __len__(self) -> int:
        return len(self.models)

    def __iter__(self) -> Iterator[Model]:
        return iter(self.models)

    def __contains__(self, name: object) -> bool:
        return name in self._by_name


def compile_card(card: ModelCard, day: date) -> Model:
    """One card with the price list that is in force on `day`."""
    return Model(
        id=card.id,
        provider=card.provider,
        upstream=card.upstream or card.id,
        context=card.context,
        max_output=card.max_output,
        capabilities=frozenset(card.capabilities),
        rejects=frozenset(card.rejects),
        price=price_on(card.prices, day),
        quality=None if card.quality is None else card.quality.value,
        speed=None if card.speed is None else card.speed.value,
        ttft=None if card.ttft_ms is None else card.ttft_ms.value,
        family=card.family,
        status=card.status,
        retires=card.retires,
        tools_effort=card.tools_effort,
    )


def gone(model: Model, day: date) -> bool:
    """Whether its provider no longer serves it on this day."""
    return model.status == "retired" or (model.retires is not None and model.retires < day)

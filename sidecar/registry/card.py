"""A model's card: what models.json and `models:` in gateway.yaml say about one model.

Prices are USD per million tokens as the providers publish them; `registry/price.py` turns them into integers.
"""

from collections.abc import Iterable
from datetime import date
from itertools import pairwise
from typing import Annotated, Literal, get_args

from msgspec import Meta, Struct

from ..spec import Count, Name, Percent, Spec

PricePerMillion = Annotated[
    float,
    Meta(ge=0, le=2000, description="USD per million tokens. The bound catches a unit slip."),
]
Multiplier = Annotated[float, Meta(ge=0, le=20, description="A factor on prices, for example 0.5 for half of them.")]
Capability = Literal["tools", "vision", "json_object", "json_schema", "reasoning", "streaming", "audio", "documents"]
ALL_CAPABILITIES: tuple[Capability, ...] = get_args(Capability)
"""What `capabilities: all` stands for."""

Status = Literal["current", "deprecated", "retired", "preview"]
FieldName = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_]*$", max_length=64)]
Note = Annotated[str, Meta(max_length=400, description="What a reader should know of the figure.")]
ContextSize = Annotated[int, Meta(ge=256, le=100_000_000, description="Context window in tokens.")]
OutputSize = Annotated[int, Meta(ge=1, le=10_000_000, description="Most output tokens of one answer.")]
Rejects = Annotated[
    tuple[FieldName, ...],
    Meta(description="Request fields this model refuses: they are dropped and named in x-sidecar-warnings."),
]
Effort = Annotated[
    Literal["none", "minimal", "low"],
    Meta(description="The only reasoning_effort the provider takes together with function tools."),
]


class Source(Spec, frozen=True, kw_only=True):
    """Where a figure was found, and the day it was true there.

    A scraper also says which page it was, to the byte, and what found each figure on it.
    """

    url: Annotated[str, Meta(pattern=r"^https?://[^\s]+$", max_length=2048)]
    fetched_at: date
    sha256: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$", description="Of the page as it was served.")] | None = None
    selectors: Annotated[
        dict[FieldName, Annotated[str, Meta(max_length=400)]],
        Meta(description="Figure to the selector and column that found it; other figures are from elsewhere."),
    ] = {}


class PriceTier(Spec, frozen=True, kw_only=True):
    """Prices that hold for the whole request once its input is larger than `above` tokens."""

    above: Count
    input: PricePerMillion
    output: PricePerMillion
    cache_read: PricePerMillion | None = None
    cache_write_5m: PricePerMillion | None = None
    cache_write_1h: PricePerMillion | None = None


class ServiceTier(Spec, frozen=True, kw_only=True):
    """The `multiplier` of every price on a service tier; `cache_read` is that of cached reads where it is another.

    Products are rounded to a millionth of a dollar per million tokens, finer than any provider's list: five thirds
    is written 1.666667.
    """

    multiplier: Multiplier
    cache_read: Multiplier | None = None


class Price(Spec, frozen=True, kw_only=True):
    """One price list, valid from a day on. A missing cache price means: billed as plain input.

    Without a price of their own, reasoning, audio and image tokens cost what text does, and cached audio
    (`cache_read_audio`) what other cached tokens do.

    `cache_write_5m` is the provider's short retention (OpenAI: 30 minutes), `cache_write_1h` its long one
    (OpenAI: 12 hours). `confirmed` is a second source with the same input and output price.
    """

    input: PricePerMillion
    output: PricePerMillion
    cache_read: PricePerMillion | None = None
    cache_write_5m: PricePerMillion | None = None
    cache_write_1h: PricePerMillion | None = None
    reasoning: PricePerMillion | None = None
    audio_input: PricePerMillion | None = None
    audio_output: PricePerMillion | None = None
    image_input: PricePerMillion | None = None
    image_output: PricePerMillion | None = None
    cache_read_audio: PricePerMillion | None = None
    tiers: Annotated[tuple[PriceTier, ...], Meta(description="Rising by `above`.")] = ()
    service_tiers: Annotated[
        dict[FieldName, ServiceTier],
        Meta(
            description="By the name the provider's answer has: batch, flex, priority, fast. Others cost the standard."
        ),
    ] = {}
    valid_from: Annotated[date, Meta(description="First day; absent: since ever.")] | None = None
    source: Source | None = None
    confirmed: Source | None = None
    note: Note | None = None


class Figure(Spec, frozen=True, kw_only=True):
    """A figure with its public source, or with a note that says how else it was come by."""

    value: Annotated[float, Meta(ge=0, le=1_000_000)]
    source: Source | None = None
    note: Note | None = None


class Quality(Figure, frozen=True, kw_only=True):
    """A quality prior on a scale of 0 to 100."""

    value: Percent


class ModelCard(Spec, frozen=True, kw_only=True):
    """One model. `provider` is the name of the provider that serves it, `upstream` the name it has there."""

    id: Name
    provider: Name
    upstream: Name | None = None
    family: Name | None = None
    aliases: tuple[Name, ...] = ()
    context: ContextSize
    max_output: OutputSize
    capabilities: tuple[Capability, ...] = ()
    rejects: Rejects = ()
    tools_effort: Effort | None = None
    prices: Annotated[tuple[Price, ...], Meta(description="Price lists, oldest first.")] = ()
    quality: Annotated[Quality, Meta(description="Quality prior, 0 to 100.")] | None = None
    speed: Annotated[Figure, Meta(description="Output tokens a second.")] | None = None
    ttft_ms: Annotated[Figure, Meta(description="Time to the first token in milliseconds.")] | None = None
    status: Status = "current"
    retires: Annotated[date, Meta(description="The provider's last day for it.")] | None = None
    unlisted: (
        Annotated[date, Meta(description="Since when its provider's price page does not list it any more.")] | None
    ) = None
    limits_source: Annotated[Source, Meta(description="Where context, output and capabilities were read.")] | None = (
        None
    )


class Catalogue(Spec, frozen=True, kw_only=True):
    """models.json as a whole."""

    version: Literal[1]
    generated: date
    models: tuple[ModelCard, ...]
    notes: Annotated[str, Meta(max_length=4000)] | None = None


class CardProblem(Struct, frozen=True):
    """Something wrong with a card: `path` is the field, counted from where the cards are listed."""

    path: tuple[str | int, ...]
    message: str

    def __str__(self) -> str:
        return f"{'.'.join(map(str, self.path))}: {self.message}"


def names(card: ModelCard) -> tuple[str, ...]:
    """Every name a caller may use for this model, its id first."""
    plain = (card.id, *card.aliases)
    return (*plain, *(f"{card.provider}/{name}" for name in plain))


def card_problems(card: ModelCard) -> list[CardProblem]:
    """What the schema cannot say about one card: figures that contradict each other. Paths start at the card."""
    found: list[CardProblem] = []
    if card.max_output > card.context:
        found.append(CardProblem(("max_output",), f"is larger than the context of {card.context} tokens"))
    days = [price.valid_from or date.min for price in card.prices]
    if any(later <= earlier for earlier, later in pairwise(days)):
        found.append(CardProblem(("prices",), "must be oldest first, each list with a later `valid_from`"))
    for index, price in enumerate(card.prices):
        if any(high.above <= low.above for low, high in pairwise(price.tiers)):
            found.append(CardProblem(("prices", index, "tiers"), "must rise by `above`"))
    return found


def name_clashes(cards: Iterable[ModelCard]) -> list[tuple[ModelCard, str, str]]:
    """Names that two cards claim: `(the later card, the name, the earlier card's id)`."""
    owner: dict[str, str] = {}
    found = []
    for card in cards:
        for name in names(card):
            if name in owner:
                found.append((card, name, owner[name]))
            else:
                owner[name] = card.id
    return found

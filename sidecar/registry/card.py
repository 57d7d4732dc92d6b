"""A model's card: what models.json and `models:` in gateway.yaml say about one model.

Prices are USD per million tokens as the providers publish them; `registry/price.py` turns them into integers.
"""

from datetime import date
from typing import Annotated, Literal

from msgspec import Meta

from ..spec import Count, Name, Spec

PricePerMillion = Annotated[
    float,
    Meta(ge=0, le=2000, description="USD per million tokens. The bound catches a unit slip."),
]
Capability = Literal[
    "tools", "vision", "json_object", "json_schema", "reasoning", "streaming", "audio", "documents"
]
Status = Literal["current", "deprecated", "retired", "preview"]


class Source(Spec):
    """Where a figure was found, and when."""

    url: Annotated[str, Meta(max_length=2048)]
    fetched_at: date


class PriceTier(Spec):
    """Prices that hold for the whole request once its input is larger than `above` tokens."""

    above: Count
    input: PricePerMillion
    output: PricePerMillion
    cache_read: PricePerMillion | None = None
    cache_write_5m: PricePerMillion | None = None
    cache_write_1h: PricePerMillion | None = None


class Price(Spec):
    """One price list, valid from a day on. A missing cache price means: billed as plain input."""

    input: PricePerMillion
    output: PricePerMillion
    cache_read: PricePerMillion | None = None
    cache_write_5m: PricePerMillion | None = None
    cache_write_1h: PricePerMillion | None = None
    reasoning: PricePerMillion | None = None
    audio_input: PricePerMillion | None = None
    audio_output: PricePerMillion | None = None
    tiers: tuple[PriceTier, ...] = ()
    valid_from: date | None = None
    source: Source | None = None


class Figure(Spec):
    """A figure with its public source: a quality or speed prior."""

    value: Annotated[float, Meta(ge=0, le=100_000)]
    source: Source | None = None
    note: Annotated[str, Meta(max_length=400)] | None = None


class ModelCard(Spec):
    """One model. `provider` is the name of the provider that serves it, `upstream` the name it has there."""

    id: Name
    provider: Name
    upstream: Name | None = None
    family: Name | None = None
    aliases: tuple[Name, ...] = ()
    context: Annotated[int, Meta(ge=256, le=100_000_000, description="Context window in tokens.")]
    max_output: Annotated[int, Meta(ge=1, le=10_000_000, description="Most output tokens of one answer.")]
    capabilities: tuple[Capability, ...] = ()
    rejects: Annotated[
        tuple[str, ...],
        Meta(
            description="Request fields this model refuses: they are dropped and named in x-sidecar-warnings."
        ),
    ] = ()
    prices: Annotated[tuple[Price, ...], Meta(description="Price lists, oldest first.")] = ()
    quality: Annotated[Figure, Meta(description="Quality prior, 0 to 100.")] | None = None
    speed: Annotated[Figure, Meta(description="Output tokens a second.")] | None = None
    ttft_ms: Annotated[Figure, Meta(description="Time to the first token in milliseconds.")] | None = None
    status: Status = "current"
    retires: date | None = None
    limits_source: (
        Annotated[Source, Meta(description="Where context, output and capabilities were read.")] | None
    ) = None


class Catalogue(Spec):
    """models.json as a whole."""

    version: Literal[1]
    generated: date
    models: tuple[ModelCard, ...]
    notes: Annotated[str, Meta(max_length=4000)] | None = None

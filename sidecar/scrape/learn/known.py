"""The models whose prices are known: found by whatever a page calls them, with the figures of one day."""

import re
from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any

from msgspec import Struct

from ...registry.card import ModelCard, names
from ...registry.diff import price_from

_PRICES = ("input", "output", "cache_read", "cache_write_5m", "cache_write_1h")
_LONG = ("input", "output", "cache_read")
FIELDS = (
    *_PRICES, "audio_input", *(f"long_{name}" for name in _LONG), "context", "max_output",
)  # fmt: skip
"""What is looked for, in the order in which a spec has it."""

_TOKENS = re.compile(r"[a-z0-9]+")


class Model(Struct, frozen=True):
    """One known model: USD per million tokens and tokens, by the field's name in a scraper."""

    id: str
    provider: str
    figures: dict[str, float]


class Known:
    """All known models with a price that is not 0: what costs nothing proves nothing."""

    def __init__(self, cards: Iterable[ModelCard], day: date) -> None:
        self._exact: dict[str, Model] = {}
        self._alike: dict[tuple[str, ...], Model | None] = {}
        self._short: dict[tuple[str, ...], Model | None] = {}
        for card in cards:
            model = Model(card.id, card.provider, _figures(card, day))
            if {"input", "output"} <= model.figures.keys():
                self._take(names(card), model)

    def add(self, provider: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Models as an earlier extraction had them, where the cards have none: `{"id": ..., "input": ...}`."""
        for row in rows:
            figures = {
                name: float(value) for name in FIELDS if isinstance(value := row.get(name), int | float) and value
            }
            name = row.get("id")
            if isinstance(name, str) and {"input", "output"} <= figures.keys() and self.exact(name) is None:
                self._take([name], Model(name, provider, figures))

    def _take(self, names: Iterable[str], model: Model) -> None:
        for name in names:
            self._exact[name] = model
            words = _words(name)
            _claim(self._alike, tuple(sorted(words)), model)
            _claim(self._short, tuple(sorted(words[1:])), model)

    def __len__(self) -> int:
        return len({model.id for model in self._exact.values()})

    def exact(self, text: str) -> Model | None:
        """The model with this very id or alias."""
        return self._exact.get(text)

    def alike(self, text: str) -> Model | None:
        """The model whose name has the same words, in any order and with any signs between: `GPT-4o mini`."""
        if len(text) > 128:
            return None
        return self._exact.get(text) or self._alike.get(tuple(sorted(_words(text))))

    def short(self, text: str) -> Model | None:
        """The model that is meant when the page leaves the name's first word out: `Opus 4.7`."""
        words = _words(text)
        return self._short.get(tuple(sorted(words))) if 1 < len(words) < 12 and len(text) <= 128 else None

    def somehow(self, text: str) -> Model | None:
        """The model that a text is the name of, whatever its form; what is in parentheses is left out."""
        bare = re.sub(r" ?\([^()]*\)", "", text[:256])
        return self.alike(text) or self.alike(bare) or self.short(bare)


def _words(text: str) -> list[str]:
    return _TOKENS.findall(text.lower())


def _claim(table: dict[tuple[str, ...], Model | None], key: tuple[str, ...], model: Model) -> None:
    """A key that two models have is nobody's."""
    table[key] = model if key and table.get(key, model) in (model,) else None


def _figures(card: ModelCard, day: date) -> dict[str, float]:
    price = price_from(card.prices, day)
    if price is None:
        return {}
    figures: dict[str, float | None] = {name: getattr(price, name) for name in _PRICES}
    if price.tiers:
        figures |= {f"long_{name}": getattr(price.tiers[0], name) for name in _LONG}
    figures |= {"audio_input": price.audio_input, "context": card.context, "max_output": card.max_output}
    return {name: value for name, value in figures.items() if value}

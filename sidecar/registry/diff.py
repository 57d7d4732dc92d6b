"""What differs between two catalogues, figure by figure: cards in, changes out. Pure.

Prices are compared by the days on which either side changes them: a list that is added for a day shows as the price in
force before it, and the new one. Where a figure was read is no figure: a new `source` alone is no change.
"""

from collections.abc import Iterable, Iterator
from datetime import date
from typing import Any

import msgspec
from msgspec import Struct

from .card import ModelCard, Price

Value = float | int | str | tuple[str, ...] | None
"""A figure as a card has it, prices in USD per million tokens; None where there is none."""

_PROVENANCE = frozenset({"source", "confirmed", "note", "limits_source"})
_FIGURES = ("quality", "speed", "ttft_ms")
_LISTS = frozenset({"aliases", "capabilities", "rejects"})


class Change(Struct, frozen=True):
    """One figure of one model. `since` is the day from which the new price holds, None when that is since ever or the
    figure is no price; `source` is the page that the new figure was read on."""

    model: str
    field: str
    old: Value
    new: Value
    since: date | None = None
    source: str | None = None

    @property
    def name(self) -> str:
        """The field, with the day where there is one."""
        return self.field if self.since is None else f"{self.field} from {self.since}"


class Diff(Struct, frozen=True):
    """Models that only one side has, by id, and the changed figures of those that both have; in the new one's order."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[Change, ...]

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)


def diff(old: Iterable[ModelCard], new: Iterable[ModelCard]) -> Diff:
    """What one has to change in `old` to have `new`."""
    before = {card.id: card for card in old}
    after = {card.id: card for card in new}
    return Diff(
        tuple(name for name in after if name not in before),
        tuple(name for name in before if name not in after),
        tuple(change for name, card in after.items() if name in before for change in changes(before[name], card)),
    )


def changes(old: ModelCard, new: ModelCard) -> Iterator[Change]:
    """The figures that two cards of one model have differently: prices first, then by name."""
    for day in sorted({price.valid_from or date.min for card in (old, new) for price in card.prices}):
        before, after = price_from(old.prices, day), price_from(new.prices, day)
        source = after.source.url if after is not None and after.source is not None else None
        since = None if day == date.min else day
        for field, one, other in _different(_prices(before), _prices(after)):
            yield Change(new.id, field, one, other, since, source)
    sources = {name: figure.source for name in _FIGURES if (figure := getattr(new, name)) is not None}
    for field, one, other in _different(_rest(old), _rest(new)):
        read = sources.get(field, new.limits_source)
        yield Change(new.id, field, one, other, None, None if read is None else read.url)


def price_from(prices: Iterable[Price], day: date) -> Price | None:
    """The list in force on a day; lists are oldest first."""
    found = None
    for price in prices:
        if (price.valid_from or date.min) <= day:
            found = price
    return found


def as_text(found: Diff) -> str:
    """A line a change, and one that counts them."""
    lines = [f"+ {name}" for name in found.added] + [f"- {name}" for name in found.removed]
    for change in found.changed:
        read = f"  ({change.source})" if change.source else ""
        lines.append(f"~ {change.model}  {change.name}: {shown(change.old)} -> {shown(change.new)}{read}")
    lines.append(counts(found))
    return "".join(f"{line}\n" for line in lines)


def as_markdown(found: Diff) -> str:
    """A table of changes, for a pull request."""
    rows = [f"| `{name}` | | | added | |" for name in found.added]
    rows += [f"| `{name}` | | | removed | |" for name in found.removed]
    for change in found.changed:
        old, new = (shown(value).replace("|", "\\|") for value in (change.old, change.new))
        rows.append(f"| `{change.model}` | {change.name} | {old} | {new} | {change.source or ''} |")
    table = "\n".join(["| model | figure | old | new | source |", "| --- | --- | --- | --- | --- |", *rows, "", ""])
    return f"{table if rows else ''}{counts(found)}\n"


def counts(found: Diff) -> str:
    """How much differs, in one line."""
    figures = len(found.changed)
    models = len({change.model for change in found.changed})
    changed = f"{figures} figures of {models} models changed"
    return f"{len(found.added)} models added, {len(found.removed)} removed, {changed}"


def shown(value: Value) -> str:
    """A figure for people."""
    if value is None:
        return "-"
    if isinstance(value, tuple):
        return " ".join(value) or "-"
    return str(value) if isinstance(value, str | int) else f"{value:g}"


def _different(old: dict[str, Value], new: dict[str, Value]) -> Iterator[tuple[str, Value, Value]]:
    for field in dict.fromkeys([*new, *old]):
        if old.get(field) != new.get(field):
            yield field, old.get(field), new.get(field)


def _prices(price: Price | None) -> dict[str, Value]:
    """A list's figures by name: `input`, `tiers.200000.input`, `service_tiers.batch.multiplier`."""
    if price is None:
        return {}
    flat: dict[str, Value] = {}
    fields: dict[str, Any] = msgspec.to_builtins(price)
    for tier in fields.pop("tiers", ()):
        flat |= {f"tiers.{tier['above']}.{name}": value for name, value in tier.items() if name != "above"}
    for tier, values in fields.pop("service_tiers", {}).items():
        flat |= {f"service_tiers.{tier}.{name}": value for name, value in values.items()}
    flat |= {name: value for name, value in fields.items() if name not in _PROVENANCE and name != "valid_from"}
    return flat


def _rest(card: ModelCard) -> dict[str, Value]:
    """All of a card but its prices; the order of names and abilities means nothing."""
    flat: dict[str, Value] = {}
    for name, value in msgspec.to_builtins(card).items():
        if name in _FIGURES:
            flat[name] = None if value is None else value["value"]
        elif name in _LISTS:
            flat[name] = tuple(sorted(value)) or None
        elif name not in _PROVENANCE and name not in ("id", "prices"):
            flat[name] = value
    return flat

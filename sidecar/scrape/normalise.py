"""A row of a page laid over a model's card. Pure.

What the page does not say stays as it is. A price that changes becomes a new list, valid from today: what was spent
before is not repriced.
"""

from collections.abc import Mapping
from datetime import date
from math import isclose
from typing import Any

from msgspec.structs import replace

from ..registry.card import FieldName as Field
from ..registry.card import ModelCard, Price, PriceTier, ServiceTier, Source
from .check import relations
from .finding import QuarantineError, Reason, Row

PLAIN = ("input", "output", "cache_read", "cache_write_5m", "cache_write_1h", "audio_input", "audio_output")
_LONG = ("input", "output", "cache_read")
_SERVICE = ("batch", "priority")
_SIZES = ("context", "max_output")
ROUNDING = 0.05
"""Pages write 1M for 1,048,576: a size that differs by less is the same."""
_RANK = ("preview", "current", "deprecated", "retired")
"""A page may move a model's status onwards, never back."""


def laid_over(card: ModelCard, row: Row, source: Source, today: date) -> ModelCard:
    """The card with a row's figures. Raises QuarantineError when they do not go together with those it keeps."""
    changes: dict[str, Any] = {"unlisted": None}
    if status := row.values.get("status"):
        changes["status"] = max(card.status, status, key=lambda each: _RANK.index(each) if each in _RANK else -1)
    for name in _SIZES:
        new, old = row.values.get(name), getattr(card, name)
        if new is not None and not isclose(new, old, rel_tol=ROUNDING):
            changes[name] = new
            changes["limits_source"] = _narrowed(source, [name])
    return replace(card, **changes, prices=_prices(card.prices, row, source, today))


def figures(card: ModelCard, today: date) -> dict[str, Any]:
    """All that a scraper may change, by name; `long_` are the tiers' prices, `batch` and `priority` multipliers."""
    found: dict[str, Any] = {name: getattr(card, name) for name in (*_SIZES, "status", "unlisted")}
    price = in_force(card.prices, today)
    return found if price is None else {**found, **_flat(price)}


def in_force(prices: tuple[Price, ...], today: date) -> Price | None:
    """The list of today."""
    past = [price for price in prices if price.valid_from is None or price.valid_from <= today]
    return past[-1] if past else None


def same(old: Any, new: Any) -> bool:
    """Whether two figures are one, but for the noise of fractions."""
    both = isinstance(old, int | float) and isinstance(new, int | float)
    return isclose(old, new, rel_tol=1e-6) if both else bool(old == new)


def _flat(price: Price) -> dict[str, Any]:
    found: dict[str, Any] = {name: getattr(price, name) for name in PLAIN}
    for tier in price.tiers[:1]:
        found |= {"long_above": tier.above, **{f"long_{name}": getattr(tier, name) for name in _LONG}}
    found |= {name: price.service_tiers[name].multiplier for name in _SERVICE if name in price.service_tiers}
    return {name: value for name, value in found.items() if value is not None}


def _prices(prices: tuple[Price, ...], row: Row, source: Source, today: date) -> tuple[Price, ...]:
    old = in_force(prices, today)
    given = {name: row.values[name] for name in PLAIN if name in row.values}
    if not {"input", "output"} <= given.keys():
        return prices
    base = Price(input=given["input"], output=given["output"]) if old is None else old
    new = replace(base, **given, tiers=_tiers(base, row.values), service_tiers=_service_tiers(base, row.values))
    _together(new)
    if old is not None and _unchanged(_flat(old), _flat(new)):
        # A figure gets the page as its source once; renewing it each night would be a new policy each night.
        known = old.source is not None and old.source.sha256 is not None
        new = old if known else replace(old, source=_narrowed(source, row.values))
        return tuple(new if price is old else price for price in prices)
    kept = sorted(_flat(new).keys() - row.values.keys() - {"long_above", *_SERVICE})
    note = f"Not on the page, and as it was before: {', '.join(kept)}."[:400] if kept and old is not None else None
    new = replace(new, valid_from=today, source=_narrowed(source, row.values), confirmed=None, note=note)
    before = tuple(price for price in prices if price.valid_from is None or price.valid_from < today)
    return (*before, new, *(price for price in prices if price.valid_from is not None and price.valid_from > today))


def _unchanged(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    return old.keys() == new.keys() and all(same(old[name], new[name]) for name in old)


def _tiers(price: Price, values: Mapping[str, Any]) -> tuple[PriceTier, ...]:
    """The prices of long inputs. A page that gives them without the size they begin at means the one that is known."""
    if not {"long_input", "long_output"} <= values.keys():
        return price.tiers
    above = values.get("long_above") or (price.tiers[0].above if len(price.tiers) == 1 else None)
    if above is None:
        message = "a price for long inputs, and neither page nor registry says from which size on"
        raise QuarantineError(Reason.MISSING_VALUE, message)
    given = {name: values[f"long_{name}"] for name in _LONG if f"long_{name}" in values}
    known = next((tier for tier in price.tiers if tier.above == above), None)
    if known is None:
        return (PriceTier(above=above, **given),)
    return tuple(replace(tier, **given) if tier is known else tier for tier in price.tiers)


def _service_tiers(price: Price, values: Mapping[str, Any]) -> dict[Field, ServiceTier]:
    """Batch and priority as multipliers, where one factor says both of the page's prices."""
    found = dict(price.service_tiers)
    for name in _SERVICE:
        pairs = [(values.get(f"{name}_{way}"), values[way]) for way in ("input", "output")]
        factors = [round(special / plain, 6) for special, plain in pairs if special is not None and plain]
        if len(factors) == 2 and same(*factors) and (name not in found or not same(found[name].multiplier, factors[0])):
            found[name] = ServiceTier(multiplier=factors[0])
    return found


def _together(price: Price) -> None:
    """Figures of the page and those that stay must make one price list."""
    faults = list(relations(_flat(price)))
    for tier in price.tiers:
        own = {name: getattr(tier, name) for name in PLAIN if getattr(tier, name, None) is not None}
        faults += (f"above {tier.above}: {fault}" for fault in relations(own))
    if faults:
        message = f"together with what the registry has and the page does not say: {'; '.join(faults)}"
        raise QuarantineError(Reason.IMPLAUSIBLE, message)


def _narrowed(source: Source, names: Any) -> Source:
    """The source with the selectors of these figures alone."""
    money = {name: text for name, text in source.selectors.items() if name in names and name not in ("id", "status")}
    return replace(source, selectors=money)

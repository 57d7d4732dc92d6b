"""What must hold of a model's prices whatever page they are from; a spec may ask for more."""

from collections.abc import Iterator, Mapping
from typing import Any

from .finding import QuarantineError, Reason
from .spec import MONEY, Scraper, Source

LOWEST, HIGHEST = 0.001, 2000.0
"""USD per million tokens, where a spec has no bounds of its own. Nothing that a page lists is free."""

RELATIONS: tuple[tuple[str, float, str], ...] = (
    ("input", 1, "output"),
    ("output", 30, "input"),
    ("cache_read", 1, "input"),
    ("input", 100, "cache_read"),
    ("input", 1, "cache_write_5m"),
    ("cache_write_5m", 1, "cache_write_1h"),
    ("cache_write_5m", 2, "input"),
    ("cache_write_1h", 4, "input"),
    ("batch_input", 1, "input"),
    ("input", 2.1, "batch_input"),
    ("batch_output", 1, "output"),
    ("output", 2.1, "batch_output"),
    ("input", 1, "priority_input"),
    ("priority_input", 3, "input"),
    ("output", 1, "priority_output"),
    ("priority_output", 3, "output"),
    ("input", 1, "long_input"),
    ("long_input", 4, "input"),
    ("output", 1, "long_output"),
    ("long_output", 4, "output"),
    ("cache_read", 1, "long_cache_read"),
    ("long_cache_read", 1, "input"),
    ("audio_input", 20, "input"),
    ("input", 1, "audio_input"),
)
"""The first is at most so many times the third. Wide enough for every price list seen, too narrow for a unit slip,
a swapped column or another tier's table."""


def plausible(scraper: Scraper, source: Source, values: Mapping[str, Any], given: frozenset[str]) -> None:
    """Raises QuarantineError with what is wrong with a model's figures; `given` are those that the spec states."""
    missing = [name for name in scraper.required if values.get(name) is None]
    if missing:
        raise QuarantineError(Reason.MISSING_VALUE, f"has no {' and no '.join(f'`{name}`' for name in missing)}")
    bounds = {str(name): bound for name, bound in scraper.bounds.items()}
    for name in sorted(MONEY & values.keys() - given):
        low, high = bounds.get(name, (LOWEST, HIGHEST))
        if not low <= values[name] <= high:
            message = f"`{name}` is {values[name]:g} USD per million tokens, outside {low:g} to {high:g}"
            raise QuarantineError(Reason.OUT_OF_BOUNDS, message)
    if faults := [*relations(values), *_faults(source, values)]:
        raise QuarantineError(Reason.IMPLAUSIBLE, "; ".join(faults))


def relations(values: Mapping[str, Any]) -> Iterator[str]:
    """What is wrong between the prices of one model."""
    for small, times, large in RELATIONS:
        if small in values and large in values and values[small] > times * values[large] * (1 + 1e-9):
            bound = f"`{large}`" if times == 1 else f"{times:g} times `{large}`"
            yield f"`{small}` of {values[small]:g} is more than {bound} of {values[large]:g}"


def _faults(source: Source, values: Mapping[str, Any]) -> Iterator[str]:
    for kind in ("batch", "priority", "long"):
        have = {name for name in values if name.startswith(f"{kind}_") and name in MONEY}
        if lacking := sorted({f"{kind}_input", f"{kind}_output"} - have) if have else []:
            yield f"`{min(have)}` without `{lacking[0]}`"
    for one, other, low, high in source.ratios:
        if one in values and other in values and not low - 1e-6 <= values[one] / values[other] <= high + 1e-6:
            bound = f"{low:g} to {high:g}" if low < high else f"{low:g}"
            yield f"`{one}` of {values[one]:g} is not {bound} times `{other}` of {values[other]:g}"
    context, output = values.get("context"), values.get("max_output")
    if context is not None and output is not None and output > context:
        yield f"`max_output` of {output} is more than `context` of {context}"

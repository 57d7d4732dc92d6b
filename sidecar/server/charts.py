"""Figures -> SVG, drawn on the server: bars, stacks and lines with axes and units, every mark with its own text.

A picture has a name for screen readers; whoever draws one also gives its figures as a table. Colours are the style
sheet's: a series has the class `c0` to `c5`. No attribute styles anything, for the page's policy forbids it.
"""

from collections.abc import Callable, Sequence
from math import floor, log10

from msgspec import Struct

from .page import Html, join, tag

COLOURS = 6
"""Series that are told apart; what is more is drawn together as the last."""
_WIDTH, _HEIGHT = 560.0, 230.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 64.0, 8.0, 12.0, 30.0
_TICKS = 4

Form = Callable[[float], str]
"""A value as the axis and the tooltips show it."""


class Series(Struct, frozen=True):
    """One colour of a chart: a value for each place of the x axis, None where there is none."""

    name: str
    values: Sequence[float | None]


class Places(Struct, frozen=True):
    """The x axis: a name for each place, and which of them are written."""

    names: Sequence[str]
    every: int = 1


def bars(title: str, places: Places, series: Sequence[Series], form: Form) -> Html:
    """Bars, those of one place stacked."""
    heights = [sum(one.values[place] or 0.0 for one in series) for place in range(len(places.names))]
    top = ceiling(max(heights, default=0.0))
    step = (_WIDTH - _LEFT - _RIGHT) / max(1, len(places.names))
    wide = min(step * 0.72, 34.0)
    based = [0.0] * len(places.names)
    marks: list[Html] = []
    for colour, one in enumerate(series):
        bricks = []
        for place, name in enumerate(places.names):
            value = one.values[place] or 0.0
            if value > 0:
                low, high = round(_y(based[place], top)), round(_y(based[place] + value, top))
                x, height = _LEFT + step * (place + 0.5) - wide / 2, max(low - high - (1 if based[place] else 0), 1)
                text = tag("title", f"{name} · {one.name}: {form(value)}")
                bricks.append(tag("rect", text, x=_n(x), y=_n(high), width=_n(wide), height=_n(height)))
                based[place] += value
        marks.append(tag("g", bricks, class_=f"c{min(colour, COLOURS - 1)}"))
    return _picture(title, _axes(places, top, form, step), marks)


def lines(title: str, places: Places, series: Sequence[Series], form: Form) -> Html:
    """A line for each series, broken where it has no value."""
    known = [value for one in series for value in one.values if value is not None]
    top = ceiling(max(known, default=0.0))
    step = (_WIDTH - _LEFT - _RIGHT) / max(1, len(places.names))
    marks: list[Html] = []
    for colour, one in enumerate(series):
        dots = [
            (_LEFT + step * (place + 0.5), _y(value, top), places.names[place], value)
            for place, value in enumerate(one.values)
            if value is not None
        ]
        steps = [
            ("L" if place and one.values[place - 1] is not None else "M", place)
            for place, value in enumerate(one.values)
            if value is not None
        ]
        path = "".join(f"{move}{_n(x)} {_n(y)}" for (move, _), (x, y, _, _) in zip(steps, dots, strict=True))
        spots = [
            tag("circle", tag("title", f"{name} · {one.name}: {form(value)}"), cx=_n(x), cy=_n(y))
            for x, y, name, value in dots
        ]
        marks.append(tag("g", tag("path", d=path, class_="line"), spots, class_=f"c{colour}"))
    return _picture(title, _axes(places, top, form, step), marks)


def meter(share: float, colour: str = "c0", more: float = 0.0) -> Html:
    """A thin bar that is filled by a share, 0 to 1; `more` is a paler part after it. The figure stands beside it."""
    first = max(0.0, min(1.0, share)) * 100
    second = max(0.0, min(100.0 - first, more * 100))
    filled = [tag("rect", width=f"{first:.1f}%", class_=colour)]
    if second:
        filled.append(tag("rect", x=f"{first:.1f}%", width=f"{second:.1f}%", class_=f"{colour} pale"))
    return tag("svg", filled, class_="meter", aria_hidden="true")


def legend(series: Sequence[Series]) -> Html:
    """What each colour is."""
    return tag("ul", [tag("li", swatch(place), one.name) for place, one in enumerate(series)], class_="legend")


def swatch(place: int) -> Html:
    """A spot of a series' colour."""
    return tag("i", class_=f"swatch c{min(place, COLOURS - 1)}")


def ceiling(value: float) -> float:
    """The smallest top of an axis whose _TICKS parts are round figures."""
    if value <= 0:
        return float(_TICKS)
    part = value / _TICKS
    power = 10.0 ** floor(log10(part))
    nice = next(step for step in (1, 1.5, 2, 2.5, 3, 4, 5, 10) if step * power >= part * (1 - 1e-9))
    return nice * power * _TICKS


def _axes(places: Places, top: float, form: Form, step: float) -> list[Html]:
    ticks = [top * tick / _TICKS for tick in range(_TICKS + 1)]
    levels = [f"M{_n(_LEFT)} {_n(_y(value, top))}H{_n(_WIDTH - _RIGHT)}" for value in ticks]
    values = [tag("text", form(value), x=_n(_LEFT - 8), y=_n(_y(value, top) + 4)) for value in ticks]
    names = [
        tag("text", places.names[place], x=_n(_LEFT + step * (place + 0.5)), y=_n(_HEIGHT - 8))
        for place in range(0, len(places.names), places.every)
    ]
    return [
        tag("path", d="".join(levels[1:]), class_="grid"),
        tag("path", d=levels[0], class_="axis"),
        tag("g", values, class_="end"),
        tag("g", names, class_="places"),
    ]


def _picture(title: str, axes: Sequence[Html], marks: Sequence[Html]) -> Html:
    return tag(
        "svg",
        tag("g", axes, aria_hidden="true"),
        join(marks),
        viewBox=f"0 0 {_n(_WIDTH)} {_n(_HEIGHT)}",
        role="img",
        aria_label=title,
        class_="chart",
    )


def _y(value: float, top: float) -> float:
    return _HEIGHT - _BOTTOM - (_HEIGHT - _BOTTOM - _TOP) * value / top


def _n(value: float) -> str:
    """A coordinate: a picture is about as many pixels wide as it has units."""
    return str(round(value))

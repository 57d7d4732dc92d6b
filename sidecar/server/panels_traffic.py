"""Panels of what was asked, how long it took and what it cost."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from math import isclose

from .charts import COLOURS, Places, Series, bars, legend, lines, meter, swatch
from .page import Column, Html, join, table, tag
from .record_data import DayCost, HistoryStatus, HourStatus, NamedStatus, SavedStatus, WindowStatus
from .status_data import AddedStatus, ModelTraffic, Status, Traffic
from .status_words import NONE, clock, dollars, empty, milliseconds, money, more, percent, section

_DAY = 86_400
_DAYS = 14
_HOURS = 24
_SHOWN = 8
"""Names in a list of shares; the table has all."""


def overview(status: Status) -> Html:
    """The figures one comes for."""
    problem = status.traffic_problem
    note = tag("p", f"These figures are old or absent: {problem}.", class_="warn") if problem else None
    if status.traffic is None or status.record is None:
        return section("overview", "Last 24 hours", note)
    tiles = _tiles(status.traffic, status.record.history, status.added)
    return section("overview", "Last 24 hours", note, tag("dl", tiles, class_="tiles"))


def _tiles(traffic: Traffic, history: HistoryStatus, added: AddedStatus) -> list[Html]:
    day, week = history.day, history.week
    rate = traffic.cache_hit_rate
    lookups = f"{traffic.cache_hits:,} of {traffic.cache_lookups:,} look-ups" if rate is not None else "no look-ups"
    tokens = f"{short(traffic.input_tokens)} tokens in, {short(traffic.output_tokens)} out"
    return [
        _tile("Cost", money(traffic.cost_usd), f"{money(week.cost_usd)} in 7 days"),
        _saved(week.saved),
        _tile("Requests", f"{traffic.requests:,}", f"{week.requests:,} in 7 days", tokens),
        _tile("Cache hit rate", percent(rate), lookups),
        _tile("Latency p50", milliseconds(day.latency_p50_ms), *_tail(day.latency_p95_ms, day.latency_p99_ms)),
        _tile("Added by the gateway", _within(added.p50_ms), *_tail(added.p95_ms, added.p99_ms, "≤ "), "since start"),
        _tile("First token", milliseconds(traffic.first_token_ms), "average"),
        _tile("Failed attempts", _failed(day), f"{day.failures:,} failed, {day.repeated:,} retries and fallbacks"),
    ]


def _saved(saved: SavedStatus | None) -> Html:
    if saved is None:
        return _tile("Saved, 7 days", NONE, "no model has a quality prior and a price")
    share = "" if saved.share is None else f"{saved.share:.0%} less than "
    return _tile("Saved, 7 days", money(saved.saved_usd), f"{share}always {saved.model}" if share else saved.model)


def _failed(window: WindowStatus) -> str:
    return percent(window.failures / window.attempts if window.attempts else None)


def _tail(p95: float | None, p99: float | None, within: str = "") -> tuple[str, ...]:
    return () if p95 is None else (f"p95 {within}{milliseconds(p95)}, p99 {within}{milliseconds(p99)}",)


def _within(value: float | None) -> str:
    return NONE if value is None else f"≤ {milliseconds(value)}"


def _tile(name: str, figure: str, *notes: str) -> Html:
    return tag("div", tag("dt", name), tag("dd", tag("strong", figure), tag("small", ", ".join(notes))))


def costs(status: Status) -> Html | None:
    """Cost by day and model."""
    if status.record is None:
        return None
    found = status.record.history.costs
    title = "Cost by day and model"
    if not found:
        return section("cost", title, empty("Nothing was spent in the last 14 days."))
    today = int(status.now // _DAY)
    days = [today - _DAYS + 1 + place for place in range(_DAYS)]
    series = _stacked(found, days)
    places = Places([clock(day * _DAY, "%b %d").replace(" 0", " ") for day in days], 2)
    return section(
        "cost",
        title,
        bars("Cost by day and model, US dollars, the last 14 days", places, series, dollars_exactly),
        legend(series),
        more("cost-table", "As a table", _cost_table(found)),
        note="US dollars, days are UTC",
    )


def _stacked(found: Sequence[DayCost], days: Sequence[int]) -> list[Series]:
    """The dearest models by day, the rest as one."""
    cells: dict[tuple[str, int], float] = {}
    for cost in found:
        cell = cost.model, int(cost.day // _DAY)
        cells[cell] = cells.get(cell, 0.0) + float(cost.cost_usd)
    kept, rest = _dearest(found)
    series = [Series(name, [cells.get((name, day), 0.0) for day in days]) for name in kept]
    if rest:
        others = [sum(cells.get((name, day), 0.0) for name in rest) for day in days]
        series.append(Series(f"{len(rest)} others", others))
    return series


def _dearest(found: Sequence[DayCost]) -> tuple[list[str], list[str]]:
    """The models that have a colour of their own, the dearest first, and those that share one."""
    sums: dict[str, float] = {}
    for cost in found:
        sums[cost.model] = sums.get(cost.model, 0.0) + float(cost.cost_usd)
    names = sorted(sums, key=lambda name: (-sums[name], name))
    own = len(names) if len(names) <= COLOURS else COLOURS - 1
    return names[:own], names[own:]


def _cost_table(found: Sequence[DayCost]) -> Html:
    columns = [Column("Day"), Column("Model"), Column("Cost", number=True)]
    ordered = sorted(found, key=lambda cost: (-cost.day, -Decimal(cost.cost_usd)))
    rows = [[clock(cost.day, "%Y-%m-%d"), cost.model, money(cost.cost_usd)] for cost in ordered[:200]]
    return table("Cost by day and model", columns, rows, hidden=True)


def requests(status: Status) -> Html | None:
    """Requests by hour."""
    if status.record is None:
        return None
    hours = status.record.history.hours
    if not hours:
        return section("requests", "Requests by hour", empty("No request in the last 24 hours."))
    at, by_hour = _by_hour(status.now, hours)
    # A request may fail several times and be answered all the same: bars of both do not add up to requests.
    asked = Series("requests", [float(by_hour[hour].requests) if hour in by_hour else 0.0 for hour in at])
    places = _hour_places(at)
    return section(
        "requests",
        "Requests by hour",
        bars("Requests by hour, the last 24 hours", places, [asked], lambda value: f"{value:,g}"),
        more("hours-table", "As a table", _hour_table(hours)),
        note="hours are UTC",
    )


def latency(status: Status) -> Html | None:
    """Latency by hour."""
    if status.record is None:
        return None
    hours = status.record.history.hours
    if all(hour.latency_p50_ms is None for hour in hours):
        return section("latency", "Latency by hour", empty("No model was called in the last 24 hours."))
    at, by_hour = _by_hour(status.now, hours)
    series = [
        Series("p50", [by_hour[hour].latency_p50_ms if hour in by_hour else None for hour in at]),
        Series("p95", [by_hour[hour].latency_p95_ms if hour in by_hour else None for hour in at]),
    ]
    return section(
        "latency",
        "Latency by hour",
        lines("Latency of attempts by hour, p50 and p95, the last 24 hours", _hour_places(at), series, _axis_time),
        legend(series),
        note="whole attempts; as a table under requests",
    )


def _by_hour(now: float, hours: Sequence[HourStatus]) -> tuple[list[int], dict[int, HourStatus]]:
    last = int(now // 3600)
    return list(range(last - _HOURS + 1, last + 1)), {int(hour.at // 3600): hour for hour in hours}


def _hour_places(at: Sequence[int]) -> Places:
    return Places([clock(hour * 3600) for hour in at], 3)


def _axis_time(value: float) -> str:
    return f"{value / 1000:g} s" if value >= 1000 else f"{value:g} ms"


def _hour_table(hours: Sequence[HourStatus]) -> Html:
    columns = [Column("Hour"), *(Column(name, number=True) for name in ("Requests", "Failed attempts", "p50", "p95"))]
    rows = [
        [
            clock(hour.at, "%m-%d %H:%M"),
            f"{hour.requests:,}",
            f"{hour.failures:,}",
            milliseconds(hour.latency_p50_ms),
            milliseconds(hour.latency_p95_ms),
        ]
        for hour in reversed(hours)
    ]
    return table("Requests and latency by hour", columns, rows, hidden=True)


def shares(status: Status) -> Html | None:
    """Who answered, for which tier and whom."""
    if status.traffic is None or status.record is None:
        return None
    history = status.record.history
    if not status.traffic.models:
        return section("models-used", "Where requests went", empty("No model was called yet."))
    models = [NamedStatus(model.model, model.attempts, model.cost_usd) for model in status.traffic.models]
    colours = {name: place for place, name in enumerate(_dearest(history.costs)[0])}
    return section(
        "models-used",
        "Where requests went",
        _shares("By model", models, "attempts and cache hits", colours),
        _shares("By tier", history.tiers, "requests"),
        _shares("By tenant", history.tenants, "requests") if len(history.tenants) > 1 else None,
        more("calls-table", "Calls by model as a table", _calls(status.traffic.models)),
        note="last 24 hours",
    )


def _shares(
    title: str, named: Sequence[NamedStatus], what: str, colours: Mapping[str, int] | None = None
) -> Html | None:
    """`colours` are those of the chart of costs, where the names are the same."""
    total = sum(one.requests for one in named)
    if not total:
        return None
    rows = [
        tag(
            "tr",
            tag("th", swatch(_colour(one, colours)) if colours else None, one.name, scope="row"),
            tag("td", meter(one.requests / total, f"c{_colour(one, colours)}")),
            tag("td", percent(one.requests / total), class_="n"),
            tag("td", money(one.cost_usd), class_="n"),
        )
        for one in named[:_SHOWN]
    ]
    heads = [tag("th", title, scope="col"), tag("td")]
    heads += [tag("th", head, scope="col", class_="n") for head in ("Share", "Cost")]
    rest = len(named) - _SHOWN
    return join(
        tag(
            "table",
            tag("caption", f"{title}: share of {what}, and cost", class_="unseen"),
            tag("thead", tag("tr", heads)),
            tag("tbody", rows),
            class_="shares",
        ),
        tag("p", f"{rest:,} more", class_="quiet") if rest > 0 else None,
    )


def _colour(one: NamedStatus, colours: Mapping[str, int] | None) -> int:
    return 0 if colours is None else colours.get(one.name, COLOURS - 1)


def _calls(models: Sequence[ModelTraffic]) -> Html:
    names = ("Attempts", "Failed", "Cost", "Latency", "First token")
    columns = [Column("Model"), Column("Provider"), *(Column(name, number=True) for name in names)]
    rows = [
        [
            m.model,
            m.provider,
            f"{m.attempts:,}",
            f"{m.failures:,}",
            money(m.cost_usd),
            milliseconds(m.latency_ms),
            milliseconds(m.first_token_ms),
        ]
        for m in models
    ]
    return table("Calls by model, last 24 hours", columns, rows, hidden=True)


def dollars_exactly(value: float) -> str:
    """An amount in a chart: two digits, as on the axis, or cents and less, as in the tooltips."""
    return dollars(value) if isclose(value, float(f"{value:.2g}")) else money(f"{value:.9f}")


def short(count: int) -> str:
    """A large count in few letters."""
    for size, unit in ((10**9, "G"), (10**6, "M"), (10**3, "k")):
        if count >= size:
            return f"{count / size:.3g}{unit}"
    return str(count)

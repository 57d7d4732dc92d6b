"""Figures, states and times as people read them."""

from datetime import UTC, datetime
from decimal import Decimal

from .page import Child, Html, join, tag

NONE = "–"
_GOOD = frozenset({"ready", "loaded", "unchanged", "active", "answered", "hit", "closed", "current"})
_NEUTRAL = frozenset(
    {"not configured", "disabled", "none configured", "unused", "expired", "revoked", "cancelled", "retired", "git"}
)


def section(ident: str, title: str, *content: Child, note: Child = None) -> Html:
    """A panel with an id, by which the page's script finds it again."""
    head = tag("div", tag("h2", title), tag("p", note, class_="quiet") if note else None, class_="head")
    return tag("section", head, *content, id=ident)


def more(ident: str, title: str, *content: Child) -> Html:
    """What is read when one wants to know more. Its id keeps it open when the panel is renewed."""
    return tag("details", tag("summary", title), *content, id=ident)


def empty(text: str) -> Html:
    """What stands where there is nothing yet."""
    return tag("p", text, class_="empty")


def facts(rows: list[tuple[str, Child]]) -> Html:
    """Names and what they are."""
    return tag("dl", [join(tag("dt", name), tag("dd", value)) for name, value in rows], class_="facts")


def mark(state: str) -> Html:
    """A state as a word with a colour: the colour alone says nothing to many."""
    shape = "good" if state in _GOOD else "off" if state in _NEUTRAL else "bad"
    return tag("span", state, class_=f"mark {shape}")


def figure(value: float | None) -> str:
    """A figure without needless digits."""
    return NONE if value is None else f"{value:,.1f}".removesuffix(".0")


def percent(share: float | None) -> str:
    """A share, 0 to 1."""
    return NONE if share is None else f"{share:.1%}"


def money(text: str) -> str:
    """US dollars with as many digits as say something."""
    amount = Decimal(text)
    sign, amount = ("-" if amount < 0 else ""), abs(amount)
    if not amount or amount >= Decimal("0.01"):
        return f"{sign}${amount:,.2f}"
    return f"{sign}${amount:.6f}" if amount >= Decimal("0.000001") else f"<{sign}$0.000001"


def dollars(value: float) -> str:
    """US dollars on an axis, whose figures are round: as short as they can be, and nothing of them lost."""
    if value >= 10_000:
        return f"${value / 1000:,.10g}k"
    whole, _, part = f"{value:,.9f}".rstrip("0").partition(".")
    return f"${whole}.{part:0<2}" if part else f"${whole}"


def milliseconds(value: float | None) -> str:
    """A time in the unit people think in."""
    if value is None:
        return NONE
    return f"{value / 1000:,.2f} s" if value >= 1000 else f"{value:,.0f} ms" if value >= 10 else f"{value:.1f} ms"


def moment(at: float) -> Html:
    """A point in time, for people and for programs."""
    when = datetime.fromtimestamp(at, UTC)
    return tag("time", when.strftime("%Y-%m-%d %H:%M:%S UTC"), datetime=when.isoformat(timespec="seconds"))


def clock(at: float, form: str = "%H:%M") -> str:
    """A time of day, UTC."""
    return datetime.fromtimestamp(at, UTC).strftime(form)


def ago(now: float, at: float) -> str:
    """How long since, for example `3 min ago`."""
    return f"{span(now - at)} ago"


def span(seconds: float) -> str:
    """A length of time in its largest unit or two."""
    whole = max(0, int(seconds))
    for unit, size, smaller, part in (("d", 86400, "h", 3600), ("h", 3600, "min", 60)):
        if whole >= size:
            return f"{whole // size} {unit} {whole % size // part} {smaller}"
    return f"{whole // 60} min" if whole >= 60 else f"{whole} s"

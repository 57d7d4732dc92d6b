"""Panels of what the gateway may use: providers, budgets, keys, the catalogue and where its prices are from."""

from decimal import Decimal
from urllib.parse import urlsplit

import msgspec

from .charts import meter
from .page import Child, Column, Html, code_block, join, table, tag
from .record_data import ChangeStatus
from .status_data import BudgetStatus, KeyStatus, ModelStatus, ProviderStatus, Status
from .status_words import NONE, clock, empty, facts, figure, mark, moment, money, more, section

MAX_LISTED = 5
"""Models in the page; all are on a page of their own."""
CATALOGUE = "/status/models"
_MAX_ACCOUNTS = 40
_AT_ONCE = 8
"""Accounts, and keys, that are not folded."""
_LONG_HOST = 24
"""Characters of a host that stand on one line beside the other columns."""
_CHANGES = 4
"""Changes of the registry that are shown at once."""


def providers(status: Status) -> Html:
    """Providers, their keys, and the breakers of their models."""
    found = status.providers
    if not found:
        return section("providers", "Providers", tag("p", "No provider is configured.", class_="warn"))
    rows = [_provider(provider) for provider in found]
    columns = [Column("Provider"), Column("State"), Column("Key"), Column("Models ready", number=True)]
    resting = [model for model in status.models if model.state == "resting"]
    open_ = [tag("li", tag("code", model.id), f": {model.reason}") for model in resting[:20]]
    return section(
        "providers",
        "Providers and breakers",
        table("Providers and their health", columns, rows, hidden=True),
        join(tag("h3", "Models at rest"), tag("ul", open_))
        if open_
        else tag("p", "No breaker is open.", class_="quiet"),
    )


def _provider(p: ProviderStatus) -> list[Child]:
    protocol = tag("small", p.protocol) if p.protocol != p.name else None
    name = join(p.name, protocol, tag("small", tag("code", _by_label(p.host))))
    ready = f"{p.models:,}" if not p.models_down else f"{p.models:,} of {p.models + p.models_down:,}"
    return [name, join(mark(p.state), tag("small", p.reason) if p.reason else None), _keys(p), ready]


def _keys(provider: ProviderStatus) -> str | Html:
    """Whether there is a key; of several each one, with what keeps it from being used."""
    if not provider.keys:
        return provider.key
    return tag("ul", *(tag("li", _key(key)) for key in provider.keys))


def _key(key: KeyStatus) -> Html:
    whose = f" for {key.tenant} " if key.tenant is not None else f" weight {key.weight} "
    return join(tag("code", key.secret), whose, mark(key.state), tag("small", key.reason) if key.reason else None)


def budgets(status: Status) -> Html | None:
    """What is left, the emptiest first."""
    if not status.budgets:
        return None
    rows: list[list[Child]] = [_budget(one) for one in status.budgets[:_MAX_ACCOUNTS]]
    columns = [Column("Budget"), Column("Spent"), *(Column(n, number=True) for n in ("Left", "Resets"))]
    rest = len(status.budgets) - _MAX_ACCOUNTS
    return section(
        "budgets",
        "Budgets",
        *_long("Accounts of budgets, the least left first", columns, rows, "budgets-rest"),
        tag("p", f"{rest:,} more in ", tag("a", "status.json", href="/status.json"), class_="quiet")
        if rest > 0
        else None,
        note="pale: held for requests under way",
    )


def _long(caption: str, columns: list[Column], rows: list[list[Child]], ident: str) -> list[Html]:
    """A table, from _AT_ONCE rows on as a second one that is folded."""
    first, rest = rows[:_AT_ONCE], rows[_AT_ONCE:]
    shown = [table(caption, columns, first, hidden=True)]
    return (
        [*shown, more(ident, f"{len(rest):,} more", table(f"{caption}: the others", columns, rest, hidden=True))]
        if rest
        else shown
    )


def _budget(one: BudgetStatus) -> list[Child]:
    limit = float(one.limit_usd) or 1.0
    spent, held = float(one.spent_usd) / limit, float(one.reserved_usd) / limit
    colour = "c0" if spent < 0.75 else "c2" if spent < 1 else "full"
    used = join(meter(spent, colour, held), tag("small", f"{spent:.0%}, {one.mode}"))
    name = join(one.budget, tag("small", one.subject) if one.subject else None)
    left = join(money(one.left_usd), tag("small", f"of {money(one.limit_usd)}"))
    return [name, used, left, clock(one.resets, "%b %d %H:%M")]


def keys(status: Status) -> Html | None:
    """Gateway keys, never their texts."""
    if status.record is None:
        return None
    found = status.record.keys
    if not found:
        text = "No gateway key. `sidecar keys create NAME` makes one.".replace("`", "")
        return section("keys", "Gateway keys", empty(text))
    columns = [Column("Key"), Column("State"), Column("Tenant"), Column("Kept in"), Column("Expires")]
    rows: list[list[Child]] = [
        [
            join(key.name, tag("small", tag("code", f"{key.prefix}…")) if key.prefix else None),
            mark(key.state),
            key.tenant,
            key.kept,
            NONE if key.expires is None else clock(key.expires, "%Y-%m-%d"),
        ]
        for key in found
    ]
    rest = status.record.keys_omitted
    return section(
        "keys",
        "Gateway keys",
        *_long("Gateway keys", columns, rows, "keys-rest"),
        tag("p", f"{rest:,} more: sidecar keys list", class_="quiet") if rest else None,
    )


def models(status: Status) -> Html:
    """The catalogue: of configured providers, those that were asked of late first."""
    asked = {model.model for model in status.traffic.models} if status.traffic is not None else set()
    used = [model for model in status.models if model.state not in ("not configured", "retired")]
    used.sort(key=lambda model: model.id not in asked)
    rest = len(status.models) + status.models_omitted - min(len(used), MAX_LISTED)
    shown = catalogue("Models of configured providers", used[:MAX_LISTED]) if used else empty("No model can be used.")
    link = tag("p", tag("a", f"The whole catalogue: {rest:,} more models", href=CATALOGUE)) if rest > 0 else None
    note = "US dollars per million tokens"
    return section("models", "Models", shown, link, note=note)


def catalogue(caption: str, found: list[ModelStatus]) -> Html:
    """Models as a table."""
    columns = [Column("Model"), Column("State")]
    columns += [Column(name, number=True) for name in ("Context", "Input $", "Output $")]
    columns += [Column("Price from"), Column("Quality", number=True), Column("Tokens/s", number=True)]
    rows: list[list[Child]] = [
        [
            join(m.id, tag("small", m.provider, _notes(m))),
            # Why a provider is down is said once, with the provider.
            join(mark(m.state), tag("small", m.reason) if m.state == "resting" and m.reason else None),
            f"{m.context:,}",
            _price(m.input_price, m.tiered),
            _price(m.output_price, m.tiered),
            _provenance(m),
            figure(m.quality),
            figure(m.speed) if m.learned_speed is None else join(figure(m.learned_speed), tag("small", "seen here")),
        ]
        for m in found
    ]
    return table(caption, columns, rows, hidden=True)


def _notes(model: ModelStatus) -> str:
    notes = [model.status] if model.status in ("deprecated", "preview") else []
    notes += ["overridden"] if model.overridden else []
    notes += [f"unlisted since {model.unlisted}"] if model.unlisted is not None else []
    return "".join(f" · {note}" for note in notes)


def _price(price: str | None, tiered: bool) -> Html:
    if price is None:
        return tag("span", "unpriced", class_="warn")
    return join(price, tag("abbr", "+", title="dearer for large inputs") if tiered else None)


def _provenance(model: ModelStatus) -> Html | str:
    """Where the price was read. A page of elsewhere is named, not linked: this page leads nowhere."""
    if "prices" in model.overridden or (model.price_source is None and model.input_price is not None):
        return "gateway.yaml" if model.overridden else "configuration"
    if model.price_source is None:
        return NONE
    confirmed = ", confirmed" if model.price_confirmed else ""
    return join(host(model.price_source), tag("small", f"{model.price_read}{confirmed}"))


def _by_label(name: str) -> Html:
    """A host's name, written on several lines where it is too long for one."""
    *labels, last = name.split(".") if len(name) > _LONG_HOST else [name]
    return join([join(label, ".", tag("wbr")) for label in labels], last)


def host(url: str) -> str:
    """A URL's host."""
    try:
        return urlsplit(url).hostname or NONE
    except ValueError:
        return NONE


def registry(status: Status) -> Html | None:
    """Updates of the registry, what they changed and what was kept out."""
    update = status.registry_update
    changes = status.record.changes if status.record is not None else []
    if update.next is None and update.last is None and update.step is None and not changes:
        return None
    rows: list[tuple[str, Child]] = []
    if update.last is not None:
        counts = f" ({update.changed:,} models changed, {update.quarantined:,} quarantined)"
        outcomes = ", ".join(f"{source} {outcome}" for source, outcome in update.outcomes.items())
        rows += [("Last update", join(moment(update.last), counts)), ("Pages", outcomes)]
    if update.next is not None:
        rows.append(("Next", moment(update.next)))
    if update.step is not None:
        rows.append(("Under way", update.step))
    if update.problem is not None:
        rows.append(("Problem", tag("span", update.problem, class_="warn")))
    kept_out = join(tag("h3", "Quarantined"), code_block("\n".join(update.findings), "Kept out"))
    return section(
        "registry",
        "Registry updates",
        facts(rows) if rows else None,
        kept_out if update.findings else None,
        join(tag("h3", "Last changes"), _changelog(changes[:_CHANGES])) if changes else None,
        more("changelog", "Changes before", _changelog(changes[_CHANGES:])) if changes[_CHANGES:] else None,
    )


def _changelog(changes: list[ChangeStatus]) -> Html:
    columns = [Column("When"), Column("Model"), Column("Figure"), Column("Was"), Column("Is"), Column("What was done")]
    rows: list[list[Child]] = [
        [
            clock(c.at, "%Y-%m-%d"),
            join(c.model, tag("small", c.source)),
            c.field,
            _figure(c.old),
            _figure(c.new),
            join(c.action, tag("small", c.reason) if c.reason else None),
        ]
        for c in changes
    ]
    return table("Changes of the registry, the newest first", columns, rows, hidden=True)


def _figure(data: str | None) -> str:
    """A figure that the changelog keeps as JSON."""
    if data is None:
        return NONE
    try:
        value = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeError):
        return data[:40]
    return f"{Decimal(str(value)).normalize():f}" if isinstance(value, float) else str(value)[:40]

"""Status -> HTML: one page to read from top to bottom, worst news first."""

from datetime import UTC, datetime
from decimal import Decimal

from .page import Column, Html, code_block, document, inline, join, table, tag
from .status_data import KeyStatus, ModelStatus, ProviderStatus, RegistryUpdateStatus, Status, Traffic
from .status_rollout import rollout

SHEET = "status.css"
NONE = "–"
_GOOD = frozenset({"ready", "loaded", "unchanged"})
_NEUTRAL = frozenset({"not configured", "disabled", "none configured", "unused"})
_ENDS = {"execute": "ask the provider", "respond": "answer from the cache", "refuse": "refuse"}


def render(status: Status) -> Html:
    """The whole page."""
    return document(
        f"{'Ready' if status.status == 'ready' else 'Not ready'} · sidecar",
        SHEET,
        _header(status),
        tag(
            "main",
            _banners(status),
            _section("Last 24 hours", _traffic(status)),
            _section("Configuration", _configuration(status)),
            _section("Rollout", rollout(status.rollout)) if status.rollout is not None else None,
            _section("Registry", _registry(status.registry_update)) if _updates(status.registry_update) else None,
            _section("Providers", _providers(status.providers)),
            _section("Stages", _stages(status)),
            _section("Models", _models(status)),
        ),
        _footer(status),
    )


def refused(message: str) -> Html:
    """What a stranger sees."""
    main = tag("main", tag("section", tag("h2", "A gateway key is needed"), tag("p", inline(message))))
    return document("Key needed · sidecar", SHEET, tag("header", tag("h1", "sidecar")), main)


def _header(status: Status) -> Html:
    facts = f"version {status.version} · up {span(status.now - status.started)} · {status.running:,} under way"
    return tag("header", tag("h1", "sidecar ", mark(status.status)), tag("p", facts))


def _footer(status: Status) -> Html:
    links = join(tag("a", "status.json", href="/status.json"), " · ", tag("a", "API reference", href="/docs"))
    return tag("footer", tag("p", "As of ", moment(status.now), ". Reload the page to see later figures. ", links))


def _banners(status: Status) -> Html:
    """What somebody must do something about, and nothing when there is nothing."""
    shown = []
    if status.reload.outcome == "refused":
        text = join(
            "The files changed ",
            ago(status.now, status.reload.at),
            " and cannot be used: the policy before them, ",
            tag("code", status.policy[:12]),
            ", still serves.",
        )
        shown.append(_banner("Configuration refused", text, status.reload.findings))
    if status.reload.outcome == "candidate refused":
        text = join("Policies on trial cannot be used: requests go without them since ", moment(status.reload.at), ".")
        shown.append(_banner("Candidate refused", text, status.reload.findings))
    if status.reasons:
        rows = [tag("li", tag("strong", part), f": {reason}") for part, reason in status.reasons.items()]
        shown.append(_banner("Not ready", tag("ul", rows)))
    if status.registry_problem:
        shown.append(_banner("Registry", status.registry_problem))
    return join(shown)


def _banner(title: str, text: str, findings: str | None = None) -> Html:
    return tag(
        "section",
        tag("h2", title),
        tag("div", text),
        code_block(findings, "Findings") if findings else None,
        class_="banner",
    )


def _traffic(status: Status) -> Html:
    traffic = status.traffic
    problem = status.traffic_problem
    note = tag("p", f"These figures are old or absent: {problem}.", class_="warn") if problem else None
    if traffic is None:
        return join(note)
    rate = traffic.cache_hit_rate
    lookups = f"{traffic.cache_hits:,} of {traffic.cache_lookups:,} look-ups" if rate is not None else "no look-ups"
    tiles = [
        _tile(
            "Requests", f"{traffic.requests:,}", f"{traffic.input_tokens:,} in, {traffic.output_tokens:,} out tokens"
        ),
        _tile("Cost", money(traffic.cost_usd), "what providers bill"),
        _tile("Cache hit rate", NONE if rate is None else f"{rate:.1%}", lookups),
        _tile("Failed attempts", f"{traffic.failed_attempts:,}", "each may have been retried"),
        _tile("Average latency", milliseconds(traffic.latency_ms), "attempts and cache hits"),
        _tile("First token", milliseconds(traffic.first_token_ms), "average, answered attempts"),
    ]
    return join(note, tag("dl", tiles, class_="tiles"), _traffic_table(traffic))


def _tile(name: str, figure: str, note: str) -> Html:
    return tag("div", tag("dt", name), tag("dd", tag("strong", figure), tag("small", note)))


def _traffic_table(traffic: Traffic) -> Html:
    columns = [
        Column("Model"),
        Column("Provider"),
        Column("Attempts", number=True),
        Column("Failed", number=True),
        Column("Cost", number=True),
        Column("Latency", number=True),
        Column("First token", number=True),
    ]
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
        for m in traffic.models
    ]
    if not rows:
        return tag("p", "No model was called yet.", class_="quiet")
    return table("Calls by model, last 24 hours", columns, rows)


def _updates(update: RegistryUpdateStatus) -> bool:
    """Whether the registry is updated at all."""
    return update.next is not None or update.last is not None or update.step is not None


def _registry(update: RegistryUpdateStatus) -> Html:
    outcomes = ", ".join(f"{source} {outcome}" for source, outcome in update.outcomes.items())
    kept_out = f"{update.changed:,} models changed, {update.quarantined:,} findings"
    rows: list[tuple[str, str]] = []
    if update.last is not None:
        rows += [("Last update", join(moment(update.last), f" ({kept_out})")), ("Pages", outcomes)]
    if update.next is not None:
        rows.append(("Next", moment(update.next)))
    if update.step is not None:
        rows.append(("Under way", update.step))
    if update.problem is not None:
        rows.append(("Problem", tag("span", update.problem, class_="warn")))
    facts = tag("dl", [join(tag("dt", name), tag("dd", value)) for name, value in rows], class_="facts")
    return join(facts, code_block("\n".join(update.findings), "Kept out") if update.findings else None)


def _configuration(status: Status) -> Html:
    reload = status.reload
    rows = [
        ("Policy", join(tag("code", status.policy[:12], title=status.policy))),
        ("In use since", join(moment(status.policy_since), f" ({ago(status.now, status.policy_since)})")),
        ("Last reload", join(mark(reload.outcome), " ", moment(reload.at), f" ({ago(status.now, reload.at)})")),
        ("Started", join(moment(status.started), f" ({ago(status.now, status.started)})")),
    ]
    facts = tag("dl", [join(tag("dt", name), tag("dd", value)) for name, value in rows], class_="facts")
    if reload.outcome.endswith("refused") or not reload.findings:
        return facts
    return join(facts, tag("p", "Warnings of the configuration in use:"), code_block(reload.findings, "Warnings"))


def _providers(providers: list[ProviderStatus]) -> Html:
    if not providers:
        return tag("p", "No provider is configured.", class_="warn")
    columns = [
        Column("Provider"),
        Column("State"),
        Column("Protocol"),
        Column("Host"),
        Column("Key"),
        Column("Models ready", number=True),
        Column("Models down", number=True),
    ]
    rows = [
        [
            p.name,
            _state(p.state, p.reason),
            p.protocol,
            tag("code", p.host),
            _keys(p),
            f"{p.models:,}",
            f"{p.models_down:,}",
        ]
        for p in providers
    ]
    return table("Providers and their health", columns, rows, hidden=True)


def _keys(provider: ProviderStatus) -> str | Html:
    """Whether there is a key; of several each one, with what keeps it from being used."""
    if not provider.keys:
        return provider.key
    return tag("ul", *(tag("li", _key(key)) for key in provider.keys))


def _key(key: KeyStatus) -> Html:
    whose = f" for {key.tenant}" if key.tenant is not None else f" weight {key.weight}"
    return join(tag("code", key.secret), whose, " ", _state(key.state, key.reason))


def _stages(status: Status) -> Html:
    columns = [Column("Stage"), Column("Kind"), Column("Outcome"), Column("Leads to")]
    rows = []
    before = ""
    for edge in status.stages:
        name = tag("span", edge.stage, class_="unseen" if edge.stage == before else None)
        rows.append([name, edge.kind if edge.stage != before else "", edge.outcomes, _ENDS.get(edge.to, edge.to)])
        before = edge.stage
    return table("The way of a request through the policy, first stage first", columns, rows)


def _models(status: Status) -> Html:
    used = [m for m in status.models if m.state not in ("not configured", "retired")]
    rest = [m for m in status.models if m.state in ("not configured", "retired")]
    parts = [_catalogue("Models of configured providers", used) if used else None]
    if rest:
        title = f"{len(rest):,} other models of the catalogue"
        parts.append(tag("details", tag("summary", title), _catalogue("Models that no request is routed to", rest)))
    if status.models_omitted:
        parts.append(tag("p", f"{status.models_omitted:,} more: `sidecar models` lists all.", class_="quiet"))
    return join(parts)


def _catalogue(caption: str, models: list[ModelStatus]) -> Html:
    columns = [
        Column("Model"),
        Column("Provider"),
        Column("State"),
        Column("Context", number=True),
        Column("Input $/M", number=True),
        Column("Output $/M", number=True),
        Column("Quality", number=True),
        Column("Tokens/s", number=True),
        Column("Seen tokens/s", number=True),
    ]
    rows = [
        [
            join(m.id, _notes(m)),
            m.provider,
            # Why a provider is down is said once, with the provider.
            _state(m.state, m.reason if m.state == "resting" else None),
            f"{m.context:,}",
            _price(m.input_price, m.tiered),
            _price(m.output_price, m.tiered),
            figure(m.quality),
            figure(m.speed),
            figure(m.learned_speed),
        ]
        for m in models
    ]
    return table(caption, columns, rows)


def _notes(model: ModelStatus) -> str | None:
    notes = [model.status] if model.status in ("deprecated", "preview") else []
    notes += ["overridden"] if model.overridden else []
    notes += [f"unlisted since {model.unlisted}"] if model.unlisted is not None else []
    return f" ({', '.join(notes)})" if notes else None


def _price(price: str | None, tiered: bool) -> Html:
    if price is None:
        return tag("span", "unpriced", class_="warn")
    return join(price, tag("abbr", "+", title="dearer for large inputs") if tiered else None)


def _state(state: str, reason: str | None) -> Html:
    return join(mark(state), f" {reason}" if reason else None)


def _section(title: str, content: Html) -> Html:
    return tag("section", tag("h2", title), content)


def mark(state: str) -> Html:
    """A state as a word with a colour: the colour alone says nothing to many."""
    shape = "good" if state in _GOOD else "off" if state in _NEUTRAL else "bad"
    return tag("span", state, class_=f"mark {shape}")


def figure(value: float | None) -> str:
    """A figure without needless digits."""
    return NONE if value is None else f"{value:,.1f}".removesuffix(".0")


def money(text: str) -> str:
    """US dollars with as many digits as say something."""
    amount = Decimal(text)
    if not amount or amount >= Decimal("0.01"):
        return f"${amount:,.2f}"
    return f"${amount:.6f}" if amount >= Decimal("0.000001") else "<$0.000001"


def milliseconds(value: float | None) -> str:
    """A time in the unit people think in."""
    if value is None:
        return NONE
    return f"{value / 1000:,.2f} s" if value >= 1000 else f"{value:,.0f} ms" if value >= 10 else f"{value:.1f} ms"


def moment(at: float) -> Html:
    """A point in time, for people and for programs."""
    when = datetime.fromtimestamp(at, UTC)
    return tag("time", when.strftime("%Y-%m-%d %H:%M:%S UTC"), datetime=when.isoformat(timespec="seconds"))


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

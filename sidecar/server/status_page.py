"""Status -> HTML: one page to read from top to bottom, worst news first, made of panels that can be renewed singly."""

from .page import Html, code_block, document, folded, inline, join, tag, unfolded
from .panels_policy import WHOLE, configuration, decisions, graph
from .panels_supply import CATALOGUE, budgets, catalogue, keys, models, providers, registry
from .panels_traffic import costs, latency, overview, requests, shares
from .status_data import Status
from .status_record import MAX_DECISIONS
from .status_rollout import rollout
from .status_words import ago, mark, moment, span

SHEET = "status.css"
SCRIPT = "/status.js"
_PANELS = {
    "overview": (overview, "Overview"),
    "cost": (costs, "Cost"),
    "budgets": (budgets, "Budgets"),
    "requests": (requests, "Requests"),
    "latency": (latency, "Latency"),
    "keys": (keys, "Keys"),
    "configuration": (configuration, "Configuration"),
    "rollout": (rollout, "Rollout"),
    "models-used": (shares, "Models used"),
    "providers": (providers, "Providers"),
    "graph": (graph, "Policy"),
    "registry": (registry, "Registry"),
    "decisions": (decisions, "Decisions"),
    "models": (models, "Catalogue"),
}
"""By id: what draws the panel, and its name in the navigation."""
_COLUMNS = (
    ("cost", "budgets", "requests", "latency", "keys", "configuration", "rollout"),
    ("models-used", "providers", "graph", "registry"),
)
"""What stands beside each other where there is room, and below each other where there is not. Both are about as long
for a gateway without budgets, trials and updates as for one with all of them."""


def panels(status: Status) -> dict[str, Html]:
    """Every part of the page that changes, by its id. Of a panel whose source is not there only the place is kept, so
    that it can come, and go, while somebody watches."""
    drawn = {ident: panel(status) for ident, (panel, _) in _PANELS.items()}
    return {
        "state": _header(status),
        "parts": _navigation([ident for ident in _PANELS if drawn[ident] is not None]),
        "banners": tag("div", _banners(status), id="banners"),
        **{ident: panel or tag("div", id=ident, hidden=True) for ident, panel in drawn.items()},
    }


def render(status: Status) -> Html:
    """The page as it is first sent: small, for the feed or WHOLE tells what is folded."""
    return folded(_page(status, panels(status), SCRIPT), WHOLE)


def render_whole(status: Status) -> Html:
    """The page with nothing folded. It stands still: to read without a script, to print."""
    found = panels(status)
    newest = decisions(status, MAX_DECISIONS)
    return unfolded(_page(status, found if newest is None else {**found, "decisions": newest}))


def _page(status: Status, found: dict[str, Html], script: str | None = None) -> Html:
    return document(
        _title(status),
        SHEET,
        found["state"],
        found["parts"],
        tag("main", _arranged(found)),
        _footer(status),
        kind="status",
        script=script,
    )


def _arranged(found: dict[str, Html]) -> list[Html]:
    """The panels in columns, and above and below them those that take the whole width."""
    columns = [tag("div", [found[ident] for ident in idents], class_="column") for idents in _COLUMNS]
    beside = tag("div", columns, class_="columns")
    return [found["banners"], found["overview"], beside, found["decisions"], found["models"]]


def render_catalogue(status: Status) -> Html:
    """All models, on a page of their own."""
    note = f"{status.models_omitted:,} more: `sidecar models` lists all." if status.models_omitted else ""
    return document(
        "Models · sidecar",
        SHEET,
        tag("header", tag("h1", "Models"), tag("p", tag("a", "Back to the status page", href="/status"))),
        tag("main", tag("section", catalogue("All models", status.models), tag("p", inline(note)) if note else None)),
        kind="status",
    )


def refused(message: str) -> Html:
    """What a stranger sees."""
    main = tag("main", tag("section", tag("h2", "An admin key is needed"), tag("p", inline(message))))
    return document("Key needed · sidecar", SHEET, tag("header", tag("h1", "sidecar")), main)


def _navigation(idents: list[str]) -> Html:
    links = [tag("li", tag("a", _PANELS[ident][1], href=f"#{ident}")) for ident in idents]
    return tag("nav", tag("ul", links), id="parts", aria_label="Parts of this page")


def _title(status: Status) -> str:
    return f"{'Ready' if status.status == 'ready' else 'Not ready'} · sidecar"


def _header(status: Status) -> Html:
    facts = f"version {status.version} · up {span(status.now - status.started)} · {status.running:,} under way"
    return tag("header", tag("h1", "sidecar ", mark(status.status)), tag("p", facts), id="state")


def _footer(status: Status) -> Html:
    links = [
        ("all of it", WHOLE),
        ("status.json", "/status.json"),
        ("API reference", "/docs"),
        ("all models", CATALOGUE),
    ]
    shown = [join(" · ", tag("a", name, href=to)) for name, to in links]
    live = tag("span", "Reload the page for later figures.", id="live", role="status")
    return tag("footer", tag("p", "As of ", moment(status.now), ". ", live, shown))


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

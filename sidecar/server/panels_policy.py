"""Panels of how requests are decided: the graph with its counts, the newest decisions, the configuration."""

from .flow import ENDS, flow
from .page import Column, Html, code_block, join, table, tag
from .record_data import DecisionStatus
from .status_data import Status
from .status_words import (
    NONE,
    ago,
    clock,
    empty,
    facts,
    mark,
    milliseconds,
    moment,
    money,
    more,
    section,
)

DECISIONS = 8
"""Requests in the page; WHOLE has all that are known."""
WHOLE = "/status/whole"


def graph(status: Status) -> Html:
    """The execution graph."""
    picture = tag("div", flow(status.stages), class_="scroll", role="region", aria_label="Graph", tabindex="0")
    return section(
        "graph",
        "Way through the policy",
        picture,
        more("graph-table", "As a table", _edges(status)),
        note="requests since start",
    )


def _edges(status: Status) -> Html:
    columns = [Column("Stage"), Column("Kind"), Column("Outcome"), Column("Leads to"), Column("Requests", number=True)]
    rows = []
    before = ""
    for edge in status.stages:
        again = edge.stage == before
        name = tag("span", edge.stage, class_="unseen" if again else None)
        rows.append([name, "" if again else edge.kind, edge.outcomes, ENDS.get(edge.to, edge.to), f"{edge.count:,}"])
        before = edge.stage
    return table("The way of a request through the policy, first stage first", columns, rows, hidden=True)


def decisions(status: Status, most: int = DECISIONS) -> Html | None:
    """The newest requests."""
    if status.record is None:
        return None
    found = status.record.decisions
    if not found:
        return section("decisions", "Recent decisions", empty("No request yet."))
    rows = tag("div", [_decision(decision) for decision in found[:most]], class_="decisions")
    rest = tag("p", tag("a", f"{len(found) - most:,} more", href=f"{WHOLE}#decisions")) if found[most:] else None
    return section("decisions", "Recent decisions", rows, rest, note="newest first, without prompts and answers")


def _decision(decision: DecisionStatus) -> Html:
    last = decision.attempts[-1] if decision.attempts else None
    known = [one.cost_usd for one in decision.attempts if one.cost_usd is not None]
    summary = tag(
        "summary",
        tag("time", clock(decision.at, "%H:%M:%S")),
        tag("b", last.model or NONE if last else NONE),
        tag("span", decision.tier or NONE),
        mark(last.outcome if last else "refused"),
        tag("i", money(known[-1]) if known else NONE),
        tag("i", milliseconds(sum(one.latency_ms for one in decision.attempts))),
    )
    told = [
        ("Request", join(tag("code", decision.id), " ", moment(decision.at))),
        ("Asked for", join(tag("code", decision.requested), f" by {decision.tenant}")),
        ("Decided", _decided(decision)),
        ("Way", _way(decision.trace)),
    ]
    if decision.dropped:
        shown = [tag("li", tag("code", model), f": {why}") for model, why in decision.dropped[:12]]
        told.append(("Not chosen", tag("ul", shown)))
    return tag("details", summary, facts([*told]), _tries(decision), id=f"r-{decision.id}")


def _decided(decision: DecisionStatus) -> str:
    parts = (("rule", decision.rule), ("strategy", decision.strategy), ("cache", decision.cache))
    return ", ".join(f"{name} {value}" for name, value in parts if value) or NONE


def _way(trace: list[tuple[str, str]]) -> Html | str:
    if not trace:
        return "not remembered: the gateway has started since, or answered many requests"
    return tag("ol", [tag("li", node, " ", tag("b", outcome)) for node, outcome in trace], class_="way")


def _tries(decision: DecisionStatus) -> Html:
    columns = [Column("Model"), Column("Provider"), Column("Outcome")]
    columns += [Column(name, number=True) for name in ("Tokens", "Cost", "Latency")]
    rows = [
        [
            one.model or NONE,
            one.provider or NONE,
            mark(one.outcome),
            f"{one.tokens:,}",
            NONE if one.cost_usd is None else money(one.cost_usd),
            milliseconds(one.latency_ms),
        ]
        for one in decision.attempts
    ]
    return table(f"Attempts of {decision.id}", columns, rows, hidden=True)


def configuration(status: Status) -> Html:
    """What is in use, and what became of the last change."""
    reload = status.reload
    last = join(mark(reload.outcome), " ", moment(reload.at), f" ({ago(status.now, reload.at)})")
    files = tag("ul", [tag("li", tag("code", file)) for file in status.files], class_="files")
    known = facts(
        [
            ("Policy", tag("code", status.policy[:12], title=status.policy)),
            ("In use since", join(moment(status.policy_since), f" ({ago(status.now, status.policy_since)})")),
            ("Last reload", last),
            ("Started", join(moment(status.started), f" ({ago(status.now, status.started)})")),
        ]
    )
    warned = reload.outcome != "refused" and reload.findings
    return section(
        "configuration",
        "Configuration",
        known,
        join(tag("p", "Warnings of the configuration in use:"), code_block(reload.findings, "Warnings"))
        if warned and reload.findings
        else None,
        more("files", f"Read from {len(status.files):,} files", files) if status.files else None,
    )

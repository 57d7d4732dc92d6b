"""Policies on trial, as the status tells of them and as the page shows it."""

from .page import Child, Column, Html, join, table, tag
from .state import Running
from .status_data import CanaryStatus, DisagreementStatus, RolloutStatus, ShadowStatus, Status
from .status_words import facts, more, section

_AT_ONCE = 4
"""Disagreements that are not folded."""


def gather_rollout(running: Running) -> RolloutStatus | None:
    """What is on trial now; None when nothing is."""
    live, shadows = running.holder.current, running.shadows
    spec = live.graph.gateway.rollout
    if spec is None:
        return None
    hashes = {role: None if one is None else one.graph.hash for role, one in live.on_trial.items()}
    canary, shadow = None, None
    if spec.canary is not None:
        canary = CanaryStatus(hashes["canary"], spec.canary.percent, spec.canary.when)
    if spec.shadow is not None:
        newest = [
            DisagreementStatus(
                one.ts,
                one.request_id,
                one.refusal or f"{one.tier} {one.model}".strip(),
                one.shadow_refusal or f"{one.shadow_tier} {one.shadow_model}".strip(),
            )
            for one in shadows.kept.newest
        ]
        shadow = ShadowStatus(
            hashes["shadow"], spec.shadow.sample, shadows.agreed, shadows.differed, shadows.dropped,
            shadows.kept.lost, newest,
        )  # fmt: skip
    return RolloutStatus(canary, shadow)


def rollout(status: Status) -> Html | None:
    """The canary's share, and what the shadow decides otherwise."""
    trial = status.rollout
    if trial is None:
        return None
    rows: list[tuple[str, Child]] = []
    if trial.canary is not None:
        canary = trial.canary
        of = f"{canary.percent:g} % of requests" + (f" for which {canary.when}" if canary.when else "")
        rows.append(("Canary", join(_policy(canary.policy), f" takes {of}")))
    shadow = trial.shadow
    if shadow is not None:
        counts = f"{shadow.agreed:,} agree, {shadow.differed:,} differ"
        if shadow.dropped or shadow.unwritten:
            counts += f", {shadow.dropped:,} dropped, {shadow.unwritten:,} not written"
        rows.append(("Shadow", join(_policy(shadow.policy), f" judges {shadow.sample:g} % of requests: {counts}")))
    newest = [] if shadow is None else shadow.newest
    return section(
        "rollout",
        "Policies on trial",
        facts(rows),
        join(tag("h3", "The shadow decides differently"), _differing("The last", newest[:_AT_ONCE]))
        if newest
        else None,
        more("differing", "Requests before", _differing("Earlier", newest[_AT_ONCE:])) if newest[_AT_ONCE:] else None,
    )


def _differing(caption: str, found: list[DisagreementStatus]) -> Html:
    columns = [Column("Request"), Column("Decided"), Column("The shadow says")]
    cells: list[list[Child]] = [[tag("code", one.request), one.decided, one.shadow] for one in found]
    return table(f"{caption} requests that the shadow decides differently", columns, cells, hidden=True)


def _policy(hash: str | None) -> Html:
    if hash is None:
        return tag("span", "cannot be used", class_="warn")
    return tag("code", hash[:12], title=hash)

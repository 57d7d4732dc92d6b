"""Policies on trial, as the status tells of them and as the page shows it."""

from .page import Column, Html, join, table, tag
from .state import Running
from .status_data import CanaryStatus, DisagreementStatus, RolloutStatus, ShadowStatus


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


def rollout(status: RolloutStatus) -> Html:
    """The page's section."""
    rows: list[tuple[str, Html | str]] = []
    if status.canary is not None:
        canary = status.canary
        of = f"{canary.percent:g} % of requests" + (f" for which {canary.when}" if canary.when else "")
        rows.append(("Canary", join(_policy(canary.policy), f" takes {of}")))
    shadow = status.shadow
    if shadow is not None:
        counts = f"{shadow.agreed:,} agree, {shadow.differed:,} differ"
        if shadow.dropped or shadow.unwritten:
            counts += f", {shadow.dropped:,} dropped, {shadow.unwritten:,} not written"
        rows.append(("Shadow", join(_policy(shadow.policy), f" judges {shadow.sample:g} % of requests: {counts}")))
    facts = tag("dl", [join(tag("dt", name), tag("dd", value)) for name, value in rows], class_="facts")
    if shadow is None or not shadow.newest:
        return facts
    columns = [Column("Request"), Column("Decided"), Column("The shadow says")]
    cells = [[tag("code", one.request), one.decided, one.shadow] for one in shadow.newest]
    return join(facts, table("The last requests that the shadow decides differently", columns, cells))


def _policy(hash: str | None) -> Html:
    if hash is None:
        return tag("span", "cannot be used", class_="warn")
    return tag("code", hash[:12], title=hash)

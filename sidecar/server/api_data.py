"""What the admin API answers: every field is named and described here, and none holds a secret or a prompt.

Money is nano-USD (10^-9 US dollars) as an integer, and US dollars as exact decimal text.
"""

from collections.abc import Mapping
from typing import Annotated, Literal

from msgspec import Meta, Struct

from ..engine.explain import Explanation
from ..registry.card import ModelCard
from ..spec import Duration, Moment, Name
from ..stages.keys import KeyLimit
from ..stores.figures import By
from .record_data import Dollars, Unix
from .status_data import BudgetStatus, ModelState, ReloadStatus

Nano = Annotated[int, Meta(description="Nano-USD.", examples=[37_500_000])]
Milliseconds = Annotated[float | None, Meta(description="Milliseconds; null when there was none.")]
Next = Annotated[str | None, Meta(description="The `cursor` of the next page; null after the last.")]


class Saving(Struct, frozen=True):
    """What the same tokens would have cost on another model, and what was saved against that. Exact by that model's
    base prices of today: without the dearer ones for large inputs."""

    model: str
    cost_usd: Dollars
    cost_nano: Nano
    saved_usd: Annotated[str, Meta(description="US dollars as exact decimal text; negative when it was dearer.")]
    saved_nano: Nano
    share: Annotated[float | None, Meta(description="Saved by what it would have cost; null when that is nothing.")]


class Figures(Struct, frozen=True):
    """Sums of a group, or of all. A request is counted by its first attempt, everything else by each attempt.

    Savings compare what has a price: `unpriced_attempts` went to models without one and are in neither sum. Answers
    from the cache have no tokens here.
    """

    name: Annotated[str, Meta(description="The model, tenant, day …; empty for what has none and in `totals`.")]
    requests: int
    attempts: Annotated[int, Meta(description="Calls to providers; answers from the cache are none.")]
    failures: Annotated[int, Meta(description="Attempts that failed.")]
    unpriced_attempts: int
    cache_hits: int
    cache_lookups: int
    cache_hit_rate: Annotated[float | None, Meta(description="Hits by look-ups, 0 to 1; null without look-ups.")]
    input_tokens: Annotated[int, Meta(description="Cached tokens included.")]
    output_tokens: Annotated[int, Meta(description="Reasoning included.")]
    cached_tokens: int
    cache_write_tokens: int
    reasoning_tokens: int
    cost_usd: Dollars
    cost_nano: Nano
    latency_ms: Annotated[Milliseconds, Meta(description="Mean of the attempts.")]
    latency_p50_ms: Annotated[Milliseconds, Meta(description="From a histogram: right to within its bucket.")]
    latency_p95_ms: Annotated[Milliseconds, Meta(description="From a histogram: right to within its bucket.")]
    first_token_ms: Annotated[Milliseconds, Meta(description="Mean of the attempts that had a first token.")]
    strongest: Annotated[
        Saving | None, Meta(description="Against the model of the highest quality prior; null when none has one.")
    ]
    baseline: Annotated[Saving | None, Meta(description="Against the model that `baseline` names.")]


class Analytics(Struct, frozen=True):
    """Figures of a window of whole hours, all together and by group."""

    since: Unix
    until: Unix
    by: By
    totals: Figures
    groups: Annotated[list[Figures], Meta(description="Dearest first; days and hours in their order.")]
    omitted: Annotated[int, Meta(description="Groups past the bound of the answer; `totals` has them.")]


class CatalogueModel(Struct, frozen=True):
    """One model: whether it can be used now, its prices of today in US dollars per million tokens, and its card with
    all price lists, capabilities and where each figure was found."""

    id: str
    provider: str
    state: ModelState
    reason: Annotated[str | None, Meta(description="Why it rests, or its provider is down.")]
    input_price: str | None
    output_price: str | None
    learned_speed: Annotated[float | None, Meta(description="Output tokens a second as seen here.")]
    card: ModelCard


class ModelPage(Struct, frozen=True):
    """Models by id."""

    items: list[CatalogueModel]
    next: Next


class AttemptRow(Struct, frozen=True):
    """One row of the ledger: an attempt, or (`attempt` 0) an answer from the cache."""

    attempt: int
    outcome: str
    model: str | None
    provider: str | None
    failure: str | None
    status: int | None
    finish_reason: str | None
    input_tokens: int
    output_tokens: int
    cached_tokens: int
    estimated: Annotated[bool, Meta(description="The provider did not count; the tokens are an estimate.")]
    cost_usd: Annotated[str | None, Meta(description="US dollars as exact decimal text; null without a price.")]
    latency_ms: float
    first_token_ms: float | None


class DecisionRow(Struct, frozen=True):
    """One request: what was asked for, what was decided, and each attempt that followed. No prompt, no answer."""

    id: Annotated[str, Meta(description="As in `x-request-id`.")]
    at: Unix
    tenant: str
    key: str
    requested_model: str
    tier: str | None
    rule: str | None
    strategy: str | None
    stream: bool
    cache: str
    policy: Annotated[str, Meta(description="First 12 characters of the policy's hash.")]
    attempts: list[AttemptRow]


class DecisionPage(Struct, frozen=True):
    """Requests, the newest first."""

    items: list[DecisionRow]
    next: Next


class Decision(Struct, frozen=True):
    """One request, with the explanation that it asked for by `x-sidecar-explain: 1`.

    A request that was refused has an explanation and no row.
    """

    id: str
    request: DecisionRow | None
    explanation: Explanation | None


class ConfigurationState(Struct, frozen=True):
    """The configuration in use, and what became of the last one that was read."""

    policy: Annotated[str, Meta(description="The policy's whole hash.")]
    since: Unix
    files: list[str]
    reload: ReloadStatus
    registry_problem: str | None
    version: str
    started: Unix


class ReloadOutcome(Struct, frozen=True):
    """How a reload ended. `findings` is what `sidecar validate` prints; a refused one leaves the old policy in use."""

    outcome: Literal["loaded", "unchanged", "refused", "candidate refused"]
    at: Unix
    policy: Annotated[str, Meta(description="First 12 characters of the hash of the policy in use.")]
    findings: str | None


class BudgetPage(Struct, frozen=True):
    """A page of accounts, by budget and subject."""

    items: list[BudgetStatus]
    next: Next


class UpdateOrder(Struct, frozen=True, forbid_unknown_fields=True):
    """Which pages to ask: those of `registry_update`, unless scrapers are named."""

    scrapers: Annotated[tuple[Name, ...], Meta(max_length=50, description="By name; none: as on schedule.")] = ()
    dry_run: Annotated[bool, Meta(description="Show what would change, and write nothing.")] = False


class RegistryOutcome(Struct, frozen=True):
    """How an update of the registry ended. What is quarantined stays as it was, with the reason."""

    at: Unix
    outcomes: Annotated[
        Mapping[str, str], Meta(description="Scraper -> unchanged, changed, quarantined (some of it) or failed.")
    ]
    changed: Annotated[list[str], Meta(description="Models with other figures than before.")]
    quarantined: Annotated[list[str], Meta(description="What was kept out, and why.")]
    written: Annotated[str | None, Meta(description="The new version of models.json; null when nothing was written.")]


class Login(Struct, frozen=True, forbid_unknown_fields=True):
    """An admin key, where it is not sent as a bearer token."""

    key: Annotated[str, Meta(min_length=1, max_length=1024)]


class KeyEntry(Struct, frozen=True):
    """One gateway key of the database. `prefix` is what may be shown of its text."""

    id: str
    name: str
    prefix: str
    state: Literal["active", "expired", "revoked"]
    tenant: str
    labels: Mapping[str, str]
    models: Annotated[tuple[str, ...], Meta(description="Models it may name or be routed to; empty: all.")]
    strategies: Annotated[tuple[str, ...], Meta(description="Strategies it may be routed with; empty: all.")]
    limits: Annotated[list[dict[str, str]], Meta(description="Rates of its own.", examples=[[{"requests": "60/m"}]])]
    created: Unix
    expires: float | None
    revoked: float | None
    rotated: float | None


class KeyPage(Struct, frozen=True):
    """Keys in the order they were made."""

    items: list[KeyEntry]
    next: Next


class NewKey(Struct, frozen=True, forbid_unknown_fields=True):
    """A key to make. Names and rates are those of `kind: keys`."""

    name: Name
    tenant: Name = "default"
    labels: Annotated[dict[str, str], Meta(max_length=64, description="Whatever rules may want to know of it.")] = {}
    models: Annotated[tuple[Name, ...], Meta(max_length=1000, description="Models it may use; empty: all.")] = ()
    strategies: Annotated[tuple[Name, ...], Meta(max_length=100, description="Strategies it may use; empty: all.")] = ()
    limits: Annotated[tuple[KeyLimit, ...], Meta(max_length=20, description="Rates of its own.")] = ()
    expires: Annotated[Moment, Meta(description="From when on it is refused.")] | None = None


class Rotation(Struct, frozen=True, forbid_unknown_fields=True):
    """How long the old text of a rotated key works on."""

    grace: Duration = "0"


class MadeKey(Struct, frozen=True):
    """A key with its text, which is shown this once."""

    key: Annotated[str, Meta(description="Send it as `Authorization: Bearer`. Kept nowhere.")]
    entry: KeyEntry

"""What `/status.json` says: every field is named and described here, and nothing in it is a secret."""

from typing import Annotated, Literal

from msgspec import Meta, Struct

from .record_data import Dollars, RecordStatus, Unix

KeyState = Literal["set", "not set", "none configured", "unused"]
ModelState = Literal["ready", "resting", "provider down", "not configured", "retired"]


class ReloadStatus(Struct, frozen=True):
    """The last time a changed configuration was read. `findings` is what `sidecar validate` prints."""

    outcome: Annotated[
        Literal["loaded", "unchanged", "refused", "candidate refused"], Meta(description="How it ended.")
    ]
    at: Unix
    findings: str | None = None


class KeyStatus(Struct, frozen=True):
    """One of several keys, by where it is found. `reason` says why it is not ready."""

    secret: str
    tenant: Annotated[str | None, Meta(description="Whose own it is; everybody's when null.")]
    weight: int
    state: Literal["ready", "resting", "not set"]
    reason: str | None


class ProviderStatus(Struct, frozen=True):
    """One provider. Of its key only whether there is one; of its base URL only the host."""

    name: str
    protocol: str
    host: str
    key: Annotated[KeyState, Meta(description="`unused`: no model would be called with it.")]
    state: Literal["ready", "down", "disabled"]
    reason: str | None
    models: Annotated[int, Meta(description="Models that requests may be sent to now.")]
    models_down: int
    keys: Annotated[list[KeyStatus], Meta(description="Where it has several.")] = []


class ModelStatus(Struct, frozen=True):
    """One model of the catalogue. Prices are US dollars per million tokens, null when there is none."""

    id: str
    provider: str
    state: ModelState
    reason: str | None
    status: str
    context: int
    max_output: int
    input_price: str | None
    output_price: str | None
    tiered: Annotated[bool, Meta(description="Dearer above some size of input.")]
    quality: float | None
    speed: Annotated[float | None, Meta(description="Output tokens a second by the registry.")]
    learned_speed: Annotated[float | None, Meta(description="Output tokens a second as seen here.")]
    overridden: Annotated[tuple[str, ...], Meta(description="Figures that the configuration sets.")]
    unlisted: Annotated[str | None, Meta(description="Since when its provider's page does not list it any more.")]
    price_source: Annotated[str | None, Meta(description="The page that its price was read on.")]
    price_read: Annotated[str | None, Meta(description="The day it was read there.")]
    price_confirmed: Annotated[bool, Meta(description="A second source has the same price.")]


class BudgetStatus(Struct, frozen=True):
    """One account of a budget. `subject` is whose it is; empty when it is for all, or nobody has used it yet."""

    budget: str
    subject: str
    mode: Literal["hard", "soft"]
    limit_usd: Dollars
    spent_usd: Dollars
    reserved_usd: Annotated[Dollars, Meta(description="Held for attempts that run.")]
    left_usd: Dollars
    resets: Unix


class Stage(Struct, frozen=True):
    """One edge of the graph: from `stage`, on any of `outcomes`, to `to`."""

    stage: str
    kind: str
    outcomes: str
    to: str
    count: Annotated[int, Meta(description="Requests that went this way since the gateway began.")]


class AddedStatus(Struct, frozen=True):
    """Milliseconds that the gateway itself added since it began: upper ends of buckets. Null before the first."""

    p50_ms: float | None
    p95_ms: float | None
    p99_ms: float | None


class ModelTraffic(Struct, frozen=True):
    """What one model did in the last 24 hours; `attempts` includes answers from the cache."""

    model: str
    provider: str
    attempts: int
    failures: int
    cost_usd: Dollars
    latency_ms: float | None
    first_token_ms: float | None


class Traffic(Struct, frozen=True):
    """The ledger's figures of the last 24 hours and what is over of the hour before. Averages are null before the first
    answer."""

    since: Unix
    as_of: Unix
    requests: int
    cost_usd: Dollars
    cache_hits: int
    cache_lookups: int
    cache_hit_rate: Annotated[float | None, Meta(description="Hits by look-ups, 0 to 1.")]
    input_tokens: int
    output_tokens: int
    failed_attempts: int
    latency_ms: float | None
    first_token_ms: float | None
    models: list[ModelTraffic]


class RegistryUpdateStatus(Struct, frozen=True):
    """Updates of the registry from the providers' pages. All null before the first, and where none is scheduled."""

    next: Annotated[float | None, Meta(description="Unix time at which the schedule comes round.")]
    step: Annotated[str | None, Meta(description="What an update under way in this process is doing.")]
    problem: Annotated[str | None, Meta(description="Why the last one here did not end.")]
    last: Annotated[float | None, Meta(description="Unix time of the last one's end, whoever made it.")]
    outcomes: Annotated[dict[str, str], Meta(description="By source: unchanged, changed, quarantined or failed.")]
    changed: Annotated[int, Meta(description="Models it changed.")]
    quarantined: Annotated[int, Meta(description="Findings that kept a model or a page out.")]
    findings: Annotated[list[str], Meta(description="The first of them.")]


class CanaryStatus(Struct, frozen=True):
    """Policies that some of the requests are served by."""

    policy: Annotated[str | None, Meta(description="Their hash; null: they cannot be used, and serve nobody.")]
    percent: float
    when: Annotated[str | None, Meta(description="The condition without which it takes no request.")]


class DisagreementStatus(Struct, frozen=True):
    """A request that the shadow decides differently: what was decided, and what the shadow says."""

    at: Unix
    request: Annotated[str, Meta(description="Its `x-request-id`.")]
    decided: Annotated[str, Meta(description="Tier and model, or the code of a refusal.")]
    shadow: Annotated[str, Meta(description="The same for the shadow.")]


class ShadowStatus(Struct, frozen=True):
    """Policies that judge requests and answer none. Counts are since the process began."""

    policy: Annotated[str | None, Meta(description="Their hash; null: they cannot be used, and judge nothing.")]
    sample: float
    agreed: int
    differed: int
    dropped: Annotated[int, Meta(description="Requests left out because too many waited.")]
    unwritten: Annotated[int, Meta(description="Disagreements that the disk refused.")]
    newest: list[DisagreementStatus]


class RolloutStatus(Struct, frozen=True):
    """Policies on trial."""

    canary: CanaryStatus | None
    shadow: ShadowStatus | None


class Status(Struct, frozen=True):
    """The gateway at one moment."""

    status: Literal["ready", "not ready"]
    reasons: Annotated[dict[str, str], Meta(description="Why it is not ready, by part.")]
    version: str
    now: Unix
    started: Unix
    running: Annotated[int, Meta(description="Requests under way.")]
    policy: Annotated[str, Meta(description="The policy's hash; responses carry its first 12 characters.")]
    policy_since: Unix
    files: Annotated[list[str], Meta(description="What the configuration was read from.")]
    reload: ReloadStatus
    rollout: Annotated[RolloutStatus | None, Meta(description="Null while nothing is on trial.")]
    registry_problem: str | None
    registry_update: RegistryUpdateStatus
    providers: list[ProviderStatus]
    traffic: Annotated[Traffic | None, Meta(description="Null while the ledger has not been read.")]
    traffic_problem: Annotated[str | None, Meta(description="Why the figures are old or absent.")]
    added: AddedStatus
    record: Annotated[RecordStatus | None, Meta(description="Null while the database has not been read.")]
    models: Annotated[list[ModelStatus], Meta(description="Models of configured providers first.")]
    models_omitted: Annotated[int, Meta(description="Models past the list's bound.")]
    stages: list[Stage]
    budgets: Annotated[list[BudgetStatus], Meta(description="Accounts with the least left first.")]

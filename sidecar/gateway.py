"""`kind: gateway`: what gateway.yaml says beside the policies: where to listen, whom to call, what to keep."""

import pathlib
from collections.abc import Mapping
from typing import Annotated, Literal

from msgspec import Meta

from .identity.admins import Role
from .registry.override import ModelSpec
from .schedule import Cron, check
from .spec import URL, Condition, Count, Duration, Name, Percent, Port, SecretRef, Size, Spec

Protocol = Literal["openai", "anthropic", "google", "ollama"]
HeaderName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9-]{1,64}$")]
Path = Annotated[str, Meta(min_length=1, max_length=1024)]
AttributeName = Annotated[str, Meta(pattern=r"^[a-z][a-z0-9_.-]{0,127}$", examples=["service.name"])]
AttributeText = Annotated[str, Meta(max_length=256)]

DEFAULT_URLS: dict[str, str] = {
    "openai": "https://api.openai.com/v1",
    "anthropic": "https://api.anthropic.com",
    "google": "https://generativelanguage.googleapis.com",
    "ollama": "http://127.0.0.1:11434",
}


class Listen(Spec, frozen=True):
    """The gateway's address. A sidecar shares the app's network: loopback and a port the app does not use."""

    host: Annotated[str, Meta(min_length=1, max_length=253, examples=["127.0.0.1"])] = "127.0.0.1"
    port: Port = 8787


class ProviderKey(Spec, frozen=True):
    """One of a provider's keys. Those without a tenant share the requests by weight. A tenant with keys of its own is
    served with these and no others, and nobody else is."""

    secret: SecretRef
    weight: Annotated[int, Meta(ge=1, le=1000, description="Its share of the requests, by the others' weights.")] = 1
    tenant: Annotated[Name, Meta(description="Whose own key it is; everybody's when absent.")] | None = None


class Provider(Spec, frozen=True):
    """One upstream. Its name is what models refer to; `protocol` says which wire it speaks."""

    protocol: Protocol
    base_url: Annotated[URL, Meta(description="What the provider's own SDK calls its base URL.")] | None = None
    api_key: SecretRef | None = None
    keys: Annotated[
        tuple[ProviderKey, ...],
        Meta(max_length=100, description="Several keys in place of `api_key`: shared by weight, or tenants' own."),
    ] = ()
    headers: Annotated[dict[HeaderName, str], Meta(description="Sent with every request; no secrets here.")] = {}
    enabled: Annotated[bool, Meta(description="False takes the provider and its models out.")] = True
    concurrency: Annotated[int, Meta(ge=1, le=100_000, description="Calls at once; no bound when absent.")] | None = (
        None
    )
    queue: Annotated[Count, Meta(description="Calls that may wait for one of those places.")] = 100
    queue_wait: Annotated[Duration, Meta(description="How long a call waits before the next model is tried.")] = "10s"

    @property
    def every_key(self) -> list[tuple[tuple[str | int, ...], ProviderKey]]:
        """All its keys, each with its place in the provider: those of `keys`, or the one of `api_key`."""
        if self.api_key is not None:
            return [(("api_key",), ProviderKey(self.api_key))]
        return [(("keys", index, "secret"), key) for index, key in enumerate(self.keys)]

    @property
    def url(self) -> str:
        """The base URL: what was written, or the provider's own."""
        return self.base_url or DEFAULT_URLS[self.protocol]


class Limits(Spec, frozen=True):
    """Bounds on what comes from outside, and on the way out."""

    body: Annotated[Size, Meta(description="Largest request body.")] = "10MB"
    answer: Annotated[Size, Meta(description="Largest whole answer of a provider.")] = "64MB"
    body_timeout: Annotated[Duration, Meta(description="How long a caller may take to send its body.")] = "30s"
    running: Annotated[
        int, Meta(ge=1, le=1_000_000, description="Requests at once; more are refused with 503 and retry-after.")
    ] = 5000
    drain: Annotated[Duration, Meta(description="How long running requests may go on after SIGTERM.")] = "30s"


class Cors(Spec, frozen=True):
    """Origins that browsers may call from. None by default."""

    origins: tuple[Annotated[str, Meta(max_length=256)], ...] = ()


class RegistryUpdate(Spec, frozen=True):
    """Prices from the providers' own pages, on schedule. Nothing is asked for unless this block is there."""

    enabled: Annotated[bool, Meta(description="False: only when someone asks.")] = True
    schedule: Cron = "0 3 * * *"
    jitter: Annotated[Duration, Meta(description="Up to so much later, so that not all come at once.")] = "10m"
    scrapers: Annotated[
        tuple[Name, ...],
        Meta(description="By name; none: those of enabled providers, and the second opinions."),
    ] = ()
    add_models: Annotated[bool, Meta(description="Take in models that the registry does not have.")] = False
    keep: Annotated[int, Meta(ge=1, le=1000, description="Versions of models.json to keep.")] = 10

    def __post_init__(self) -> None:
        check(self.schedule)


Candidate = Annotated[
    tuple[Path, ...],
    Meta(min_length=1, description="Folders or files that stand in for `policies`.", examples=[["policies-next"]]),
]


class Shadow(Spec, frozen=True):
    """Policies that judge live requests and answer none: what they would have decided otherwise is kept."""

    policies: Candidate
    sample: Annotated[Percent, Meta(description="Percent of the requests that are judged a second time.")] = 100


class Canary(Spec, frozen=True):
    """Policies that some of the requests are served by; a conversation stays on the side it began on."""

    policies: Candidate
    percent: Annotated[Percent, Meta(description="Of those for which `when` holds.")] = 100
    when: Annotated[Condition, Meta(description="Only requests for which it holds.")] | None = None
    salt: Annotated[str, Meta(max_length=64, description="Another one draws other conversations.")] = ""


class Rollout(Spec, frozen=True):
    """Policies on trial. Providers, models, keys and limits are shared with the policies in use."""

    shadow: Shadow | None = None
    canary: Canary | None = None

    @property
    def candidates(self) -> dict[str, tuple[str, ...]]:
        """What is on trial, by the field that names it."""
        named = {"shadow": self.shadow, "canary": self.canary}
        return {role: candidate.policies for role, candidate in named.items() if candidate is not None}


class AdminKey(Spec, frozen=True):
    """One key of the admin API: exactly one of `hash` (sha256:<64 hex>) and `secret` (where the text is found)."""

    name: Name
    hash: Annotated[str, Meta(pattern=r"^sha256:[0-9a-f]{64}$")] | None = None
    secret: SecretRef | None = None
    role: Annotated[
        Role, Meta(description="viewer reads; operator also makes and revokes keys and reloads; admin may all.")
    ] = "admin"


class Admin(Spec, frozen=True):
    """Who may use the admin API under /api: keys of its own, which open no model."""

    keys: Annotated[
        tuple[AdminKey, ...], Meta(description="Admin keys; without any, the one in SIDECAR_ADMIN_KEY is.")
    ] = ()
    token_ttl: Annotated[Duration, Meta(description="How long a token of /api/auth/token is good.")] = "15m"


class Tracing(Spec, frozen=True):
    """Spans of every request and attempt, sent to an OpenTelemetry collector by OTLP/HTTP."""

    enabled: Annotated[bool, Meta(description="False traces nothing, whatever the environment says.")] = True
    endpoint: (
        Annotated[
            URL,
            Meta(
                description="Where spans are sent; without it OTEL_EXPORTER_OTLP_ENDPOINT and its kin are asked.",
                examples=["http://127.0.0.1:4318/v1/traces"],
            ),
        ]
        | None
    ) = None
    headers: Annotated[dict[HeaderName, SecretRef], Meta(description="Sent along, such as `authorization`.")] = {}
    sample: Annotated[
        Percent, Meta(description="Percent of the requests that are traced, where the caller does not decide.")
    ] = 100
    content: Annotated[
        Literal["off", "redacted"],
        Meta(description="Whether prompts and answers are in the spans, without what looks like a secret."),
    ] = "off"
    resource: Annotated[
        dict[AttributeName, AttributeText], Meta(description="What is told of this gateway, such as `service.name`.")
    ] = {}


class Gateway(Spec, frozen=True, tag_field="kind", tag="gateway"):
    """The gateway: everything has a default but the providers."""

    listen: Listen = Listen()
    providers: dict[Name, Provider] = {}
    models: Annotated[dict[Name, ModelSpec], Meta(description="Models of your own, or changes to the registry's.")] = {}
    aliases: Annotated[dict[Name, Name], Meta(description="Name a caller may use -> model or `auto`.")] = {}
    policies: Annotated[tuple[Path, ...], Meta(description="Folders or files of policies, relative to this file.")] = (
        "policies",
    )
    pipeline: Annotated[tuple[Name, ...], Meta(description="Order of the stages; the default order when empty.")] = ()
    rollout: Rollout | None = None
    registry: Annotated[Path, Meta(description="A models.json instead of the bundled one.")] | None = None
    registry_update: RegistryUpdate | None = None
    database: Annotated[Path, Meta(description="The ledger's SQLite file, relative to this file.")] = "sidecar.db"
    ledger_keeps: Annotated[
        Literal["text", "features", "nothing"],
        Meta(
            description="What the ledger keeps of each request for `sidecar replay`: counts and flags (no word of it); "
            "text: the last user message too, cut at 4,000 characters."
        ),
    ] = "features"
    limits: Limits = Limits()
    cors: Cors = Cors()
    admin: Admin = Admin()
    tracing: Tracing = Tracing()
    access_log: Annotated[bool, Meta(description="One JSON line a request on standard error.")] = True

    def ledger(self, entry: pathlib.Path, environ: Mapping[str, str]) -> pathlib.Path:
        """The ledger's file, `entry` being this one: that of `SIDECAR_DATABASE_URL`, else `database`."""
        return entry.parent / (database_path(environ.get("SIDECAR_DATABASE_URL", "")) or self.database)

    def catalogue(self, entry: pathlib.Path, environ: Mapping[str, str]) -> pathlib.Path:
        """The models.json that updates write: `registry`, else the one beside the ledger."""
        if self.registry is not None:
            return entry.parent / self.registry
        return self.ledger(entry, environ).with_name("models.json")


def database_path(url: str) -> str:
    """The file that `sqlite:///path` names, or a path."""
    return url.removeprefix("sqlite:///")

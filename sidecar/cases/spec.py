"""`kind: test`: what a file of cases says. A request and a world go in, and what the decision must be."""

from datetime import datetime
from ipaddress import ip_address
from typing import Annotated, Any, ClassVar, Literal

from msgspec import Meta

from ..spec import Count, Duration, Name, Spec

Text = Annotated[str, Meta(max_length=4096)]
Words = Annotated[str, Meta(min_length=1, max_length=512)]
MANY = 4_000_000


class Request(Spec, frozen=True):
    """What is asked: `prompt`, or whole `messages`; any other field of the OpenAI API stands under `body`."""

    model: Annotated[Text, Meta(description="`auto`, an alias, or a model.")] = "auto"
    prompt: (
        Annotated[str, Meta(description="The user's message; `Hello.` when there are no messages either.")] | None
    ) = None
    messages: Annotated[tuple[dict[str, Any], ...], Meta(description="A whole conversation.")] = ()
    tools: Annotated[
        Annotated[int, Meta(ge=0, le=2000)] | tuple[dict[str, Any], ...],
        Meta(description="Tools, or how many: their names are made up."),
    ] = 0
    stream: Annotated[bool, Meta(description="Whether the answer is to be streamed.")] = False
    max_tokens: Annotated[Count, Meta(description="The most tokens the answer may have.")] | None = None
    headers: Annotated[dict[str, Text], Meta(description="The caller's headers.")] = {}
    body: Annotated[dict[str, Any], Meta(description="Further fields of the request's body.")] = {}
    last_tokens: (
        Annotated[
            int,
            Meta(ge=1, le=MANY, description="The last message is filled up until the feature `last_tokens` is this."),
        ]
        | None
    ) = None
    tokens: (
        Annotated[
            int, Meta(ge=1, le=MANY, description="A system message is put first so that the feature `tokens` is this.")
        ]
        | None
    ) = None

    def __post_init__(self) -> None:
        if self.prompt is not None and self.messages:
            raise ValueError("a request has `prompt` or `messages`, not both")


class Caller(Spec, frozen=True):
    """Who asks. `key` alone is a gateway key of the policy; what else is written stands over what that key has."""

    key: Annotated[Name, Meta(description="A gateway key's name.")] | None = None
    tenant: Annotated[Name, Meta(description="Whose key it is.")] | None = None
    labels: Annotated[dict[str, str], Meta(description="Its labels.")] | None = None
    models: Annotated[tuple[Name, ...], Meta(description="The models it may use.")] | None = None
    claims: Annotated[
        dict[str, Any], Meta(description="What a token says; only its signature and times are not asked.")
    ] = {}
    issuer: (
        Annotated[Name, Meta(description="Whose token it is: a name under `jwt`, by which claims are judged.")] | None
    ) = None
    credential: Annotated[Words, Meta(description="What is presented, and known to nobody.")] | None = None
    anonymous: Annotated[bool, Meta(description="True presents nothing.")] = False
    ip: Annotated[
        str, Meta(pattern=r"^[0-9a-fA-F:.]+$", max_length=45, description="Its address.", examples=["203.0.113.7"])
    ] = "127.0.0.1"

    def __post_init__(self) -> None:
        ways = {
            "anonymous": self.anonymous,
            "credential": self.credential is not None,
            "issuer": self.issuer is not None,
            "key": self.key is not None,
        }
        if len(given := [way for way, is_given in ways.items() if is_given]) > 1:
            raise ValueError(f"a caller has one of `{given[0]}` and `{given[1]}`")
        try:
            ip_address(self.ip)
        except ValueError:
            raise ValueError("`ip` is not an address") from None


class World(Spec, frozen=True):
    """How things are. What is left out is as after a start: all is well, nothing is used, the cache is empty."""

    down: Annotated[dict[Name, Words], Meta(description="Provider or model -> why nothing may be sent there.")] = {}
    speed: Annotated[
        dict[Name, Annotated[float, Meta(gt=0, le=1_000_000)]],
        Meta(description="Model -> the output tokens a second that were learned."),
    ] = {}
    cache: Annotated[Literal["hit", "miss"], Meta(description="Whether this request was answered before.")] = "miss"
    cached_for: Annotated[Caller, Meta(description="It was answered before, but for this caller.")] | None = None
    used: Annotated[
        dict[Literal["key", "ip"], dict[Literal["requests", "tokens"], Count]],
        Meta(description="What the caller's limits hold already, just now: `{key: {requests: 59}}`."),
    ] = {}
    spent: Annotated[
        dict[Name, Annotated[float, Meta(ge=0, le=1_000_000_000)]],
        Meta(description="Budget -> US dollars that the caller's account has spent in its window."),
    ] = {}
    time: (
        Annotated[datetime, Meta(tz=True, description="When it is asked; prices are those of the registry's day.")]
        | None
    ) = None


class Refusal(Spec, frozen=True):
    """How a caller is told no: `status`, `code` and `param` as in the answer, a part of its `message`, `retry_after`
    in seconds, rounded up."""

    status: Annotated[int, Meta(ge=400, le=599)] | None = None
    code: Words | None = None
    message: Words | None = None
    param: Words | None = None
    retry_after: Count | None = None


Reaction = Literal["retry", "fall_back", "fail"]


class Plan(Spec, frozen=True):
    """How the chain is to be tried: the fields of `kind: fallback`, flat: `retries`, both of `backoff`, the `timeouts`.
    `hedge` is a time, `p95` or `off`."""

    retries: Count | None = None
    backoff_initial: Duration | None = None
    backoff_max: Duration | None = None
    connect: Duration | None = None
    first_token: Duration | None = None
    answer: Duration | None = None
    idle: Duration | None = None
    total: Duration | None = None
    hedge: Annotated[str, Meta(pattern=r"^(off|p95|([0-9]+(\.[0-9]+)?(ms|s|m))+)$", examples=["off"])] | None = None
    failures: Annotated[dict[Name, Reaction], Meta(description="What follows from a failure.")] = {}


class Cached(Spec, frozen=True):
    """What the cache did, and how long an answer may be kept."""

    result: (
        Annotated[Literal["hit", "miss", "bypass", "disabled"], Meta(description="As in `x-sidecar-cache`.")] | None
    ) = None
    ttl: Annotated[Duration, Meta(description="How long the answer will be kept.")] | None = None


class Expect(Spec, frozen=True):
    """What the decision must be. What is left out is not looked at; `none` is no tier, rule or model."""

    outcome: Annotated[Literal["execute", "respond", "refuse"], Meta(description="Where the walk ends.")] | None = None
    tier: Annotated[Name, Meta(description="The tier.")] | None = None
    rule: Annotated[Name, Meta(description="The rule that decided it.")] | None = None
    strategy: Annotated[Name, Meta(description="What candidates were ranked by.")] | None = None
    model: (
        Annotated[Name | tuple[Name, ...], Meta(description="The model asked first, or some that it may be.")] | None
    ) = None
    chain: Annotated[tuple[Name, ...], Meta(description="All models that would be tried, in order.")] | None = None
    dropped: Annotated[dict[Name, Words], Meta(description="Candidate -> a part of why it cannot serve.")] = {}
    edges: Annotated[dict[Name, Name], Meta(description="Stage -> its outcome.")] = {}
    refusal: Refusal | None = None
    headers: Annotated[
        dict[str, Text], Meta(description="Response headers that the decision makes: tier, cache, rate limits.")
    ] = {}
    plan: Plan | None = None
    cache: Cached | None = None


class Table(Spec, frozen=True):
    """One case for each of the `rows`. `columns` are fields of the case, by dotted path; an empty cell leaves its field
    alone."""

    columns: Annotated[tuple[Annotated[str, Meta(max_length=256)], ...], Meta(min_length=1)]
    rows: Annotated[tuple[tuple[Any, ...], ...], Meta(min_length=1)]


class Defaults(Spec, frozen=True):
    """What every case of the file has, unless it says otherwise: `request`, `caller`, `world`, `expect`."""

    request: Request = Request()
    caller: Caller = Caller()
    world: World = World()
    expect: Expect = Expect()


class Case(Spec, frozen=True):
    """One case, or with a `table` one for each of its rows."""

    name: Annotated[str, Meta(min_length=1, max_length=200, description="What it shows.", examples=["short questions"])]
    request: Request = Request()
    caller: Caller = Caller()
    world: World = World()
    expect: Expect = Expect()
    table: Table | None = None

    noun: ClassVar[str] = "the"


class Suite(Spec, frozen=True, tag_field="kind", tag="test"):
    """A file of cases. It is no part of the policy: no gateway reads it."""

    cases: Annotated[tuple[Case, ...], Meta(min_length=1, description="The cases.")]
    defaults: Defaults = Defaults()

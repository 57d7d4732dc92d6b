"""`kind: fallback`: in which order models are tried, how often, and how long each wait may last."""

from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from ..call import Call, Plan, Purse
from ..chat import FailureKind
from ..chat import Problem as Refusal
from ..config.codes import Code
from ..registry.index import Model
from ..spec import Duration, Name, Percent, Spec, seconds
from .base import ONWARD, REFUSE, Problem, Run, Scope, StageSpec, among, unknown_model

Reaction = Literal["retry", "fall_back", "fail"]


class Backoff(Spec, frozen=True):
    """Exponential, with full jitter. A provider's retry-after is waited for, unless it is longer than `max`."""

    initial: Duration = "250ms"
    max: Duration = "4s"


class Timeouts(Spec, frozen=True):
    """How long to wait: to connect, for a stream's first token, for a whole answer (which takes as long as all of its
    tokens; five times `first_token` when absent), between tokens, and for everything, the whole chain included.

    A caller may shorten the last with `x-request-timeout`.
    """

    connect: Duration = "5s"
    first_token: Duration = "60s"
    answer: Duration | None = None
    idle: Duration = "60s"
    total: Duration = "10m"


class Failures(Spec, frozen=True):
    """What follows from each failure before the first token; after it nothing is tried again. `retry`: the same model
    again, then the next. `fall_back`: the next model at once. `fail`: tell the caller.

    A caller's own 400 and a deadline that is over always fail: no other model is bothered with them.
    """

    refused: Annotated[Reaction, Meta(description="Nobody listens at the provider's address.")] = "retry"
    dns: Annotated[Reaction, Meta(description="Its host name cannot be resolved.")] = "retry"
    tls: Annotated[Reaction, Meta(description="No trusted TLS connection.")] = "fall_back"
    connect_timeout: Annotated[Reaction, Meta(description="No connection within `timeouts.connect`.")] = "retry"
    first_token_timeout: Annotated[Reaction, Meta(description="No token within `timeouts.first_token`.")] = "fall_back"
    reset: Annotated[Reaction, Meta(description="The connection was closed before an answer.")] = "retry"
    authentication: Annotated[Reaction, Meta(description="401 or 403: the gateway's key is not accepted.")] = (
        "fall_back"
    )
    not_found: Annotated[Reaction, Meta(description="404: no such model or address.")] = "fall_back"
    request_timeout: Annotated[Reaction, Meta(description="408.")] = "retry"
    too_large: Annotated[Reaction, Meta(description="413: the request is too large.")] = "fail"
    rate_limited: Annotated[Reaction, Meta(description="429.")] = "retry"
    quota: Annotated[Reaction, Meta(description="429 or 402: the account has nothing left.")] = "fall_back"
    server_error: Annotated[Reaction, Meta(description="500 and others without a name here.")] = "retry"
    bad_gateway: Annotated[Reaction, Meta(description="502 or 504.")] = "retry"
    unavailable: Annotated[Reaction, Meta(description="503.")] = "retry"
    overloaded: Annotated[Reaction, Meta(description="529, or the provider's own word for it.")] = "retry"
    stream_error: Annotated[Reaction, Meta(description="An error event in a stream.")] = "retry"
    malformed: Annotated[Reaction, Meta(description="An answer that cannot be read.")] = "retry"
    truncated: Annotated[Reaction, Meta(description="An answer that breaks off.")] = "retry"
    empty: Annotated[
        Reaction, Meta(description="No content. When all were empty, the caller gets the empty answer.")
    ] = "retry"
    content_filter: Annotated[Reaction, Meta(description="Refused, or emptied, by the provider's content filter.")] = (
        "fail"
    )
    context_overflow: Annotated[
        Reaction, Meta(description="Too long for the model; the next is one with a larger window.")
    ] = "fall_back"
    saturated: Annotated[Reaction, Meta(description="The provider's `concurrency` and `queue` are used up.")] = (
        "fall_back"
    )
    over_budget: Annotated[Reaction, Meta(description="What the model may cost is more than a budget has left.")] = (
        "fall_back"
    )
    unpriced: Annotated[Reaction, Meta(description="The caller has a budget, and the model no price.")] = "fall_back"
    over_limit: Annotated[Reaction, Meta(description="A limit on the model or its provider is reached.")] = "fall_back"


class RetryBudget(Spec, frozen=True):
    """Retries of all requests together, so that an outage is not multiplied: a share of the requests, and a few a
    second on top."""

    share: Percent = 20
    per_second: Annotated[float, Meta(ge=0, le=1000, description="Retries a second whatever the traffic.")] = 1


class Breaker(Spec, frozen=True):
    """When a model is left alone: after so many failures in a row, at such a share of failures among at least
    `requests` in a `window`, or when its first token takes `slow_factor` times as long as it used to (0: never).

    After `cooldown` one request tries it; when that fails too, the next cooldown is twice as long.
    """

    failures: Annotated[int, Meta(ge=1, le=1000)] = 5
    error_rate: Annotated[float, Meta(gt=0, le=100, description="Per cent of the requests.")] = 50
    requests: Annotated[int, Meta(ge=1, le=100_000)] = 20
    window: Duration = "30s"
    cooldown: Duration = "15s"
    max_cooldown: Duration = "5m"
    slow_factor: Annotated[float, Meta(ge=0, le=1000)] = 5
    slow_floor: Annotated[Duration, Meta(description="Never called slow below it.")] = "2s"


class Fallback(StageSpec, frozen=True, tag="fallback"):
    """The chosen model first, then its own chain if it has one, else the next best candidates."""

    alternatives: Annotated[int, Meta(ge=0, le=5, description="Models tried after the first.")] = 2
    chains: Annotated[dict[Name, tuple[Name, ...]], Meta(description="Model -> what is tried after it, in order.")] = {}
    retries: Annotated[int, Meta(ge=0, le=10, description="Tries of one model beyond the first.")] = 1
    backoff: Backoff = Backoff()
    timeouts: Timeouts = Timeouts()
    failures: Failures = Failures()
    retry_budget: RetryBudget = RetryBudget()
    breaker: Breaker = Breaker()
    hedge: Annotated[
        str,
        Meta(
            pattern=r"^(off|p95|([0-9]+(\.[0-9]+)?(ms|s|m))+)$",
            description="Ask the next model too when the first token is later than this, or than the model's p95.",
            examples=["p95", "2s"],
        ),
    ] = "off"

    kind: ClassVar[str] = "fallback"
    outcomes: ClassVar = {"planned": ONWARD, "none": REFUSE}
    needs: ClassVar = ("caller", "model")

    def problems(self, scope: Scope) -> list[Problem]:
        """Chains name models that exist and can be asked, and do not come back to one that was tried."""
        found: list[Problem] = []
        starts: set[str] = set()
        for start, chain in self.chains.items():
            tried: set[str] = set()
            for path, name in [(("chains", start), start), *((("chains", start, i), n) for i, n in enumerate(chain))]:
                model = scope.registry.find(name)
                if model is None:
                    found.append(unknown_model(path, name, scope.registry))
                    continue
                if model.id in tried:
                    message = f"the chain of `{start}` comes back to `{model.id}`, which it has tried"
                    found.append(Problem(path, Code.FALLBACK_LOOP, message, "name each model once"))
                elif model.provider not in scope.providers:
                    message = f"`{name}` cannot be asked: provider `{model.provider}` is not configured, or not enabled"
                    help_ = among(model.provider, scope.providers, "enabled providers")
                    found.append(Problem(path, Code.UNKNOWN_PROVIDER, message, help_, warning=True))
                tried.add(model.id)
            first = scope.registry.find(start)
            if first is not None and first.id in starts:
                message = f"there is another chain for `{first.id}`"
                found.append(Problem(("chains", start), Code.DUPLICATE_NAME, message, "keep one of them"))
            starts |= set() if first is None else {first.id}
        return found

    def build(self, scope: Scope) -> Run:
        """Chains resolved to models, the plan's figures in seconds."""
        chains = {_find(n, scope).id: _askable(chain, scope) for n, chain in self.chains.items()}
        alternatives, plan, node = self.alternatives, self._plan(), self.node

        def run(call: Call) -> str:
            if call.purse is not None and call.chain[0].id not in chains and _too_dear(call, call.purse):
                return "none"
            first, *others = call.chain
            written = chains.get(first.id)
            chain = others[:alternatives] if written is None else written
            allowed = call.principal.models if call.principal is not None else None
            if allowed:
                chain = [m for m in chain if m.id in allowed]
            state, down = call.state, call.state.health.down
            if call.headers.get("x-sidecar-route") == "off":
                chain = []
            usable = [first, *chain]
            if down or state.closed:
                tenant = call.features.tenant
                reachable = [m for m in usable if m.provider not in down and state.no_key(m.provider, tenant) is None]
                # When all that is left rests after failures, asking it anyway beats refusing.
                usable = [m for m in reachable if m.id not in down] or reachable
                if not usable:
                    reason = down.get(first.provider) or state.no_key(first.provider, tenant) or ""
                    call.refusal = _all_down(first, reason)
                    return "none"
            call.chain = usable
            call.plan = plan
            if call.purse is not None and written is not None and _too_dear(call, call.purse):
                return "none"
            if call.details is not None:
                call.note(node, {"chain": [m.id for m in call.chain], "plan": plan})
            return "planned"

        return run

    def _plan(self) -> Plan:
        times = self.timeouts
        reactions = {FailureKind(name): getattr(self.failures, name) for name in self.failures.__struct_fields__}
        return Plan(
            retries=self.retries,
            backoff_initial=seconds(self.backoff.initial),
            backoff_max=seconds(self.backoff.max),
            connect=seconds(times.connect),
            first_token=seconds(times.first_token),
            answer=seconds(times.answer) if times.answer is not None else 5 * seconds(times.first_token),
            idle=seconds(times.idle),
            total=seconds(times.total),
            retry=frozenset(kind for kind, reaction in reactions.items() if reaction == "retry"),
            fall_back=frozenset(kind for kind, reaction in reactions.items() if reaction != "fail"),
            hedge={"off": None, "p95": 0.0}[self.hedge] if self.hedge in ("off", "p95") else seconds(self.hedge),
        )


def _find(name: str, scope: Scope) -> Model:
    model = scope.registry.find(name)
    if model is None:
        raise LookupError(name)
    return model


def _askable(chain: tuple[str, ...], scope: Scope) -> list[Model]:
    """The chain without models of providers that are not here: there is nobody to ask."""
    return [m for m in (_find(name, scope) for name in chain) if m.provider in scope.providers]


def _too_dear(call: Call, purse: Purse) -> bool:
    """Whether the caller's budgets can pay for none of the chain. Of a chain that is not written out all candidates are
    looked at, before it is cut to `alternatives`."""
    call.refusal = purse.afford()
    return call.refusal is not None


def _all_down(model: Model, reason: str) -> Refusal:
    message = f"The model `{model.id}` cannot be called now ({reason}), and no other of its chain can."
    return Refusal(503, "api_error", message, "model_unavailable", "model", 5.0)

"""`kind: fallback`: in which order models are tried, how often, and how long each wait may last."""

from typing import Annotated, ClassVar

from msgspec import Meta

from ..call import Call, Plan
from ..chat import Problem as Refusal
from ..config.codes import Code
from ..registry.index import Model
from ..spec import Duration, Name, Spec, seconds
from .base import EXECUTE, REFUSE, Problem, Run, Scope, StageSpec, among, unknown_model


class Backoff(Spec, frozen=True):
    """Exponential, with full jitter."""

    initial: Duration = "250ms"
    max: Duration = "4s"


class Timeouts(Spec, frozen=True):
    """How long to wait: to connect, for the first token, between tokens, and for everything."""

    connect: Duration = "5s"
    first_token: Duration = "60s"
    idle: Duration = "60s"
    total: Duration = "10m"


class Fallback(StageSpec, frozen=True, tag="fallback"):
    """The chosen model first, then its own chain if it has one, else the next best candidates."""

    alternatives: Annotated[int, Meta(ge=0, le=5, description="Models tried after the first.")] = 2
    chains: Annotated[dict[Name, tuple[Name, ...]], Meta(description="Model -> what is tried after it, in order.")] = {}
    retries: Annotated[int, Meta(ge=0, le=10, description="Tries of one model beyond the first.")] = 1
    backoff: Backoff = Backoff()
    timeouts: Timeouts = Timeouts()

    kind: ClassVar[str] = "fallback"
    outcomes: ClassVar = {"planned": EXECUTE, "none": REFUSE}
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
            first, *others = call.chain
            chain = chains.get(first.id)
            if chain is None:
                chain = others[:alternatives]
            allowed = call.principal.models if call.principal is not None else None
            if allowed:
                chain = [m for m in chain if m.id in allowed]
            down = call.state.health.down
            if call.headers.get("x-sidecar-route") == "off":
                chain = []
            usable = [first, *chain]
            if down:
                reachable = [m for m in usable if m.provider not in down]
                # When all that is left rests after failures, asking it anyway beats refusing.
                usable = [m for m in reachable if m.id not in down] or reachable
                if not usable:
                    call.refusal = _all_down(first, down[first.provider])
                    return "none"
            call.chain = usable
            call.plan = plan
            call.note(node, {"chain": [m.id for m in call.chain], "plan": plan})
            return "planned"

        return run

    def _plan(self) -> Plan:
        times = self.timeouts
        return Plan(
            retries=self.retries,
            backoff_initial=seconds(self.backoff.initial),
            backoff_max=seconds(self.backoff.max),
            connect=seconds(times.connect),
            first_token=seconds(times.first_token),
            idle=seconds(times.idle),
            total=seconds(times.total),
        )


def _find(name: str, scope: Scope) -> Model:
    model = scope.registry.find(name)
    if model is None:
        raise LookupError(name)
    return model


def _askable(chain: tuple[str, ...], scope: Scope) -> list[Model]:
    """The chain without models of providers that are not here: there is nobody to ask."""
    return [m for m in (_find(name, scope) for name in chain) if m.provider in scope.providers]


def _all_down(model: Model, reason: str) -> Refusal:
    message = f"The model `{model.id}` cannot be called now ({reason}), and no other of its chain can."
    return Refusal(503, "api_error", message, "model_unavailable", "model", 5.0)

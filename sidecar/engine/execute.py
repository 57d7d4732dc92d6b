"""Executes a call's plan: the chain of models, retries, hedging, and the commit rule, for whole answers and streams.

One execution path below all surfaces. What a failure leads to is the policy's choice (`plan.retry`, `plan.fall_back`);
after the first content token nothing is tried again (docs/stream-contract.md).
"""

import asyncio
from collections.abc import Collection
from math import inf
from time import time

from ..chat import Completion, Failure, FailureKind
from ..registry.index import Model
from .attempt import Attempt, Errand
from .keyring import FAULTS, Key
from .retry import retried
from .route import Route
from .watch import TICK, Watch

_NOBODY = Failure(FailureKind.NOT_FOUND, "the chain is empty")
_SLOWER = Failure(FailureKind.CANCELLED, "another model was quicker")
_WEAK = 2
"""Of attempts side by side: a failure that decides nothing for the others."""


class Execution:
    """One call's attempts; the last is the one that the caller sees. After `commit` returned None it has an answer."""

    __slots__ = ("_chain", "attempts", "errand", "settled", "watch")

    def __init__(self, errand: Errand, watch: Watch) -> None:
        self.errand = errand
        self.watch = watch
        self.attempts: list[Attempt] = []
        self.settled = False
        self._chain: list[Model] = []

    @property
    def completion(self) -> Completion | None:
        """The whole answer, if the caller did not ask for a stream."""
        return self.attempts[-1].completion

    async def commit(self) -> Failure | None:
        """Try the chain until an attempt may be shown to the caller; else the last failure."""
        call, live = self.errand.call, self.errand.live
        plan = call.plan
        self.watch.begin(plan.total if call.timeout is None else min(plan.total, call.timeout))
        live.allowance.earn()
        self._chain = chain = list(call.chain)
        failure = _NOBODY
        while chain:
            model = chain.pop(0)
            if self.attempts and self._hopeless(model, failure):
                continue
            route = live.routes[model.id]
            if plan.hedge is not None and chain:
                tried = await self._hedged(route, plan.hedge)
            elif route.gate is None and route.ring is None:  # the usual way, without a step between
                tried = await self._begin(route, self.watch).run()
            else:
                tried = await self._try(route)
            if tried is not None and plan.retries and tried.kind in plan.retry and self._asked(route):
                tried = await retried(tried, lambda to=route: self._try(to), plan, self._worth)  # type: ignore[misc]
            if tried is None:
                return None
            failure = tried
            if failure.kind not in plan.fall_back or self.watch.over:
                break
        return self._handed_on(failure)

    def close(self) -> None:
        """Stop what still runs: its connection ends at once."""
        for attempt in self.attempts:
            if not attempt.ended:
                attempt.close()

    async def _try(self, route: Route) -> Failure | None:
        """One attempt, when the provider has a place for it."""
        attempt = await self._admitted(route, self.watch)
        return attempt if isinstance(attempt, Failure) else (await self._run(attempt))[1]

    async def _run(self, attempt: Attempt) -> tuple[Attempt, Failure | None]:
        """Run it; where its key is refused, another of the provider's keys is tried at once. The last attempt, and
        what came of it."""
        ring, model = attempt.route.ring, attempt.route.model.id
        if ring is None:
            return attempt, await attempt.run()
        tenant, tried = self.errand.call.features.tenant, set[Key]()
        while attempt.route.key is not None:
            failure = await attempt.run()
            tried.add(attempt.route.key)
            if failure is None or failure.kind not in FAULTS or attempt.watch.over:
                return attempt, failure
            if not ring.has_another(tenant, model, time(), tried):
                return attempt, failure
            admitted = await self._admitted(self.errand.live.routes[model], attempt.watch, tried)
            if isinstance(admitted, Failure):
                return self.attempts[-1], admitted
            attempt = admitted
        return attempt, attempt.fail(ring.failure(tenant, model, time()))

    async def _admitted(self, route: Route, watch: Watch, but: Collection[Key] = ()) -> Attempt | Failure:
        """An attempt that holds a place at its provider, with a key other than `but`; or it failed because there is
        no place."""
        gate = route.gate
        if gate is None or gate.enter_now():
            return self._begin(route, watch, but)
        entered = await gate.enter(min(route.queue_wait, watch.remaining))
        # It may have been sent to rest meanwhile: who waited for it need not find out one by one.
        if entered and not (self._chain and route.model.id in self.errand.live.state.health.down):
            return self._begin(route, watch, but)
        if entered:
            gate.leave()
        attempt = self._begin(route, watch)
        attempt.full()
        if watch.remaining <= 2 * TICK:
            return attempt.fail(Failure(FailureKind.TOTAL_TIMEOUT, f"no place within {watch.total:g} s"))
        return attempt.fail(Failure(FailureKind.SATURATED, "all of its places are taken", retry_after=1.0))

    def _begin(self, route: Route, watch: Watch, but: Collection[Key] = ()) -> Attempt:
        if route.ring is not None:
            key = route.ring.take(self.errand.call.features.tenant, route.model.id, time(), but)
            route = route if key is None else route.keyed[key]
        attempt = Attempt(self.errand, route, len(self.attempts) + 1, watch)
        self.attempts.append(attempt)
        return attempt

    def _asked(self, route: Route) -> bool:
        """Whether the last attempt was one of this model."""
        return self.attempts[-1].route.model is route.model

    def _hopeless(self, model: Model, failure: Failure) -> bool:
        """Whether a further model of the chain need not be asked: it rests, or its window is no larger either."""
        if failure.kind is FailureKind.CONTEXT_OVERFLOW:
            return model.context <= self.attempts[-1].route.model.context
        return model.id in self.errand.live.state.health.down and bool(self._chain)

    def _worth(self, failure: Failure, pause: float) -> bool:
        """Whether a retry after so many seconds is paid for, and comes in time."""
        if failure.retry_after is None and self.attempts[-1].route.model.id in self.errand.live.state.health.down:
            return False  # its breaker has opened; a provider that says when to come back is asked then
        return pause < self.watch.remaining and self.errand.live.allowance.spend(self.watch.now)

    def _handed_on(self, failure: Failure) -> Failure | None:
        """When all answers were empty, the last of them is the answer."""
        last = self.attempts[-1] if self.attempts else None
        if failure.kind is not FailureKind.EMPTY or last is None:
            return failure
        last.failure, last.empty = None, True
        return None

    async def _hedged(self, route: Route, after: float) -> Failure | None:
        """Ask this model, and the next one as well when the first token is late; the quicker answer is shown."""
        health = self.errand.live.state.health
        delay = after or health.first_token_p95(route.model.id)
        if delay is None:
            return await self._try(route)
        # Begun before its task is: others decide in between, and a model that is being probed must show as such.
        begun = self._begin(route, self.watch) if route.gate is None or route.gate.enter_now() else None
        runs = {asyncio.create_task(self._apart(route, begun))}
        try:
            done, _ = await asyncio.wait(runs, timeout=delay)
            if not done and (rival := self._rival()) is not None:
                runs.add(asyncio.create_task(self._apart(rival)))
            ended: list[tuple[Attempt, Failure | None]] = []
            while runs:
                done, runs = await asyncio.wait(runs, return_when=asyncio.FIRST_COMPLETED)
                ended += [task.result() for task in done]
                if self._decided(ended):
                    break
            return self._choice(ended)
        finally:
            for task in runs:
                task.cancel()
            await asyncio.gather(*runs, return_exceptions=True)

    def _rival(self) -> Route | None:
        """The next model that can be asked; it leaves the chain."""
        down = self.errand.live.state.health.down
        for model in self._chain:
            if model.id not in down:
                self._chain.remove(model)
                return self.errand.live.routes[model.id]
        return None

    async def _apart(self, route: Route, attempt: Attempt | Failure | None = None) -> tuple[Attempt, Failure | None]:
        """An attempt in a task of its own, with time limits of its own."""
        watch = self.watch.another()
        try:
            if attempt is None:
                attempt = await self._admitted(route, watch)
            if isinstance(attempt, Failure):
                return self.attempts[-1], attempt
            attempt.watch = watch
            try:
                return await self._run(attempt)
            except asyncio.CancelledError:
                for begun in self.attempts:
                    if begun.watch is watch and not begun.ended:
                        begun.fail(_SLOWER)
                raise
        finally:
            watch.until = inf
            watch.end()

    def _decided(self, ended: list[tuple[Attempt, Failure | None]]) -> bool:
        """Whether no other attempt need be waited for: one answered, or failed in a way that ends the call."""
        return any(self._weight(*pair) < _WEAK for pair in ended)

    def _weight(self, attempt: Attempt, failure: Failure | None) -> int:
        """What counts for more has the lower figure: an answer, a failure that ends the call, others, and what was
        never sent (over a limit, no place): that says nothing of the request, which another provider has already."""
        if failure is None:
            return 0
        if not attempt.sent:
            return _WEAK + 1
        return _WEAK if failure.kind in self.errand.call.plan.fall_back else _WEAK - 1

    def _choice(self, ended: list[tuple[Attempt, Failure | None]]) -> Failure | None:
        """Of attempts side by side, the one that counts for most. It is the last from here on, under the caller's own
        watch."""
        chosen, failure = min(ended, key=lambda pair: self._weight(*pair))
        for attempt, other in ended:
            if attempt is not chosen and other is None:  # both answered in the same turn of the loop
                attempt.fail(_SLOWER)
        chosen.watch = self.watch
        self.attempts.remove(chosen)
        self.attempts.append(chosen)
        return failure

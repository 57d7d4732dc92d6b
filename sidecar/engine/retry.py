"""When the same model is asked again: waits with full jitter, and a budget for all requests together.

The budget keeps an outage from being multiplied: when everything fails, retries add a fifth of the traffic to it, not
a whole one or more.
"""

from collections.abc import Awaitable, Callable

from tenacity import AsyncRetrying, RetryCallState, stop_after_attempt, wait_random_exponential

from ..call import Plan
from ..chat import Failure

SPAN = 10.0
"""Seconds of retries that may be saved up."""


class Allowance:
    """So many retries as a share of the requests, and some each second. One for a gateway, on one event loop."""

    def __init__(self, share: float = 0.2, per_second: float = 1.0) -> None:
        self.share = share
        self.per_second = per_second
        self._saved = self._most
        self._at = 0.0

    @property
    def _most(self) -> float:
        return max(self.per_second * SPAN, 100 * self.share)

    def earn(self) -> None:
        """A request was made."""
        saved = self._saved + self.share
        self._saved = saved if saved < self._most else self._most

    def spend(self, now: float) -> bool:
        """Take one retry, if there is one left at `now` (seconds of any one clock)."""
        self._saved = min(self._most, self._saved + max(0.0, now - self._at) * self.per_second)
        self._at = now
        if self._saved < 1:
            return False
        self._saved -= 1
        return True


async def retried(
    first: Failure, again: Callable[[], Awaitable[Failure | None]], plan: Plan, worth: Callable[[Failure, float], bool]
) -> Failure | None:
    """Up to `plan.retries` further tries after `first`, while the failure is `worth` one after so many seconds.

    Built only when something failed: the happy path pays nothing for it. Returns the last failure, or None.
    """
    jitter = wait_random_exponential(multiplier=plan.backoff_initial, max=plan.backoff_max)
    results: list[Failure | None] = [first]
    pauses: dict[int, float] = {}

    async def attempt() -> Failure | None:
        return results.pop() if results else await again()

    def wait(state: RetryCallState) -> float:
        return pauses[state.attempt_number]

    def is_worth(state: RetryCallState) -> bool:
        failure = state.outcome.result() if state.outcome is not None else None
        if failure is None or failure.kind not in plan.retry or state.attempt_number > plan.retries:
            return False
        pause = pauses[state.attempt_number] = max(jitter(state), failure.retry_after or 0.0)
        return (failure.retry_after or 0.0) <= plan.backoff_max and worth(failure, pause)

    retrying = AsyncRetrying(
        stop=stop_after_attempt(plan.retries + 1),
        wait=wait,
        retry=is_worth,
        retry_error_callback=lambda state: state.outcome.result() if state.outcome is not None else None,
    )
    result: Failure | None = await retrying(attempt)
    return result

"""Whatever comes, and whenever: no window holds more than any of two limits allows."""

from collections import deque

from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.stores.memory import SLOTS

from .decide import state
from .test_quota import KEY, OTHER, ask, quotas, refused


@given(
    limit=st.integers(1, 6),
    gaps=st.lists(st.floats(0, 30) | st.just(0.0), min_size=1, max_size=60),
    who=st.lists(st.sampled_from([KEY, OTHER]), min_size=60, max_size=60),
    own=st.integers(1, 6),
)
@settings(max_examples=60, deadline=None)
def test_never_more_passes_than_any_of_two_limits_allows(
    limit: int, gaps: list[float], who: list[str], own: int
) -> None:
    compiled = quotas(f"per: tenant, requests: {limit}/m", f"per: key, requests: {own}/m")
    stores, now = state(compiled), 1_000_000.0
    passed: deque[tuple[float, str]] = deque()
    for gap, key in zip(gaps, who, strict=False):
        now += gap
        recent = [name for at, name in passed if at > now - 60]
        if not refused(ask(compiled, stores, key, now=now)):
            passed.append((now, key))
            assert len(recent) < limit and recent.count(key) < own
        else:
            near = [name for at, name in passed if at > now - 60 * (1 + 2 / SLOTS)]
            assert len(near) >= limit or near.count(key) >= own, "refused without reason: a refusal took something"

"""Whatever the figures are, ranking is a total order that depends on nothing else and never prefers the worse."""

from datetime import date

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.registry.card import Price
from sidecar.registry.index import Model
from sidecar.registry.price import price_on
from sidecar.stages.ranking import SHARES, Ranking, Weights
from sidecar.stores.health import LiveHealth

DAY = date(2026, 1, 1)
PRICE = st.one_of(st.just(0.0), st.floats(0.001, 2000))
MODELS = st.lists(
    st.builds(
        lambda price, quality, speed: Model(
            id="", provider="p", upstream="u", context=1000, max_output=100, price=price, quality=quality, speed=speed
        ),
        st.none() | st.builds(lambda i, o: price_on([Price(input=i, output=o)], DAY), PRICE, PRICE),
        st.none() | st.floats(0, 100),
        st.none() | st.floats(0.1, 100_000),
    ),
    min_size=1,
    max_size=8,
).map(lambda models: tuple(msgspec.structs.replace(m, id=f"m{i}") for i, m in enumerate(models)))
WEIGHT = st.floats(0, 100)
WEIGHTS = st.builds(Weights, WEIGHT, WEIGHT, WEIGHT).filter(lambda w: w.cost + w.quality + w.speed > 0)
SHARE = st.integers(0, SHARES - 1)


def dominates(one: Model, other: Model) -> bool:
    """At least as good in all that is known of both, and better in something."""
    if one.price is None or other.price is None or None in (one.quality, other.quality, one.speed, other.speed):
        return False
    pairs = [
        (-one.price.input, -other.price.input),
        (-one.price.output, -other.price.output),
        (one.quality or 0, other.quality or 0),
        (one.speed or 0, other.speed or 0),
    ]
    return all(a >= b for a, b in pairs) and any(a > b for a, b in pairs)


@settings(max_examples=200, deadline=None)
@given(MODELS, WEIGHTS, SHARE, st.randoms(use_true_random=False))
def test_a_total_order_that_only_the_figures_decide(models, weights, share, random) -> None:  # type: ignore[no-untyped-def]
    health = LiveHealth()
    order = Ranking(models).order(weights, share, health)
    assert sorted(m.id for m in order) == sorted(m.id for m in models)
    mixed = list(models)
    random.shuffle(mixed)
    assert Ranking(tuple(mixed)).order(weights, share, health) == order
    assert [row.model for row in Ranking(models).explain(weights, share, health)] == [m.id for m in order]


@settings(max_examples=200, deadline=None)
@given(MODELS, WEIGHTS, SHARE)
def test_every_score_is_between_0_and_1_and_falls(models, weights, share) -> None:  # type: ignore[no-untyped-def]
    rows = Ranking(models).explain(weights, share, LiveHealth())
    assert all(0 <= term <= 1 for row in rows for term in (row.score, row.cost, row.quality, row.speed))
    assert [row.score for row in rows] == sorted((row.score for row in rows), reverse=True)


@settings(max_examples=400, deadline=None)
@given(MODELS, WEIGHTS, SHARE)
def test_nobody_is_ranked_before_one_that_is_better_in_everything(models, weights, share) -> None:  # type: ignore[no-untyped-def]
    order = Ranking(models).order(weights, share, LiveHealth())
    for place, worse in enumerate(order):
        assert not [better.id for better in order[place + 1 :] if dominates(better, worse)]

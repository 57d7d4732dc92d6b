"""`kind: cache`: the same answer only to the very same question of somebody who may have it."""

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from sidecar.graph import Graph
from sidecar.stores.base import Entry, Principal, State

from .decide import decide, graph, request, state

PLAIN = graph("kind: cache\nttl: 5m\n")
SMALL = st.one_of(st.none(), st.booleans(), st.integers(-9, 9), st.text(max_size=6))
VALUES = st.recursive(SMALL, lambda v: st.lists(v, max_size=2) | st.dictionaries(st.text(max_size=3), v, max_size=2))
FREE = st.dictionaries(st.text(max_size=6).map(lambda name: f"x{name}"), VALUES, max_size=3)


def key(compiled: Graph, body: dict[str, Any] | None = None, who: Principal | None = None, **more: Any) -> bytes:
    """The key a request is cached under."""
    stores = more.pop("stores", state())
    if who is not None:
        stores.keys._keys[b"d"] = who
        more |= {"credential": "gw_x", "digest": b"d"}
    _, call = decide(compiled, body, stores=stores, **more)
    assert call.cache_key is not None
    return call.cache_key


def caller(name: str = "app", tenant: str = "acme", labels: Any = None, models: tuple[str, ...] = ()) -> Principal:
    return Principal(name, tenant, labels or {}, frozenset(models))


@settings(max_examples=200, deadline=None)
@given(FREE, FREE)
def test_two_bodies_have_one_key_only_if_they_are_the_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    first, second = request() | one, request() | other
    assert (key(PLAIN, first) == key(PLAIN, second)) == (
        json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    )


def test_no_name_of_a_field_reads_like_two_fields() -> None:
    assert key(PLAIN, request() | {"xa\x001\x00xb": 2}) != key(PLAIN, request() | {"xa": 1, "xb": 2})


def test_the_order_of_fields_does_not_matter() -> None:
    assert key(PLAIN, {"seed": 1, **request()}) == key(PLAIN, {**request(), "seed": 1})


def test_tenants_never_share_unless_asked() -> None:
    for share, same_tenant, other_tenant in (("tenant", True, False), ("key", False, False), ("all", True, True)):
        compiled = graph(f"kind: cache\nshare: {share}\n")
        mine = key(compiled, who=caller("a", "acme"))
        assert (mine == key(compiled, who=caller("b", "acme"))) is same_tenant
        assert (mine == key(compiled, who=caller("a", "other"))) is other_tenant


@settings(max_examples=50, deadline=None)
@given(st.tuples(*[st.text("ab/", min_size=1, max_size=3)] * 4))
def test_no_tenant_and_key_read_like_others(names: tuple[str, str, str, str]) -> None:
    compiled = graph("kind: cache\nshare: key\n")
    one, other = caller(names[0], names[1]), caller(names[2], names[3])
    assert (key(compiled, who=one) == key(compiled, who=other)) == (names[:2] == names[2:])


def test_what_steers_the_decision_is_part_of_the_key() -> None:
    plain = key(PLAIN)
    for headers in ({"x-sidecar-task": "a"}, {"x-sidecar-strategy": "cost"}, {"x-sidecar-route": "off"}):
        assert key(PLAIN, headers=headers) != plain
    assert key(PLAIN, headers={"user-agent": "curl"}) == plain
    assert key(PLAIN, who=caller(models=("small",))) != key(PLAIN, who=caller())


def test_what_rules_read_is_part_of_the_key() -> None:
    def rule(when: str) -> Graph:
        return graph("kind: cache\n", f"kind: classify\nrules: [{{name: r, when: '{when}', tier: expert}}]\n")

    by_header, by_any = rule('headers["x-app"] == "shop"'), rule('headers.exists(k, k == "x-app")')
    by_label, by_key, by_text = rule('labels.team == "a"'), rule('key == "app"'), rule('text == "headers labels key"')
    shop, work = {"x-app": "shop"}, {"x-app": "work"}
    assert key(by_header, headers=shop) != key(by_header, headers=work)
    assert key(by_any, headers=shop) != key(by_any, headers={})
    assert key(by_text, headers=shop) == key(by_text, headers=work)
    a, b = caller(labels={"team": "a"}), caller(labels={"team": "b"})
    assert key(by_label, who=a) != key(by_label, who=b) and key(by_text, who=a) == key(by_text, who=b)
    assert key(by_key, who=caller("app")) != key(by_key, who=caller("ci"))


def test_what_a_key_may_use_is_part_of_the_key() -> None:
    kinds = [caller(), caller(models=("large",)), replace(caller(), strategies=("large",))]
    kinds += [replace(caller(models=("large",)), strategies=("large",)), replace(caller(), strategies=("cost",))]
    assert len({key(PLAIN, who=who) for who in kinds}) == len(kinds)


def test_another_policy_another_key() -> None:
    assert key(PLAIN) != key(graph("kind: cache\nttl: 6m\n"))


def stored(stores: State, ttl: float = 60.0) -> None:
    stores.cache.put(key(PLAIN, stores=stores), Entry(b"{}", "application/json", "m", "p", "t", 1000.0 + ttl))


def test_hit_miss_bypass_refresh_and_end() -> None:
    stores = state()
    assert decide(PLAIN, stores=stores)[1].cache == "miss"
    stored(stores)
    end, call = decide(PLAIN, stores=stores)
    assert (end, call.cache, call.cache_ttl) == ("respond", "hit", 300.0) and call.hit is not None
    end, call = decide(PLAIN, headers={"x-sidecar-cache": "no-store"}, stores=stores)
    assert (end, call.cache, call.cache_key) == ("execute", "bypass", None)
    end, call = decide(PLAIN, headers={"x-sidecar-cache": "refresh"}, stores=stores)
    assert (end, call.cache) == ("execute", "miss") and call.cache_key is not None
    assert decide(PLAIN, stores=stores, now=1061.0)[0] == "execute"


def test_switched_off() -> None:
    end, call = decide(graph("kind: cache\nenabled: false\n"))
    assert (end, call.cache, call.cache_key) == ("execute", "disabled", None)

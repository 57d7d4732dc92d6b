"""`kind: quota`: whom a limit counts, which models it leaves out, and that never more passes than it says."""

from typing import Any

import msgspec
import pytest

from sidecar.call import Call
from sidecar.chat import FailureKind, Problem, Usage
from sidecar.graph import Graph
from sidecar.stages import quota as quota_module
from sidecar.stores.base import Principal, State
from sidecar.stores.memory import MemoryCounters, MemoryKeys

from .decide import decide, digest_text, graph, request, state

KEY, OTHER = "gw_0123456789abcdef", "gw_another-0123456789"
KEYS = (
    "kind: authenticate\nanonymous: always\nkeys:\n"
    f"  - {{name: app, hash: '{digest_text(KEY)}', tenant: acme, labels: {{team: web}}}}\n"
    f"  - {{name: app2, hash: '{digest_text(OTHER)}', tenant: acme}}\n"
)
OFF = "kind: rate_limit\nenabled: false\n"
SMALL_FIRST = "kind: score\nstrategy: cost\n"


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Meters read the clock when an attempt is sent; here that is when the walk was."""
    monkeypatch.setattr(quota_module, "time", lambda: 1000.0)


def quotas(*rows: str, more: tuple[str, ...] = ()) -> Graph:
    texts = (KEYS, OFF, SMALL_FIRST, *more)
    return graph(*texts, "kind: quota\nlimits:\n" + "".join(f"  - {{{row}}}\n" for row in rows))


def ask(compiled: Graph, stores: State, credential: str = "", body: dict[str, Any] | None = None, **more: Any) -> Call:
    return decide(compiled, body, stores=stores, credential=credential, **more)[1]


def refused(call: Call) -> bool:
    if call.refusal is not None:
        assert (call.refusal.status, call.refusal.code) == (429, "rate_limit_exceeded")
    return call.refusal is not None


def test_a_tenant_is_counted_over_all_its_keys() -> None:
    compiled = quotas("per: tenant, requests: 2/m")
    stores = state(compiled)
    assert [refused(ask(compiled, stores, key)) for key in (KEY, OTHER, KEY)] == [False, False, True]
    assert not refused(ask(compiled, stores)), "another tenant"
    problem = ask(compiled, stores, KEY).refusal
    assert problem is not None and "this tenant: 2 requests a minute" in problem.message
    assert problem.retry_after == pytest.approx(60, abs=2)


@pytest.mark.parametrize("per", ["tenant", "model"])
def test_who_wants_more_than_all_of_a_limit_is_not_told_to_wait(per: str) -> None:
    compiled = quotas(f"per: {per}, tokens: 500/m")
    problem = ask(compiled, state(compiled), KEY, request(max_tokens=600)).refusal
    assert problem is not None and problem.retry_after
    said = problem.message.partition(": 500 tokens a minute. ")[2]
    assert said.startswith("This request may use 6") and said.endswith("set a smaller max_tokens.")


def test_who_lacks_a_label_is_counted_with_all_who_lack_it() -> None:
    compiled = quotas("per: labels.team, requests: 1/m")
    stores = state(compiled)
    assert [refused(ask(compiled, stores, key)) for key in (KEY, OTHER, "", KEY)] == [False, False, True, True]
    excused = quotas("per: labels.team, requests: 1/m, when: '\"team\" in labels'")
    stores = state(excused)
    assert not any(refused(ask(excused, stores, OTHER)) for _ in range(3))


def test_claims_are_read_by_their_path() -> None:
    compiled = quotas("per: claims.org.team, requests: 1/m")
    for said, counted in (("a", True), ("b", True), (["a"], False), (None, False)):
        principal = Principal("k", "t", claims={"org": {"team": said}})
        stores = msgspec.structs.replace(state(compiled), keys=MemoryKeys({b"k": principal}))
        first, second = (ask(compiled, stores, "x", digest=b"k") for _ in range(2))
        assert not refused(first) and refused(second)
        assert (first.charged[0][0][1] != ("",)) is counted


def test_a_limit_holds_only_where_its_condition_does() -> None:
    compiled = quotas("per: tenant, requests: 1/m, when: 'tokens > 100'")
    stores = state(compiled)
    long = request("word " * 200)
    assert [refused(ask(compiled, stores, KEY, body)) for body in (long, None, long, None)] == [
        False,
        False,
        True,
        False,
    ]


def test_what_is_refused_by_one_limit_takes_nothing_from_the_others() -> None:
    compiled = quotas("per: tenant, requests: 3/m", "per: key, requests: 1/m", "per: tenant, tokens: 100000/m")
    stores = state(compiled)
    assert not refused(ask(compiled, stores, KEY))
    for _ in range(5):
        call = ask(compiled, stores, KEY)
        assert refused(call) and not call.charged
    call = ask(compiled, stores, OTHER)
    assert not refused(call) and call.quotas["requests"].remaining == 0
    assert call.quotas["tokens"].remaining == 100_000 - 2 * (call.features.tokens + 256)


def test_a_guessed_output_alone_refuses_nobody() -> None:
    compiled = quotas("per: tenant, tokens: 100/m")
    call = ask(compiled, state(compiled), KEY)
    assert not refused(call) and call.quotas["tokens"].remaining == 0
    assert refused(ask(compiled, state(compiled), KEY, request(max_tokens=100)))
    assert refused(ask(compiled, state(compiled), KEY, request(max_tokens=20, n=5)))


def test_the_limits_of_a_key_hold_without_a_document() -> None:
    compiled = graph(KEYS, OFF)
    principal = Principal("own", "acme", limits=(("requests", 2, 60.0), ("tokens", 1000, 90.0)))
    stores = msgspec.structs.replace(state(compiled), keys=MemoryKeys({b"k": principal, b"l": Principal("own", "b")}))

    def own(digest: bytes = b"k", **more: Any) -> Call:
        return ask(compiled, stores, "x", digest=digest, **more)

    problem = own(body=request(max_tokens=2000)).refusal
    assert problem is not None and "this key: 1000 tokens in 90 s" in problem.message
    assert [refused(own()) for _ in range(3)] == [False, False, True]
    assert not any(refused(own(b"l")) for _ in range(5)), "a key of the same name at another tenant"


def test_a_model_over_its_limit_is_left_out_and_the_reason_is_told() -> None:
    compiled = quotas("per: [tenant, model], requests: 1/m", "per: provider, requests: 3/m")
    stores = state(compiled)
    served = []
    for _ in range(4):
        call = ask(compiled, stores, KEY)
        if not refused(call):
            served.append(call.chain[0].id)
            assert call.meters[0].enter(call.chain[0], 1) is None
    assert served == ["small", "middle", "large"]
    assert [model for model, why in call.dropped if "limit" in why] == ["small", "middle", "large"]
    assert call.refusal is not None and "this tenant on model `small`" in call.refusal.message
    other = ask(compiled, stores)
    assert refused(other) and "provider `house`: 3 requests" in other.refusal.message  # type: ignore[union-attr]
    named = ask(compiled, state(compiled), KEY, request() | {"model": "large"})
    assert not named.dropped and not refused(named)


def test_a_policy_that_does_not_fall_back_from_a_limit_wants_the_first_model_or_none() -> None:
    once = "kind: fallback\nfailures: {over_limit: fail}\n"
    compiled = quotas("per: model, requests: 1/m", more=(once,))
    stores = state(compiled)
    first = ask(compiled, stores, KEY)
    assert [m.id for m in first.chain] == ["small", "middle", "large"]
    assert first.meters[0].enter(first.chain[1], 1) is None
    assert not refused(ask(compiled, stores, KEY)), "the second is full, and not asked for"
    assert first.meters[0].enter(first.chain[0], 2) is None
    assert refused(ask(compiled, stores, KEY))


def test_a_meter_takes_all_or_nothing_and_corrects_what_was_used() -> None:
    compiled = quotas("per: model, tokens: 1000/m", "per: provider, requests: 2/m")
    stores = state(compiled)
    call = ask(compiled, stores, KEY, request(max_tokens=500))
    meter, small, middle = call.meters[0], call.chain[0], call.chain[1]
    assert meter.enter(small, 1) is None
    failure = meter.enter(small, 2)  # 500 and the prompt twice
    assert failure is not None and failure.kind is FailureKind.OVER_LIMIT and failure.retry_after
    assert "model `small`: 1000 tokens" in failure.message
    meter.leave(1, Usage(10, 20), 0)
    assert meter.enter(small, 3) is None
    failure = meter.enter(middle, 4)
    assert failure is not None and "provider `house`: 2 requests" in failure.message
    meter.leave(3, None, 0)  # another meter refused it: as if it had never been
    meter.leave(3, None, 0)
    meter.leave(99, Usage(1, 1), 0)
    assert meter.enter(small, 5) is None
    assert call.quotas["tokens"].remaining == 1000 - 30 - 500 - call.features.tokens
    assert call.quotas["requests"].remaining == 0


def test_made_up_keys_and_other_tenants_push_out_nobodys_quota() -> None:
    compiled = graph(
        KEYS,
        "kind: rate_limit\nlimits: [{per: key, requests: 1000/m}, {per: ip, requests: 3/m}]\n",
        "kind: quota\nlimits: [{per: tenant, requests: 2/d}, {per: ip, requests: 1000/m}]\n",
    )
    stores = msgspec.structs.replace(state(compiled), counters=MemoryCounters(max_keys=5))
    for _ in range(2):
        assert ask(compiled, stores, KEY, ip="1.1.1.1").refusal is None
    for number in range(50):
        problem: Problem | None = ask(compiled, stores, f"gw_made-up-{number}", ip="1.1.1.1").refusal
        assert problem is not None and problem.status == (401 if number == 0 else 429)
    assert "this address" in ask(compiled, stores, "gw_made-up", ip="1.1.1.1").refusal.message  # type: ignore[union-attr]
    for number in range(50):
        ask(compiled, stores, f"gw_made-up-{number}", ip=f"2.2.2.{number}")
    assert "this tenant" in ask(compiled, stores, KEY, ip="9.9.9.9").refusal.message  # type: ignore[union-attr]

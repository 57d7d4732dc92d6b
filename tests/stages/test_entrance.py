"""`kind: authenticate` and `kind: rate_limit`: who comes in, and how often."""

from typing import Any

import pytest

from sidecar.chat import Problem
from sidecar.graph import Graph

from .decide import decide, digest_text, graph, request, state

KEY = "gw_0123456789abcdef"
KEYS = (
    "keys:\n"
    f"  - {{name: app, hash: '{digest_text(KEY)}', tenant: acme, labels: {{team: web}}}}\n"
    f"  - {{name: old, hash: '{digest_text('an-older-key-of-ours')}'}}\n"
)


def door(anonymous: str) -> Graph:
    return graph(f"kind: authenticate\nanonymous: {anonymous}\n{KEYS}")


def refusal(compiled: Graph, **more: Any) -> Problem | None:
    return decide(compiled, **more)[1].refusal


def test_a_known_key_says_who_calls() -> None:
    _, call = decide(door("never"), credential=KEY)
    assert call.principal is not None and call.principal.key == "app"
    features = call.features
    assert (features.tenant, features.key, features.labels) == ("acme", "app", {"team": "web"})
    _, call = decide(door("never"), credential="an-older-key-of-ours")
    assert (call.features.tenant, call.features.key) == ("default", "old")


@pytest.mark.parametrize(
    ("anonymous", "credential", "local", "code"),
    [
        ("never", "", True, "missing_api_key"),
        ("never", "sk-anything", True, "invalid_api_key"),
        ("loopback", "", True, None),
        ("loopback", "sk-anything", True, None),  # SDKs insist on sending something
        ("loopback", "gw_not-one-of-ours", True, "invalid_api_key"),
        ("loopback", "", False, "missing_api_key"),
        ("loopback", "sk-anything", False, "invalid_api_key"),
        ("always", "", False, None),
        ("always", "gw_not-one-of-ours", False, "invalid_api_key"),
    ],
)
def test_who_comes_in_without_a_key_of_ours(anonymous: str, credential: str, local: bool, code: str | None) -> None:
    end, call = decide(door(anonymous), credential=credential, local=local)
    assert (call.refusal.code if call.refusal else None) == code
    assert (end == "refuse") is (code is not None)
    if call.refusal is None:
        assert (call.features.tenant, call.features.key) == ("default", "anonymous")
    else:
        assert call.refusal.status == 401 and (credential or "-") not in call.refusal.message


@pytest.mark.parametrize(
    ("end", "now", "code"),
    [
        ("expires: 2027-01-31", 1801353599.9, None),
        ("expires: 2027-01-31", 1801353600.0, "key_expired"),
        ("expires: '2027-01-31T18:00:00Z'", 1801418399.0, None),
        ("expires: '2027-01-31T18:00Z'", 1801418400.0, "key_expired"),
        ("revoked: true", 0.0, "key_revoked"),
        ("revoked: true, expires: 2027-01-31", 1801418400.0, "key_revoked"),
    ],
)
@pytest.mark.parametrize("anonymous", ["never", "always"])
def test_a_key_ends(anonymous: str, end: str, now: float, code: str | None) -> None:
    entry = f"{{name: app, hash: '{digest_text('a-key-of-our-own')}', {end}}}"
    compiled = graph(f"kind: authenticate\nanonymous: {anonymous}\nkeys: [{entry}]\n")
    problem = refusal(compiled, credential="a-key-of-our-own", now=now)
    assert (problem.code if problem else None) == code
    assert problem is None or problem.status == 401


def limits(*rows: str) -> Graph:
    return graph("kind: rate_limit\nlimits:\n" + "".join(f"  - {{{row}}}\n" for row in rows))


def test_requests_in_any_window() -> None:
    compiled, stores = limits("per: ip, requests: 2/m"), state()
    assert refusal(compiled, stores=stores, ip="1.1.1.1") is None
    assert refusal(compiled, stores=stores, ip="1.1.1.1", now=1030.0) is None
    problem = refusal(compiled, stores=stores, ip="1.1.1.1", now=1050.0)
    assert problem is not None and (problem.status, problem.code) == (429, "rate_limit_exceeded")
    assert problem.retry_after == pytest.approx(11, abs=1.1)
    assert problem.message.startswith("Rate limit reached for this address: 2 requests a minute. Try again in ")
    assert refusal(compiled, stores=stores, ip="2.2.2.2", now=1050.0) is None
    assert refusal(compiled, stores=stores, ip="1.1.1.1", now=1062.0) is None


def test_keys_are_counted_before_they_are_known_to_be_good() -> None:
    compiled, stores = limits("per: key, requests: 1/m"), state()
    for credential in ("gw_one", "gw_two"):
        assert refusal(compiled, stores=stores, credential=credential, ip="1.1.1.1").code != "rate_limit_exceeded"  # type: ignore[union-attr]
        assert refusal(compiled, stores=stores, credential=credential, ip="2.2.2.2").code == "rate_limit_exceeded"  # type: ignore[union-attr]


def test_tokens_are_charged_by_estimate_and_a_refused_request_takes_nothing() -> None:
    compiled, stores = limits("per: ip, requests: 3/m", "per: ip, tokens: 1000/m"), state()
    big, small = request(max_tokens=900), request(max_tokens=50)
    _, call = decide(compiled, big, stores=stores, ip="1")
    assert call.quotas["tokens"].remaining == 100 - call.features.tokens
    assert (call.quotas["requests"].limit, call.quotas["requests"].remaining) == (3, 2)
    for _ in range(5):
        _, call = decide(compiled, big, stores=stores, ip="1")
        assert call.refusal is not None and "1000 tokens a minute" in call.refusal.message and not call.charged
    _, call = decide(compiled, small, stores=stores, ip="1")
    assert call.refusal is None and call.quotas["requests"].remaining == 1


def test_the_closest_limit_is_the_one_that_is_shown() -> None:
    _, call = decide(limits("per: ip, requests: 100/h", "per: key, requests: 5/s"), ip="1")
    assert (call.quotas["requests"].limit, call.quotas["requests"].remaining) == (5, 4)

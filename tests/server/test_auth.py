"""Who may call: keys by hash and by secret, keys restricted to models, callers without a key."""

import asyncio
from collections.abc import Iterator

import httpx
import pytest
from gateway import Served, gateway, read_rows, threaded
from house import CHAT, HELLO, UP_KEY, Upstream, config, envelope, eventually, fails, upstream

from sidecar.identity.keys import generate, hash_text

HASHED, FEW, GROUP = generate(), generate(), generate()
SECRET = "a-secret-of-our-own-0123456789"
AUTH = """kind: authenticate
anonymous: {anonymous}
anonymous_tenant: nobody
keys:
  - {{name: hashed, hash: "{hashed}", tenant: one, labels: {{team: red}}}}
  - {{name: secret, secret: "${{APP_KEY}}", tenant: two}}
  - {{name: few, hash: "{few}", models: [m2]}}
  - {{name: group, hash: "{group}", models: [m1, m3]}}
"""
CHAIN = "kind: fallback\nretries: 0\nalternatives: 3\nchains: {m1: [m2, m3]}\n"


def policy(anonymous: str) -> str:
    return AUTH.format(anonymous=anonymous, hashed=hash_text(HASHED), few=hash_text(FEW), group=hash_text(GROUP))


@pytest.fixture(scope="module")
def up() -> Iterator[Upstream]:
    with threaded(upstream) as running:
        yield running.value


@pytest.fixture(autouse=True)
def fresh(up: Upstream) -> None:
    up.asked.clear()
    up.replies.clear()


@pytest.fixture(scope="module", params=["loopback", "never", "always"])
def served(request: pytest.FixtureRequest, up: Upstream) -> Iterator[tuple[str, Served]]:
    models = {"m1": "up", "m2": "up", "m3": "up"}
    text = config({"up": up.url}, models, policy(request.param), CHAIN, gateway="aliases: {second: m2, first: m1}")
    with threaded(lambda: gateway(text, {"UP_KEY": UP_KEY, "APP_KEY": SECRET})) as running:
        yield request.param, running.value


@pytest.fixture(scope="module")
def http(served: tuple[str, Served]) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=served[1].url, trust_env=False, verify=False, timeout=10) as client:
        yield client


def ask(http: httpx.Client, model: str = "m1", **headers: str) -> httpx.Response:
    return http.post(CHAT, json={"model": model, "messages": HELLO}, headers=headers)


def bearer(key: str) -> dict[str, str]:
    return {"authorization": f"Bearer {key}"}


@pytest.mark.parametrize("key", [HASHED, SECRET], ids=["hash", "secret"])
def test_a_key_is_taken_in_either_header(http: httpx.Client, key: str) -> None:
    for headers in (bearer(key), {"authorization": f"bearer   {key}"}, {"x-api-key": key}):
        response = ask(http, **headers)
        assert response.status_code == 200, response.text


def test_the_callers_key_never_reaches_the_provider(http: httpx.Client, up: Upstream) -> None:
    ask(http, **bearer(HASHED))
    sent = up.asked[-1].headers
    assert sent["authorization"] == f"Bearer {UP_KEY}"
    assert HASHED not in str(sent)
    assert not [name for name in sent if name.startswith(("x-sidecar", "x-api-key", "cookie"))]


def test_without_a_key(http: httpx.Client, served: tuple[str, Served]) -> None:
    response = ask(http)
    if served[0] == "never":
        assert response.status_code == 401
        error = envelope(response)
        assert (error["type"], error["code"]) == ("authentication_error", "missing_api_key")
    else:
        assert response.status_code == 200


LIKE_OURS = {
    "another": generate(),
    "cut": HASHED[:-1],
    "longer": HASHED + "x",
    "swapped-case": "gw_" + HASHED[3:].swapcase(),
    "prefix": "gw_",
    "latin": "gw_\xff",
}


@pytest.mark.parametrize("key", LIKE_OURS.values(), ids=LIKE_OURS.keys())
def test_what_looks_like_one_of_our_keys_and_is_none_is_refused_everywhere(http: httpx.Client, key: str) -> None:
    for headers in ({"authorization": f"Bearer {key}".encode("latin-1")}, {"x-api-key": key.encode("latin-1")}):
        response = http.post(CHAT, json={"model": "m1", "messages": HELLO}, headers=headers)
        assert response.status_code == 401, headers
        error = envelope(response)
        assert error["code"] == "invalid_api_key"
        assert key == "gw_" or key not in response.text


def test_what_an_sdk_sends_for_want_of_a_key_is_judged_only_where_one_is_needed(
    http: httpx.Client, served: tuple[str, Served]
) -> None:
    response = ask(http, **bearer("sk-dummy"))
    assert response.status_code == (401 if served[0] == "never" else 200)


@pytest.mark.parametrize("value", ["", "Bearer", "Basic abc", "gw_", "Token x y"])
def test_a_header_without_a_key_is_no_key(http: httpx.Client, served: tuple[str, Served], value: str) -> None:
    response = ask(http, authorization=value)
    assert response.status_code == (401 if served[0] == "never" else 200)


def test_a_restricted_key_may_name_its_models_only(http: httpx.Client, up: Upstream) -> None:
    few = bearer(FEW)
    assert ask(http, "m2", **few).status_code == 200
    assert ask(http, "second", **few).status_code == 200
    for model in ("m1", "first", "m3", "up/m1"):
        response = ask(http, model, **few)
        assert response.status_code == 403, model
        error = envelope(response)
        assert (error["type"], error["code"], error["param"]) == ("permission_error", "model_not_allowed", "model")
    assert set(up.models) == {"m2"}


def test_a_restricted_key_is_routed_within_its_models(http: httpx.Client, up: Upstream) -> None:
    for model in ("auto", "auto:cost", "auto:quality", "auto:speed"):
        response = ask(http, model, **bearer(FEW))
        assert response.status_code == 200
        assert response.headers["x-sidecar-model"] == "m2"
    assert set(up.models) == {"m2"}


def test_a_restricted_key_falls_back_within_its_models(http: httpx.Client, up: Upstream) -> None:
    up.on("m1", fails(500))
    response = ask(http, "m1", **bearer(GROUP))
    assert response.status_code == 200
    assert response.headers["x-sidecar-model"] == "m3"
    assert up.models == ["m1", "m3"]


def test_models_are_listed_for_the_one_who_asks(http: httpx.Client, served: tuple[str, Served]) -> None:
    def names(**headers: str) -> set[str]:
        return {model["id"] for model in http.get("/v1/models", headers=headers).json()["data"]}

    assert {"auto", "m1", "m2", "m3", "second"} <= names(**bearer(HASHED))
    assert names(**bearer(FEW)) & {"m1", "m2", "m3"} == {"m2"}
    response = http.get("/v1/models")
    assert response.status_code == (401 if served[0] == "never" else 200)
    assert http.get("/v1/models", headers=bearer(generate())).status_code == 401


def test_tenant_and_key_are_in_the_ledger(http: httpx.Client, served: tuple[str, Served]) -> None:
    cases = [(bearer(HASHED), ("one", "hashed")), (bearer(SECRET), ("two", "secret"))]
    if served[0] != "never":
        cases.append(({}, ("nobody", "anonymous")))
    for headers, expected in cases:
        request_id = ask(http, **headers).headers["x-request-id"]
        row = asyncio.run(eventually(lambda: read_rows(served[1].database, request_id)))[0]  # noqa: B023
        assert (row["tenant"], row["key_name"]) == expected


def test_health_needs_no_key(http: httpx.Client) -> None:
    for path in ("/health", "/live", "/ready", "/metrics"):
        assert http.get(path).status_code == 200

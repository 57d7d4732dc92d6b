"""Who may use the admin API: a table of every route against every credential. No caller's credential passes."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import httpx
import pytest
from admin import ADMIN, AUTHENTICATE, CALLER, ENVIRON, KEYS, SIGNING, api, caller_token, governed, problem
from gateway import Served, gateway, threaded
from house import CHAT, HELLO, config, eventually, looped, upstream
from identity.issuers import RSA, confused, part, pem

from sidecar.identity.admins import AdminTokens
from sidecar.identity.keys import digest, generate
from sidecar.server.docs_openapi import openapi
from sidecar.server.state import RefusedError
from sidecar.stores.keys import KeyTable, StoredKey

ROUTES = [
    (method.upper(), path, operation["x-role"])
    for path, methods in openapi()["paths"].items()
    for method, operation in methods.items()
    if path.startswith("/api/") and path != "/api/auth/token"
]
RANK = {"viewer": 0, "operator": 1, "admin": 2}


def forged(claims: dict[str, Any], secret: str = SIGNING, alg: str = "HS256") -> str:
    message = f"{part({'alg': alg, 'typ': 'JWT'})}.{part(claims)}"
    signature = hmac.new(secret.encode(), message.encode(), hashlib.sha256).digest() if alg == "HS256" else b""
    return f"{message}.{base64.urlsafe_b64encode(signature).rstrip(b'=').decode()}"


def opened(token: str) -> dict[str, Any]:
    """What a token says."""
    text = token.split(".")[1]
    found: dict[str, Any] = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    return found


@pytest.fixture(scope="module")
def served() -> Iterator[Served]:
    with threaded(governed) as running:
        yield running.value


@pytest.fixture(scope="module")
def http(served: Served) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=served.url, trust_env=False, timeout=20) as client:
        yield client


@pytest.fixture(autouse=True)
def forgiven(request: pytest.FixtureRequest) -> None:
    """Failures before do not count: each row of the tables begins anew."""
    if "served" in request.fixturenames:
        access = request.getfixturevalue("served").running.access
        access._failures.__init__(4096)


def login(http: httpx.Client, role: str) -> str:
    response = http.post("/api/auth/token", headers={"authorization": f"Bearer {KEYS[role]}"})
    assert response.status_code == 200, response.text
    found = response.json()
    assert (found["token_type"], found["expires_in"], found["role"]) == ("Bearer", 600, role)
    return str(found["token"])


def call(http: httpx.Client, method: str, path: str, credential: str | None, **headers: str) -> httpx.Response:
    shown = {} if credential is None else {"authorization": f"Bearer {credential}"}
    return http.request(method, path.replace("{id}", "x").replace("{name}", "x"), headers={**shown, **headers})


def test_there_are_routes() -> None:
    assert ("POST", "/api/admin/reload", "operator") in ROUTES
    assert ("GET", "/api/analytics", "viewer") in ROUTES


@pytest.mark.parametrize(("method", "path", "role"), ROUTES)
def test_the_matrix(http: httpx.Client, served: Served, method: str, path: str, role: str) -> None:
    token = opened(login(http, "admin"))
    now = int(time.time())
    refused = {
        "no key": None,
        "a wrong key": "gw_wrong-and-as-long-as-a-real-one-000000000000000000",
        "a gateway key": CALLER,
        "a caller's token": caller_token(),
        "a caller's token that says it is an admin": caller_token(role="admin", key=token["key"]),
        "an expired token": forged({**token, "exp": now - 1}),
        "a token of tomorrow": forged({**token, "iat": now + 3600}),
        "alg none": forged(token, alg="none"),
        "alg none without a signature": forged(token, alg="none").rstrip("."),
        "another algorithm": confused({**token}, pem(RSA)),
        "signed with another secret": forged(token, "another-secret-of-more-than-32-bytes"),
        "signed with the admin key": forged(token, KEYS["admin"]),
        "for another audience": forged({**token, "aud": "gateway"}),
        "of another issuer": forged({**token, "iss": "sidecar2"}),
        "without an end": forged({name: value for name, value in token.items() if name != "exp"}),
        "of an admin there is not": forged({**token, "sub": "nobody"}),
        "of a key there is not": forged({**token, "key": "0" * 16}),
        "with a role its key has not": forged({**opened(login(http, "viewer")), "role": "admin"}),
        "nonsense": "a.b.c",
    }
    for credential in refused.values():
        problem(call(http, method, path, credential), 401, "no-credential" if credential is None else "bad-credential")
        served.running.access._failures.__init__(4096)
    for name, key in KEYS.items():
        for credential in (key, login(http, name)):
            response = call(http, method, path, credential)
            if RANK[name] < RANK[role]:
                problem(response, 403, "role")
            else:
                assert response.status_code not in (401, 403, 500), response.text
    assert call(http, method, path, None, **{"x-api-key": CALLER}).status_code == 401
    assert call(http, method, path, None, authorization=f"Basic {CALLER}").status_code == 401


def test_admin_credentials_open_no_model(http: httpx.Client) -> None:
    for credential in (*KEYS.values(), login(http, "admin")):
        headers = {"authorization": f"Bearer {credential}"}
        response = http.post(CHAT, json={"model": "m1", "messages": HELLO}, headers=headers)
        assert response.status_code == 401, response.text
        assert http.get("/v1/models", headers=headers).status_code == 401


def test_a_token_is_given_for_a_key_alone_and_says_no_more_than_it_must(http: httpx.Client) -> None:
    assert http.post("/api/auth/token", json={"key": KEYS["viewer"]}).json()["role"] == "viewer"
    token = login(http, "operator")
    problem(http.post("/api/auth/token", headers={"authorization": f"Bearer {token}"}), 401, "bad-credential")
    problem(http.post("/api/auth/token"), 401, "no-credential")
    for body in (b"{", b'{"key": 5}', b'{"key": "k", "role": "admin"}', b"[]", b"\xff"):
        problem(http.post("/api/auth/token", content=body), 400, "invalid")
    problem(http.post("/api/auth/token", content=b"x" * 100_000), 413, "invalid")
    said = opened(token)
    assert said.keys() == {"iss", "aud", "sub", "role", "key", "iat", "exp", "jti"}
    assert said["exp"] - said["iat"] in (600, 601)
    assert opened(login(http, "operator"))["jti"] != said["jti"]
    assert KEYS["operator"] not in str(said)


def test_who_fails_too_often_waits_whatever_it_shows_then(http: httpx.Client) -> None:
    for _ in range(10):
        problem(call(http, "GET", "/api/models", "wrong-key-wrong-key"), 401, "bad-credential")
    for credential in ("wrong-key-wrong-key", KEYS["admin"]):
        response = call(http, "GET", "/api/models", credential)
        problem(response, 429, "too-many-failures")
        assert 0 < int(response.headers["retry-after"]) <= 61
    response = http.post("/api/auth/token", json={"key": KEYS["admin"]})
    problem(response, 429, "too-many-failures")


def test_who_is_right_is_never_held_up(http: httpx.Client) -> None:
    token = login(http, "viewer")
    expired = forged({**opened(token), "exp": 1})
    for _ in range(25):
        assert call(http, "GET", "/api/models", token).status_code == 200
        assert call(http, "GET", "/api/models", expired).status_code == 401  # a dashboard that slept is no guesser


@looped
async def test_without_an_admin_key_it_says_how_to_set_one() -> None:
    async with governed(admin="") as served, api(served, "anything-at-all-0123456789") as http:
        for method, path, _ in ROUTES:
            said = problem(
                await http.request(method, path.replace("{id}", "x").replace("{name}", "x")), 403, "admin-off"
            )
            assert "SIDECAR_ADMIN_KEY" in said["detail"]
        problem(await http.post("/api/auth/token"), 403, "admin-off")


@looped
async def test_the_environments_key_is_the_admin_of_a_gateway_that_names_none() -> None:
    key = "the-admin-key-of-the-environment"
    async with governed(admin="", SIDECAR_ADMIN_KEY=key) as served, api(served, key) as http:
        assert (await http.get("/api/admin/config")).status_code == 200
    async with governed(SIDECAR_ADMIN_KEY=key) as served, api(served, key) as http:
        problem(await http.get("/api/admin/config"), 401, "bad-credential")


@looped
async def test_a_token_dies_with_its_key(tmp_path: Any) -> None:
    async with upstream() as up:
        entry = tmp_path / "gateway.yaml"
        whole = config({"up": up.url}, {"m1": "up"}, AUTHENTICATE, gateway=ADMIN)
        entry.write_text(whole)
        async with gateway(entry, ENVIRON) as served, api(served) as http:
            shown = {"authorization": f"Bearer {KEYS['operator']}"}
            token = (await http.post("/api/auth/token", headers=shown)).json()["token"]
            headers = {"authorization": f"Bearer {token}"}
            assert (await http.get("/api/models", headers=headers)).status_code == 200
            entry.write_text(whole.replace("role: operator", "role: viewer"))
            assert (await http.post("/api/admin/reload")).json()["outcome"] == "loaded"
            problem(await http.get("/api/models", headers=headers), 401, "bad-credential")


@looped
async def test_tokens_outlive_the_process_only_with_a_secret_of_their_own() -> None:
    for secret, works in ((SIGNING, 200), ("", 401)):
        async with governed(SIDECAR_SECRET_KEY=secret) as served, api(served, None) as http:
            token = (await http.post("/api/auth/token", json={"key": KEYS["admin"]})).json()["token"]
        async with governed(SIDECAR_SECRET_KEY=secret) as served, api(served, token) as http:
            assert (await http.get("/api/models")).status_code == works


@pytest.mark.parametrize(
    ("environ", "said"),
    [
        ({"SIDECAR_SECRET_KEY": "short"}, "SIDECAR_SECRET_KEY is shorter than 32 bytes"),
        ({"ADMIN": ""}, "admin key `owns`: ADMIN is not set"),
        ({"ADMIN": "short"}, "admin key `owns` is shorter than 16 characters"),
        ({"ADMIN": CALLER}, "admin key `owns` is a gateway key as well"),
    ],
)
def test_a_key_that_cannot_guard_anything_is_refused_at_the_start(environ: dict[str, str], said: str) -> None:
    @looped
    async def test() -> None:
        with pytest.raises(RefusedError) as refused:
            async with governed(**environ):
                pass
        assert said in str(refused.value)
        assert "gw_" not in str(refused.value)

    test()


@looped
async def test_an_admin_key_that_was_made_as_a_gateway_key_opens_no_model() -> None:
    """`SIDECAR_ADMIN_KEY=$(sidecar keys create admin)`: the key is in the database as well."""
    ask = {"model": "m1", "messages": HELLO}
    async with governed() as served, api(served, KEYS["operator"]) as http:
        with closing(KeyTable(served.database)) as table:
            for name, text in (("admin", KEYS["operator"]), ("app-2", other := generate())):
                table.add(StoredKey(name=name, hash=digest(text).hex(), prefix=text[:8], created=1.0))
        headers = {"authorization": f"Bearer {other}"}

        async def heard() -> bool:
            return (await http.post(CHAT, json=ask, headers=headers)).status_code == 200

        await eventually(heard)
        assert (await http.post(CHAT, json=ask)).json()["error"]["code"] == "invalid_api_key"
        assert (await http.get("/api/models")).status_code == 200


def test_a_secret_is_never_shown(http: httpx.Client, served: Served) -> None:
    shown = []
    for method, path, _ in ROUTES:
        shown.append(call(http, method, path, KEYS["admin"]).text)
    text = "".join([*shown, served.log, repr(served.running.holder.current.admins), repr(AdminTokens(b"s" * 32))])
    for secret in (*KEYS.values(), CALLER, SIGNING):
        assert secret not in text


def test_what_is_not_there_is_a_problem_too(http: httpx.Client) -> None:
    problem(http.get("/api/nothing"), 404, "not-found")
    problem(http.put("/api/models"), 405, "method")
    assert http.get("/nothing").json()["error"]

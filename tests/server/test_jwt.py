"""Callers with a JWT before a running gateway: who comes in, what others are told, what policies make of it."""

import asyncio
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from gateway import ROOT, gateway
from house import CHAT, HELLO, UP_KEY, client, config, envelope, eventually, looped, upstream
from house import http as response_bytes
from identity.issuers import (
    EC,
    ISSUER,
    OTHER_RSA,
    RSA,
    SECRET,
    claims,
    confused,
    jwk,
    jwks,
    pem,
    resigned,
    signed,
    unsigned,
)

from sidecar.identity import jwks as fetching
from sidecar.identity.jwt import Fault
from sidecar.policy import load

GATE = "a.gateway.key-with-two-dots"
TERMS = f"issuer: '{ISSUER}', audience: [gateway], tenant: org, labels: {{team: team}}"
ENVIRON = {"UP_KEY": UP_KEY, "APP_KEY": GATE, "JWT_SECRET": SECRET, "RSA_KEY": pem(RSA), "EC_KEY": pem(EC)}


def authenticate(jwt: str, anonymous: str = "never") -> str:
    keys = "keys: [{name: app, secret: '${APP_KEY}', tenant: house}]"
    return f"kind: authenticate\nanonymous: {anonymous}\n{keys}\njwt:\n  - {{name: corp, {TERMS}, {jwt}}}\n"


def said(**more: Any) -> dict[str, Any]:
    return claims(time.time(), **{"org": "acme", **more})


async def ask(http: httpx.AsyncClient, token: str, model: str = "m1", **more: Any) -> httpx.Response:
    headers = {"authorization": f"Bearer {token}", **more.pop("headers", {})}
    return await http.post(CHAT, json={"model": model, "messages": HELLO, **more}, headers=headers)


async def status(http: httpx.AsyncClient, token: str, **more: Any) -> tuple[int, str | None]:
    response = await ask(http, token, **more)
    return response.status_code, None if response.status_code == 200 else envelope(response)["code"]


@looped
async def test_a_token_of_each_kind_is_taken() -> None:
    kinds: list[tuple[str, Any]] = [
        ("public_key: '${RSA_KEY}'", RSA),
        ("public_key: '${EC_KEY}', algorithms: [ES256, RS256]", EC),
        ("secret: '${JWT_SECRET}', algorithms: [HS256]", SECRET),
    ]
    for jwt, key in kinds:
        async with (
            upstream() as up,
            gateway(config({"up": up.url}, {"m1": "up"}, authenticate(jwt)), ENVIRON) as served,
        ):
            async with client(served.url) as http:
                token = signed(said(), key)
                for _ in range(2):
                    response = await ask(http, token)
                    assert response.status_code == 200, response.text
                assert (
                    await http.post(CHAT, json={"model": "m1", "messages": HELLO}, headers={"x-api-key": token})
                ).is_success
                assert token not in str([asked.headers for asked in up.asked])
                assert await status(http, GATE) == (200, None)
                row = (await served.rows(response.headers["x-request-id"]))[0]
                assert (row["tenant"], row["key_name"]) == ("acme", "corp|alice@corp.test")


NO: dict[str, tuple[str, Fault]] = {
    "none": (unsigned(said(), signature="AAAA"), Fault.ALGORITHM),
    "confused": (confused(said(), pem(RSA)), Fault.ALGORITHM),
    "confused-stripped": (confused(said(), pem(RSA).strip()), Fault.ALGORITHM),
    "another-key": (signed(said(), OTHER_RSA), Fault.SIGNATURE),
    "another-issuer": (signed(said(iss="https://evil.test/")), Fault.ISSUER),
    "another-audience": (signed(said(aud="shop")), Fault.AUDIENCE),
    "expired": (signed(said(exp=1)), Fault.EXPIRED),
    "not-yet": (signed(said(nbf=4_000_000_000)), Fault.EARLY),
    "issued-in-the-future": (signed(said(iat=4_000_000_000)), Fault.EARLY),
    "no-subject": (signed(said(sub=None)), Fault.CLAIMS),
    "no-tenant": (signed(said(org=None)), Fault.CLAIMS),
    "odd-tenant": (signed(said(org={"a": 1})), Fault.CLAIMS),
    "tenant-with-a-nul": (signed(said(org="acme\0")), Fault.CLAIMS),
    "critical": (signed(said(), crit=["x"]), Fault.CRITICAL),
    "large": (signed(said(text="x" * 10_000)), Fault.TOO_LARGE),
    "garbage": ("a.b.c", Fault.MALFORMED),
    "dots": ("..", Fault.MALFORMED),
    "bottomless": (resigned({"alg": "RS256"}, b'{"x":' + b"[" * 5000), Fault.MALFORMED),
}


@pytest.mark.parametrize("anonymous", ["never", "loopback", "always"])
def test_a_bad_token_is_refused_whoever_else_may_come_in(anonymous: str) -> None:
    @looped
    async def test() -> None:
        async with upstream() as up:
            text = config({"up": up.url}, {"m1": "up"}, authenticate("public_key: '${RSA_KEY}'", anonymous))
            async with gateway(text, ENVIRON) as served, client(served.url) as http:
                for name, (token, fault) in NO.items():
                    response = await ask(http, token)
                    assert response.status_code == 401, name
                    error = envelope(response)
                    assert (error["type"], error["code"]) == ("authentication_error", "invalid_token"), name
                    assert error["message"] == fault, name
                    assert (
                        await http.get("/v1/models", headers={"authorization": f"Bearer {token}"})
                    ).status_code == 401
                    assert token not in served.log
                assert up.asked == []
                for token in ("x.y", "x.y.z.", "eyJ", "gw_a.b"):  # fewer or more dots: no JWT
                    assert (await status(http, token))[0] == (401 if anonymous == "never" or "gw_" in token else 200)

    test()


@looped
async def test_without_issuers_dots_mean_nothing() -> None:
    keys = "kind: authenticate\nanonymous: loopback\n"
    async with upstream() as up, gateway(config({"up": up.url}, {"m1": "up"}, keys), ENVIRON) as served:
        async with client(served.url) as http:
            assert await status(http, "a.b.c") == (200, None)


CLAIMS = """kind: classify
tiers: [low, high]
default: low
rules:
  - {name: research, when: 'claims.team == "research"', tier: high}
  - {name: admins, when: '"admins" in claims.groups', tier: high}
  - {name: cluster, when: 'claims["kubernetes.io"].namespace == "prod"', tier: high}
  - {name: label, when: 'labels.team == "web"', tier: high}
"""
TIERS = "kind: score\ntiers: {low: {models: [m1]}, high: {models: [m2]}}\n"


@looped
async def test_rules_read_claims() -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({}, "m1"),
        ({"team": "research"}, "m2"),
        ({"team": ["research"]}, "m1"),
        ({"team": None, "groups": ["users", "admins"]}, "m2"),
        ({"groups": "admins"}, "m1"),
        ({"kubernetes.io": {"namespace": "prod"}}, "m2"),
        ({"kubernetes.io": {"namespace": "test"}}, "m1"),
        ({"team": "web"}, "m2"),
        ({"team": 7, "x": {"y": [1.5, True, {"z": -1}]}}, "m1"),
    ]
    async with upstream() as up:
        text = config({"up": up.url}, {"m1": "up", "m2": "up"}, authenticate("public_key: '${RSA_KEY}'"), CLAIMS, TIERS)
        async with gateway(text, ENVIRON) as served, client(served.url) as http:
            for more, model in cases:
                response = await ask(http, signed(said(**more)), "auto")
                assert (response.status_code, response.headers["x-sidecar-model"]) == (200, model), more
            assert (await ask(http, GATE, "auto")).headers["x-sidecar-model"] == "m1"


@looped
async def test_no_answer_is_shared_past_what_rules_read() -> None:
    async def hits(rules: str, *tokens: str) -> list[str]:
        policies = (authenticate("public_key: '${RSA_KEY}'"), "kind: cache\n", rules, TIERS)
        async with (
            upstream() as up,
            gateway(config({"up": up.url}, {"m1": "up", "m2": "up"}, *policies), ENVIRON) as served,
        ):
            async with client(served.url) as http:
                return [(await ask(http, token, "auto")).headers["x-sidecar-cache"] for token in tokens]

    head = "kind: classify\ntiers: [low, high]\ndefault: low\nrules: [{name: r, when: '%s', tier: high}]\n"
    web, also_web, research, stranger = (
        signed(said(team=team, sub=sub, org=org))
        for team, sub, org in [("web", "a", "acme"), ("web", "b", "acme"), ("research", "a", "acme"), ("web", "a", "x")]
    )
    tokens = (web, web, also_web, research, stranger)
    assert await hits(head % 'claims.team == "web"', *tokens) == ["miss", "hit", "miss", "miss", "miss"]
    assert await hits(head % 'labels.team == "web"', *tokens) == ["miss", "hit", "hit", "miss", "miss"]
    assert await hits(head % "tokens > 5", *tokens) == ["miss", "hit", "hit", "hit", "miss"]


@looped
async def test_limits_after_authentication_count_the_holder_and_not_its_token() -> None:
    limit = "kind: rate_limit\nlimits: [{per: key, requests: 2/h}]\n"
    order = "pipeline: [authenticate, rate_limit, classify, score, fallback]"
    async with upstream() as up:
        policies = (authenticate("public_key: '${RSA_KEY}'"), limit)
        async with gateway(config({"up": up.url}, {"m1": "up"}, *policies, gateway=order), ENVIRON) as served:
            async with client(served.url) as http:
                renewed = [signed(said(jti=str(n))) for n in range(3)]
                assert [(await status(http, token))[0] for token in renewed] == [200, 200, 429]
                assert await status(http, signed(said(sub="bob"))) == (200, None)


class Keys:
    """A server of key sets, which can be shut."""

    def __init__(self, body: bytes) -> None:
        self.body: bytes | None = body
        self.asked = 0

    async def __aenter__(self) -> "Keys":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/jwks"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.asked += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.write(response_bytes(503, b"") if self.body is None else response_bytes(200, self.body))
        writer.close()


@looped
async def test_keys_by_url_rotate_and_outlive_their_server_and_a_reload(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(fetching, "PAUSE", 0.05)
    old, new = signed(said(), RSA, "a"), signed(said(), OTHER_RSA, "b")
    async with upstream() as up, Keys(jwks(jwk(RSA, "a"))) as keys:
        keys.body = None
        text = config({"up": up.url}, {"m1": "up"}, authenticate(f"jwks_url: '{keys.url}'"))
        (tmp_path / "gateway.yaml").write_text(text)
        async with gateway(tmp_path, ENVIRON) as served, client(served.url) as http:
            response = await ask(http, old)
            assert (response.status_code, envelope(response)["code"]) == (503, "keys_unavailable")
            assert response.headers["retry-after"]
            assert await status(http, GATE) == (200, None)
            keys.body = jwks(jwk(RSA, "a"))
            await eventually(lambda: _taken(http, old))
            assert await status(http, new) == (401, "invalid_token")
            keys.body = jwks(jwk(OTHER_RSA, "b"))
            await eventually(lambda: _taken(http, new))  # the refusal asked for it
            assert await status(http, old) == (401, "invalid_token")
            keys.body = None
            asked = keys.asked
            await eventually(lambda: _asks(http, old, keys, asked))
            assert await status(http, new) == (200, None)
            (tmp_path / "gateway.yaml").write_text(text + "\n---\nkind: cache\nttl: 5m\n")
            first = served.running.holder.current
            await eventually(lambda: served.running.holder.current is not first)
            assert await status(http, new) == (200, None)
            log = await eventually(lambda: '"event":"jwks"' in served.log and served.log)
            assert '"problem":"it answered 503"' in log and old not in log
    assert not [task for task in asyncio.all_tasks() if task.get_name() == "jwks"]


async def _taken(http: httpx.AsyncClient, token: str) -> bool:
    return (await ask(http, token)).status_code == 200


async def _asks(http: httpx.AsyncClient, token: str, keys: Keys, before: int) -> bool:
    assert (await ask(http, token)).status_code == 401
    return keys.asked > before


@looped
async def test_an_issuer_that_comes_with_a_reload_is_fetched(tmp_path: Path) -> None:
    async with upstream() as up, Keys(jwks(jwk(EC, "e"))) as keys:
        before = config({"up": up.url}, {"m1": "up"}, authenticate("public_key: '${RSA_KEY}'"))
        after = config({"up": up.url}, {"m1": "up"}, authenticate(f"algorithms: [ES256], jwks_url: '{keys.url}'"))
        (tmp_path / "gateway.yaml").write_text(before)
        async with gateway(tmp_path, ENVIRON) as served, client(served.url) as http:
            assert await status(http, signed(said())) == (200, None)
            (tmp_path / "gateway.yaml").write_text(after)
            await eventually(lambda: _taken(http, signed(said(), EC, "e")))
            assert await status(http, signed(said())) == (401, "invalid_token")
            (tmp_path / "gateway.yaml").write_text(after.replace("jwks_url: 'http:", "jwks_url: 'ftp:"))
            await eventually(lambda: served.running.holder.last.outcome == "refused")
            assert await status(http, signed(said(), EC, "e")) == (200, None)


@looped
async def test_no_secret_and_no_token_comes_out(tmp_path: Path) -> None:
    token = signed(said(), SECRET)
    async with upstream() as up:
        text = config({"up": up.url}, {"m1": "up"}, authenticate("secret: '${JWT_SECRET}', algorithms: [HS256]"))
        (tmp_path / "gateway.yaml").write_text(text)
        out: list[str] = []
        async with gateway(tmp_path, ENVIRON) as served, client(served.url) as http:
            for bearer in (token, signed(said(), SECRET[::-1]), token[:-1]):
                for path in ("/v1/models", "/status.json", "/status", "/metrics"):
                    out.append((await http.get(path, headers={"authorization": f"Bearer {bearer}"})).text)
                response = await ask(http, bearer)
                out += [response.text, str(response.headers)]
            out += [served.log, repr(served.running.holder.current.state), repr(served.running.stores)]
            issuers = served.running.holder.current.state.tokens.issuers  # type: ignore[union-attr]
            out.append(repr(issuers))
        everything = "\n".join(out)
        assert SECRET not in everything and token not in everything and token.split(".")[1] not in everything


def test_the_example_of_a_cluster_is_sound_and_maps_what_kubernetes_says() -> None:
    example = ROOT / "examples" / "kubernetes-jwt" / "gateway.yaml"
    loaded = load(example, {}, strict=False)
    assert loaded.graph is not None and loaded.text == "", loaded.text
    (jwt,) = next(stage for stage in loaded.graph.stages if stage.kind == "authenticate").jwt  # type: ignore[attr-defined]
    account = {"name": "app", "uid": "0"}
    principal = jwt.principal(
        {"sub": "system:serviceaccount:prod:app", "kubernetes.io": {"namespace": "prod", "serviceaccount": account}}
    )
    assert (principal.tenant, principal.labels) == ("prod", {"account": "app"})
    assert principal.key == "cluster|system:serviceaccount:prod:app"
    assert jwt.principal({"sub": "someone"}) is None

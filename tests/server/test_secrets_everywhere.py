"""One gateway that was given every kind of secret there is, driven through everything that can go right and wrong: then
all that came out of it is searched, and none of them is found. Nor is what was asked and answered, outside of answers.
"""

import asyncio
import base64
import json
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx
import pytest
from admin import cli
from cryptography.fernet import Fernet
from gateway import Served, gateway
from house import (
    CHAT,
    STREAM_HEAD,
    Asked,
    Handler,
    Upstream,
    client,
    config,
    eventually,
    looped,
    says,
    streams,
    upstream,
)
from house import http as response_bytes
from identity.issuers import ISSUER, claims, signed
from planted import Planted, inside

from sidecar.server.docs_openapi import openapi

PROMPT, ANSWER = "planted+prompt/the plan of the vault", "planted+answer/behind the second door"
CONTENT = frozenset({"prompt", "answer"})
"""May stand in answers of models, and nowhere else."""
REFERENCED = {
    "UP_KEY": "planted+env/provider-key-0123456789",
    "APP_KEY": "planted+app/gateway-key-0123456789",
    "JWT_SECRET": "planted+jwt/secret-of-32-bytes-or-more",
    "SIDECAR_ADMIN_KEY": "planted+admin/key-0123456789",
    "SIDECAR_SECRET_KEY": "planted+signing/secret-of-32-bytes-or-more",
    "SIDECAR_ENCRYPTION_KEY": f"{Fernet.generate_key().decode()}",
}
VAULT = {name: f"planted+vault/{name}-key-0123456789" for name in ("one", "two", "acme")}
FILE = "planted+file/provider-key-0123456789"
LITERAL = "planted+literal/key-written-into-git-0123456789"
WRONG = {
    "a key nobody made": "gw_planted-0123456789abcdefghijklmnopqrstuvwxyzABCDEFG",
    "another's admin key": "planted+wrong/admin-key-0123456789",
}
AUTH = f"""kind: authenticate
anonymous: never
keys: [{{name: app, secret: '${{APP_KEY}}', tenant: house}}]
jwt:
  - {{name: corp, issuer: "{ISSUER}", audience: [gateway], algorithms: [HS256], secret: "${{JWT_SECRET}}", tenant: org}}
"""
BUDGET = "kind: budget\nbudgets: [{name: each, limit: 1000, window: day, per: key}]\n"
OPERATIONS = [(method, path) for path, methods in openapi()["paths"].items() for method in methods]
HOLDERS = ("by-env", "by-file", "by-vault")


def echoes(status: int, head: bytes = b"") -> Handler:
    """A provider that says again all it was told: in its error, its text, its headers."""

    async def handler(asked: Asked, writer: asyncio.StreamWriter) -> None:
        key = asked.headers["authorization"].removeprefix("Bearer ")
        error = {"message": f"Incorrect API key provided: {key}. For {PROMPT}", "type": key, "param": key, "code": key}
        names = ("x-request-id", "www-authenticate", "location", "retry-after", "set-cookie", "openai-organization")
        fields = ["content-type: application/json", *(f"{name}: {key}" for name in names)]
        writer.write(response_bytes(status, json.dumps({"error": error}).encode(), *fields))

    return handler


def breaks(form: bytes) -> Handler:
    """A provider that sends these bytes, with the key in place of KEY."""

    async def handler(asked: Asked, writer: asyncio.StreamWriter) -> None:
        key = asked.headers["authorization"].removeprefix("Bearer ").encode()
        writer.write(form.replace(b"KEY", key).replace(b"PROMPT", PROMPT.encode()))

    return handler


EVENT = b'data: {"error": {"message": "KEY PROMPT", "code": "KEY", "type": "KEY"}}\n\n'
CUT = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-type: "
FAULTS: dict[str, Handler] = {
    **{f"s{status}": echoes(status) for status in (302, 400, 403, 404, 413, 422, 500, 503)},
    "text": breaks(b"HTTP/1.1 500 x\r\nconnection: close\r\n\r\nno: Bearer KEY for PROMPT"),
    "reason": breaks(b"HTTP/1.1 503 KEY PROMPT\r\nconnection: close\r\n\r\n"),
    "event": breaks(CUT + b"text/event-stream\r\n\r\n" + EVENT),
    "late": streams(ANSWER, end=EVENT.replace(b"KEY", FILE.encode())),
    "notjson": breaks(CUT + b'application/json\r\n\r\n{"KEY": PROMPT'),
    "odd": breaks(CUT + b'application/json\r\n\r\n{"choices": "KEY", "error": "KEY PROMPT"}'),
    "garbage": breaks(b"KEY PROMPT\r\n\r\n"),
    "header": breaks(b"HTTP/1.1 200 OK\r\nKEY PROMPT\r\n\r\n"),
    "chunk": breaks(STREAM_HEAD + b"KEY PROMPT\r\n"),
    "s401": echoes(401),
    "s429": echoes(429),
}


def answers() -> Handler:
    """A provider that works, whole or in pieces."""

    async def handler(asked: Asked, writer: asyncio.StreamWriter) -> None:
        await (streams(ANSWER, "!") if asked.body.get("stream") else says(ANSWER))(asked, writer)

    return handler


def written(up: Upstream, file: Path) -> str:
    """The gateway's configuration: providers with a key of the environment, of a file, and several of the vault."""
    models = {f"{holder}-{reply}": holder for holder in HOLDERS for reply in ("good", *FAULTS)}
    text = config(dict.fromkeys(HOLDERS, up.url), models, AUTH, BUDGET, gateway="database: sidecar.db")
    ring = "{secret: vault:one, weight: 2}, {secret: vault:two}, {secret: vault:acme, tenant: acme}"
    for place, keys in (("by-file", f'api_key: "file:{file}"'), ("by-vault", f"keys: [{ring}]")):
        before, after = text.split(f"  {place}: ", 1)
        text = f"{before}  {place}: " + after.replace('api_key: "${UP_KEY}"', keys, 1)
    return text


def read(path: Path) -> str:
    return path.read_text()


def write(path: Path, text: str) -> None:
    path.write_text(text)


class House:
    """The gateway under test, what was planted in it, and everything it said."""

    served: Served

    def __init__(self, planted: Planted) -> None:
        self.planted = planted
        self.said: list[tuple[str, str]] = []

    def hear(self, where: str, text: str, but: frozenset[str] = frozenset()) -> None:
        """Keep what came out of a place. `but` is what may stand there."""
        self.said.append((where, text))
        assert self.planted.find(text, but) == [], where

    async def ask(self, http: httpx.AsyncClient, method: str, path: str, **request: Any) -> httpx.Response:
        """One request; its answer is heard, headers and all."""
        response = await http.request(method, path, **request)
        mine = CONTENT if path == CHAT else frozenset()
        self.hear(f"{method} {path} {response.status_code}", response.text, mine)
        self.hear(f"headers of {path}", str(response.headers))
        return response


def credentials(planted: Planted) -> dict[str, str]:
    """Who may call, by name."""
    names = ("APP_KEY", "cli", "jwt")
    return {name: planted.texts[name] for name in names}


def chat(model: str, **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": PROMPT}], **more}


def bearer(text: str) -> dict[str, str]:
    return {"authorization": f"Bearer {text}"}


async def callers_do_everything(house: House, http: httpx.AsyncClient) -> None:
    known = credentials(house.planted)
    for name, key in known.items():
        for holder in HOLDERS:
            for stream in (False, True):
                headers = {**bearer(key), "x-sidecar-explain": "1"}
                body = chat(f"{holder}-good", stream=stream)
                response = await house.ask(http, "POST", CHAT, json=body, headers=headers)
                assert ANSWER in response.text, (name, holder, response.text)
    for reply in FAULTS:
        for holder in HOLDERS:
            for name in ("APP_KEY", "jwt"):
                for stream in (False, True):
                    body = chat(f"{holder}-{reply}", stream=stream, user=PROMPT, metadata={"k": PROMPT})
                    response = await house.ask(http, "POST", CHAT, json=body, headers=bearer(known[name]))
                    assert response.status_code >= 400 or stream or reply == "late", (holder, reply, response.text)


async def strangers_do_everything(house: House, http: httpx.AsyncClient) -> None:
    """Wrong credentials in every place, and every secret in the wrong place."""
    forged = signed(claims(time.time(), org="acme"), house.planted.texts["another's admin key"])
    house.planted.add("a forged token", forged)
    paths = ("/v1/models", "/status", "/status.json", "/api/models", "/api/admin/config", "/nowhere")
    outside = {"x-forwarded-for": "203.0.113.7"}
    for text in house.planted.texts.values():
        basic = base64.b64encode(f"x:{text}".encode()).decode()
        shown = ({"authorization": f"Bearer {text}"}, {"x-api-key": text}, {"authorization": f"Basic {basic}"})
        for headers in (*shown, {"authorization": text}, {"x-request-timeout": text}, {"x-sidecar-strategy": text}):
            await house.ask(http, "POST", CHAT, json=chat("by-env-good"), headers=headers)
            for path in paths:
                await house.ask(http, "GET", path, headers={**headers, **outside})
                house.served.running.access._failures.__init__(4096)  # it waits for nobody
        known = bearer(house.planted.texts["APP_KEY"])
        for body in (b'{"model": "%s', b'{"messages": "%s"}', b'{"model": 1, "messages": [{"role": "%s"}]}', b"%s"):
            await house.ask(http, "POST", CHAT, content=body.replace(b"%s", text.encode()), headers=known)
        for extra in ({"temperature": text}, {"n": text}, {text: 1}, {"tools": [{"type": text}]}):
            await house.ask(http, "POST", CHAT, json=chat("by-env-good", **extra), headers=known)


async def admins_do_everything(house: House, http: httpx.AsyncClient, entry: Path) -> None:
    planted = house.planted
    admin = bearer(planted.texts["SIDECAR_ADMIN_KEY"])
    login = await http.post("/api/auth/token", headers=admin)  # here, and where keys are made, a secret is shown once
    token = bearer(planted.add("admin token", login.json()["token"]))
    made = await http.post("/api/keys", json={"name": "by-api", "tenant": "house"}, headers=token)
    first = planted.add("a key of the API", made.json()["key"])
    renewed = await http.post("/api/keys/by-api/rotate", json={"grace": "1h"}, headers=token)
    for key in (first, planted.add("a rotated key", renewed.json()["key"])):
        assert (await house.ask(http, "POST", CHAT, json=chat("by-file-good"), headers=bearer(key))).is_success
    for headers in (admin, token):
        for method, path in OPERATIONS:
            if path.startswith("/api/") and (method, path) != ("post", "/api/auth/token"):
                for body in (None, first.encode(), json.dumps({"name": first, "tenant": 5}).encode()):
                    full = path.replace("{id}", "req_none").replace("{name}", "nobody")
                    await house.ask(http, method.upper(), full, content=body, headers=headers)
        page = (await house.ask(http, "GET", "/api/decisions?limit=100", headers=headers)).json()
        for item in page["items"][:20]:
            await house.ask(http, "GET", f"/api/decisions/{item['id']}", headers=headers)
        await house.ask(http, "GET", "/api/analytics?by=key&since=1h", headers=headers)
    whole = read(entry)
    for reference in ('"${UP_KEY}"', "'${APP_KEY}'", '"${JWT_SECRET}"', "vault:two"):
        for text in (LITERAL, f"'{LITERAL}", f"[{LITERAL}]", f"{LITERAL}: {{"):
            write(entry, whole.replace(reference, text, 1))
            refused = await house.ask(http, "POST", "/api/admin/reload", headers=token)
            assert refused.json()["outcome"] == "refused", (reference, text)
            await house.ask(http, "GET", "/ready")
    write(entry, whole)
    assert (await http.post("/api/admin/reload", headers=token)).json()["outcome"] != "refused"


async def bugs_are_everywhere(house: House, http: httpx.AsyncClient) -> None:
    """Bugs of ours: each exception's text, and the variables around it, hold all there is to know."""
    known = "\n".join(house.planted.texts.values())

    def fault(*_: Any, **__: Any) -> Any:
        secrets = dict(house.planted.texts)
        raise RuntimeError(f"{known} {secrets}") from ValueError(known)

    app, admin = (bearer(house.planted.texts[name]) for name in ("APP_KEY", "SIDECAR_ADMIN_KEY"))
    places = [
        ("chat_route.walk", "POST", CHAT, app),
        ("chat_route.bill", "POST", CHAT, app),
        ("app.model_list", "GET", "/v1/models", app),
        ("status.gather", "GET", "/status", {}),
        ("status.gather", "GET", "/status.json", {}),
        ("api_routes.model_states", "GET", "/api/models", admin),
        ("api_keys.read_all", "GET", "/api/keys", admin),
    ]
    for place, method, path, headers in places:
        where = "sidecar.stores.keys.KeyTable.all" if place == "api_keys.read_all" else f"sidecar.server.{place}"
        body = {"json": chat("by-env-good")} if method == "POST" else {}
        with patch(where, fault):
            response = await house.ask(http, method, path, headers=headers, **body)
        assert response.status_code == 500, (place, response.text)
        logged = await eventually(lambda: fault_of(house.served, response.headers["x-request-id"]))  # noqa: B023
        assert logged["kind"] == "RuntimeError"
        assert logged["frames"][-1].endswith(" fault")


def fault_of(served: Served, request_id: str) -> dict[str, Any] | None:
    """What the log says of a bug that a request ran into."""
    lines = [json.loads(line) for line in served.log.splitlines() if '"event":"fault"' in line]
    return next((line for line in lines if line["id"] == request_id), None)


async def everything_is_shown(house: House, http: httpx.AsyncClient) -> None:
    """What anybody may look at, then the log, the files and what the running objects say of themselves."""
    for path in ("/ready", "/metrics", "/status", "/status.json", "/docs", "/redoc", "/openapi.json", "/health"):
        await house.ask(http, "GET", path)
    served = house.served
    assert len(await served.rows(count=100)) >= 100
    await served.running.records.flush()
    for file in sorted(served.database.parent.iterdir()):
        house.hear(file.name, file.read_bytes().decode("latin-1"))
    house.hear("the log", served.log)
    ours = list(inside(served.running))
    assert {"Live", "Ring", "Key", "Vault", "AdminTokens", "MemoryKeys"} <= {type(one).__name__ for one in ours}
    for one in ours:
        house.hear(type(one).__name__, f"{one!r} {one}")


def commands_show_everything(house: House, entry: Path) -> None:
    """What the command line says to whoever may read the configuration and the environment."""
    path, request = str(entry), json.dumps(chat("auto"))
    verbs = (
        ("show", path), ("validate", path), ("models", path), ("graph", path), ("graph", path, "--format", "json"),
        ("explain", "--config", path, request), ("explain", "--config", path, "--format", "json", request),
        ("keys", "list", "--config", path), ("keys", "list", "--config", path, "--format", "json"),
        ("vault", "list", "--config", path), ("vault", "list", "--config", path, "--format", "json"),
    )  # fmt: skip
    for verb in verbs:
        out, err = cli(*verb)
        assert out or err
        house.hear(" ".join(verb[:2]), out + err)


def test_no_secret_comes_out_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    planted = Planted({**REFERENCED, **VAULT, **WRONG, "file": FILE, "literal": LITERAL})
    planted.add("jwt", signed(claims(time.time(), org="acme"), REFERENCED["JWT_SECRET"]))
    house = House(planted)
    entry, file, data = tmp_path / "conf" / "gateway.yaml", tmp_path / "secret" / "key", tmp_path / "data"
    for folder in (entry.parent, file.parent, data):
        folder.mkdir()
    file.write_text(f"{FILE}\n")
    environ = {**REFERENCED, "SIDECAR_DATABASE_URL": f"sqlite:///{data}/sidecar.db"}
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    for name, secret in VAULT.items():
        house.hear("vault set", "".join(cli("vault", "set", name, "--database", f"{data}/sidecar.db", stdin=secret)))
    key, shown = cli("keys", "create", "by-cli", "--database", f"{data}/sidecar.db", "--tenant", "house")
    planted.add("cli", key.strip())
    house.hear("keys create", shown)

    @looped
    async def live() -> None:
        async with upstream() as up:
            for holder in HOLDERS:
                up.on(f"{holder}-good", answers())
                for reply, handler in FAULTS.items():
                    up.on(f"{holder}-{reply}", handler)
            write(entry, written(up, file))
            async with gateway(entry, environ) as house.served, client(house.served.url) as http:
                planted.add("prompt", PROMPT)
                planted.add("answer", ANSWER)
                await callers_do_everything(house, http)
                await strangers_do_everything(house, http)
                await admins_do_everything(house, http, entry)
                await bugs_are_everywhere(house, http)
                await everything_is_shown(house, http)
            used = {asked.headers["authorization"].removeprefix("Bearer ") for asked in up.asked}
            assert used == {REFERENCED["UP_KEY"], FILE, *VAULT.values()}

    live()
    commands_show_everything(house, entry)
    out, err = capfd.readouterr()
    house.hear("standard output and error", out + err)
    house.hear("the logging of libraries", caplog.text)
    for where, text in house.said:  # once more, for what was made after it was heard
        assert planted.find(text, CONTENT) == [], where

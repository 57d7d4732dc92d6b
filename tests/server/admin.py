"""What the tests of the admin API share: a gateway with admins of each role, gateway keys and a caller's issuer."""

import io
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, redirect_stderr, redirect_stdout
from typing import Any
from unittest.mock import patch

import httpx
from gateway import Served, gateway
from house import CHAT, UP_KEY, Upstream, config, upstream
from identity.issuers import ISSUER, SECRET, claims, signed

from sidecar.cli import main
from sidecar.identity.keys import generate, hash_text

CALLER = generate()
KEYS = {"viewer": generate(), "operator": generate(), "admin": "an-admin-key-that-nobody-guesses"}
SIGNING = "a-signing-secret-of-more-than-32-bytes"
ADMIN = f"""admin:
  token_ttl: 10m
  keys:
    - {{name: reads, hash: "{hash_text(KEYS["viewer"])}", role: viewer}}
    - {{name: runs, hash: "{hash_text(KEYS["operator"])}", role: operator}}
    - {{name: owns, secret: "${{ADMIN}}"}}
"""
AUTHENTICATE = f"""kind: authenticate
anonymous: never
keys:
  - {{name: app, hash: "{hash_text(CALLER)}", tenant: house}}
jwt:
  - {{name: corp, issuer: "{ISSUER}", audience: [gateway], algorithms: [HS256], secret: "${{JWT_SECRET}}"}}
"""
ENVIRON = {"UP_KEY": UP_KEY, "ADMIN": KEYS["admin"], "JWT_SECRET": SECRET, "SIDECAR_SECRET_KEY": SIGNING}
MODELS = {"m1": "up", "m2": "up"}


def caller_token(**more: Any) -> str:
    """A token that opens the models."""
    return signed(claims(time.time(), **more), SECRET)


def text(up: Upstream, *policies: str, admin: str = ADMIN) -> str:
    """The gateway's configuration."""
    written = policies or (AUTHENTICATE,)
    return config({"up": up.url}, MODELS, *written, gateway=admin)


@asynccontextmanager
async def governed(*policies: str, admin: str = ADMIN, **environ: str) -> AsyncIterator[Served]:
    """The gateway, before an upstream that says hello."""
    async with upstream() as up, gateway(text(up, *policies, admin=admin), {**ENVIRON, **environ}) as served:
        yield served


@asynccontextmanager
async def api(served: Served, credential: str | None = KEYS["admin"]) -> AsyncIterator[httpx.AsyncClient]:
    """A client that shows a credential."""
    headers = {} if credential is None else {"authorization": f"Bearer {credential}"}
    async with httpx.AsyncClient(base_url=served.url, headers=headers, trust_env=False, timeout=20) as http:
        yield http


async def ask(http: httpx.AsyncClient, said: str = "hello", model: str = "m1", **headers: str) -> httpx.Response:
    """One chat as the gateway key `app`."""
    body = {"model": model, "messages": [{"role": "user", "content": said}]}
    return await http.post(CHAT, json=body, headers={"authorization": f"Bearer {CALLER}", **headers})


def problem(response: httpx.Response, status: int, kind: str) -> dict[str, Any]:
    """The problem of a response, which has all that RFC 9457 names, and the request's id."""
    assert response.headers["content-type"] == "application/problem+json", response.text
    found: dict[str, Any] = response.json()
    assert found.keys() == {"type", "title", "status", "detail", "instance"}
    assert (response.status_code, found["status"], found["type"]) == (status, status, f"urn:sidecar:problem:{kind}")
    assert found["instance"] == response.headers["x-request-id"]
    assert found["title"] and found["detail"]
    for name in ("x-content-type-options", "referrer-policy", "cache-control"):
        assert response.headers[name]
    return found


def cli(*arguments: str, stdin: str = "", code: int = 0) -> tuple[str, str]:
    """What a command prints, on standard output and on standard error."""
    out, err = io.StringIO(), io.StringIO()
    with patch("sys.stdin", io.TextIOWrapper(io.BytesIO(stdin.encode()))), redirect_stdout(out), redirect_stderr(err):
        assert main(arguments) == code, err.getvalue()
    return out.getvalue(), err.getvalue()

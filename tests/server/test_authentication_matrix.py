"""Who may not come in: every way to be nobody, or somebody else, at every door. None of them passes, no provider is
asked, nothing is charged and nothing is changed. What does pass is in the same table, to show that the doors open.
"""

import asyncio
import base64
import json
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx
import pytest
from admin import cli
from gateway import Served, Threaded, gateway, threaded
from house import CHAT, HELLO, UP_KEY, Upstream, config, eventually, upstream
from identity.issuers import OTHER_RSA, RSA, SECRET, claims, confused, jwk, part, pem, resigned, signed, unsigned

from sidecar.identity.keys import generate, hash_text
from sidecar.server.docs_openapi import openapi

GOOD, FEW, CHEAP, REVOKED, EXPIRED, STRANGER = (generate() for _ in range(6))
ADMIN = "the-admin-key-that-nobody-guesses"
AUTH = f"""kind: authenticate
anonymous: never
keys:
  - {{name: good, hash: "{hash_text(GOOD)}", tenant: house}}
  - {{name: few, hash: "{hash_text(FEW)}", models: [m2]}}
  - {{name: cheap, hash: "{hash_text(CHEAP)}", strategies: [cost]}}
  - {{name: revoked, hash: "{hash_text(REVOKED)}", revoked: true}}
  - {{name: expired, hash: "{hash_text(EXPIRED)}", expires: 2020-01-01}}
jwt:
  - {{name: corp, issuer: "https://login.test/", audience: [gateway], public_key: "${{RSA_KEY}}"}}
  - {{name: batch, issuer: batch, audience: [gateway], algorithms: [HS256], secret: "${{JWT_SECRET}}"}}
"""
BUDGET = "kind: budget\nbudgets: [{name: all, limit: 5, window: day}]\n"
ENVIRON = {"UP_KEY": UP_KEY, "RSA_KEY": pem(RSA), "JWT_SECRET": SECRET, "SIDECAR_ADMIN_KEY": ADMIN}
Door = tuple[str, str, bytes]
Doors = tuple[Door, ...]
API = tuple(
    (method.upper(), path.replace("{id}", "req_x").replace("{name}", "good"), b"")
    for path, methods in openapi()["paths"].items()
    for method in methods
    if path.startswith("/api/")
)
STATUS = {"model_not_allowed": 403, "strategy_not_allowed": 403, "invalid_header": 400, "model_unavailable": 503}
"""What these answer; all others are 401."""


def chat(model: str = "m1", stream: bool = False) -> Door:
    return "POST", CHAT, json.dumps({"model": model, "messages": HELLO, "stream": stream}).encode()


CHATS = (chat(), chat(stream=True))
ROUTED = (chat("auto:quality"), chat("auto:speed", True))
LIST = ("GET", "/v1/models", b"")
PAGES = tuple(("GET", path, b"") for path in ("/status", "/status.json"))
"""The gateway's inside: for admins, as the API is."""
EVERYWHERE = (*CHATS, LIST, *PAGES, *API)


@dataclass(frozen=True)
class Attempt:
    """What is shown at which doors. `code` refuses it at a caller's doors, `problem` at those of the admin API; where
    both are empty the server does, who could not read the request."""

    name: str
    lines: tuple[bytes, ...]
    code: str = "invalid_api_key"
    problem: str = "bad-credential"
    doors: Doors = EVERYWHERE


def bearer(text: str) -> tuple[bytes, ...]:
    return (b"authorization: Bearer " + text.encode("latin-1"),)


def shown(names: dict[str, str], code: str, doors: Doors = EVERYWHERE) -> list[Attempt]:
    """Each text as a bearer token and as `x-api-key`."""
    return [
        Attempt(f"{name} as {how}", (line + text.encode("latin-1"),), code, doors=doors)
        for name, text in names.items()
        for how, line in (("bearer", b"authorization: Bearer "), ("x-api-key", b"x-api-key: "))
    ]


def tokens() -> dict[str, str]:
    """Tokens that nobody should take."""
    now = time.time()
    good, batch = claims(now), claims(now, iss="batch")
    head, _, tail = signed(good).split(".")
    theirs = jwk(OTHER_RSA, "theirs")
    return {
        "alg none": unsigned(good),
        "alg None with a signature": unsigned(good, "None", tail),
        "alg nOnE of the batch": unsigned(batch, "nOnE"),
        "key confusion": confused(good, pem(RSA)),
        "key confusion without the last line break": confused(good, pem(RSA).strip()),
        "key confusion as the other issuer": confused(batch, pem(RSA)),
        "the other issuer's secret": signed(good, SECRET),
        "the other issuer's key": signed(batch),
        "kid that is a path": confused(good, "", kid="../../../../dev/null"),
        "kid that is SQL": signed(good, OTHER_RSA, "x' UNION SELECT 'k' --"),
        "kid that is a command": signed(good, OTHER_RSA, "|/bin/true"),
        "jku": signed(good, OTHER_RSA, "theirs", jku="http://127.0.0.1:9/jwks"),
        "x5u": signed(good, OTHER_RSA, x5u="http://127.0.0.1:9/cert"),
        "jwk": signed(good, OTHER_RSA, jwk=theirs),
        "x5c": signed(good, OTHER_RSA, x5c=[base64.b64encode(b"certificate").decode()]),
        "crit": signed(good, crit=["exp"]),
        "b64 false": signed(good, crit=["b64"], b64=False),
        "expired": signed(claims(now, exp=int(now) - 60)),
        "without an end": signed(claims(now, exp=None)),
        "an end that is text": signed(claims(now, exp=None) | {"exp": "9999999999"}, OTHER_RSA),
        "not before tomorrow": signed(claims(now, nbf=int(now) + 86_400)),
        "wrong audience": signed(claims(now, aud="shop")),
        "no audience": signed(claims(now, aud=None)),
        "wrong issuer": signed(claims(now, iss="https://evil.test/")),
        "issuer with a slash less": signed(claims(now, iss="https://login.test")),
        "no issuer": signed(claims(now, iss=None)),
        "a list of issuers": resigned({"alg": "RS256"}, {**good, "iss": ["https://login.test/"]}),
        "no subject": signed(claims(now, sub=None)),
        "tampered": f"{head}.{part({**good, 'sub': 'admin'})}.{tail}",
        "no signature": f"{head}.{part(good)}.",
        "another's signature": f"{head}.{part(good)}.{signed(batch, SECRET).split('.')[2]}",
        "two dots": "..",
        "garbage": "garbage.with-two.dots",
        "12 KB": signed(claims(now, text="x" * 9_300)),
        "bytes": "\xff.\xfe.\xfd",
    }


MALFORMED = [
    Attempt("no header", (), "missing_api_key", "no-credential"),
    Attempt("no scheme", (b"authorization: " + GOOD.encode(),), "missing_api_key", "no-credential"),
    Attempt("Bearer", (b"authorization: Bearer",), "missing_api_key", "no-credential"),
    Attempt("Bearer and blanks", (b"authorization: Bearer  ",), "missing_api_key", "no-credential"),
    Attempt("Bearer and a tab", (b"authorization: Bearer\t" + GOOD.encode(),), "missing_api_key", "no-credential"),
    Attempt("Bearer twice", bearer(f"Bearer {GOOD}")),
    Attempt("two keys", bearer(f"{STRANGER}, {GOOD}")),
    Attempt("lower-case scheme", (b"authorization: bearer " + STRANGER.encode(),)),
    Attempt("non-ASCII", bearer("gw_\xe9\xff")),
    Attempt("good key and a byte", bearer(GOOD + "\xff")),
    Attempt("NUL", bearer(GOOD + "\0"), "", ""),
    Attempt("line feed", bearer(f"x\n{GOOD}"), "", ""),
    Attempt("the first of two is good", bearer(GOOD) + bearer(STRANGER), "invalid_header", "invalid"),
    Attempt("the last of two is good", bearer(STRANGER) + bearer(GOOD), "invalid_header", "invalid"),
    *(
        Attempt(
            f"Authorization is {one}, x-api-key is {other}",
            (*bearer(first), b"x-api-key: " + second.encode()),
            "conflicting_credentials",
            doors=doors,
        )
        for one, first, other, second, doors in (
            ("good", GOOD, "not", STRANGER, EVERYWHERE),
            ("not", STRANGER, "good", GOOD, EVERYWHERE),
            ("good", GOOD, "good as well", FEW, EVERYWHERE),
            ("an admin's", ADMIN, "good", GOOD, EVERYWHERE),
        )
    ),
    Attempt("in the query only", (b"cookie: authorization=" + GOOD.encode(),), "missing_api_key", "no-credential"),
]
BASIC = (b"authorization: Basic " + base64.b64encode(b"x:" + STRANGER.encode()),)
"""Browsers send a key so, to the status page alone."""


def attempts(made: dict[str, str]) -> list[Attempt]:
    """The table. `made` has the keys and tokens that the running gateway was asked for."""
    return [
        *shown({"unknown": STRANGER, "cut": GOOD[:-1], "longer": GOOD + "0"}, "invalid_api_key"),
        *shown({"revoked in git": REVOKED, "revoked by the command line": made["revoked"]}, "key_revoked"),
        *shown({"expired": EXPIRED, "rotated beyond its grace": made["rotated"]}, "key_expired"),
        *shown(tokens(), "invalid_token"),
        *shown({"admin key": ADMIN}, "invalid_api_key", (*CHATS, LIST)),
        *shown({"admin token": made["token"]}, "invalid_token", (*CHATS, LIST)),
        *shown({"gateway key": GOOD, "JWT": made["jwt"], "key of the database": made["live"]}, "", (*API, *PAGES)),
        *shown({"a key for other models": FEW}, "model_not_allowed", CHATS),
        *shown({"a key for other strategies": CHEAP}, "strategy_not_allowed", ROUTED),
        Attempt(
            "a provider of another tenant", bearer(GOOD), "model_unavailable", doors=(chat("m3"), chat("m3", True))
        ),
        Attempt("Basic", BASIC, "missing_api_key", "no-credential", (*CHATS, LIST, *API)),
        Attempt("Basic with a wrong password", BASIC, doors=PAGES),
        *MALFORMED,
    ]


def knock(url: str, door: Door, lines: tuple[bytes, ...]) -> tuple[int, str]:
    """One request byte by byte, as no client library would send it, from behind a proxy: status and body."""
    method, path, body = door
    place = urlsplit(url)
    head = [f"{method} {path} HTTP/1.1".encode(), b"host: gateway.example", b"x-forwarded-for: 203.0.113.7", *lines]
    head += [b"connection: close", b"content-length: %d" % len(body)]
    with socket.create_connection((place.hostname, place.port), timeout=10) as wire:
        wire.sendall(b"\r\n".join(head) + b"\r\n\r\n" + body)
        said = b"".join(iter(lambda: wire.recv(65536), b""))
    status, _, rest = said.decode("utf-8", "replace").partition("\r\n")
    return int(status.split()[1]), rest.partition("\r\n\r\n")[2]


def expected(attempt: Attempt, door: Door) -> tuple[int, str]:
    """The status, and a text that the answer holds."""
    if not attempt.code and not attempt.problem:
        return 400, ""
    if door in API:
        return (400 if attempt.problem == "invalid" else 401), f'"urn:sidecar:problem:{attempt.problem}"'
    if door in PAGES and STATUS.get(attempt.code) == 400:
        return 400, ""
    if door in PAGES and attempt.code == "conflicting_credentials":
        return 401, "only one can be meant"
    if door in PAGES:
        code = attempt.code if attempt.code == "missing_api_key" else "invalid_api_key"
        return 401, "admin key" if door[1] == "/status" else f'"code":"{code}"'
    return STATUS.get(attempt.code, 401), f'"code":"{attempt.code}"'


@dataclass
class House:
    """The gateway, its provider, and what it was asked for: keys and tokens by name."""

    thread: Threaded[Served]
    up: Upstream
    made: dict[str, str]


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    with threaded(upstream) as up:
        text = config({"up": up.value.url, "own": up.value.url}, {"m1": "up", "m2": "up", "m3": "own"}, AUTH, BUDGET)
        before, after = text.split("  own: ")
        text = (
            before + "  own: " + after.replace('api_key: "${UP_KEY}"', "keys: [{secret: '${UP_KEY}', tenant: acme}]", 1)
        )
        with threaded(lambda: gateway(text, ENVIRON)) as running:
            served = running.value
            database = ["--database", str(served.database)]
            made = {
                name: cli("keys", "create", name, *database)[0].strip() for name in ("revoked-later", "rotated", "live")
            }
            made["revoked"] = made.pop("revoked-later")
            for key in made.values():
                wait(served, key, 200)
            cli("keys", "revoke", "revoked-later", *database)
            made["renewed"] = cli("keys", "rotate", "rotated", *database)[0].strip()
            for name in ("revoked", "rotated"):
                wait(served, made[name], 401)
            login = httpx.post(f"{served.url}/api/auth/token", json={"key": ADMIN}, trust_env=False)
            made |= {"token": login.json()["token"], "jwt": signed(claims(time.time()))}
            yield House(running, up.value, made)


def wait(served: Served, key: str, status: int) -> None:
    """Until the gateway has heard of a key."""
    asyncio.run(eventually(lambda: knock(served.url, LIST, bearer(key))[0] == status))


def test_no_attempt_passes(house: House) -> None:
    served, table = house.thread.value, attempts(house.made)
    tried, passes, odd = 0, [], []
    for attempt in table:
        for door in attempt.doors:
            status, body = knock(served.url, door, attempt.lines)
            served.running.access._failures.__init__(4096)  # who fails too often would wait
            tried += 1
            where = f"{attempt.name} at {door[0]} {door[1]}: {status} {body[:200]}"
            if status < 400:
                passes.append(where)
            wanted, text = expected(attempt, door)
            if status != wanted or text not in body:
                odd.append(f"{where}, not {wanted} {text}")
    assert passes == [], f"{len(passes)} of {tried} attempts pass"
    assert odd == [], len(odd)
    assert tried == sum(len(attempt.doors) for attempt in table) >= 1900
    assert house.up.asked == []
    assert house.thread.call(served.rows(count=0)) == []
    with httpx.Client(base_url=served.url, headers={"authorization": f"Bearer {ADMIN}"}, trust_env=False) as http:
        (budget,) = http.get("/api/budgets").json()["items"]
        assert budget["left_usd"] == "5"
        assert {key["name"] for key in http.get("/api/keys").json()["items"]} == {"revoked-later", "rotated", "live"}
        assert http.get("/api/admin/config").json()["reload"]["outcome"] == "loaded"


def test_who_may_come_in_does(house: House) -> None:
    """The same doors, the same bytes: what refuses above is the credential."""
    callers = {"key": GOOD, "JWT": house.made["jwt"], "live": house.made["live"], "renewed": house.made["renewed"]}
    callers["batch"] = signed(claims(time.time(), iss="batch"), SECRET)
    for name, text in callers.items():
        key_header = b"x-api-key: " + text.encode()
        spaced = b"authorization:  bEaReR   " + text.encode()
        mesh = b"authorization: Basic eDp5"
        for lines in (bearer(text), (key_header,), (spaced,), (*bearer(text), key_header), (mesh, key_header)):
            for door in (*CHATS, LIST):
                assert knock(house.thread.value.url, door, lines)[0] == 200, (name, lines, door)
    for key in (FEW, CHEAP):
        assert knock(house.thread.value.url, chat("m2"), bearer(key))[0] == 200
    for text in (ADMIN, house.made["token"]):
        for door in (*API, *PAGES):
            status, body = knock(house.thread.value.url, door, bearer(text))
            assert status not in (401, 403, 500) or door[1] == "/api/auth/token", (door, body)
    assert house.up.asked

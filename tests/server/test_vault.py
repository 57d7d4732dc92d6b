"""Providers' keys in the vault and in rings: the command line writes, a gateway that runs follows."""

import asyncio
import os
import sqlite3
import subprocess
import sys
from collections import Counter
from pathlib import Path

import httpx
import pytest
from cryptography.fernet import Fernet
from gateway import ROOT, gateway
from house import (
    CHAT,
    HELLO,
    Asked,
    Handler,
    Upstream,
    client,
    config,
    envelope,
    eventually,
    fails,
    looped,
    streams,
    upstream,
)
from house import says as saying

from sidecar.identity.secrets import LockedError
from sidecar.identity.vault import Cipher
from sidecar.spec import Secret

FIRST, SECOND = Fernet.generate_key().decode(), Fernet.generate_key().decode()
ONE, TWO, ACME = (f"provider-{name}-key-planted-0123456789" for name in ("one", "two", "acme"))
GATE = "gw-of-tenant-acme-0123456789"
AUTH = "kind: authenticate\nanonymous: loopback\nkeys:\n  - {name: app, secret: '${GATE}', tenant: acme}\n"
FALL_BACK = "kind: fallback\nretries: 0\nalternatives: 1\nchains: {m1: [m2]}\n"
SHARED = "keys: [{secret: vault:one, weight: 2}, {secret: '${TWO}'}]"


def cli(folder: Path, *arguments: str, stdin: str = "", key: str = FIRST) -> "subprocess.CompletedProcess[str]":
    """`sidecar vault` in a process of its own, on the vault in `folder`."""
    environ = {"PATH": os.environ["PATH"], **({"SIDECAR_ENCRYPTION_KEY": key} if key else {})}
    database = [] if arguments == ("key",) else ["--database", str(folder / "vault.db")]
    command = [sys.executable, "-m", "sidecar", "vault", *arguments, *database]
    return subprocess.run(command, input=stdin, env=environ, cwd=ROOT, capture_output=True, text=True)


async def keep(folder: Path, **secrets: str) -> None:
    for name, secret in secrets.items():
        done = await asyncio.to_thread(cli, folder, "set", name, stdin=f"{secret}\n")
        assert done.returncode == 0, done.stderr


def written(up: Upstream, keys: str, *policies: str) -> str:
    """A gateway with a provider `up` that has these keys and the model m1, and `other` with m2."""
    text = config({"up": up.url, "other": up.url}, {"m1": "up", "m2": "other"}, *(policies or (FALL_BACK,)), AUTH)
    return text.replace('api_key: "${UP_KEY}"', keys, 1).replace('api_key: "${UP_KEY}"', 'api_key: "${OTHER}"')


def environ(folder: Path, key: str = FIRST, **more: str) -> dict[str, str]:
    known = {"TWO": TWO, "OTHER": "other-key", "GATE": GATE, "SIDECAR_ENCRYPTION_KEY": key}
    return {**known, "SIDECAR_DATABASE_URL": f"sqlite:///{folder}/vault.db", **more}


def by_key(**replies: Handler) -> Handler:
    """Replies as the key says that came: `one`, `two`, `acme` or `other`."""

    async def handler(asked: Asked, writer: asyncio.StreamWriter) -> None:
        await replies.get(used(asked), saying(used(asked)))(asked, writer)

    return handler


def used(asked: Asked) -> str:
    key = asked.headers["authorization"].removeprefix("Bearer ")
    return {ONE: "one", TWO: "two", ACME: "acme", "other-key": "other"}.get(key, key)


async def ask(http: httpx.AsyncClient, model: str = "m1", tenant: str | None = None) -> httpx.Response:
    headers = {"authorization": f"Bearer {GATE}"} if tenant else {}
    return await http.post(CHAT, json={"model": model, "messages": HELLO}, headers=headers)


async def keys_shown(http: httpx.AsyncClient) -> dict[str, str]:
    providers = (await http.get("/status.json")).json()["providers"]
    return {key["secret"]: key["state"] for provider in providers for key in provider["keys"]}


@looped
async def test_keys_share_the_requests_by_weight(tmp_path: Path) -> None:
    await keep(tmp_path, one=ONE)
    async with upstream() as up, gateway(written(up, SHARED), environ(tmp_path)) as served, client(served.url) as http:
        for _ in range(9):
            assert (await ask(http)).status_code == 200
        assert [used(asked) for asked in up.asked] == ["one", "two", "one"] * 3


@pytest.mark.parametrize(
    ("status", "headers", "kind", "rests"),
    [(401, (), "authentication", 300), (429, ("retry-after: 7",), "rate_limited", 7), (429, (), "rate_limited", 30)],
)
def test_a_refused_key_rests_and_another_is_tried_at_once(
    tmp_path: Path, status: int, headers: tuple[str, ...], kind: str, rests: int
) -> None:
    @looped
    async def run() -> None:
        await keep(tmp_path, one=ONE)
        async with (
            upstream(m1=by_key(one=fails(status, f"no {ONE}", *headers))) as up,
            gateway(written(up, SHARED), environ(tmp_path)) as served,
            client(served.url) as http,
        ):
            response = await ask(http)
            assert response.status_code == 200, response.text
            assert response.headers["x-sidecar-attempts"] == "2"
            for _ in range(3):
                assert (await ask(http)).headers["x-sidecar-attempts"] == "1"
            assert Counter(used(asked) for asked in up.asked) == {"one": 1, "two": 4}
            rows = await served.rows(response.headers["x-request-id"], 2)
            assert [(row["attempt"], row["failure"], row["status"]) for row in rows] == [
                (1, kind, status),
                (2, None, 200),
            ]
            assert await keys_shown(http) == {"vault:one": "resting", "${TWO}": "ready"}
            assert "vault:one" in (await http.get("/status")).text
            await eventually(lambda: f'"rests_s":{rests}' in served.log)
            assert '"key":"vault:one"' in served.log
            assert "m1" not in served.running.stores.health.down

    run()


@looped
async def test_a_key_that_may_not_use_one_model_serves_the_others(tmp_path: Path) -> None:
    await keep(tmp_path, one=ONE)
    async with upstream(m1=by_key(one=fails(403))) as up:
        text = written(up, SHARED).replace("m2: {provider: other", "m2: {provider: up")
        async with gateway(text, environ(tmp_path)) as served, client(served.url) as http:
            assert [(await ask(http)).status_code for _ in range(4)] == [200] * 4
            up.asked.clear()
            assert [(await ask(http, "m2")).status_code for _ in range(3)] == [200] * 3
            assert sorted(used(asked) for asked in up.asked) == ["one", "one", "two"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("hedge", ["off", "5s"])
@pytest.mark.parametrize("gate", ["", ", concurrency: 1, queue: 0"])
def test_a_refused_key_gives_its_place_back(tmp_path: Path, gate: str, hedge: str, stream: bool) -> None:
    @looped
    async def run() -> None:
        good = streams("hel", "lo") if stream else saying("hello")
        async with upstream(m1=by_key(one=fails(401), two=good)) as up:
            keys = "keys: [{secret: '${ONE}'}, {secret: '${TWO}'}]" + gate
            text = written(up, keys, FALL_BACK + f"hedge: {hedge}\n")
            async with gateway(text, environ(tmp_path, ONE=ONE)) as served, client(served.url) as http:
                for attempts in ("2", "1"):
                    response = await http.post(CHAT, json={"model": "m1", "messages": HELLO, "stream": stream})
                    assert (response.status_code, response.headers["x-sidecar-attempts"]) == (200, attempts)
                    assert response.headers["x-sidecar-model"] == "m1"
                    assert "hel" in response.text
                assert [used(asked) for asked in up.asked] == ["one", "two", "two"]
                assert served.running.stores.gates.get("up") is None or not served.running.stores.gates["up"].running

    run()


@looped
async def test_when_all_keys_rest_the_policy_decides(tmp_path: Path) -> None:
    await keep(tmp_path, one=ONE)
    async with (
        upstream(m1=by_key(one=fails(429), two=fails(429))) as up,
        gateway(written(up, SHARED), environ(tmp_path)) as served,
        client(served.url) as http,
    ):
        assert (await ask(http)).headers["x-sidecar-model"] == "m2"
        assert [used(asked) for asked in up.asked] == ["one", "two", "other"]
        response = await ask(http)
        assert (response.headers["x-sidecar-model"], response.headers["x-sidecar-attempts"]) == ("m2", "2")
        assert [used(asked) for asked in up.asked[3:]] == ["other"]
        rows = await served.rows(response.headers["x-request-id"], 2)
        assert [(row["failure"], row["status"]) for row in rows] == [("rate_limited", None), (None, 200)]


@looped
async def test_a_tenants_own_keys_are_used_for_it_alone_and_it_uses_no_others(tmp_path: Path) -> None:
    await keep(tmp_path, one=ONE, acme=ACME)
    keys = "keys: [{secret: vault:one}, {secret: vault:acme, tenant: acme}]"
    once = "kind: fallback\nretries: 0\nalternatives: 0\n"
    async with (
        upstream(m1=by_key(acme=fails(401))) as up,
        gateway(written(up, keys, once), environ(tmp_path)) as served,
        client(served.url) as http,
    ):
        for _ in range(2):
            assert (await ask(http, tenant="acme")).status_code == 502
            assert (await ask(http)).status_code == 200
        assert [used(asked) for asked in up.asked] == ["acme", "one", "one"]
        assert "m1" not in served.running.stores.health.down
        await keep(tmp_path, acme="another-key-of-acme-0123456789")
        await eventually(lambda: '"event":"vault"' in served.log)
        up.on("m1", saying("hi"))
        assert (await ask(http, tenant="acme")).status_code == 200
        assert used(up.asked[-1]) == "another-key-of-acme-0123456789"


@looped
async def test_a_provider_with_tenants_keys_only_is_no_candidate_for_others(tmp_path: Path) -> None:
    await keep(tmp_path, acme=ACME)
    keys = "keys: [{secret: vault:acme, tenant: acme}, {secret: vault:gone, tenant: globex}]"
    async with (
        upstream() as up,
        gateway(written(up, keys), environ(tmp_path)) as served,
        client(served.url) as http,
    ):
        assert (await ask(http)).headers["x-sidecar-model"] == "m2"
        assert (await ask(http, "auto")).headers["x-sidecar-model"] == "m2"
        assert (await ask(http, tenant="acme")).headers["x-sidecar-model"] == "m1"
        refused = await http.post(CHAT, json={"model": "m1", "messages": HELLO}, headers={"x-sidecar-route": "off"})
        assert refused.status_code == 503
        assert "no key: it has keys for some tenants only" in envelope(refused)["message"]
        assert [used(asked) for asked in up.asked] == ["other", "other", "acme"]


@looped
async def test_the_vault_is_followed_while_the_gateway_serves(tmp_path: Path) -> None:
    await keep(tmp_path, one=ONE)
    async with (
        upstream() as up,
        gateway(written(up, "api_key: vault:one"), environ(tmp_path, f"{SECOND},{FIRST}")) as served,
        client(served.url) as http,
    ):

        async def last() -> str:
            await ask(http)
            return used(up.asked[-1])

        async def becomes(name: str) -> None:
            async def is_so() -> bool:
                return await last() == name

            await eventually(is_so)

        assert await last() == "one"
        await keep(tmp_path, one=TWO)
        await becomes("two")
        rotated = await asyncio.to_thread(cli, tmp_path, "rotate", key=f"{SECOND},{FIRST}")
        assert (rotated.returncode, rotated.stdout) == (
            0,
            "ok: 1 secret is under the first key of SIDECAR_ENCRYPTION_KEY\n",
        )
        await eventually(lambda: served.log.count('"event":"vault"') == 2)
        assert await last() == "two"
        assert cli(tmp_path, "list", key=SECOND).returncode == 0
        removed = await asyncio.to_thread(cli, tmp_path, "remove", "one")
        assert removed.returncode == 0
        await becomes("other")  # the provider has no key any more, and the policy falls back
        assert "no key: vault:one is not in the vault" in (await http.get("/status.json")).text


@looped
async def test_what_cannot_be_decrypted_is_loud_and_changes_nothing(tmp_path: Path) -> None:
    await keep(tmp_path, one=ONE)
    async with (
        upstream() as up,
        gateway(written(up, "api_key: vault:one"), environ(tmp_path)) as served,
        client(served.url) as http,
    ):
        stranger = await asyncio.to_thread(cli, tmp_path, "set", "one", stdin=TWO, key=SECOND)
        assert stranger.returncode == 0
        await eventually(lambda: '"outcome":"refused"' in served.log)
        assert "vault:one cannot be decrypted with SIDECAR_ENCRYPTION_KEY" in (await http.get("/ready")).text
        assert (await ask(http)).status_code == 200
        assert used(up.asked[-1]) == "one"
        await keep(tmp_path, one=TWO)
        await eventually(lambda: served.running.holder.last.outcome == "unchanged")
        assert (await ask(http)).status_code == 200
        assert used(up.asked[-1]) == "two"


def start(folder: Path, key: str) -> "subprocess.CompletedProcess[str]":
    text = "kind: gateway\npolicies: []\nproviders: {up: {protocol: openai, api_key: vault:one}}\n"
    (folder / "gateway.yaml").write_text(text)
    variables = {"PATH": os.environ["PATH"], "SIDECAR_DATABASE_URL": f"sqlite:///{folder}/vault.db"}
    variables |= {"SIDECAR_ENCRYPTION_KEY": key} if key else {}
    command = [sys.executable, "-m", "sidecar", "run", str(folder / "gateway.yaml"), "--port", "0"]
    return subprocess.run(command, env=variables, cwd=ROOT, capture_output=True, text=True, timeout=30)


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("", "vault:one: SIDECAR_ENCRYPTION_KEY is not set"),
        (SECOND, "vault:one cannot be decrypted with SIDECAR_ENCRYPTION_KEY"),
        (f"{FIRST},secret-typo", "vault:one: SIDECAR_ENCRYPTION_KEY: key 2 of 2 is not a Fernet key"),
        ("file:/nowhere/key", "vault:one: SIDECAR_ENCRYPTION_KEY: /nowhere/key: No such file or directory"),
    ],
    ids=["none", "wrong", "not-a-key", "no-file"],
)
def test_a_gateway_that_cannot_open_its_vault_does_not_start(tmp_path: Path, key: str, said: str) -> None:
    assert cli(tmp_path, "set", "one", stdin=ONE).returncode == 0
    ended = start(tmp_path, key)
    assert ended.returncode == 1
    assert f"gateway.yaml:3:45: error[vault-locked]: {said}\n" in ended.stderr
    assert "secret-typo" not in ended.stderr
    valid = subprocess.run(
        [sys.executable, "-m", "sidecar", "validate", str(tmp_path / "gateway.yaml")], cwd=ROOT, capture_output=True
    )
    assert valid.returncode == 0


def test_a_ciphertext_in_anothers_place_is_refused(tmp_path: Path) -> None:
    for name, secret in (("one", ONE), ("two", TWO)):
        assert cli(tmp_path, "set", name, stdin=secret).returncode == 0
    with sqlite3.connect(tmp_path / "vault.db") as db:
        db.execute("UPDATE provider_keys SET sealed = (SELECT sealed FROM provider_keys WHERE name = 'two')")
    db.close()
    assert "vault:one holds what was encrypted under another name" in start(tmp_path, FIRST).stderr
    assert cli(tmp_path, "list").returncode == 1
    rotated = cli(tmp_path, "rotate")
    assert (rotated.returncode, rotated.stdout) == (1, "")
    assert "vault:one holds what was encrypted under another name: nothing was changed" in rotated.stderr


def test_a_tampered_ciphertext_is_refused() -> None:
    cipher = Cipher.of({"SIDECAR_ENCRYPTION_KEY": f" {FIRST} ,\n{SECOND} "})
    sealed = cipher.seal("one", Secret(ONE))
    assert cipher.open("one", sealed).reveal() == ONE
    for place in range(0, len(sealed), 7):
        broken = bytes([*sealed[:place], sealed[place] ^ 1, *sealed[place + 1 :]])
        with pytest.raises(LockedError):
            cipher.open("one", broken)


def raw(folder: Path) -> list[str]:
    return [file.read_bytes().decode("latin-1") for file in folder.iterdir()]


@looped
async def test_no_secret_comes_out_anywhere(tmp_path: Path) -> None:
    await keep(tmp_path, one=ONE, acme=ACME)
    keys = "keys: [{secret: vault:one}, {secret: '${TWO}'}, {secret: vault:acme, tenant: acme}]"
    replies = by_key(one=fails(401, f"bad key {ONE}"), two=fails(429, f"slow {TWO}"), acme=fails(403, ACME))
    said: list[str] = []
    async with (
        upstream(m1=replies) as up,
        gateway(written(up, keys), environ(tmp_path)) as served,
        client(served.url) as http,
    ):
        for tenant in (None, "acme"):
            response = await http.post(
                CHAT, json={"model": "m1", "messages": HELLO}, headers={"x-sidecar-route": "off"} | (
                    {"authorization": f"Bearer {GATE}"} if tenant else {})
            )  # fmt: skip
            assert response.status_code in (429, 502), response.text
            said += [response.text, str(response.headers)]
        for path in ("/ready", "/metrics", "/status.json", "/status"):
            said.append((await http.get(path)).text)
        await served.rows(count=3)
        live, stores = served.running.holder.current, served.running.stores
        said += [repr(live.routes), repr(live.keys), repr(live.state), repr(stores)]
        await eventually(lambda: served.log.count('"event":"key"') == 3)
        for text in ("text", "json"):
            listed = await asyncio.to_thread(cli, tmp_path, "list", "--format", text)
            said += [listed.stdout, listed.stderr]
        said += [*raw(tmp_path), served.log]
    everything = "\n".join(said)
    for secret in (ONE, TWO, ACME, FIRST):
        at = everything.find(secret)
        assert at < 0, everything[max(0, at - 300) : at + 100]


def test_the_command_line(tmp_path: Path) -> None:
    key = cli(tmp_path, "key").stdout.strip()
    assert len(Fernet(key)._signing_key) == 16
    assert "there is no database" in cli(tmp_path, "list").stderr and not (tmp_path / "vault.db").exists()
    for name, text, with_key in (("one", ONE, ""), ("one", " \n", key), ("a b", ONE, key)):
        assert cli(tmp_path, "set", name, stdin=text, key=with_key).returncode == 2
    argument = cli(tmp_path, "set", "one", ONE, key=key)
    assert (argument.returncode, ONE in argument.stderr) == (2, False) and "pipe it in" in argument.stderr
    assert cli(tmp_path, "set", "one", stdin=ONE, key=key).stdout == "ok: `vault:one` is in the vault\n"
    assert cli(tmp_path, "set", "one", stdin=f"{TWO}\n", key=key).stdout == "ok: `vault:one` is another now\n"
    assert cli(tmp_path, "set", "short", stdin="0123456789", key=key).returncode == 0
    (tmp_path / "keys").write_text(f"{FIRST}\n{key}\n")
    listed = cli(tmp_path, "list", key=f"file:{tmp_path}/keys")
    rows = [(line.split()[0], line.split()[5]) for line in listed.stdout.splitlines()[1:3]]
    assert (listed.returncode, rows) == (0, [("one", "older"), ("short", "older")])
    assert "...6789" in listed.stdout and "2 secrets, 2 under an older key: `sidecar vault rotate`" in listed.stdout
    assert listed.stdout.splitlines()[2].endswith("-")
    assert cli(tmp_path, "rotate", key="").returncode == 2
    assert cli(tmp_path, "rotate", key=SECOND).returncode == 1
    assert cli(tmp_path, "rotate", key=f"file:{tmp_path}/keys").returncode == 0
    assert cli(tmp_path, "list", key=key).returncode == 1
    assert cli(tmp_path, "list", key=FIRST).returncode == 0
    assert cli(tmp_path, "remove", "one").returncode == 0
    gone = cli(tmp_path, "remove", "one")
    assert (gone.returncode, gone.stderr) == (1, "sidecar vault: vault:one is not in the vault\n")

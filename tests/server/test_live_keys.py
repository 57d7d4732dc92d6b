"""Gateway keys of the database in a gateway that serves: in force, refused, replaced, while it runs."""

import asyncio
import sqlite3
import subprocess
import sys
import time
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from gateway import gateway, process
from house import CHAT, HELLO, UP_KEY, client, config, envelope, eventually, looped, upstream

from sidecar.identity.keys import digest, generate, hash_text
from sidecar.stores.keys import KeyTable, StoredKey

NEVER = "kind: authenticate\nanonymous: never\n"
GIT, OLD = generate(), generate()
KEYS = f"kind: keys\nkeys:\n  - {{name: git, hash: '{hash_text(GIT)}', tenant: acme}}\n"
UP = {"UP_KEY": UP_KEY}


def text(url: str, *policies: str) -> str:
    return config({"up": url}, {"m1": "up"}, *policies, gateway="aliases: {cheap: auto:cost}")


def stored(key: str, name: str = "app", **more: Any) -> StoredKey:
    return StoredKey(name=name, hash=digest(key).hex(), prefix=key[:8], created=1.0, **more)


async def code(url: str, key: str, **more: Any) -> str:
    """`ok`, or the code of the refusal."""
    async with client(url, key) as http:
        answer = await http.post(CHAT, json={"model": "m1", "messages": HELLO, **more})
    return "ok" if answer.status_code == 200 else f"{answer.status_code} {envelope(answer)['code']}"


async def until(url: str, key: str, expected: str) -> None:
    async def is_so() -> bool:
        return await code(url, key) == expected

    await eventually(is_so)


def keys(*arguments: str) -> str:
    """What `sidecar keys ...` prints, as a process of its own."""
    command = [sys.executable, "-m", "sidecar", "keys", *arguments]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()


@looped
async def test_a_key_of_the_database_comes_turns_and_goes(tmp_path: Path) -> None:
    async with upstream() as up, gateway(text(up.url, NEVER, KEYS), UP) as served:
        with closing(KeyTable(served.database)) as table:
            assert await code(served.url, OLD) == "401 invalid_api_key"
            table.add(stored(OLD, tenant="t", labels={"team": "red"}))
            await until(served.url, OLD, "ok")
            new = generate()
            table.rotate("app", digest(new).hex(), new[:8], time.time(), 3600.0)
            await until(served.url, new, "ok")
            assert await code(served.url, OLD) == "ok"
            newer = generate()
            table.rotate("app", digest(newer).hex(), newer[:8], time.time(), 0.0)
            await until(served.url, new, "401 key_expired")
            assert [await code(served.url, key) for key in (OLD, newer, GIT)] == ["ok"] * 3
            table.revoke("app", time.time())
            await until(served.url, newer, "401 key_revoked")
            assert await code(served.url, OLD) == "401 key_revoked"
            assert await code(served.url, newer + "x") == "401 invalid_api_key"
        assert ("app", "t") in {(row["key_name"], row["tenant"]) for row in await served.rows(count=5)}


@looped
async def test_what_is_revoked_stays_revoked(tmp_path: Path) -> None:
    """Neither a reload, nor an entry in git, nor a new start brings a key back."""
    entry = tmp_path / "gateway.yaml"
    environ = {**UP, "SIDECAR_DATABASE_URL": f"sqlite:///{tmp_path}/sidecar.db"}
    async with upstream() as up:
        entry.write_text(text(up.url, NEVER, KEYS))
        async with gateway(entry, environ) as served:
            with closing(KeyTable(served.database)) as table:
                table.add(stored(OLD))
                table.add(stored(GIT, "git", revoked=time.time()))
                await until(served.url, GIT, "401 key_revoked")
                table.revoke("app", time.time())
                await until(served.url, OLD, "401 key_revoked")
            before = served.running.holder.current
            both = KEYS + f"  - {{name: app, hash: '{hash_text(OLD)}'}}\n"
            entry.write_text(text(up.url, NEVER, both))
            await eventually(lambda: served.running.holder.current is not before)
            assert [await code(served.url, key) for key in (GIT, OLD)] == ["401 key_revoked"] * 2
        async with gateway(entry, environ) as served:
            assert [await code(served.url, key) for key in (GIT, OLD)] == ["401 key_revoked"] * 2


@looped
async def test_a_key_keeps_its_ends_and_its_terms() -> None:
    async with upstream() as up, gateway(text(up.url, NEVER), UP) as served:
        with closing(KeyTable(served.database)) as table:
            late, few = generate(), generate()
            table.add(stored(late, "late", expires=time.time() - 1))
            table.add(stored(few, "few", strategies=("speed",), limits=(("requests", 5, 60.0),)))
            await until(served.url, few, "ok")
        assert await code(served.url, late) == "401 key_expired"
        assert await code(served.url, few, model="auto") == "ok"
        assert await code(served.url, few, model="cheap") == "403 strategy_not_allowed"
        holder = served.running.stores.keys.find(digest(few))
        assert holder is not None and holder.limits == (("requests", 5, 60.0),)
        async with client(served.url, few) as http:
            listed = [row["id"] for row in (await http.get("/v1/models")).json()["data"]]
        assert [name for name in listed if name.startswith(("auto", "cheap"))] == ["auto", "auto:speed"]


@looped
async def test_a_database_that_cannot_be_read_changes_nothing_and_is_told_of() -> None:
    async with upstream() as up, gateway(text(up.url, NEVER), UP) as served:
        with closing(KeyTable(served.database)) as table:
            table.add(stored(OLD))
            await until(served.url, OLD, "ok")
            table.add(stored(generate(), "broken"))
            other = sqlite3.connect(served.database)
            with closing(other), other:
                other.execute("UPDATE gateway_keys SET labels = '[' WHERE name = 'broken'")
            await eventually(lambda: served.running.changes.fault)
            assert await code(served.url, OLD) == "ok"
            table.revoke("app", time.time())
            other = sqlite3.connect(served.database)
            with closing(other), other:
                other.execute("DELETE FROM gateway_keys WHERE name = 'broken'")
            await until(served.url, OLD, "401 key_revoked")
        assert served.running.changes.fault is None
        await eventually(lambda: served.log.count('"event":"changes"') == 2)


def test_two_gateways_on_one_database_hear_of_the_command_line(tmp_path: Path) -> None:
    async def scene(urls: list[str]) -> None:
        made = await asyncio.to_thread(keys, "create", "app", "--config", str(entry))
        await asyncio.gather(*(until(url, made, "ok") for url in urls))
        for name, key in (("app", made), ("git", GIT)):
            await asyncio.to_thread(keys, "revoke", name, "--config", str(entry))
            await asyncio.gather(*(until(url, key, "401 key_revoked") for url in urls))

    async def with_upstream() -> None:
        async with upstream() as up:
            entry.write_text(text(up.url, NEVER, KEYS).replace("policies: []", "policies: []\ndatabase: keys.db"))
            with ExitStack() as stack:
                start = [process(entry, {**UP, "SIDECAR_DATABASE_URL": ""}) for _ in range(2)]
                urls = await asyncio.gather(*(asyncio.to_thread(stack.enter_context, one) for one in start))
                await scene(list(urls))
                await asyncio.to_thread(stack.close)

    entry = tmp_path / "gateway.yaml"
    asyncio.run(asyncio.wait_for(with_upstream(), 60))

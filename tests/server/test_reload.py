"""Hot reload of a gateway that serves: files are edited the way people, editors and Kubernetes edit them."""

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from gateway import ROOT, Served, gateway
from house import (
    CHAT,
    HELLO,
    ONCE,
    UP_KEY,
    Upstream,
    client,
    config,
    eventually,
    looped,
    says,
    streams,
    texts,
    upstream,
)

CACHE = "kind: cache\nttl: {}\n"


@dataclass
class House:
    """A gateway whose configuration lies in `folder`, with one policy file to edit."""

    folder: Path
    served: Served
    http: httpx.AsyncClient
    up: Upstream

    @property
    def policy(self) -> Path:
        return self.folder / "policies" / "cache.yaml"

    async def hash(self) -> str:
        response = await self.http.post(CHAT, json={"model": "m1", "messages": HELLO})
        assert response.status_code == 200, response.text
        return response.headers["x-sidecar-policy"]

    async def changed(self, before: str) -> str:
        """The hash once it is another."""

        async def other() -> str | None:
            now = await self.hash()
            return now if now != before else None

        return str(await eventually(other))

    async def ready(self) -> dict[str, Any]:
        response = await self.http.get("/ready")
        return {"http": response.status_code, **response.json()}

    async def refused(self) -> str:
        """The findings once an edit has been refused."""

        async def findings() -> str | None:
            configuration = (await self.ready())["configuration"]
            return configuration["findings"] if configuration["outcome"] == "refused" else None

        return str(await eventually(findings))

    async def metric(self, name: str) -> float | None:
        text = (await self.http.get("/metrics")).text
        found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.M)
        return None if found is None else float(found[1])

    async def reread(self) -> None:
        """Wait until the gateway has looked at the folder as it is now: a marker edit has come through."""
        reloads = self.served.running.holder
        marker = self.folder / "policies" / "zz-marker.yaml"
        marker.write_text("kind: nonsense\n")
        await eventually(lambda: reloads.last.outcome == "refused")
        marker.unlink()
        await eventually(lambda: reloads.last.outcome == "unchanged")


def write(folder: Path, gateway_text: str, **policies: str) -> None:
    (folder / "policies").mkdir(parents=True)
    (folder / "gateway.yaml").write_text(gateway_text)
    for name, text in policies.items():
        (folder / "policies" / f"{name}.yaml").write_text(text)


def text_of(up: Upstream, extra: str = "") -> str:
    """A gateway.yaml that includes the folder `policies`."""
    return config({"up": up.url}, {"m1": "up"}, gateway=extra).partition("\n---\n")[0].replace("[]", "[policies]")


@asynccontextmanager
async def house(folder: Path, extra: str = "", **replies: Any) -> AsyncIterator[House]:
    async with upstream(**replies) as up:
        write(
            folder, text_of(up, extra), cache=CACHE.format("1h"), once=ONCE, limit="kind: rate_limit\nenabled: false\n"
        )
        async with gateway(folder, {"UP_KEY": UP_KEY}) as served, client(served.url) as http:
            yield House(folder, served, http, up)


@looped
async def test_the_next_response_carries_the_edited_policys_hash(tmp_path: Path) -> None:
    async with house(tmp_path) as h:
        before = await h.hash()
        h.policy.write_text(CACHE.format("2h"))
        after = await h.changed(before)
        assert (await h.ready())["policy"] == after
        assert (await h.ready())["configuration"]["outcome"] == "loaded"
        assert await h.metric('sidecar_config_reloads_total{outcome="loaded"}') == 1
        assert await h.metric(f'sidecar_config_info{{policy="{after}"}}') == 1
        assert await h.metric(f'sidecar_config_info{{policy="{before}"}}') is None
        h.policy.write_text(CACHE.format("1h"))
        assert await h.changed(after) == before


@looped
async def test_a_running_stream_finishes_on_the_graph_it_began_with(tmp_path: Path) -> None:
    gate = asyncio.Event()
    async with house(tmp_path, m1=[says("x"), streams("one ", "two", gate=gate), says("x")]) as h:
        before = await h.hash()
        body = {"model": "m1", "messages": [{"role": "user", "content": "stream"}], "stream": True}
        async with h.http.stream("POST", CHAT, json=body) as response:
            lines = response.aiter_lines()
            first = (
                [line async for line in lines if line.startswith("data:")] if gate.is_set() else [await anext(lines)]
            )
            gateway_text = (h.folder / "gateway.yaml").read_text()
            (h.folder / "gateway.yaml").write_text(gateway_text.replace("m1:", "m9:").replace("name: m1", "name: m9"))
            await eventually(lambda: h.served.running.holder.current.graph.short_hash != before)
            gate.set()
            rest = [line async for line in lines]
        assert response.headers["x-sidecar-policy"] == before
        assert texts("\n".join(first + rest)) == "one two"
        assert rest[-2:] == ["data: [DONE]", ""]
        rows = await h.served.rows(response.headers["x-request-id"])
        assert [(row["policy"], row["model"], row["outcome"]) for row in rows] == [(before, "m1", "answered")]
        assert (await h.http.post(CHAT, json={"model": "m1", "messages": HELLO})).status_code == 404


def in_place(path: Path, text: str) -> None:
    path.write_text(text)


def editor_style(path: Path, text: str) -> None:
    """Truncate, then write in pieces: what a reader sees meanwhile is empty or half."""
    with path.open("w") as file:
        for piece in (text[:5], text[5:]):
            file.write(piece)
            file.flush()
            os.fsync(file.fileno())


def atomic(path: Path, text: str) -> None:
    other = path.with_name(".cache.yaml.swp~")
    other.write_text(text)
    other.rename(path)


def backup_and_rename(path: Path, text: str) -> None:
    """As vim does with `backupcopy=no`."""
    path.rename(path.with_name(path.name + "~"))
    path.write_text(text)


def link(path: Path, text: str) -> None:
    """The file becomes a symbolic link to another folder."""
    target = path.parent.parent / "elsewhere"
    target.mkdir()
    (target / "x.yaml").write_text(text)
    path.unlink()
    path.symlink_to(target / "x.yaml")


@pytest.mark.parametrize("edit", [in_place, editor_style, atomic, backup_and_rename, link])
def test_every_way_to_write_a_file_is_seen(tmp_path: Path, edit: Any) -> None:
    @looped
    async def run() -> None:
        async with house(tmp_path) as h:
            before = await h.hash()
            edit(h.policy, CACHE.format("2h"))
            await h.changed(before)
            assert (await h.ready())["configuration"]["outcome"] == "loaded"

    run()


@looped
async def test_several_quick_edits_end_at_the_last_one(tmp_path: Path) -> None:
    async with house(tmp_path) as h:
        wanted = h.served.running.holder
        for minute in range(2, 40):
            h.policy.write_text(CACHE.format(f"{minute}m"))
            await asyncio.sleep(0.005)
        h.policy.write_text("kind: cache\nttl: 5 minutes\n")
        h.policy.write_text(CACHE.format("55m"))
        await eventually(lambda: any(getattr(s, "ttl", "") == "55m" for s in wanted.current.graph.stages))
        await h.reread()
        assert any(getattr(s, "ttl", "") == "55m" for s in wanted.current.graph.stages)


@looped
async def test_a_comment_changes_nothing(tmp_path: Path) -> None:
    async with house(tmp_path) as h:
        before, live = await h.hash(), h.served.running.holder.current
        h.policy.write_text("# a comment\n" + CACHE.format("1h"))
        await h.reread()
        assert h.served.running.holder.current is live
        assert await h.hash() == before
        assert await h.metric('sidecar_config_reloads_total{outcome="loaded"}') == 0


@looped
async def test_files_come_and_go(tmp_path: Path) -> None:
    async with house(tmp_path) as h:
        before = await h.hash()
        new = h.folder / "policies" / "auth.yaml"
        new.write_text("kind: authenticate\nanonymous: never\n")

        async def status() -> int:
            return (await h.http.post(CHAT, json={"model": "m1", "messages": HELLO})).status_code

        async def closed() -> bool:
            return await status() == 401

        async def open_() -> bool:
            return await status() == 200

        await eventually(closed)
        new.unlink()
        await eventually(open_)
        assert await h.hash() == before


@looped
async def test_a_folder_put_in_the_place_of_another_is_watched_too(tmp_path: Path) -> None:
    """As a deployment does: the new folder is made ready, then two renames."""
    async with house(tmp_path) as h:
        before = await h.hash()
        shutil.copytree(h.folder / "policies", h.folder / "policies.new")
        (h.folder / "policies.new" / "cache.yaml").write_text(CACHE.format("2h"))
        (h.folder / "policies").rename(h.folder / "policies.old")
        (h.folder / "policies.new").rename(h.folder / "policies")
        second = await h.changed(before)
        h.policy.write_text(CACHE.format("3h"))
        await h.changed(second)


@looped
async def test_a_folder_that_was_removed_and_made_again_is_seen(tmp_path: Path) -> None:
    async with house(tmp_path) as h:
        before = await h.hash()
        shutil.move(h.folder / "policies", tmp_path.parent / f"{tmp_path.name}-away")
        assert "policies" in await h.refused()
        shutil.move(tmp_path.parent / f"{tmp_path.name}-away", h.folder / "policies")
        await eventually(lambda: h.served.running.holder.last.outcome != "refused")
        h.policy.write_text(CACHE.format("2h"))
        await h.changed(before)


@looped
async def test_what_is_loaded_with_warnings_says_so_in_the_log(tmp_path: Path) -> None:
    async with house(tmp_path) as h:
        before = await h.hash()
        h.policy.write_text(CACHE.format("2h  # sidecar: allow dead-rule because nothing needs it"))
        before = await h.changed(before)
        h.policy.write_text(CACHE.format("3h"))
        await h.changed(before)

        def told() -> list[dict[str, Any]]:
            lines = [json.loads(line) for line in h.served.log.splitlines()]
            return [line for line in lines if line["event"] == "reload" and line["outcome"] == "loaded"]

        warned, fine = await eventually(lambda: found if len(found := told()) == 2 else [])
        assert (warned["level"], fine["level"]) == ("warning", "info")
        assert f"{h.policy}:2:" in warned["findings"] and "warning[" in warned["findings"]
        assert "findings" not in fine


@looped
async def test_a_refused_edit_is_loud_and_changes_nothing(tmp_path: Path) -> None:
    async with house(tmp_path) as h:
        before = await h.hash()
        good = h.policy.read_text()
        h.policy.write_text("kind: cache\nttl: 5 minutes\nmax_entrys: 3\n")
        findings = await h.refused()
        printed = subprocess.run(
            [sys.executable, "-m", "sidecar", "validate", str(h.folder / "gateway.yaml")],
            env={"PATH": os.environ["PATH"], "NO_COLOR": "1"}, cwd=ROOT, capture_output=True, text=True,
        )  # fmt: skip
        assert printed.returncode == 1
        assert printed.stdout == findings
        assert f"{h.policy}:2:6: error" in findings
        assert "did you mean `max_entries`?" in findings
        assert await h.hash() == before
        ready = await h.ready()
        assert (ready["http"], ready["policy"]) == (200, before)
        assert await h.metric("sidecar_config_synchronized") == 0
        assert await h.metric('sidecar_config_reloads_total{outcome="refused"}') == 1
        await eventually(lambda: '"outcome":"refused"' in h.served.log)
        line = next(line for line in h.served.log.splitlines() if '"outcome":"refused"' in line)
        assert '"level":"error"' in line
        assert "did you mean `max_entries`?" in line
        assert findings in (await h.http.get("/status.json")).json()["reload"]["findings"]
        h.policy.write_text(good)
        await eventually(lambda: h.served.running.holder.last.outcome == "unchanged")
        assert await h.metric("sidecar_config_synchronized") == 1
        assert (await h.ready())["configuration"]["findings"] is None
        assert await h.hash() == before


@looped
async def test_an_edit_that_cannot_be_opened_is_refused_like_one_that_is_wrong(tmp_path: Path) -> None:
    async with house(tmp_path) as h:
        before = await h.hash()
        (h.folder / "policies" / "auth.yaml").write_text(
            "kind: authenticate\nkeys:\n  - name: app\n    secret: ${NOT_SET_ANYWHERE}\n"
        )
        findings = await h.refused()
        assert "auth.yaml:4:13: error[unset-secret]" in findings
        assert "NOT_SET_ANYWHERE is not set" in findings
        assert await h.hash() == before


@looped
async def test_a_policy_cut_to_nothing_keeps_the_one_before_and_one_commented_out_does_not(tmp_path: Path) -> None:
    async with house(tmp_path) as h:
        before = await h.hash()
        h.policy.write_text("")
        assert "cache.yaml:1:1: error[empty-file]: the file is empty" in await h.refused()
        assert await h.hash() == before
        h.policy.write_text("# kind: cache\n")
        await h.changed(before)
        assert await h.metric("sidecar_config_synchronized") == 1


@looped
async def test_a_refused_edit_can_be_replaced_by_another_good_one(tmp_path: Path) -> None:
    async with house(tmp_path) as h:
        before = await h.hash()
        h.policy.write_text("kind: cache\nttl: [\n")
        await h.refused()
        h.policy.write_text(CACHE.format("2h"))
        await h.changed(before)
        assert await h.metric("sidecar_config_synchronized") == 1


@looped
async def test_a_kubernetes_configmap_is_followed(tmp_path: Path) -> None:
    """The layout of a mounted ConfigMap: files are links into `..data`, itself a link that is swapped in one rename."""
    mounts = {"config": "gateway.yaml", "config/policies": "cache.yaml"}

    def project(mount: str, version: int, files: dict[str, str]) -> None:
        base = tmp_path / mount
        folder = base / f"..2026_11_20_{version}"
        folder.mkdir(parents=True)
        for name, text in files.items():
            (folder / name).write_text(text)
            if not (base / name).is_symlink():
                (base / name).symlink_to(Path("..data") / name)
        old = (base / "..data").resolve() if (base / "..data").is_symlink() else None
        (base / "..data_tmp").symlink_to(folder.name)
        (base / "..data_tmp").rename(base / "..data")
        if old is not None:
            shutil.rmtree(old)

    async with upstream() as up:
        first, second = mounts
        off = "kind: rate_limit\nenabled: false\n"
        project(first, 1, {"gateway.yaml": text_of(up)})
        project(second, 1, {"cache.yaml": CACHE.format("1h"), "limit.yaml": off, "once.yaml": ONCE})
        entry = tmp_path / "config" / "gateway.yaml"
        async with gateway(entry, {"UP_KEY": UP_KEY}) as served, client(served.url) as http:
            h = House(tmp_path / "config", served, http, up)
            before = await h.hash()
            for version in (2, 3):
                files = {"cache.yaml": CACHE.format(f"{version}h"), "limit.yaml": off, "once.yaml": ONCE}
                project(second, version, files)
                before = await h.changed(before)
            project(first, 2, {"gateway.yaml": text_of(up, "aliases: {other: m1}")})
            await h.changed(before)
            assert (await http.post(CHAT, json={"model": "other", "messages": HELLO})).status_code == 200


@looped
async def test_the_ledger_beside_the_configuration_is_no_edit(tmp_path: Path) -> None:
    async with upstream() as up:
        write(tmp_path, text_of(up), once=ONCE)
        environ = {"UP_KEY": UP_KEY, "SIDECAR_DATABASE_URL": f"sqlite:///{tmp_path}/sidecar.db"}
        async with gateway(tmp_path, environ) as served, client(served.url) as http:
            h = House(tmp_path, served, http, up)
            for _ in range(5):
                await h.hash()
            assert await served.rows(count=5)
            await h.reread()
            assert await h.metric('sidecar_config_reloads_total{outcome="loaded"}') == 0

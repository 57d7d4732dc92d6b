"""A models.json that breaks, at start and while serving: its backup or the bundled one stands in, and it is said."""

import json
from pathlib import Path
from typing import Any

import pytest
from gateway import Served, gateway
from house import CHAT, HELLO, ONCE, UP_KEY, client, eventually, looped, upstream

from sidecar.registry.load import BUNDLED

GATEWAY = """
kind: gateway
registry: models.json
policies: []
providers:
  openai: {{protocol: openai, base_url: "{url}", api_key: "${{UP_KEY}}"}}
---
kind: rate_limit
enabled: false
---
"""


def catalogue(*, without: str = "") -> str:
    """The bundled catalogue, maybe without one model."""
    data: dict[str, Any] = json.loads(BUNDLED.read_bytes())
    data["models"] = [model for model in data["models"] if model["id"] != without]
    return json.dumps(data)


def has_mini(served: Served) -> bool:
    return served.running.holder.current.graph.registry.find("gpt-4o-mini") is not None


BROKEN = {"cut": catalogue()[:1000], "empty": "", "not-a-catalogue": "[]", "binary": "\x00\xff"}


@pytest.mark.parametrize("broken", BROKEN)
@pytest.mark.parametrize("backup", [True, False])
def test_at_start(tmp_path: Path, broken: str, backup: bool) -> None:
    @looped
    async def run() -> None:
        async with upstream() as up:
            (tmp_path / "gateway.yaml").write_text(GATEWAY.format(url=up.url) + ONCE)
            (tmp_path / "models.json").write_text(BROKEN[broken])
            if backup:
                (tmp_path / "models.json.bak").write_text(catalogue(without="gpt-4o-mini"))
            async with gateway(tmp_path, {"UP_KEY": UP_KEY}) as served, client(served.url) as http:
                assert has_mini(served) is not backup
                ready = (await http.get("/ready")).json()
                assert ready["status"] == "ready"
                assert str(tmp_path / "models.json") in ready["registry"]
                assert ("models.json.bak" if backup else "bundled models.json") in ready["registry"]
                await eventually(lambda: '"event":"registry"' in served.log)
                assert (await http.post(CHAT, json={"model": "gpt-4o", "messages": HELLO})).status_code == 200

    run()


@looped
async def test_while_serving(tmp_path: Path) -> None:
    async with upstream() as up:
        (tmp_path / "gateway.yaml").write_text(GATEWAY.format(url=up.url) + ONCE)
        (tmp_path / "models.json").write_text(catalogue())
        async with gateway(tmp_path, {"UP_KEY": UP_KEY}) as served, client(served.url) as http:

            async def registry() -> str:
                return str((await http.get("/ready")).json()["registry"])

            async def broken() -> bool:
                return "using the bundled" in await registry()

            async def whole() -> bool:
                return await registry() == "ok"

            assert await whole()
            (tmp_path / "models.json").write_text("{")
            await eventually(broken)
            assert (await http.get("/status.json")).json()["registry_problem"] == await registry()
            await eventually(lambda: '"level":"warning","event":"registry"' in served.log)
            assert has_mini(served)
            (tmp_path / "models.json.bak").write_text(catalogue(without="gpt-4o-mini"))
            await eventually(lambda: not has_mini(served))
            assert "using" in await registry()
            (tmp_path / "models.json").write_text(catalogue())
            await eventually(whole)
            assert has_mini(served)
            assert (await http.get("/status.json")).json()["registry_problem"] is None

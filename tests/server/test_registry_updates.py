"""Updates inside a running gateway: on schedule and on demand, taken in without a restart, and told of."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from gateway import Served, gateway
from house import client, eventually, looped

from sidecar.scrape.finding import BusyError, NoScraperError
from sidecar.stores.updates import Updates
from tests.scrape.acme import GATEWAY, PRICES, page, settle
from tests.scrape.served import Site, site

EVERY_SECOND = "enabled: true, schedule: '* * * * * *', jitter: 0s"


@pytest.fixture
def web() -> Iterator[Site]:
    with site() as served:
        yield served


def input_price(served: Served, model: str) -> int:
    found = served.running.holder.current.graph.registry.find(model)
    assert found is not None and found.price is not None
    return found.price.input


@looped
async def test_on_demand_and_taken_in_without_a_restart(tmp_path: Path, web: Site) -> None:
    settle(tmp_path, web)
    web.put("/prices", page({**PRICES, "acme-1": (0.001, 0.004), "acme-2": (1.5, 8)}))
    async with gateway(tmp_path) as served, client(served.url) as http:
        before = served.running.holder.current
        report = await served.running.updates.update()
        assert report.outcomes == {"acme": "quarantined", "opinion": "unchanged"}
        await eventually(lambda: input_price(served, "acme-2") == 1_500_000_000)
        assert served.running.holder.current is not before
        status = (await http.get("/status.json")).json()["registry_update"]
        assert (status["changed"], status["quarantined"], status["next"], status["step"]) == (1, 1, None, None)
        assert "error[price-jump]: `acme-1`" in status["findings"][0]
        assert "price-jump" in (await http.get("/status")).text
        metrics = (await http.get("/metrics")).text
        assert 'sidecar_registry_update_total{outcome="quarantined",source="acme"} 1.0' in metrics
        assert "sidecar_registry_quarantined 1.0" in metrics
        assert "sidecar_registry_update_last_success_timestamp_seconds 0.0" not in metrics
        await eventually(lambda: '"event":"registry_update"' in served.log and "price-jump" in served.log)
        with pytest.raises(NoScraperError):
            await served.running.updates.update("nobody")


@looped
async def test_on_schedule(tmp_path: Path, web: Site) -> None:
    settle(tmp_path, web, GATEWAY.replace("enabled: false", EVERY_SECOND))
    async with gateway(tmp_path) as served, client(served.url) as http:
        await eventually(lambda: served.running.updates.last)
        web.put("/prices", page({**PRICES, "acme-2": (1.5, 8)}))
        await eventually(lambda: input_price(served, "acme-2") == 1_500_000_000)
        assert (await http.get("/status.json")).json()["registry_update"]["next"]


@looped
async def test_what_cannot_be_updated_is_told_and_tried_again(tmp_path: Path, web: Site) -> None:
    settle(tmp_path, web, GATEWAY.replace("enabled: false", EVERY_SECOND))
    good = (tmp_path / "scrapers" / "acme.yaml").read_text()
    (tmp_path / "scrapers" / "acme.yaml").write_text("kind: scraper\n")
    async with gateway(tmp_path) as served, client(served.url) as http:
        await eventually(lambda: served.running.updates.fault)
        assert "acme.yaml" in (await http.get("/status.json")).json()["registry_update"]["problem"]
        (tmp_path / "scrapers" / "acme.yaml").write_text(good)
        await eventually(lambda: served.running.updates.last)
        await eventually(lambda: served.running.updates.fault is None)


@looped
async def test_replicas_update_once_and_both_take_it_in(tmp_path: Path, web: Site) -> None:
    settle(tmp_path, web)
    shared = {"SIDECAR_DATABASE_URL": f"sqlite:///{tmp_path}/shared.db"}
    go = asyncio.Event()
    loop = asyncio.get_running_loop()

    def slow(headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        asyncio.run_coroutine_threadsafe(go.wait(), loop).result(20)
        return 200, {"content-type": "text/markdown"}, page({**PRICES, "acme-2": (1.5, 8)}).encode()

    web.answers["/prices"] = slow
    async with gateway(tmp_path, shared) as one, gateway(tmp_path, shared) as two:
        running = asyncio.create_task(one.running.updates.update())
        await eventually(lambda: "/prices" in web.paths)
        assert "asking" in (one.running.updates.step or "")
        with pytest.raises(BusyError):
            await two.running.updates.update()
        go.set()
        await running
        for served in (one, two):
            await eventually(lambda served=served: input_price(served, "acme-2") == 1_500_000_000)
            await served.running.updates.look()
            last = served.running.updates.last
            assert last is not None and last.changed == 1
    assert web.paths.count("/prices") == 1


@looped
async def test_a_gateway_that_stops_gives_the_lease_back(tmp_path: Path, web: Site) -> None:
    settle(tmp_path, web)
    stuck = asyncio.Event()
    loop = asyncio.get_running_loop()
    web.answers["/prices"] = lambda headers: asyncio.run_coroutine_threadsafe(stuck.wait(), loop).result(20) or (
        200, {"content-type": "text/markdown"}, b"",
    )  # fmt: skip
    async with gateway(tmp_path) as served:
        running = asyncio.create_task(served.running.updates.update())
        await eventually(lambda: "/prices" in web.paths)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert Updates(served.database).claim("another", now=0, until=1)
        stuck.set()


@looped
async def test_nobody_is_asked_where_nothing_is_written(tmp_path: Path, web: Site) -> None:
    settle(tmp_path, web, GATEWAY.replace("registry_update: {enabled: false, scrapers: [acme, opinion]}\n", ""))
    async with gateway(tmp_path) as served, client(served.url) as http:
        status = (await http.get("/status.json")).json()["registry_update"]
        assert status["next"] is None and status["last"] is None
        assert "Last update" not in (await http.get("/status")).text
    assert web.asked == []

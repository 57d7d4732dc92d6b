"""`/status/events`: what changed, to a bounded number of watchers, for as long as they may look."""

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from house import eventually
from pages import ADMIN_KEY, KEY, ask, client, served

from sidecar.identity.keys import generate, hash_text
from sidecar.server import status_feed
from sidecar.server.status_feed import Feed


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status_feed, "PAUSE", 0.02)
    monkeypatch.setattr(status_feed, "_TICK", 0.01)


def told(event: bytes) -> dict[str, str]:
    """The panels of an event."""
    assert event.startswith(b"event: panels\ndata: ")
    assert event.endswith(b"\n\n")
    found: dict[str, str] = json.loads(event.removeprefix(b"event: panels\ndata: "))
    return found


def test_only_what_changed_is_sent_and_one_drawing_serves_all() -> None:
    async def main() -> None:
        panels, drawn = {"a": "1", "b": "1"}, 0

        async def draw() -> Mapping[str, str]:
            nonlocal drawn
            drawn += 1
            return dict(panels)

        feed, over = Feed(draw), False
        watchers = [feed.watch(lambda: over) for _ in range(3)]
        assert [await anext(watcher) for watcher in watchers] == [b"retry: 3000\n\n"] * 3
        first = [told(await anext(watcher)) for watcher in watchers]
        assert first == [panels] * 3
        assert drawn == 1
        panels["b"] = "2"
        assert [told(await anext(watcher)) for watcher in watchers] == [{"b": "2"}] * 3
        over = True
        for watcher in watchers:
            with pytest.raises(StopAsyncIteration):
                await anext(watcher)
        assert feed.watchers == 0

    asyncio.run(main())


def test_who_has_nothing_to_hear_is_sent_a_sign_of_life(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status_feed, "_QUIET", 0.05)

    async def main() -> None:
        async def draw() -> Mapping[str, str]:
            return {"a": "1"}

        watcher = Feed(draw).watch(lambda: False)
        assert [await anext(watcher) for _ in range(4)][2:] == [b":\n\n"] * 2
        await watcher.aclose()  # type: ignore[attr-defined]

    asyncio.run(main())


def test_a_request_is_told_and_the_stream_ends_when_the_gateway_drains(tmp_path: Path) -> None:
    async def main() -> None:
        async with served(tmp_path) as gateway, client(gateway) as http, http.stream("GET", "/status/events") as events:
            assert events.headers["content-type"] == "text/event-stream; charset=utf-8"
            assert events.headers["cache-control"] == "no-store"
            lines = events.aiter_lines()
            seen: set[str] = set()
            while "No model was called yet" not in "".join(seen):
                seen.add(await anext(lines))
            assert (await ask(http, "hello")).status_code == 200
            while "gpt-4o-mini" not in (line := await anext(lines)) or "decisions" not in line:
                pass
            gateway.running.chat.draining = True
            async for _ in lines:
                pass

    asyncio.run(asyncio.wait_for(main(), 20))


def test_the_number_of_watchers_is_bounded_and_who_leaves_makes_room(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(status_feed, "MAX_WATCHERS", 1)

    async def main() -> None:
        async with served(tmp_path) as gateway, client(gateway) as http:
            async with http.stream("GET", "/status/events") as events:
                await anext(events.aiter_lines())
                refused = await http.get("/status/events")
                assert refused.status_code == 503
                assert refused.json()["error"]["code"] == "too_many_watchers"

            async def room() -> bool:
                async with http.stream("GET", "/status/events") as again:
                    return again.status_code == 200

            await eventually(room)

    asyncio.run(asyncio.wait_for(main(), 20))


@pytest.mark.parametrize(("key", "status"), [("", 401), (KEY, 401), (ADMIN_KEY, 200)])
def test_from_elsewhere_it_needs_an_admin_key(tmp_path: Path, key: str, status: int) -> None:
    async def main() -> None:
        headers: dict[str, Any] = {"host": "gateway.example"}
        if key:
            headers["authorization"] = f"Bearer {key}"
        async with served(tmp_path) as gateway, client(gateway) as http:
            async with http.stream("GET", "/status/events", headers=headers) as events:
                assert events.status_code == status

    asyncio.run(asyncio.wait_for(main(), 20))


def test_a_key_that_is_taken_away_ends_its_stream(tmp_path: Path) -> None:
    async def main() -> None:
        headers = {"host": "gateway.example", "authorization": f"Bearer {ADMIN_KEY}"}
        async with served(tmp_path) as gateway, client(gateway) as http:
            async with http.stream("GET", "/status/events", headers=headers) as events:
                lines = events.aiter_lines()
                await anext(lines)
                entry = tmp_path / "gateway.yaml"
                another = f'hash: "{hash_text(generate())}"'
                entry.write_text(entry.read_text().replace('secret: "${ADMIN_KEY}"', another))
                async for _ in lines:
                    pass
            assert (await http.get("/status", headers=headers)).status_code == 401

    asyncio.run(asyncio.wait_for(main(), 20))


def test_the_script_is_a_file_of_ours(tmp_path: Path) -> None:
    async def main() -> None:
        async with served(tmp_path) as gateway:
            async with httpx.AsyncClient(base_url=gateway.url, trust_env=False) as http:
                script = await http.get("/status.js")
                assert script.headers["content-type"] == "text/javascript; charset=utf-8"
                assert "EventSource" in script.text

    asyncio.run(main())

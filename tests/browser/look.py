"""Runs a real Chromium over a page: `look(url, looks)`. Needs `chromium` and the npm packages of tests/setup.sh."""

import asyncio
import json
import os
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

NODE = Path(__file__).parent / "node"
NAMES = ("chromium", "chromium-browser", "google-chrome")


def missing() -> str | None:
    """What is not there, or None."""
    if browser() is None:
        return "no chromium"
    if shutil.which("node") is None or not (NODE / "node_modules").is_dir():
        return "no npm packages: sh tests/setup.sh"
    return None


def browser() -> str | None:
    """The browser's path."""
    return next((path for name in NAMES if (path := shutil.which(name))), os.environ.get("CHROMIUM"))


async def look(
    url: str, looks: list[dict[str, Any]], once_ready: Callable[[], Awaitable[Any]] | None = None
) -> list[dict[str, Any]]:
    """A report of each look. `once_ready` happens when a look with `wanted` stands at the page and waits."""
    script = await asyncio.create_subprocess_exec(
        "node", "look.mjs", cwd=NODE,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert script.stdin and script.stdout and script.stderr
    script.stdin.write(json.dumps({"url": url, "chromium": browser(), "looks": looks}).encode())
    script.stdin.close()
    said = asyncio.create_task(_said(script.stderr, once_ready))
    out = await script.stdout.read()
    told = await said
    assert await script.wait() == 0, told
    reports: list[dict[str, Any]] = json.loads(out)
    return reports


async def _said(errors: asyncio.StreamReader, once_ready: Callable[[], Awaitable[Any]] | None) -> str:
    lines = []
    async for line in errors:
        if line == b"ready\n" and once_ready is not None:
            await once_ready()
        else:
            lines.append(line.decode())
    return "".join(lines)

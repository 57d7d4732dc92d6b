"""Serving until told to stop, then draining."""

import asyncio
import contextlib
import gc
import signal

from ..listen import listening
from ..spec import seconds
from .app import build
from .state import Running


async def serve(running: Running, host: str, port: int) -> None:
    """Serve until SIGTERM or SIGINT, then drain: no new work, running requests finish within the grace.

    Raises OSError when the address is taken.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with listening(build(running), host, port) as bound:
        # What start-up made is never garbage: scanning it again and again costs latency at the tail.
        gc.collect()
        gc.freeze()
        gc.set_threshold(10_000, 20, 20)
        policy = running.holder.current.graph.short_hash
        running.holder.log("info", "listening", {"host": host, "port": bound, "policy": policy})
        await stop.wait()
        await drain(running)


async def drain(running: Running) -> None:
    """Refuse new work and wait for what runs, at most the configured grace."""
    running.chat.draining = True
    running.records.work_off()
    grace = seconds(running.holder.current.graph.gateway.limits.drain)
    running.holder.log("info", "draining", {"running": len(running.chat.watches), "grace_s": grace})
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(grace):
            await running.chat.watches.idle()

"""`/status` and `/status.json`: the gateway at a glance, read-only; `/status/events` keeps the page up to date."""

import asyncio
import gzip
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from time import time
from typing import Any

import msgspec
from litestar import MediaType, Request, Response, get
from litestar.datastructures import State
from litestar.handlers import HTTPRouteHandler
from litestar.response import Stream

from ..chat import Problem
from ..surfaces.openai_chat import OpenAIChat
from .page import ICON, Html, answer, asset, script
from .panels_policy import WHOLE
from .panels_supply import CATALOGUE
from .respond import SECURITY_HEADERS
from .state import Running
from .status_access import refusal
from .status_data import Status
from .status_feed import Feed
from .status_figures import Figures
from .status_gather import gather
from .status_page import SCRIPT, SHEET, panels, refused, render, render_catalogue, render_whole
from .status_record import read_record

_ASK = {"www-authenticate": 'Basic realm="sidecar: an admin key is the password", charset="UTF-8"'}
_STREAMED = {**SECURITY_HEADERS, "x-accel-buffering": "no"}
_FULL = Problem(503, "api_error", "As many watch this page as may; reload it by hand.", "too_many_watchers")
_encode = msgspec.json.Encoder().encode
_Asked = Request[Any, Any, State]


def status_routes(running: Running) -> list[HTTPRouteHandler]:
    """The handlers of one gateway's status."""
    figures = Figures(running.ledger, time, partial(read_record, running))

    async def now() -> Status:
        return gather(running, await figures.read(), time())

    async def drawn(request: _Asked, draw: Callable[[Status], Html], *, lives: bool = False) -> Response[Any]:
        problem = refusal(running.access, request)
        if problem is not None:
            return answer(refused(problem.message), SHEET, status=problem.status, headers=_asking(problem))
        return _packed(answer(await asyncio.to_thread(draw, await now()), SHEET, script=lives), request)

    @get("/status", media_type=MediaType.HTML)
    async def page(request: _Asked) -> Response[Any]:
        """The status page."""
        return await drawn(request, render, lives=True)

    @get(WHOLE, media_type=MediaType.HTML)
    async def whole(request: _Asked) -> Response[Any]:
        """The status page with all that can be unfolded there."""
        return await drawn(request, render_whole)

    @get(CATALOGUE, media_type=MediaType.HTML)
    async def models(request: _Asked) -> Response[Any]:
        """The whole catalogue."""
        return await drawn(request, render_catalogue)

    @get("/status.json")
    async def data(request: _Asked) -> Response[Any]:
        """The same as data."""
        problem = refusal(running.access, request)
        if problem is not None:
            return _told(problem)
        return Response(_encode(await now()), media_type=MediaType.JSON)

    return [page, whole, models, data, events_route(running, Feed(lambda: _drawn(now))), *files()]


def events_route(running: Running, feed: Feed) -> HTTPRouteHandler:
    """`/status/events`."""

    @get("/status/events")
    async def events(request: _Asked) -> Response[Any]:
        """Panels that changed. It ends when the gateway drains, or who watches may not any more."""
        problem = refusal(running.access, request) or (_FULL if feed.full else None)
        if problem is not None:
            return _told(problem)
        stream = feed.watch(lambda: running.chat.draining or refusal(running.access, request) is not None)
        return Stream(stream, media_type="text/event-stream", headers=_STREAMED)

    return events


def files() -> list[HTTPRouteHandler]:
    """What the pages load: the icon and the script. They are the same for everybody."""

    @get(ICON, media_type="image/svg+xml", sync_to_thread=False)
    def icon() -> Response[Any]:
        """The pages' icon."""
        return Response(asset("favicon.svg").encode(), media_type="image/svg+xml")

    @get(SCRIPT, media_type="text/javascript", sync_to_thread=False)
    def live() -> Response[Any]:
        """What keeps the page up to date."""
        return Response(script("status.js").encode(), media_type="text/javascript")

    return [icon, live]


async def _drawn(now: Callable[[], Awaitable[Status]]) -> Mapping[str, str]:
    """Panels as plain text. Drawn in a thread, as the pages are: it takes milliseconds, and requests go before."""
    status = await now()
    return {ident: str(html) for ident, html in (await asyncio.to_thread(panels, status)).items()}


def _packed(response: Response[Any], request: _Asked) -> Response[Any]:
    """The page gzipped for who takes it: a tenth of its size."""
    response.headers["vary"] = "accept-encoding"
    if "gzip" in request.headers.get("accept-encoding", ""):
        response.content = gzip.compress(response.content, 5)
        response.headers["content-encoding"] = "gzip"
    return response


def _told(problem: Problem) -> Response[Any]:
    content = OpenAIChat().problem(problem)
    return Response(content, status_code=problem.status, media_type=MediaType.JSON, headers=_asking(problem))


def _asking(problem: Problem) -> dict[str, str]:
    headers = dict(_ASK) if problem.status == 401 else {}
    if problem.retry_after is not None:
        headers["retry-after"] = str(max(1, round(problem.retry_after)))
    return headers

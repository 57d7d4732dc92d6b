"""`/status` and `/status.json`: the gateway at a glance, read-only, without a script."""

from time import time
from typing import Any

import msgspec
from litestar import MediaType, Request, Response, get
from litestar.datastructures import State
from litestar.handlers import HTTPRouteHandler

from ..surfaces.openai_chat import OpenAIChat
from .page import ICON, answer, asset
from .state import Running
from .status_access import refusal
from .status_figures import Figures
from .status_gather import gather
from .status_page import SHEET, refused, render

_ASK = {"www-authenticate": 'Basic realm="sidecar: the gateway key is the password", charset="UTF-8"'}
_encode = msgspec.json.Encoder().encode


def status_routes(running: Running) -> list[HTTPRouteHandler]:
    """The handlers of one gateway's status."""
    figures = Figures(running.ledger, time)

    @get("/status", media_type=MediaType.HTML)
    async def page(request: Request[Any, Any, State]) -> Response[Any]:
        """The status page."""
        problem = refusal(running.holder.current, request, time())
        if problem is not None:
            return answer(refused(problem.message), SHEET, status=problem.status, headers=_ASK)
        reading = await figures.read()
        return answer(render(gather(running, reading, time())), SHEET)

    @get("/status.json")
    async def data(request: Request[Any, Any, State]) -> Response[Any]:
        """The same as data."""
        problem = refusal(running.holder.current, request, time())
        if problem is not None:
            content = OpenAIChat().problem(problem)
            return Response(content, status_code=problem.status, media_type=MediaType.JSON, headers=_ASK)
        reading = await figures.read()
        return Response(_encode(gather(running, reading, time())), media_type=MediaType.JSON)

    @get(ICON, media_type="image/svg+xml", sync_to_thread=False)
    def icon() -> Response[Any]:
        """The pages' icon."""
        return Response(asset("favicon.svg").encode(), media_type="image/svg+xml")

    return [page, data, icon]

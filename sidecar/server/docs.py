"""`/docs`, `/redoc` and `/openapi.json`: what the gateway's API is, served without internet.

Plain HTML instead of Swagger UI: the Python packages that carry its assets are either years old and know no
OpenAPI 3.1, or made for Django; a reference that is only read needs no megabyte of script.
"""

import functools
from typing import Any

import msgspec
from litestar import MediaType, Response, get
from litestar.handlers import HTTPRouteHandler

from .docs_openapi import openapi
from .docs_page import SHEET, Layout, reference
from .page import answer


def docs_routes() -> list[HTTPRouteHandler]:
    """The handlers; they show the same to everybody, for they hold nothing of this gateway's configuration."""

    @get("/docs", media_type=MediaType.HTML, sync_to_thread=False)
    def docs() -> Response[Any]:
        """The reference, from top to bottom."""
        return answer(_page("docs"), SHEET)

    @get("/redoc", media_type=MediaType.HTML, sync_to_thread=False)
    def redoc() -> Response[Any]:
        """The reference, with examples beside."""
        return answer(_page("redoc"), SHEET)

    @get("/openapi.json", sync_to_thread=False)
    def document() -> Response[Any]:
        """The OpenAPI document."""
        return Response(_document(), media_type=MediaType.JSON)

    return [docs, redoc, document]


@functools.cache
def _page(layout: Layout) -> str:
    return reference(openapi(), layout)


@functools.cache
def _document() -> bytes:
    return msgspec.json.encode(openapi())

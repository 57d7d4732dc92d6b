"""The admin API under /api: the routes, who may use each, and how their faults are told."""

import sqlite3
from time import time
from typing import Any

import msgspec
from litestar import Request, Router, get, post
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler

from .. import __version__
from .admin_access import Pass, shown
from .admin_problem import RefusedError, broken, refused, unreadable, wrong
from .api_analytics import analytics_route
from .api_data import CatalogueModel, ConfigurationState, Login, ModelPage, ReloadOutcome
from .api_decisions import decision_routes
from .api_keys import key_routes
from .api_operations import operation_routes
from .api_query import after, cursor, invalid, limit, parameters
from .body import client_ip
from .state import Running
from .status_gather import model_states, reload_status

MAX_BODY = 64 * 1024


def api_router(running: Running) -> Router:
    """All of it."""
    return Router(
        "/",
        route_handlers=[
            token_route(running),
            analytics_route(running),
            models_route(running),
            *decision_routes(running),
            *key_routes(running),
            *configuration_routes(running),
            *operation_routes(running),
        ],
        exception_handlers={
            RefusedError: refused,
            sqlite3.Error: unreadable,
            HTTPException: wrong,
            500: broken(running.holder),
        },
        request_max_body_size=MAX_BODY,
    )


def token_route(running: Running) -> HTTPRouteHandler:
    """`POST /api/auth/token`."""

    @post("/api/auth/token", status_code=200)
    async def token(request: Request[Any, Any, Any]) -> Pass:
        """An admin key for a token: as a bearer token, or in the body."""
        parameters(request, ())
        body = await request.body()
        key = shown(request)
        if not key and body:
            try:
                key = msgspec.json.decode(body, type=Login).key
            except (msgspec.DecodeError, UnicodeDecodeError):
                raise invalid('The body is not `{"key": "…"}`.') from None
        return running.access.login(key, client_ip(request.scope))

    return token


def models_route(running: Running) -> HTTPRouteHandler:
    """`GET /api/models`."""

    @get("/api/models", guards=[running.access.needs("viewer")], sync_to_thread=False)
    def catalogue(request: Request[Any, Any, Any]) -> ModelPage:
        """The catalogue, by id."""
        given = parameters(request, ("limit", "cursor"))
        size, last = limit(given), after(given, str)
        live, health = running.holder.current, running.stores.health
        health.wake(time())
        states = sorted(model_states(live, health), key=lambda model: model.id)
        rest = [model for model in states if last is None or model.id > last]
        cards = {card.id: card for card in live.graph.registry.cards}
        items = [
            CatalogueModel(
                id=model.id,
                provider=model.provider,
                state=model.state,
                reason=model.reason,
                input_price=model.input_price,
                output_price=model.output_price,
                learned_speed=model.learned_speed,
                card=cards[model.id],
            )
            for model in rest[:size]
        ]
        return ModelPage(items, cursor(items[-1].id) if len(rest) > size else None)

    return catalogue


def configuration_routes(running: Running) -> list[HTTPRouteHandler]:
    """`GET /api/admin/config` and `POST /api/admin/reload`."""

    @get("/api/admin/config", guards=[running.access.needs("admin")], sync_to_thread=False)
    def config(request: Request[Any, Any, Any]) -> ConfigurationState:
        """What is in use."""
        parameters(request, ())
        live = running.holder.current
        return ConfigurationState(
            policy=live.graph.hash,
            since=live.opened,
            files=sorted(running.reloader.files),
            reload=reload_status(running.holder.last),
            registry_problem=running.registry_problem,
            version=__version__,
            started=running.started,
        )

    @post("/api/admin/reload", guards=[running.access.needs("operator")], status_code=200)
    async def reload(request: Request[Any, Any, Any]) -> ReloadOutcome:
        """Read the configuration again. A refused one is an answer, not an error: the policy before serves on."""
        parameters(request, ())
        await running.reloader.reload()
        last = reload_status(running.reloader.last)
        return ReloadOutcome(last.outcome, last.at, running.holder.current.graph.short_hash, last.findings)

    return [config, reload]

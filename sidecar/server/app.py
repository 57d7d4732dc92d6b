"""The Litestar application: the hot routes as raw ASGI, everything else as ordinary handlers."""

from collections.abc import Awaitable, Callable
from time import time
from typing import Any

from litestar import Litestar, MediaType, Request, Response, asgi, get
from litestar.config.cors import CORSConfig
from litestar.datastructures import State
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler

from ..chat import Problem
from ..engine.holder import Holder
from ..listen import Tracked
from ..surfaces.openai_chat import OpenAIChat
from .admin_problem import wrong
from .api_routes import api_router
from .body import client_ip, credential_of, is_loopback
from .chat_route import BROKEN, ChatRoute, next_request_id
from .docs import docs_routes
from .gauges import readings
from .models import model_list, nobody
from .respond import SECURITY_HEADERS
from .state import Running
from .status import status_routes

CHAT = "/v1/chat/completions"


def build(running: Running) -> "Front":
    """The application of one gateway."""

    @asgi(CHAT, copy_scope=False)
    async def chat(scope: Any, receive: Any, send: Any) -> None:
        await running.chat(scope, receive, send)

    origins = list(running.holder.current.graph.gateway.cors.origins)
    litestar = Litestar(
        [
            chat,
            models_route(running),
            *health_routes(running),
            *status_routes(running),
            *docs_routes(),
            api_router(running),
        ],
        cors_config=CORSConfig(allow_origins=origins, allow_methods=["GET", "POST", "DELETE"]) if origins else None,
        openapi_config=None,
        response_headers=SECURITY_HEADERS,
        exception_handlers={HTTPException: not_found, 500: broken(running.holder)},
        logging_config=None,
        debug=False,
    )

    return Front(running.chat, litestar, plain=not origins)


class Front:
    """Leads the hot route past the framework: its layers cost a sixth of a routed request, and this route uses none of
    them but CORS."""

    def __init__(self, chat: ChatRoute, rest: Litestar, *, plain: bool) -> None:
        self.litestar = rest
        self._chat = chat
        self._rest = Tracked(rest)
        self._plain = plain

    def __call__(self, scope: Any, receive: Any, send: Any) -> Awaitable[None]:
        """Serve one request."""
        if scope.get("path") != CHAT:
            return self._rest(scope, receive, with_request_id(send))
        return self._chat(scope, receive, send) if self._plain else self._rest(scope, receive, send)

    def cancel(self) -> None:
        """Cancel every request that is still running."""
        self._chat.watches.cancel()
        self._rest.cancel()


def health_routes(running: Running) -> list[HTTPRouteHandler]:
    """`/health`, `/live`, `/ready` and `/metrics`."""

    @get(["/health", "/live"], sync_to_thread=False)
    def health() -> dict[str, str]:
        """The process answers."""
        return {"status": "ok"}

    @get("/ready", sync_to_thread=False)
    def ready() -> Response[dict[str, Any]]:
        """Whether to send traffic here: database, registry and configuration, with the last reload's outcome."""
        reasons = running.not_ready()
        last = running.holder.last
        body: dict[str, Any] = {
            "status": "not ready" if reasons else "ready",
            "policy": running.holder.current.graph.short_hash,
            "database": running.ledger.fault or "ok",
            "registry": running.registry_problem or "ok",
            "configuration": {"outcome": last.outcome, "at": last.at, "findings": last.text or None},
        }
        if reasons:
            body["reasons"] = reasons
        return Response(body, status_code=503 if reasons else 200)

    @get("/metrics", media_type="text/plain; version=0.0.4; charset=utf-8", sync_to_thread=False)
    def metrics() -> bytes:
        """Prometheus' text exposition."""
        running.records.work_off()
        return running.metrics.render(readings(running, time()))

    return [health, ready, metrics]


def models_route(running: Running) -> HTTPRouteHandler:
    """`GET /v1/models`."""

    @get("/v1/models", sync_to_thread=False)
    def models(request: Request[Any, Any, State]) -> Response[Any]:
        """The models a caller may name, `auto` and its strategies first."""
        live = running.holder.current
        caller = nobody(live, time())
        shown = credential_of(request.scope)
        if isinstance(shown, Problem):
            return problem_response(shown)
        caller.credential = shown
        caller.ip = client_ip(request.scope)
        caller.local = is_loopback(caller.ip)
        listed = model_list(live, caller)
        if isinstance(listed, Problem):
            return problem_response(listed)
        return Response(listed)

    return models


def with_request_id(send: Any) -> Any:
    """`x-request-id` on every response that has none."""

    async def sending(message: Any) -> None:
        if message["type"] == "http.response.start":
            headers = list(message["headers"])
            if not any(name == b"x-request-id" for name, _ in headers):
                headers.append((b"x-request-id", next_request_id().encode()))
            message["headers"] = headers
        await send(message)

    return sending


def not_found(request: Request[Any, Any, State], fault: HTTPException) -> Response[Any]:
    """What is not there, in OpenAI's envelope: callers of a gateway are SDKs. The admin API has one of its own."""
    if request.url.path.startswith("/api/"):
        return wrong(request, fault)
    message = f"{request.method} {request.url.path[:200]}: {fault.detail}"
    return problem_response(Problem(fault.status_code, "invalid_request_error", message, "not_found"))


def broken(holder: Holder) -> Callable[[Request[Any, Any, State], Exception], Response[Any]]:
    """The handler of what nobody foresaw: the log says where, the caller only that."""

    def handler(_: Request[Any, Any, State], fault: Exception) -> Response[Any]:
        response = problem_response(BROKEN)
        response.headers["x-request-id"] = request_id = next_request_id()
        holder.log_fault(request_id, fault)
        return response

    return handler


def problem_response(problem: Problem) -> Response[Any]:
    """A problem in OpenAI's envelope."""
    body = OpenAIChat().problem(problem)
    return Response(body, status_code=problem.status, media_type=MediaType.JSON, headers=SECURITY_HEADERS)

"""`/api/decisions`: what was decided of requests. From the ledger's rows, and what callers asked to have explained."""

from typing import Any

import msgspec
from litestar import Request, get
from litestar.handlers import HTTPRouteHandler

from ..engine.explain import Explanation
from ..registry.price import usd
from ..stores.decisions import Rows
from .admin_problem import RefusedError
from .api_data import AttemptRow, Decision, DecisionPage, DecisionRow
from .api_query import after, cursor, limit, parameters
from .state import Running

_NEWEST = 2**63 - 1
_SAME = tuple(name for name in AttemptRow.__struct_fields__ if name not in ("cost_usd", "estimated"))


def decision_routes(running: Running) -> list[HTTPRouteHandler]:
    """The handlers."""
    viewer = running.access.needs("viewer")
    decisions = running.records.decisions

    @get("/api/decisions", guards=[viewer])
    async def recent(request: Request[Any, Any, Any]) -> DecisionPage:
        """The newest requests, page by page."""
        given = parameters(request, ("limit", "cursor"))
        size, before = limit(given), after(given, int)
        await running.records.ledger.flush()
        found = await decisions.recent(_NEWEST if before is None else before, size + 1)
        last = found[size - 1][0] if len(found) > size else None
        return DecisionPage([_row(rows) for _, rows in found[:size]], None if last is None else cursor(last))

    @get("/api/decisions/{id:str}", guards=[viewer])
    async def one(request: Request[Any, Any, Any]) -> Decision:
        """One request, and why it went where it went."""
        parameters(request, ())
        id = str(request.path_params["id"])[:64]
        await running.records.ledger.flush()
        rows, explained = await decisions.find(id)
        if not rows and explained is None:
            detail = f"There is no request `{id}` in the ledger. Refused ones are there only when they asked to be "
            raise RefusedError(404, "not-found", detail + "explained (`x-sidecar-explain: 1`).")
        explanation = None if explained is None else _explanation(explained)
        return Decision(id, _row(rows) if rows else None, explanation)

    return [recent, one]


def _row(rows: Rows) -> DecisionRow:
    first = rows[0]
    return DecisionRow(
        id=first["request_id"],
        at=first["ts"],
        tenant=first["tenant"],
        key=first["key_name"],
        requested_model=first["requested_model"],
        tier=first["tier"],
        rule=first["rule"],
        strategy=first["strategy"],
        stream=bool(first["stream"]),
        cache=first["cache"],
        policy=first["policy"],
        attempts=[_attempt(row) for row in rows],
    )


def _attempt(row: dict[str, Any]) -> AttemptRow:
    nano = row["cost_nano"]
    cost = None if nano is None else usd(nano)
    return AttemptRow(**{name: row[name] for name in _SAME}, cost_usd=cost, estimated=bool(row["estimated"]))


def _explanation(data: bytes) -> Explanation | None:
    """What was stored; None when an earlier version wrote it in another form."""
    try:
        return msgspec.json.decode(data, type=Explanation)
    except msgspec.DecodeError:
        return None

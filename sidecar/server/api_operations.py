"""`GET /api/budgets`: every account with what is left. `POST /api/admin/update-registry`: ask the price pages now."""

from time import time
from typing import Any

import msgspec
from litestar import Request, get, post
from litestar.handlers import HTTPRouteHandler

from ..scrape.finding import BusyError, NoScraperError
from .admin_problem import RefusedError
from .api_data import BudgetPage, RegistryOutcome, UpdateOrder
from .api_query import after, cursor, invalid, limit, parameters
from .state import Running
from .status_gather import budget_state


def operation_routes(running: Running) -> list[HTTPRouteHandler]:
    """Both."""

    @get("/api/budgets", guards=[running.access.needs("viewer")], sync_to_thread=False)
    def budgets(request: Request[Any, Any, Any]) -> BudgetPage:
        """Accounts by budget and subject."""
        given = parameters(request, ("limit", "cursor"))
        size, last = limit(given), after(given, str)
        place = {f"{one.name}\n{one.subject}": one for one in running.stores.budgets.snapshot(time())}
        rest = [name for name in sorted(place) if last is None or name > last]
        page = [budget_state(place[name]) for name in rest[:size]]
        return BudgetPage(page, cursor(rest[size - 1]) if len(rest) > size else None)

    @post("/api/admin/update-registry", guards=[running.access.needs("operator")], status_code=200)
    async def update_registry(request: Request[Any, Any, Any]) -> RegistryOutcome:
        """The pages are asked, and what can be believed goes in. What is quarantined is an answer, not an error."""
        parameters(request, ())
        body = await request.body()
        try:
            order = msgspec.json.decode(body, type=UpdateOrder) if body else UpdateOrder()
        except (msgspec.DecodeError, UnicodeDecodeError) as fault:
            raise invalid(f"The body is wrong: {fault}.") from fault
        try:
            report = await running.updates.update(*order.scrapers, dry_run=order.dry_run)
        except BusyError as fault:
            raise RefusedError(409, "conflict", f"{fault}.", 5.0) from fault
        except NoScraperError as fault:
            raise invalid(f"{fault}.") from fault
        except (OSError, ValueError) as fault:
            raise RefusedError(503, "registry", f"The registry cannot be written: {fault}.") from fault
        return RegistryOutcome(
            at=report.at,
            outcomes=report.outcomes,
            changed=sorted({change.model for change in report.changes if change.action in ("changed", "added")}),
            quarantined=[f"{one.source}: {one.finding.reason}: {one.finding.message}" for one in report.refusals],
            written=report.written,
        )

    return [budgets, update_registry]

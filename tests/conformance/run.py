"""One run of all cells against this project's own gateway, with the ledger beside it."""

import asyncio
from dataclasses import dataclass

from gateway import Rows

from .cases import CASES, Case, Cell, cells
from .measure import Outcome, Target, measured
from .stand import HASTY, KEY, PATIENT, Places, model_of, ours, places, playable
from .table import markdown


@dataclass(repr=False)
class Run:
    """What was seen, and the ledger's rows of each cell."""

    seen: dict[Cell, Outcome]
    rows: dict[Cell, Rows]

    @property
    def partly(self) -> bool:
        """Whether there are cases that cannot be played here."""
        return {cell.case for cell in self.seen} != set(CASES)

    @property
    def failures(self) -> dict[Case, str]:
        """What the ledger calls each case: the failure of the first try, or of the answer."""
        found: dict[Case, str] = {}
        for case in {cell.case for cell in self.seen}:
            names = {str(rows[0]["failure"] or "-") for cell, rows in self.rows.items() if cell.case == case and rows}
            found[case] = ", ".join(f"`{name}`" if name != "-" else "none" for name in sorted(names))
        return found

    @property
    def table(self) -> str:
        """The published table."""
        return markdown(self.seen, self.failures)


async def conform() -> Run:
    """Ask every cell. Those that a time limit ends, of a gateway with short ones; at the same time as the others."""
    wanted = list(cells(await asyncio.to_thread(playable)))
    async with places() as found:
        hasty, patient = await asyncio.gather(
            _part(found, [cell for cell in wanted if cell.case.waits], HASTY),
            _part(found, [cell for cell in wanted if not cell.case.waits], PATIENT),
        )
    return Run(hasty.seen | patient.seen, hasty.rows | patient.rows)


async def _part(found: Places, wanted: list[Cell], timeouts: dict[str, str]) -> Run:
    async with ours(found, wanted, timeouts) as served:
        models = {cell: model_of(cell) for cell in wanted}
        seen = await measured(Target(served.url, KEY, models, found.emulator), wanted)
        every = await served.rows(count=sum(outcome.tries or 0 for outcome in seen.values()))
    of = {outcome.request_id: cell for cell, outcome in seen.items()}
    rows: dict[Cell, Rows] = {cell: [] for cell in wanted}
    for row in every:
        rows[of[row["request_id"]]].append(row)
    return Run(seen, rows)

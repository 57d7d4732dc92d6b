"""One run of all cells against this project's own gateway, with the ledger beside it."""

import asyncio
from collections import ChainMap
from collections.abc import Sequence
from dataclasses import dataclass

from gateway import Rows

from .cases import CASES, Case, Cell, cells
from .measure import Outcome, Target, measured
from .stand import BRIEF, HASTY, KEY, PATIENT, Places, model_of, ours, places, playable
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
    cases = await asyncio.to_thread(playable)
    async with places(cases) as found:
        parts = await asyncio.gather(
            _part(found, [case for case in cases if case.endless], BRIEF),
            _part(found, [case for case in cases if case.waits], HASTY),
            _part(found, [case for case in cases if not (case.endless or case.waits)], PATIENT),
        )
    seen, rows = ChainMap(*(part.seen for part in parts)), ChainMap(*(part.rows for part in parts))
    return Run({cell: seen[cell] for cell in cells(cases)}, dict(rows))


async def _part(found: Places, cases: Sequence[Case], timeouts: dict[str, str]) -> Run:
    wanted = list(cells(cases))
    async with ours(found, wanted, timeouts) as served:
        models = {cell: model_of(cell) for cell in wanted}
        seen = await measured(Target(served.url, KEY, models, found.emulator), wanted)
        every = await served.rows(count=sum(outcome.tries or 0 for outcome in seen.values()))
    of = {outcome.request_id: cell for cell, outcome in seen.items()}
    rows: dict[Cell, Rows] = {cell: [] for cell in wanted}
    for row in every:
        rows[of[row["request_id"]]].append(row)
    return Run(seen, rows)

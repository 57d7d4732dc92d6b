"""The outcomes as a table of Markdown, one line a case, and its place in the published contract."""

from collections.abc import Callable, Mapping
from pathlib import Path

from .cases import CASES, Case, Cell
from .measure import Outcome

CONTRACT = Path(__file__).resolve().parents[2] / "docs" / "stream-contract.md"
BEGIN, END = "<!-- begin: python -m tests.conformance --write -->\n", "<!-- end -->\n"
Seen = Mapping[Cell, Outcome]


def summary(seen: Seen, case: Case, chained: bool) -> str:
    """What the cells of a case saw: once where all saw the same, else by wire or by form."""
    told = {cell: str(outcome) for cell, outcome in seen.items() if cell.case == case and cell.chained == chained}
    kinds = list(dict.fromkeys(told.values()))
    if len(kinds) < 2:
        return "".join(kinds)
    for name in (_form, _wire, _both):
        places = {kind: {name(cell) for cell in told if told[cell] == kind} for kind in kinds}
        if len(set().union(*places.values())) == sum(map(len, places.values())):
            break
    usual = max(kinds, key=lambda kind: len(places[kind]))
    rest = [f"{', '.join(sorted(places[kind]))}: {kind}" for kind in kinds if kind != usual]
    if name is _form:
        usual = f"{', '.join(sorted(places[usual]))}: {usual}"
    return "; ".join([usual, *rest])


def _form(cell: Cell) -> str:
    return "stream" if cell.stream else "JSON"


def _wire(cell: Cell) -> str:
    return cell.wire


def _both(cell: Cell) -> str:
    return f"{cell.wire} {_form(cell)}"


def markdown(seen: Seen, failures: Mapping[Case, str] | None = None) -> str:
    """Two tables: before the commit point, and after it. `failures` are the ledger's names."""
    failures = failures or {}
    cases = [case for case in CASES if any(cell.case == case for cell in seen)]

    def lines(late: bool, row: Callable[[Case], list[str]]) -> list[str]:
        return [f"| {' | '.join(row(case))} |" for case in cases if case.late == late]

    early = lines(
        False,
        lambda case: [case.name, failures.get(case, ""), summary(seen, case, False), summary(seen, case, True)],
    )
    late = lines(
        True, lambda case: [case.name.removesuffix(" later"), failures.get(case, ""), summary(seen, case, True)]
    )
    parts = [
        ["| before the first token | in the ledger | one model | a second model, which is well |", "|---|---|---|---|"],
        early,
        ["", "| after the second chunk | in the ledger | what the caller saw, with a second model at hand |"],
        ["|---|---|---|"],
        late,
    ]
    return "".join(f"{line}\n" for part in parts for line in part)


def committed() -> str:
    """The table in the contract."""
    return CONTRACT.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0]


def write(table: str) -> None:
    """Put the table into the contract."""
    head, _, rest = CONTRACT.read_text(encoding="utf-8").partition(BEGIN)
    tail = rest.partition(END)[2]
    CONTRACT.write_text(f"{head}{BEGIN}{table}{END}{tail}", encoding="utf-8")

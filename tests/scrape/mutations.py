"""Pages as they might become: seeded changes to a page's text, and what may then still be read from it."""

import json
import random
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from sidecar.scrape.finding import Row

EVERY = "*"


@dataclass
class Mutation:
    """A changed page. `gone` may be missing without a word, `never` must not be believed (`*`: no model at all).

    `added` are models that the page now lists besides, with their prices.
    """

    name: str
    text: str
    gone: set[str] = field(default_factory=set)
    never: set[str] = field(default_factory=set)
    added: dict[str, dict[str, float]] = field(default_factory=dict)


Mutator = Callable[[str, random.Random, tuple[Row, ...]], Mutation | None]

WALLS = (
    "<!DOCTYPE html><html><head><title>Just a moment...</title></head><body><h1>Verifying you are human</h1>"
    "<script src='/cdn-cgi/challenge-platform/x.js'></script></body></html>",
    "<html><head><title>Before you continue</title></head><body><form>Accept all</form></body></html>",
    "<html><head><title>Sign in - Console</title></head><body><h1>Sign in</h1><form></form></body></html>",
    "<html><head><title>Access denied</title></head><body>Error 1020</body></html>",
    "<html><head><title>Pricing</title></head><body><p>Enable JavaScript and cookies to continue</p></body></html>",
    "Title: Just a moment...\n\nURL Source: {url}\n\nWarning: Target URL returned error 403: Forbidden\n",
    '{"error": {"message": "rate limited", "code": 429}}',
    "",
    "<html><head><title>404: Not found</title></head><body></body></html>",
)
SLIPS = ("€", "£", "US ", "")


def wall(text: str, rng: random.Random, rows: tuple[Row, ...]) -> Mutation:
    """Something else in the page's place."""
    url = next(iter(re.findall(r"URL Source: (\S+)", text)), "https://example.com/pricing")
    return Mutation("wall", rng.choice(WALLS).replace("{url}", url), never={EVERY})


def truncate(text: str, rng: random.Random, rows: tuple[Row, ...]) -> Mutation:
    """The page ends early."""
    return Mutation("truncate", text[: rng.randrange(len(text))])


def truncate_in_prices(text: str, rng: random.Random, rows: tuple[Row, ...]) -> Mutation | None:
    """The page ends within the part that has the prices."""
    places = [match.start() for match in re.finditer(r"(?<=[\d$])\d|MTok|\[0,", text)]
    return Mutation("truncate in prices", text[: rng.choice(places)]) if places else None


def unit_everywhere(text: str, rng: random.Random, rows: tuple[Row, ...]) -> Mutation | None:
    """The page changes its unit and leaves its figures."""
    changed = re.sub(r"\bMTok\b", "KTok", text)
    changed = re.sub(r"(?i)per 1M tokens", rng.choice(("per 1K tokens", "per 1,000 tokens")), changed)
    return Mutation("unit everywhere", changed, never={EVERY}) if changed != text else None


def currency(text: str, rng: random.Random, rows: tuple[Row, ...]) -> Mutation | None:
    """Another currency, or none."""
    sign = rng.choice(SLIPS[:3])
    changed = re.sub(r"\\?\$(?=\d)", sign, text)
    changed = changed.replace('val_span">$<', f'val_span">{sign}<')
    return Mutation("currency", changed) if changed != text else None


def table_blocks(lines: list[str]) -> list[tuple[int, int]]:
    """First and last line (exclusive) of each pipe table."""
    blocks, start = [], None
    for index, line in enumerate([*lines, ""]):
        if line.lstrip().startswith("|"):
            start = index if start is None else start
        elif start is not None:
            if index - start > 2:
                blocks.append((start, index))
            start = None
    return blocks


def cells_of(line: str) -> list[str]:
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip()[1:-1])]


def line_of(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def on_table(change: Callable[[list[list[str]], random.Random], bool]) -> Mutator:
    """A change to the cells of one table that may hold prices; the header is row 0, the rule is left out."""

    def mutate(text: str, rng: random.Random, rows: tuple[Row, ...]) -> Mutation | None:
        lines = text.split("\n")
        read = {row.line - 1 for row in rows}
        blocks = [b for b in table_blocks(lines) if re.search(r"\d", "".join(lines[b[0] : b[1]]))]
        own = [b for b in blocks if read & set(range(*b))]
        if not own:
            return None
        start, end = rng.choice(own if rng.random() < 0.7 else blocks)
        table = [cells_of(line) for index, line in enumerate(lines[start:end]) if index != 1]
        kept = [tuple(cells) for cells in table]
        if not change(table, rng):
            return None
        out = [line_of(cells) for cells in table]
        rule = line_of(["---"] * len(table[0]))
        changed = "\n".join([*lines[:start], out[0], rule, *out[1:], *lines[end:]])
        left = {tuple(cells) for cells in table}
        numbers = [start, *range(start + 2, end)]
        gone = {numbers[i] for i, cells in enumerate(kept) if cells not in left} if change in (drop_row,) else set()
        return Mutation(change.__name__, changed, gone={row.id for row in rows if row.line - 1 in gone})

    mutate.__name__ = change.__name__
    return mutate


def columns(table: list[list[str]]) -> int:
    return min(len(cells) for cells in table)


def drop_column(table: list[list[str]], rng: random.Random) -> bool:
    at = rng.randrange(columns(table))
    for cells in table:
        del cells[at]
    return True


def rename_column(table: list[list[str]], rng: random.Random) -> bool:
    names = ("Rate", "Price", "Input", "Output", "Output Tokens", "Base Input Tokens", "Batch input", "Cached input",
             "Cost per 1K tokens", "Cache Hits & Refreshes", "Paid Tier, per 1K tokens", "1h Cache Writes")  # fmt: skip
    header = rng.choice(table[:2])
    header[rng.randrange(len(header))] = rng.choice(names)
    return True


def swap_headers(table: list[list[str]], rng: random.Random) -> bool:
    header = table[1] if table[1][0] == "Model" else table[0]
    if len(header) < 3:
        return False
    one, other = rng.sample(range(len(header)), 2)
    header[one], header[other] = header[other], header[one]
    return True


def reorder_columns(table: list[list[str]], rng: random.Random) -> bool:
    if len({len(cells) for cells in table}) > 1:
        return False
    order = rng.sample(range(len(table[0])), len(table[0]))
    table[:] = [[cells[index] for index in order] for cells in table]
    return True


def insert_column(table: list[list[str]], rng: random.Random) -> bool:
    at = rng.randrange(columns(table) + 1)
    header = rng.choice(("Notes", "Region", "Throughput", "Fine-tuned input", "Output Tokens", "Free Tier", "Output"))
    cell = rng.choice(("$1 / MTok", "$0.10", "yes", "-", "$99.00", "1M"))
    for index, cells in enumerate(table):
        cells.insert(at, header if index == 0 else cell)
    return True


def drop_row(table: list[list[str]], rng: random.Random) -> bool:
    del table[rng.randrange(1, len(table))]
    return True


def reorder_rows(table: list[list[str]], rng: random.Random) -> bool:
    first = 2 if table[1][0] == "Model" else 1
    rest = table[first:]
    rng.shuffle(rest)
    table[first:] = rest
    return True


def insert_odd_row(table: list[list[str]], rng: random.Random) -> bool:
    width = len(table[0])
    odd = (["Legacy models", *[""] * (width - 1)], ["Legacy models"], ["", *["-"] * (width - 1)], ["$1.00"] * width)
    table.insert(rng.randrange(1, len(table) + 1), rng.choice(odd))
    return True


def repeat_row_dearer(table: list[list[str]], rng: random.Random) -> bool:
    row = rng.choice(table[1:])
    dearer = [re.sub(r"(?<=\$)\d+(\.\d+)?", lambda m: f"{float(m[0]) * 2:g}", cell) for cell in row]
    table.insert(rng.randrange(1, len(table) + 1), dearer)
    return dearer != row


def cut_cell(table: list[list[str]], rng: random.Random) -> bool:
    row = rng.choice(table[1:])
    del row[rng.randrange(len(row))]
    return bool(row)


def blank_cell(table: list[list[str]], rng: random.Random) -> bool:
    row = rng.choice(table[1:])
    row[rng.randrange(1, len(row)) if len(row) > 1 else 0] = rng.choice(
        ("", "-", "N/A", "Contact sales", "Free", "TBD")
    )
    return True


def swap_cells(table: list[list[str]], rng: random.Random) -> bool:
    row = rng.choice(table[1:])
    if len(row) < 3:
        return False
    one, other = rng.sample(range(len(row)), 2)
    row[one], row[other] = row[other], row[one]
    return True


def slip(table: list[list[str]], rng: random.Random) -> bool:
    """One figure by a thousand, as a slip between units makes it."""
    row = rng.choice(table[1:])
    at = [index for index, cell in enumerate(row) if "$" in cell]
    if not at:
        return False
    index, factor = rng.choice(at), rng.choice((1000, 0.001))
    row[index] = re.sub(r"(?<=\$)\d+(\.\d+)?", lambda m: f"{float(m[0]) * factor:.9f}".rstrip("0"), row[index])
    return True


def mangle(table: list[list[str]], rng: random.Random) -> bool:
    """A price that nobody can be sure of."""
    row = rng.choice(table[1:])
    at = [index for index, cell in enumerate(row) if re.search(r"\$\d", cell)]
    if not at:
        return False
    index = rng.choice(at)
    forms = (
        r"$\g<0>,000",
        r"from $\g<0>",
        r"~$\g<0>",
        r"$\g<0> – $99",
        r"€\g<0>",
        r"$\g<0> / KTok",
        r"$\g<0> per hour",
    )
    form = rng.choice(forms)
    row[index] = re.sub(r"\\?\$(\d+(?:\.\d+)?)", lambda m: form.replace(r"\g<0>", m[1]), row[index], count=1)
    return True


def headings(text: str, rng: random.Random, rows: tuple[Row, ...]) -> Mutation | None:
    """A heading or a label gets another name."""
    found = list(re.finditer(r"(?m)^#{1,3} (.+)$|^(Standard|Batch|Flex|Priority)$", text))
    if not found:
        return None
    match = rng.choice(found)
    name = rng.choice(("Pricing", "Overview", "Batch processing", "Fast mode", "Legacy"))
    new = f"## {name}" if match[1] else rng.choice(("Batch", "Priority", "Regional"))
    return Mutation("headings", text[: match.start()] + new + text[match.end() :])


def tables_change_places(text: str, rng: random.Random, rows: tuple[Row, ...]) -> Mutation | None:
    """Two tables of the same shape change places; their labels stay where they are."""
    lines = text.split("\n")
    blocks = table_blocks(lines)

    def models(block: tuple[int, int]) -> set[str]:
        return {
            cell
            for line in lines[slice(*block)]
            for cell in cells_of(line)[:1]
            if cell not in ("Model", "---", "Category")
        }

    # When two labelled tables without a common model change places, nothing on the page can tell it.
    pairs = [
        (a, b)
        for i, a in enumerate(blocks)
        for b in blocks[i + 1 : i + 4]
        if lines[a[0]].strip() == lines[b[0]].strip() and len(models(a) & models(b)) > 1
    ]
    if not pairs:
        return None
    (a, b), (c, d) = rng.choice(pairs)
    changed = lines[:a] + lines[c:d] + lines[b:c] + lines[a:b] + lines[d:]
    return Mutation("tables change places", "\n".join(changed), gone={EVERY})


def table_goes(text: str, rng: random.Random, rows: tuple[Row, ...]) -> Mutation | None:
    """A whole table is missing, or is there twice."""
    lines = text.split("\n")
    read = {row.line - 1 for row in rows}
    blocks = table_blocks(lines)
    if not blocks:
        return None
    start, end = rng.choice([b for b in blocks if read & set(range(*b))] or blocks)
    twice = rng.random() < 0.3
    new = lines[:end] + [""] + lines[start:] if twice else lines[:start] + lines[end:]
    gone = set() if twice else {row.id for row in rows if row.line - 1 in range(start, end)}
    return Mutation("table goes", "\n".join(new), gone=gone)


def unit_in_table(text: str, rng: random.Random, rows: tuple[Row, ...]) -> Mutation | None:
    """One table changes its unit and leaves its figures."""
    lines = text.split("\n")
    own = [b for b in table_blocks(lines) if {row.line - 1 for row in rows} & set(range(*b))]
    own = [b for b in own if re.search(r"MTok|per 1M tokens", "".join(lines[b[0] : b[1]]))]
    if not own:
        return None
    start, end = rng.choice(own)
    table = re.sub(r"MTok|1M tokens", rng.choice(("KTok", "1K tokens", "token")), "\n".join(lines[start:end]))
    never = {row.id for row in rows if row.line - 1 in range(start, end)}
    return Mutation("unit in table", "\n".join([*lines[:start], table, *lines[end:]]), never=never)


def new_model(text: str, rng: random.Random, rows: tuple[Row, ...]) -> Mutation | None:
    """A model that was not there before."""
    lines = text.split("\n")
    named = [
        row for row in rows if lines[row.line - 1].startswith("| Claude") or lines[row.line - 1].startswith("| gpt-5")
    ]
    if not named:
        return None
    row = rng.choice(named)
    line = lines[row.line - 1]
    name = cells_of(line)[0]
    new, id = ("Claude Nova 9", "claude-nova-9") if "Claude" in name else ("gpt-9", "gpt-9")
    lines.insert(row.line, line.replace(name, new))
    return Mutation("new model", "\n".join(lines), added={id: row.values})


def js_rows(text: str, rng: random.Random, rows: tuple[Row, ...]) -> Mutation | None:
    """Rows of data in the page's source: columns dropped, added or moved, rows dropped, moved, repeated, slipped."""
    lines = text.split("\n")
    data = [i for i, line in enumerate(lines) if re.fullmatch(r'\s*\["[a-z].*\],', line)]
    if not data:
        return None
    first = rng.choice(data)
    start = end = first
    while start - 1 in data:
        start -= 1
    while end + 1 in data:
        end += 1
    block = [json.loads(line.strip().rstrip(",")) for line in lines[start : end + 1]]
    gone, name = change_records(block, rng)
    new = [f"          {json.dumps(row)}," for row in block]
    return Mutation(f"js {name}", "\n".join([*lines[:start], *new, *lines[end + 1 :]]), gone=gone)


def change_records(block: list[list[Any]], rng: random.Random) -> tuple[set[str], str]:
    """One change to rows of [model, input, cached, output]."""
    kind = rng.choice(("drop", "insert", "move", "row", "shuffle", "twice", "slip", "blank", "slip all"))
    at, row = rng.randrange(1, 4), rng.choice(block)
    gone: set[str] = set()
    if kind == "drop":
        for each in block:
            del each[at]
    elif kind == "insert":
        for each in block:
            each.insert(at, rng.choice((each[1], 400000, 6.25, "-")))
    elif kind == "move":
        order = rng.sample(range(1, 4), 3)
        block[:] = [[each[0], *(each[index] for index in order)] for each in block]
    elif kind == "row":
        block.remove(row)
        gone = {str(row[0]).split(" ")[0]}
    elif kind == "shuffle":
        rng.shuffle(block)
    elif kind == "twice":
        block.append([row[0], *(cell * 2 if isinstance(cell, int | float) else cell for cell in row[1:])])
    elif kind == "slip" and isinstance(row[at], int | float):
        row[at] = row[at] * rng.choice((1000, 0.001))
    elif kind == "blank":
        row[at] = rng.choice((None, "", "-", "contact sales", True))
    elif kind == "slip all":
        factor = rng.choice((1000, 0.001))
        for each in block:
            each[1:] = [cell * factor if isinstance(cell, int | float) else cell for cell in each[1:]]
    return gone, kind


TABLE_CHANGES = (
    drop_column, rename_column, swap_headers, reorder_columns, insert_column, drop_row, reorder_rows, insert_odd_row,
    repeat_row_dearer, cut_cell, blank_cell, swap_cells, slip, mangle,
)  # fmt: skip
ANY = (wall, truncate, truncate_in_prices, unit_everywhere, currency)
MARKDOWN: tuple[Mutator, ...] = (
    *map(on_table, TABLE_CHANGES), headings, tables_change_places, table_goes, unit_in_table, new_model, js_rows, *ANY,
)  # fmt: skip

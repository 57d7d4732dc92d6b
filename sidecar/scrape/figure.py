"""A cell's text as a figure: amounts per unit to USD per million tokens, sizes to tokens, names to ids.

Strict on purpose. A word that is not accounted for is a reason to refuse the cell: a wrong price is worse than none.
"""

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from msgspec import Struct

from .finding import QuarantineError, Reason
from .spec import Field

_TOKENS = {"token": 1, "1K": 1_000, "1M": 1_000_000}
_NOTHING = frozenset({"", "-", "–", "—", "n/a", "not available", "none", "null"})
_NUMBER = re.compile(r"\d+(?:\.\d+)?(?:[eE]-?\d{1,2})?")
_AMOUNT = re.compile(r"\$\s?(?P<amount>\d+(?:\.\d+)?|\.\d+)(?P<rest>[^$]*)")
_PER = re.compile(
    r"\s*(?:/|\bper)\s*(?P<what>input |output )?(?:"
    r"(?P<million>(?:1M|M|million|1 million|1,000,000) ?tok(?:en)?s?)|"
    r"(?P<thousand>(?:1K|K|thousand|1,?000) ?tok(?:en)?s?)|"
    r"(?P<token>token))\b",
    re.IGNORECASE,
)
_SIZE = re.compile(r"(?P<number>\d+(?:,\d{3})+|\d+(?:\.\d+)?)\s?(?P<scale>[KM]?)(?: tokens)?", re.IGNORECASE)


class Amount(Struct, frozen=True):
    """One amount of a cell; `unit` is what the cell says it is for, `words` all else that it says beside it."""

    figure: Decimal
    unit: str | None
    words: str


def nothing(cell: Any) -> bool:
    """Whether a cell says that there is no figure."""
    return cell is None or (isinstance(cell, str) and cell.strip().lower() in _NOTHING)


def amounts(cell: Any, typed: bool) -> list[Amount]:
    """The amounts in a cell. Text must have a dollar sign; JSON may have plain numbers too."""
    if typed and isinstance(cell, int | float) and not isinstance(cell, bool):
        cell = str(cell)
    if not isinstance(cell, str):
        raise QuarantineError(Reason.UNREADABLE_VALUE, f"`{str(cell)[:60]}` is not an amount")
    if typed and _NUMBER.fullmatch(cell):
        return [Amount(Decimal(cell), None, "")]
    if not cell.startswith("$"):
        raise QuarantineError(Reason.UNREADABLE_VALUE, f"`{cell[:60]}` is not an amount in USD")
    return list(_parts(cell))


def _parts(cell: str) -> Iterator[Amount]:
    end = 0
    for match in _AMOUNT.finditer(cell):
        rest = match["rest"]
        # `$1,250` and `$1.2.5` could mean two things.
        if match.start() != end or re.match(r"[,.]?\d|\.\d", rest):
            break
        end = match.end()
        per = _PER.match(rest)
        unit = per and next(name for name in ("million", "thousand", "token") if per[name])
        said = (per["what"] or "") + " " + rest[per.end() :] if per else rest
        yield Amount(Decimal(match["amount"]), unit, said.strip(" ,;"))
    if end != len(cell):
        raise QuarantineError(Reason.UNREADABLE_VALUE, f"`{cell[:60]}` is not an amount in USD")


def per_million(amount: Amount, field: Field) -> float:
    """USD per million tokens. A unit in the cell that is not the spec's is refused, never converted on trust."""
    if amount.unit is not None and amount.unit != {"token": "token", "1K": "thousand", "1M": "million"}[field.per]:
        raise QuarantineError(Reason.WRONG_UNIT, f"an amount per {amount.unit} where the page has it per {field.per}")
    return float(amount.figure * 1_000_000 / _TOKENS[field.per])


def size(cell: Any) -> int:
    """Tokens: `200K`, `1M tokens`, `1,048,576`, 128000."""
    match = _SIZE.fullmatch(str(cell).strip())
    if match is None or isinstance(cell, bool):
        raise QuarantineError(Reason.UNREADABLE_VALUE, f"`{str(cell)[:60]}` is not a number of tokens")
    scale = {"": 1, "k": 1_000, "m": 1_000_000}[match["scale"].lower()]
    tokens = Decimal(match["number"].replace(",", "")) * scale
    if tokens != int(tokens):
        raise QuarantineError(Reason.UNREADABLE_VALUE, f"`{str(cell)[:60]}` is not a whole number of tokens")
    return int(tokens)


def kept(cell: Any, field: Field) -> str | None:
    """What `match` and `find` leave of a text; None when there is nothing."""
    if cell is not None and (isinstance(cell, bool) or not isinstance(cell, str | int | float)):
        raise QuarantineError(Reason.UNREADABLE_VALUE, f"`{str(cell)[:60]}` is not a text")
    text = "" if cell is None else str(cell).strip()
    if field.match is not None:
        match = re.fullmatch(field.match, text)
        if match is None:
            raise QuarantineError(Reason.UNREADABLE_VALUE, f"`{text[:60]}` is not of the form `{field.match}`")
        text = match[1] or ""
    if field.find is not None:
        found = re.search(field.find, text)
        text = (found[1] or "") if found else ""
    return text or None


def name(text: str, field: Field) -> str:
    """A text as `replace`, `slug` and `alias` make it."""
    for pattern, replacement in field.replace.items():
        text = re.sub(pattern, replacement, text)
    if field.slug:
        text = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
    return field.alias.get(text, text)

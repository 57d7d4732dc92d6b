"""A comparison for people, programs, GitHub and pull requests. What files say is made printable: it may be hostile."""

from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec import Struct

from ..config.diagnostic import Place
from ..config.render import github_command, printable
from ..registry.price import NANO
from .changes import Change
from .effect import Cost, Effect, Spread
from .side import Side

_MARKS = {"added": "+", "removed": "-", "changed": "~", "moved": ">"}
_WIDE, _LONG, _MOST_MOVES = 36, 300, 20
_SHORT_LIST = 8
_THOUSAND = 1000


class Comparison(Struct, frozen=True):
    """Both sides, what differs, and what that does to each corpus."""

    old: Side
    new: Side
    changes: list[Change]
    effects: list[Effect]

    @property
    def differs(self) -> bool:
        """Whether anything means something else."""
        return bool(self.changes) or any(effect.moves or effect.rerouted for effect in self.effects)


def as_text(found: Comparison) -> str:
    """Parts with their changes, then the moves of every corpus."""
    lines = [_policies(found)]
    part = None
    for change in found.changes:
        if change.part != part:
            part = change.part
            lines.append(printable(_headed(change)))
        lines += [f"  {printable(line)}" for line in _change_lines(change)]
    if not found.differs:
        return "\n".join([*lines, _nothing(found), ""])
    for effect in found.effects:
        lines.append(printable(_moved(effect)))
        for move in effect.moves[:_MOST_MOVES]:
            lines.append(printable(f"  {move.count:>5}  {move.old} -> {move.new}  (such as {_cut(move.example, 60)})"))
        lines += _more(effect)
        if effect.cost is not None:
            lines.append(f"  cost {_cost(effect.cost)}")
    return "\n".join(lines) + "\n"


def as_json(found: Comparison) -> str:
    """One JSON object: both policies, `changes`, and `effects` with money in exact nano-USD."""
    data = {
        "old": {"name": found.old.source.name, "policy": found.old.graph.hash},
        "new": {"name": found.new.source.name, "policy": found.new.graph.hash},
        "differs": found.differs,
        "changes": [_row(found, change) for change in found.changes],
        "effects": [_effect_row(effect) for effect in found.effects],
    }
    return msgspec.json.format(msgspec.json.encode(data), indent=2).decode() + "\n"


def as_github(found: Comparison) -> str:
    """A notice a change, at its place in the new policy; one for each corpus, a warning where requests are refused."""
    entry = Place(str(found.new.entry))
    lines = []
    for change in found.changes:
        place = found.new.source.place(change.place or entry)
        lines.append(github_command("notice", place, "policy change", f"{_headed(change)}: {_sentence(change)}"))
    for effect in found.effects if found.differs else ():
        level = "warning" if effect.refused else "notice"
        cost = f"; cost {_cost(effect.cost)}" if effect.cost is not None else ""
        lines.append(github_command(level, found.new.source.place(entry), "policy effect", _moved(effect) + cost))
    if not lines:
        lines.append(github_command("notice", found.new.source.place(entry), "policy change", _nothing(found)))
    return "".join(lines)


def as_markdown(found: Comparison) -> str:
    """A comment for a pull request: what changed, what moves, what it costs; the long parts folded."""
    lines = [f"### Policy change: {_code(found.old.source.name)} to {_code(found.new.source.name)}", ""]
    if not found.differs:
        return "\n".join([*lines, _nothing(found), ""])
    for effect in found.effects:
        cost = f"; cost {_cost(effect.cost)}" if effect.cost is not None else ""
        lines.append(f"- {_plain(_moved(effect))}{cost}")
    shown = found.changes[:50]
    lines += ["", "| | what | before | after |", "|---|---|---|---|"]
    for change in shown:
        what = _code(f"{change.part}{': ' if change.path else ''}{change.field}")
        before, after = _pair(change.old, change.new)
        cells = "" if change.old is None else _code(before), "" if change.new is None else _code(after)
        lines.append(f"| {change.what} | {what} | {cells[0]} | {cells[1]} |")
    if len(shown) < len(found.changes):
        lines.append(f"| | and {len(found.changes) - len(shown)} more | | |")
    for effect in found.effects:
        if not effect.moves:
            continue
        lines += ["", f"<details><summary>{effect.moved} of {effect.requests} requests move"]
        lines[-1] += f" ({_plain(effect.corpus)})</summary>"
        lines += ["", "| requests | before | after | such as |", "|---:|---|---|---|"]
        for move in effect.moves[:_MOST_MOVES]:
            lines.append(f"| {move.count} | {_code(str(move.old))} | {_code(str(move.new))} | {_code(move.example)} |")
        lines += [*_more(effect), "", "</details>"]
    return "\n".join([*lines, "", f"<sub>{_policies(found)}</sub>", ""])


def _policies(found: Comparison) -> str:
    old, new = found.old, found.new
    names = f"{_cut(printable(old.source.name), 60)} -> {_cut(printable(new.source.name), 60)}"
    return f"policy {old.graph.short_hash} -> {new.graph.short_hash} ({names})"


def _nothing(found: Comparison) -> str:
    if found.old.graph.hash == found.new.graph.hash:
        return "no semantic difference"
    return "no semantic difference: only the order of documents, or where figures are from, is another"


def _headed(change: Change) -> str:
    return f"{change.part} ({change.kind})" if change.kind not in ("", change.part) else change.part


def _change_lines(change: Change) -> Iterator[str]:
    mark, field = _MARKS[change.what], change.field or f"the whole {'stage' if change.kind else 'part'}"
    if change.part.startswith("key ") and not change.path:
        field = "the key"
    if change.what == "changed":
        old, new = _pair(change.old, change.new)
        if len(old) + len(new) <= 2 * _WIDE:
            yield f"{mark} {field}: {old} -> {new}"
            return
        yield f"{mark} {field}"
        yield f"    - {_cut(old, _LONG)}"
        yield f"    + {_cut(new, _LONG)}"
    elif change.what == "moved":
        yield f"{mark} {field}: {change.old} -> {change.new}"
    else:
        value = _value(change.new if change.what == "added" else change.old)
        yield f"{mark} {field}" + (f": {_cut(value, _LONG)}" if value else "")


def _sentence(change: Change) -> str:
    lines = list(_change_lines(change))
    return lines[0] if len(lines) == 1 else f"{lines[0]}: {lines[1].strip()[2:]} -> {lines[2].strip()[2:]}"


def _pair(old: Any, new: Any) -> tuple[str, str]:
    """Both as texts; of long lists only what one has and the other has not."""
    lists = isinstance(old, list) and isinstance(new, list)
    if lists and max(len(old), len(new)) > _SHORT_LIST and sorted(map(str, old)) != sorted(map(str, new)):
        gone, come = [x for x in old if x not in new], [x for x in new if x not in old]
        said = [f"{word} {_value(some)}" for word, some in (("without", gone), ("with", come)) if some]
        return f"{len(old)} of them", f"{len(new)}, {' and '.join(said)}"
    return _value(old), _value(new)


def _value(value: Any) -> str:
    """A value in one line, as YAML would have it; what is empty in a mapping is left out."""
    if isinstance(value, dict):
        rows = [f"{name}: {_value(item)}" for name, item in value.items() if item not in (None, "", [], {}, False)]
        return f"{{{', '.join(rows)}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    return (
        {None: "none", True: "true", False: "false"}[value] if value is None or isinstance(value, bool) else str(value)
    )


def _moved(effect: Effect) -> str:
    said = f"{effect.corpus}: {effect.moved} of {effect.requests} requests move"
    more = {
        "now refused": effect.refused,
        "no longer refused": effect.admitted,
        "with other fallbacks": effect.rerouted,
        "hang on words that were not kept": effect.uncertain,
        "without features left out": effect.skipped,
    }
    return "".join([said, *(f", {count} {what}" for what, count in more.items() if count)])


def _more(effect: Effect) -> list[str]:
    left = len(effect.moves) - _MOST_MOVES
    return [f"  and {left} more ways (--format json has all)"] if left > 0 else []


def _cost(cost: Cost) -> str:
    """Rounded, for a thousand requests; the change with its range."""
    if not cost.requests:
        return "not known: no request has a price on both sides"
    old, new = (_usd(spread, cost.requests) for spread in (cost.old, cost.new))
    if cost.old == cost.new:
        return f"of 1,000 requests {old} USD, as before"
    percents = [_percent(a, b) for a, b in zip(_all(cost.old), _all(cost.new), strict=True)]
    change = f"{percents[1]:+.1f} %" if percents[1] is not None else "from nothing"
    known = [percent for percent in percents if percent is not None]
    around = f" ({min(known):+.1f} to {max(known):+.1f} %)" if known and percents[1] is not None else ""
    left = f", {cost.unpriced} without a price left out" if cost.unpriced else ""
    return f"of 1,000 requests {old} -> {new} USD: {change}{around}{left}"


def _usd(spread: Spread, requests: int) -> str:
    low, middle, high = (f"{nano * _THOUSAND / requests / NANO:.3g}" for nano in _all(spread))
    return f"{middle} ({low} to {high})"


def _percent(old: int, new: int) -> float | None:
    return 100 * (new - old) / old if old else (0.0 if new == old else None)


def _all(spread: Spread) -> tuple[int, int, int]:
    return spread.low, spread.expected, spread.high


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}…"


def _code(text: str) -> str:
    """Monospaced, whatever it holds: nothing in it is read as Markdown, HTML or the end of a cell."""
    return f"<code>{_plain(_cut(text, 160))}</code>"


def _plain(text: str) -> str:
    """The text with nothing in it that Markdown or HTML would read, nor a mention."""
    return "".join(f"&#{ord(c)};" if c in "&<>|`*_[]\\@#~" else c for c in printable(text))


def _row(found: Comparison, change: Change) -> dict[str, Any]:
    place = None if change.place is None else found.new.source.place(change.place)
    row = {"change": change.what, "part": change.part, "kind": change.kind, "path": list(change.path)}
    at = None if place is None else {"file": place.file, "line": place.line, "column": place.column}
    return {**row, "old": change.old, "new": change.new, "at": at}


def _effect_row(effect: Effect) -> dict[str, Any]:
    data = msgspec.to_builtins(effect)
    cost = None if effect.cost is None else {**data["cost"], "change": msgspec.to_builtins(effect.cost.change)}
    return {**data, "moved": effect.moved, "cost": cost}

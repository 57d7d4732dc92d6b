"""The graph of a policy as SVG: one row a stage from top to bottom, the ends beside the row that leads to them.

A stage stands below all that lead to it. What goes to the row below is a straight arrow, what passes rows an arc on
the left, in a lane of its own; an arrow is the thicker the more requests went that way.
"""

from collections.abc import Mapping, Sequence

from .page import Html, join, tag
from .status_data import Stage

ENDS: Mapping[str, str] = {"execute": "ask the provider", "respond": "answer from the cache", "refuse": "refuse"}
_ASIDE: Mapping[str, str] = {"respond": "from cache"}
_LAST = "execute"
_ROW, _BOX, _TALL = 58.0, 158.0, 30.0
_LANE, _BESIDE = 15.0, 172.0
_END_WIDE, _END_TALL = 122.0, 20.0


def flow(stages: Sequence[Stage]) -> Html:
    """The picture. Its figures are those of the table of stages, which is its text alternative."""
    order = [name for name in ordered(stages) if name not in ENDS] + [_LAST]
    row = {name: place for place, name in enumerate(order)}
    arcs = [edge for edge in stages if edge.to in row and row[edge.to] - row[edge.stage] > 1]
    lanes = _lanes([(row[edge.stage], row[edge.to]) for edge in arcs])
    left = 6.0 + _LANE * (max(lanes, default=-1) + 1) + (24.0 if arcs else 0.0)
    most = max((edge.count for edge in stages), default=0) or 1
    parts: list[Html] = []
    for edge, lane in zip(arcs, lanes, strict=True):
        parts.append(_arc(edge, (row[edge.stage], row[edge.to]), left, lane, most))
    for name, place in row.items():
        leaving = [edge for edge in stages if edge.stage == name]
        parts += [_down(edge, place, left, most) for edge in leaving if row.get(edge.to) == place + 1]
        beside = [edge for edge in leaving if edge.to not in row]
        parts += [_aside(edge, place, left, number, len(beside)) for number, edge in enumerate(beside)]
    parts += [_box(name, place, left) for name, place in row.items()]
    wide, high = left + _BOX + _BESIDE, _ROW * len(order) - _ROW + _TALL + 8
    return tag(
        "svg",
        join(parts),
        viewBox=f"0 0 {wide:.0f} {high:.0f}",
        width=f"{wide:.0f}",
        height=f"{high:.0f}",
        role="img",
        aria_label="The way of requests through the policy. Its table says the same.",
        class_="flow",
    )


def ordered(stages: Sequence[Stage]) -> list[str]:
    """Every stage and end, each after all that lead to it; else in the order of the edges."""
    names = list(dict.fromkeys(name for edge in stages for name in (edge.stage, edge.to)))
    before = {name: {edge.stage for edge in stages if edge.to == name} for name in names}
    done: list[str] = []
    while names:
        # A policy has no loop; should there be none that is free, the order is wrong and nothing else.
        free = next((name for name in names if before[name] <= set(done)), names[0])
        done.append(free)
        names.remove(free)
    return done


def _lanes(spans: Sequence[tuple[int, int]]) -> list[int]:
    """A lane for each arc, so that no two that overlap share one; short ones inside."""
    taken: dict[int, list[tuple[int, int]]] = {}
    found = [0] * len(spans)
    for place in sorted(range(len(spans)), key=lambda one: spans[one][1] - spans[one][0]):
        first, last = spans[place]
        lane = 0
        while any(first < end and start < last for start, end in taken.get(lane, [])):
            lane += 1
        taken.setdefault(lane, []).append(spans[place])
        found[place] = lane
    return found


def _box(name: str, place: int, left: float) -> Html:
    y = _ROW * place + 4
    text = ENDS.get(name, name)
    return tag(
        "g",
        tag("title", text),
        tag("rect", x=f"{left:.0f}", y=f"{y:.0f}", width=f"{_BOX:.0f}", height=f"{_TALL:.0f}"),
        tag("text", _short(text, 20), x=f"{left + _BOX / 2:.0f}", y=f"{y + _TALL / 2:.0f}"),
        class_="node end" if name in ENDS else "node",
    )


def _down(edge: Stage, place: int, left: float, most: int) -> Html:
    x, y = left + _BOX / 2, _ROW * place + 4 + _TALL
    end = y + _ROW - _TALL - 1
    path = f"M{x:.0f} {y:.0f}V{end - 5:.0f}"
    tip = f"M{x - 5:.0f} {end - 6:.0f}H{x + 5:.0f}L{x:.0f} {end:.0f}Z"
    label = tag("text", f"{edge.count:,}", x=f"{x + 9:.0f}", y=f"{y + (_ROW - _TALL) / 2:.0f}")
    return _edge(edge, (path, tip), label, most)


def _arc(edge: Stage, rows: tuple[int, int], left: float, lane: int, most: int) -> Html:
    y1, y2 = (_ROW * place + 4 + _TALL / 2 for place in rows)
    x = left - 10 - _LANE * (lane + 1)
    out, back, bend = y1 + 5, y2 - 5, x + 8
    path = f"M{left:.0f} {out:.0f}H{bend:.0f}Q{x:.0f} {out:.0f} {x:.0f} {out + 8:.0f}"
    path += f"V{back - 8:.0f}Q{x:.0f} {back:.0f} {bend:.0f} {back:.0f}H{left - 6:.0f}"
    tip = f"M{left - 7:.0f} {back - 5:.0f}V{back + 5:.0f}L{left - 1:.0f} {back:.0f}Z"
    label = tag("text", f"{edge.count:,}", x=f"{left - 4:.0f}", y=f"{y1 - 9:.0f}", class_="end")
    return _edge(edge, (path, tip), label, most)


def _aside(edge: Stage, place: int, left: float, number: int, count: int) -> Html:
    x = left + _BOX
    y = _ROW * place + 4 + _TALL / 2 + (number - (count - 1) / 2) * (_END_TALL + 3)
    end = x + _BESIDE - _END_WIDE
    text = f"{_ASIDE.get(edge.to, edge.to)} {edge.count:,}"
    return tag(
        "g",
        tag("title", f"{edge.stage}, {edge.outcomes}: {ENDS.get(edge.to, edge.to)} {edge.count:,}"),
        tag("path", d=f"M{x:.0f} {_ROW * place + 4 + _TALL / 2:.0f}L{end - 3:.0f} {y:.0f}", class_="thin"),
        tag(
            "rect",
            x=f"{end:.0f}",
            y=f"{y - _END_TALL / 2:.0f}",
            width=f"{_END_WIDE:.0f}",
            height=f"{_END_TALL:.0f}",
        ),
        tag("text", text, x=f"{end + _END_WIDE / 2:.0f}", y=f"{y:.0f}"),
        class_=f"aside {edge.to}" + ("" if edge.count else " unused"),
    )


def _edge(edge: Stage, paths: tuple[str, str], label: Html, most: int) -> Html:
    text = f"{edge.stage}, {edge.outcomes}: {edge.count:,} to {ENDS.get(edge.to, edge.to)}"
    thick = 1.5 + 4.5 * edge.count / most
    return tag(
        "g",
        tag("title", text),
        tag("path", d=paths[0], stroke_width=f"{thick:.1f}"),
        tag("path", d=paths[1], class_="tip"),
        label,
        class_="edge" if edge.count else "edge unused",
    )


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"

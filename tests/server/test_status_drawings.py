"""Charts and the graph's picture: axes that hold their values, marks that say theirs, arrows that point down."""

import re
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from pages import Page

from sidecar.policy import load
from sidecar.render import edges
from sidecar.server.charts import Places, Series, bars, ceiling, lines, meter
from sidecar.server.flow import flow, ordered
from sidecar.server.status_data import Stage

ROOT = Path(__file__).parents[2]
AMOUNTS = st.floats(0, 1e12, allow_nan=False)


def stage(name: str, outcomes: str, to: str, count: int = 0) -> Stage:
    return Stage(name, name, outcomes, to, count)


@given(st.floats(1e-9, 1e15))
def test_an_axis_is_as_high_as_its_highest_value_and_not_much_higher(value: float) -> None:
    assert value * (1 - 1e-9) <= ceiling(value) <= value * 2.01


@given(st.lists(st.lists(AMOUNTS, min_size=5, max_size=5), max_size=9))
def test_marks_stay_inside_their_picture(values: list[list[float]]) -> None:
    series = [Series(f"s{place}", one) for place, one in enumerate(values)]
    for draw in (bars, lines):
        page = Page(draw("title", Places("abcde"), series, str))
        (picture,) = page.of("svg")
        width, height = map(float, str(picture["viewbox"]).split()[2:])
        for rect in page.of("rect"):
            x, y, wide, high = (float(str(rect[name])) for name in ("x", "y", "width", "height"))
            assert x >= 0 and y >= -0.1 and x + wide <= width and y + high <= height + 0.6
        assert all(-0.1 <= float(str(dot["cy"])) <= height for dot in page.of("circle"))


def test_every_mark_says_what_it_is_and_the_picture_has_a_name() -> None:
    page = Page(bars("Cost", Places(["Mon", "Tue"]), [Series("a", [1.0, 0.0]), Series("b", [2.0, 3.0])], str))
    assert page.within("title") == "Mon · a: 1.0Mon · b: 2.0Tue · b: 3.0"
    (picture,) = page.of("svg")
    assert (picture["role"], picture["aria-label"]) == ("img", "Cost")


def test_a_line_is_broken_where_there_is_no_value() -> None:
    page = Page(lines("Latency", Places("abcd"), [Series("p50", [1.0, None, 2.0, 3.0])], str))
    (path,) = (path for path in page.of("path") if path.get("class") == "line")
    assert re.sub("[^ML]", "", str(path["d"])) == "MML"


@given(st.floats(-1, 3), st.floats(0, 3))
def test_a_meter_is_never_fuller_than_full(share: float, more: float) -> None:
    filled = [float(str(rect["width"]).rstrip("%")) for rect in Page(meter(share, "c0", more)).of("rect")]
    assert sum(filled) <= 100.1


def test_a_stage_stands_below_all_that_lead_to_it() -> None:
    way = [stage("a", "x", "c"), stage("a", "y", "b"), stage("b", "next", "c"), stage("c", "next", "execute")]
    assert ordered(way) == ["a", "b", "c", "execute"]
    assert ordered([stage("a", "x", "a")]) == ["a"]


def test_arcs_that_overlap_have_lanes_of_their_own() -> None:
    chain = [stage(a, "next", b) for a, b in zip("abcd", "bcde", strict=True)]
    page = Page(flow([*chain, stage("a", "far", "e"), stage("b", "near", "d"), stage("e", "next", "execute")]))
    bends = {match for path in page.of("path") if (match := re.search(r"H(\d+)Q(\d+)", str(path["d"])))}
    assert len({match[2] for match in bends}) == 2


def test_the_shipped_policy_is_drawn_with_every_edge_and_its_count() -> None:
    graph = load(ROOT / "gateway.yaml", {}, strict=False).graph
    assert graph is not None
    stages = [Stage(a, graph.nodes[a].kind, outcomes, b, 7) for a, outcomes, b in edges(graph)]
    page = Page(flow(stages))
    titles = page.within("title")
    for edge in stages:
        assert f"{edge.stage}, {edge.outcomes}: " in titles
    assert len(re.findall("refuse 7", titles)) == len([edge for edge in stages if edge.to == "refuse"])

"""Pictures of a policy: each `*.yaml` here, read as policies before one provider, against its `.mmd` byte for byte."""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from stages.decide import codes, decide, graph, request, state

from sidecar.graph import Graph
from sidecar.render import as_json, dot, mermaid

HERE = Path(__file__).parent
CASES = sorted(HERE.glob("*.yaml"))
SCORE = "kind: score\n"


def compiled(case: Path) -> Graph:
    """The case's policies; its first comment may add a line to gateway.yaml."""
    text = case.read_text(encoding="utf-8")
    found = re.match(r"# gateway: (.*)\n", text)
    return graph(text, more=f"{found[1]}\n" if found else "")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_mermaid(case: Path, golden: Callable[[Path, str], None]) -> None:
    one = compiled(case)
    golden(case.with_suffix(".mmd"), mermaid(one).replace(one.short_hash, "HASH"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_json_and_dot_have_the_same_edges(case: Path) -> None:
    one = compiled(case)
    data = json.loads(as_json(one))
    names = {node["name"] for node in data["nodes"]}
    assert data["policy"] == one.hash and data["entry"] == one.entry.name and data["entry"] in names
    assert {edge["from"] for edge in data["edges"]} == names
    assert {edge["to"] for edge in data["edges"]} <= names | {"execute", "respond", "refuse"}
    together: dict[tuple[str, str], list[str]] = {}
    for edge in data["edges"]:
        together.setdefault((edge["from"], edge["to"]), []).append(edge["outcome"])
    drawn = re.findall(r'^  "(.+?)" -> "(.+?)" \[label="(.*?)"\];$', dot(one), re.MULTILINE)
    assert {(a, b): label.split(" | ") for a, b, label in drawn} == together
    assert dot(one).startswith("digraph policy {\n") and dot(one).endswith("}\n")


def edges(one: Graph, node: str) -> Mapping[str, str]:
    return {outcome: to if isinstance(to, str) else to.name for outcome, to in one.nodes[node].edges.items()}


def test_a_second_stage_goes_on_where_the_first_of_its_kind_does() -> None:
    one = graph("kind: classify\non: {expert: best}\n", SCORE, SCORE + "name: best\n")
    assert edges(one, "best") == edges(one, "score") == {"chosen": "fallback", "pinned": "fallback", "none": "refuse"}


def test_the_plan_is_complete_where_no_stage_follows_it() -> None:
    assert edges(graph(SCORE), "fallback")["planned"] == "quota"
    assert edges(graph("kind: quota\nenabled: false\n"), "fallback")["planned"] == "execute"
    bare = graph(SCORE, more="pipeline: [authenticate, score, fallback]\n")
    assert edges(bare, "fallback")["planned"] == "execute" and "quota" not in bare.nodes


def test_the_hash_is_of_what_decides() -> None:
    assert graph(SCORE).hash == graph(SCORE + "# a comment\n").hash == graph(SCORE + "strategy: balanced\n").hash
    others = [graph(SCORE + "strategy: cost\n"), graph(SCORE, more="aliases: {a: small}\n")]
    assert len({one.hash for one in (graph(SCORE), *others)}) == 3


@pytest.mark.parametrize(
    ("policies", "found"),
    [
        (SCORE + "on: {none: score}\n", [("graph-loop", 2)]),
        (SCORE + "on: {none: classify}\n", [("graph-loop", 2)]),
        ("kind: fallback\non: {none: authenticate}\n", [("graph-loop", 2)]),
        (SCORE + "name: a\non: {none: b}\n---\n" + SCORE + "name: b\non: {none: a}\n", [("graph-loop", 7)]),
        (SCORE + "---\n" + SCORE + "name: spare\n", [("dead-node", 4)]),
        (SCORE + "name: a\n---\n" + SCORE + "name: b\n---\nkind: classify\non: {expert: b}\n", []),
        ("kind: cache\non: {miss: execute}\n", [("unknown-node", 2)]),
        ("kind: cache\non: {miss: respond}\n", [("unknown-node", 2)]),
        ("kind: authenticate\non: {denied: score}\n", [("unknown-node", 2)]),
        (SCORE + "on: {none: fallback}\n", [("unknown-node", 2)]),
        (SCORE + "on: {chosen: execute}\n", []),
        ("kind: fallback\nenabled: false\n", [("unknown-node", 1)]),
    ],
)
def test_shapes_that_cannot_work(policies: str, found: list[tuple[str, int]]) -> None:
    assert codes(policies) == found


def test_one_score_may_stand_in_for_another() -> None:
    one = compiled(HERE / "branched.yaml")
    body = request("word " * 1500)
    stores = state(one)
    stores.health.failed("large", "rests", 0.0, 60.0)  # type: ignore[attr-defined]
    end, call = decide(one, body | {"max_tokens": 9000}, stores=stores, local=True)
    nodes = [node for node, _ in call.trace]
    assert nodes[nodes.index("score.hard") + 1] == "score.rescue", "`on: none` comes before the last resort"
    assert end == "execute" and [m.id for m in call.chain] == ["large"]
    end, call = decide(one, body, stores=stores, local=True)
    assert end == "execute" and call.chain[0].id == "middle" and call.strategy == "quality"


def test_a_written_pipeline_has_no_stage_that_nobody_asked_for() -> None:
    assert set(compiled(HERE / "pipeline.yaml").nodes) == {"authenticate", "limit:hourly", "score", "fallback"}

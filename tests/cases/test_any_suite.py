"""Whatever stands in a file of cases: no exception, an error or trials that can be walked, and printable reports."""

import tempfile
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from stages.decide import read

from sidecar.cases.coverage import together
from sidecar.cases.judge import run
from sidecar.cases.report import as_github, as_json, as_junit, as_lines, summary
from sidecar.cases.suite import read_suites
from sidecar.policy import Loaded

POLICY = (
    "kind: authenticate\nanonymous: always\njwt:\n"
    "  - {name: house, issuer: h, audience: [a], algorithms: [HS256], secret: '${JWT_SECRET:-}', "
    "labels: {team: team.name}}\n",
    "kind: classify\nrules: [{name: short, when: last_tokens < 20, tier: simple}]\n",
)
GOOD = """\
kind: test
defaults: {request: {headers: {x-sidecar-task: legal}}, world: {down: {house: outage}}}
cases:
  - name: one
    request: {prompt: Hello., tools: 2, tokens: 4000, body: {user: me, seed: 7}}
    caller: {issuer: house, claims: {sub: me, team: {name: red}}, ip: 203.0.113.7}
    world: {cache: hit, used: {key: {requests: 9}}, speed: {small: 10}, time: 2026-11-21T03:00:00Z}
    expect: {tier: simple, model: [small, none], dropped: {large: context}, refusal: {status: 503}}
  - name: two
    request: {messages: [{role: user, content: [{type: text, text: "a"}]}], model: "auto:cost", max_tokens: 5}
    caller: {key: app, tenant: acme, models: [small], labels: {a: b}}
    world: {cached_for: {anonymous: true}}
    expect: {chain: [small], edges: {cache: miss}, plan: {retries: 1, hedge: p95}, cache: {ttl: 1h}}
  - name: table
    table:
      columns: [request.prompt, expect.rule, request.last_tokens]
      rows:
        - [Hello., short, null]
        - [Hello., none, 20]
"""
PIECES = [
    *"\t\n :-[]{}&*!|>'\"%@`#,?$\\\0\x1b\x85\u2028\ufeff\U0001f600é",
    *("---", "${A}", "${A:-x}", "$$", "*hello", "&hello ", "null", "true", ".nan", "-.inf", "1e999", "9" * 400, "- "),
    *('"\\ud800"', '"\\x1b"', "0", "-1", "1", "{}", "[]", '""', "none", "auto", "0x" + "f" * 300, "999.9.9.9", "::1"),
    *("0001-01-01T00:00:00Z", "9999-12-31T23:59:59-23:59", "request.request", "..", "expect", "name", "caller.ip"),
]
edits = st.lists(
    st.tuples(st.integers(0, len(GOOD)), st.integers(0, 25), st.sampled_from([*PIECES, *GOOD.split(), ""])),
    min_size=1,
    max_size=4,
)


@pytest.fixture(scope="module")
def loaded() -> Loaded:
    return read("---\n".join(POLICY))


def judged(loaded: Loaded, text: str) -> int:
    """How many cases there are to walk; every way of telling of them is tried."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "any_test.yaml"
        path.write_bytes(text.encode("utf-8", "surrogatepass"))
        suites = read_suites([path], loaded)
        assert read_suites([path], None).cases == suites.cases
    assert loaded.graph is not None
    results = [run(loaded.graph, trial) for trial in suites.trials]
    for said in (as_lines(results), as_github(results), as_json(results, together(())), summary(results, together(()))):
        assert all(line.isprintable() for line in said.splitlines())
    ET.fromstring(as_junit(results))
    return len(results)


def test_the_sound_one(loaded: Loaded) -> None:
    assert judged(loaded, GOOD) == 4


@settings(max_examples=300, deadline=None)
@given(edits)
@example([(GOOD.index("Hello."), 6, '"\\ud800"')])
@example([(GOOD.index("203.0.113.7"), 11, "999.9.9.9")])
@example([(GOOD.index("7}}"), 1, "9" * 400)])
@example([(GOOD.index("2026-11-21T03:00:00Z"), 20, "0001-01-01T00:00:00Z")])
@example([(GOOD.index("2026-11-21T03:00:00Z"), 20, "9999-12-31T23:59:59-23:59")])
@example([(GOOD.index("{sub: me"), 8, "{sub: me, kubernetes.io: " + "9" * 30)])
def test_any(loaded: Loaded, changes: list[tuple[int, int, str]]) -> None:
    text = GOOD
    for start, length, insert in changes:
        text = text[:start] + insert + text[start + length :]
    judged(loaded, text)

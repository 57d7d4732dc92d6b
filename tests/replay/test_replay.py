"""Replay foretells what another policy really does: requests through both, each by a real gateway."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from sidecar.registry.price import usd

from .traffic import AFTER, BEFORE, Served, agreement, environment, replayed, serve, written

COUNT = 160
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Served:
    return serve(tmp_path_factory.mktemp("before"), BEFORE, COUNT)


def command(before: Served, *arguments: object) -> "subprocess.CompletedProcess[str]":
    environ = {**environment(before.base, before.ledger.parent), "PYTHONPATH": str(ROOT)}
    line = [sys.executable, "-m", "sidecar", *map(str, arguments)]
    return subprocess.run(line, env=environ, capture_output=True, text=True, check=False, cwd=before.ledger.parent)


def test_it_foretells_what_the_other_policy_does(before: Served, tmp_path: Path) -> None:
    after = serve(tmp_path, AFTER.replace("LIMIT", str(COUNT // 3)), COUNT)
    found = agreement(before, after, tmp_path / "gateway.yaml")
    assert found.wrong == []
    assert found.within >= 0.95 * found.priced
    assert found.comparison.refusals.total() == after.statuses.count(429) > 0
    assert found.comparison.now.low <= found.total <= found.comparison.now.high


def test_the_same_policy_moves_nothing_and_costs_the_same(before: Served) -> None:
    found = agreement(before, before, before.ledger.parent / "gateway.yaml")
    spent = sum(row["cost_nano"] or 0 for rows in before.rows.values() for row in rows)
    assert (found.wrong, found.comparison.moved) == ([], 0)
    assert found.comparison.now.low == found.comparison.now.high == found.comparison.was_nano == spent


def test_no_word_of_a_request_is_kept(before: Served) -> None:
    kept = b"".join(path.read_bytes() for path in before.ledger.parent.glob("ledger.db*"))
    assert b"fingerprint" in kept
    assert b"network" not in kept
    assert b"architecture" not in kept.lower()


def test_the_command_says_what_moves(before: Served, tmp_path: Path) -> None:
    written(tmp_path, AFTER.replace("LIMIT", "1000000"))
    options = ("replay", "--ledger", before.ledger, "--policy", tmp_path, "--baseline", "large")
    text = command(before, *options)
    assert text.returncode == 0, text.stderr
    assert f"of {COUNT} requests" in text.stdout
    assert "all large" in text.stdout
    told = json.loads(command(before, *options, "--format", "json").stdout)
    assert told["requests"] == COUNT
    assert sum(move["requests"] for move in told["moves"]) == told["moved"] > 0
    report = command(before, *options, "--format", "markdown").stdout
    assert report.startswith("### Replay: policy `")
    assert usd(0) in report
    assert command(before, *options, "--baseline", "larg").returncode == 2
    assert command(before, "replay", "--ledger", tmp_path / "none.db", "--policy", tmp_path).returncode == 2


def test_a_past_request_is_explained(before: Served) -> None:
    place = next(n for n, i in enumerate(before.ids) if before.rows[i][0]["rule"] == "proof")
    request, row = before.ids[place], before.rows[before.ids[place]][0]
    told = command(before, "explain", "--id", request, "--ledger", before.ledger)
    assert told.returncode == 0, told.stderr
    assert "walked again under the same policy" in told.stdout
    assert f"attempt 1 {row['model']} at {row['provider']}: answered" in told.stdout
    assert "rule proof" in told.stdout.split("note")[1]
    data = json.loads(command(before, "explain", "--id", request, "--ledger", before.ledger, "--format", "json").stdout)
    assert data["explanation"]["model"] == row["model"]
    missing = command(before, "explain", "--id", "req_none", "--ledger", before.ledger)
    assert (missing.returncode, "there is no request `req_none`" in missing.stderr) == (2, True)


def test_the_graph_counts_requests_on_its_edges(before: Served) -> None:
    picture = json.loads(command(before, "graph", "--ledger", before.ledger, "--format", "json").stdout)
    took = {(edge["from"], edge["outcome"]): edge["requests"] for edge in picture["edges"]}
    assert took["authenticate", "known"] == COUNT
    hits = sum(rows[0]["outcome"] == "hit" for rows in before.rows.values())
    assert took["cache", "hit"] == hits > 0
    assert f"hit: {hits} (" in command(before, "graph", "--ledger", before.ledger).stdout


NEW = BEFORE.replace("(?i)\\bprove\\b", "(?i)token .* model")


def test_a_new_pattern_is_in_doubt_unless_the_text_was_kept(before: Served, tmp_path: Path) -> None:
    entry = written(tmp_path / "new", NEW)
    doubtful = replayed(before.ledger, entry)[0]
    assert doubtful.uncertain > 0
    assert doubtful.doubt.low < doubtful.doubt.high
    kept = serve(tmp_path / "kept", BEFORE, 40, "ledger_keeps: text\n")
    after = serve(tmp_path / "new", NEW, 40)
    sure = agreement(kept, after, entry)
    assert (sure.wrong, sure.comparison.uncertain) == ([], 0)
    assert sure.comparison.moved > 0


def test_what_is_asked_for_only_when_another_word_is_found_is_in_doubt_too(before: Served, tmp_path: Path) -> None:
    # A rule that reads both comes to ask for the second where the first is taken to be there.
    two = NEW.replace("patterns: {", "patterns: {also: 'never', ").replace("when: proof,", "when: proof && also,")
    verdicts = replayed(before.ledger, written(tmp_path / "two", two))[1]
    assert ("execute", "large") in frozenset().union(*(verdict.decision.others for verdict in verdicts.values()))


def test_nothing_is_kept_where_nothing_is_wanted(tmp_path: Path) -> None:
    served = serve(tmp_path, BEFORE, 5, "ledger_keeps: nothing\n")
    assert {row["features"] for rows in served.rows.values() for row in rows} == {b"null"}
    assert replayed(served.ledger, tmp_path / "gateway.yaml")[0].skipped == 5


def test_who_is_not_known_to_the_candidate_is_refused(before: Served, tmp_path: Path) -> None:
    batch = next(line for line in BEFORE.splitlines(keepends=True) if "name: batch" in line)
    found = replayed(before.ledger, written(tmp_path, BEFORE.replace(batch, "")))[0]
    asked = sum(rows[0]["key_name"] == "batch" for rows in before.rows.values())
    assert found.refusals == {"invalid_api_key": asked}

"""`sidecar diff --ledger`: recorded decisions of a real gateway as the requests that a change is tried on."""

import json
import sqlite3
import subprocess
import sys
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from .traffic import AFTER, BEFORE, Served, environment, replayed, serve, written

COUNT = 120
ROOT = Path(__file__).parents[2]
NEXT = AFTER.replace("LIMIT", "1")


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Served:
    return serve(tmp_path_factory.mktemp("before"), BEFORE, COUNT)


def diff(before: Served, new: Path, *arguments: object) -> "subprocess.CompletedProcess[str]":
    environ = {**environment(before.base, before.ledger.parent), "PYTHONPATH": str(ROOT)}
    line = [sys.executable, "-m", "sidecar", "diff", before.ledger.parent, new, *arguments]
    return subprocess.run(list(map(str, line)), env=environ, capture_output=True, text=True, check=False, cwd=ROOT)


def effect(before: Served, new: Path, *arguments: object) -> dict[str, Any]:
    told = diff(before, new, "--ledger", before.ledger, "--format", "json", *arguments)
    assert told.returncode == 0, told.stderr
    found: list[dict[str, Any]] = json.loads(told.stdout)["effects"]
    assert len(found) == 1
    return found[0]


def changed(before: Served, path: Path, change: str) -> Path:
    """A copy of the ledger that one statement made another."""
    with closing(sqlite3.connect(before.ledger)) as there, closing(sqlite3.connect(path)) as copy:
        there.backup(copy)
        copy.execute(change)
        copy.commit()
    return path


def test_requests_of_the_ledger_move_as_replay_moves_them(before: Served, tmp_path: Path) -> None:
    ledger = changed(before, tmp_path / "ledger.db", "DELETE FROM request_logs WHERE outcome = 'hit'")
    found = effect(before, written(tmp_path / "next", NEXT), "--ledger", ledger)
    # Every limit has room here; in replay it has not.
    told = replayed(ledger, written(tmp_path / "free", AFTER.replace("LIMIT", "1000000")))[0]
    moves = Counter[tuple[str, str]]()
    for move in found["moves"]:
        moves[move["old"]["model"], move["new"]["model"]] += move["count"]
    assert {pair: count for pair, count in moves.items() if pair[0] != pair[1]} == {
        (move.before, move.after): move.requests for move in told.moves
    }
    assert (found["requests"], found["skipped"], found["refused"]) == (told.requests, 0, 0)
    assert told.moved > 0
    assert found["uncertain"] == told.uncertain


def test_what_it_costs_is_what_the_ledger_counted(before: Served, tmp_path: Path) -> None:
    same = written(tmp_path, BEFORE.replace("retries: 0", "retries: 1"))
    found = effect(before, same)
    rows = [row for rows in before.rows.values() for row in rows]
    assert found["moves"] == []
    assert found["cost"]["old"] == found["cost"]["new"]
    assert found["cost"]["old"]["expected"] == sum(row["cost_nano"] or 0 for row in rows)
    assert found["cost"]["requests"] == COUNT


@pytest.mark.parametrize("form", ["text", "markdown", "github"])
def test_every_form_tells_it(before: Served, tmp_path: Path, form: str) -> None:
    new = AFTER.replace("LIMIT", "1").replace("(?i)architecture", "(?i)token")
    told = diff(before, written(tmp_path, new), "--ledger", before.ledger, "--format", form)
    assert told.returncode == 0, told.stderr
    assert "ledger.db: " in told.stdout
    assert f" of {COUNT} requests move" in told.stdout
    assert "hang on words that were not kept" in told.stdout
    assert "cost of 1,000 requests" in told.stdout
    assert "built-in sample" not in told.stdout


def test_who_loses_a_key_is_refused_and_who_never_had_one_is_not_in_question(before: Served, tmp_path: Path) -> None:
    without = BEFORE.replace('  - {name: batch, secret: "${BATCH}", tenant: batch, models: [small, middle]}\n', "")
    batch = sum(rows[0]["key_name"] == "batch" for rows in before.rows.values())
    assert effect(before, written(tmp_path / "new", without))["refused"] == batch > 0
    written(tmp_path / "old", without.replace("retries: 0", "retries: 1"))
    environ = {**environment(before.base, tmp_path), "PYTHONPATH": str(ROOT)}
    line = [sys.executable, "-m", "sidecar", "diff", tmp_path / "old", tmp_path / "new", "--ledger", before.ledger]
    told = subprocess.run(
        [*map(str, line), "--format", "json"], env=environ, capture_output=True, text=True, check=True
    )
    found = json.loads(told.stdout)["effects"][0]
    assert (found["moves"], found["cost"]["requests"]) == ([], COUNT)


def test_requests_without_features_are_left_out_and_said(before: Served, tmp_path: Path) -> None:
    first, second = before.ids[:2]
    nothing = f"UPDATE request_logs SET features = NULL WHERE request_id IN ('{first}', '{second}')"
    ledger = changed(before, tmp_path / "ledger.db", nothing)
    entry = written(tmp_path / "next", NEXT)
    found = effect(before, entry, "--ledger", ledger)
    assert (found["requests"], found["skipped"]) == (COUNT - 2, 2)
    assert ", 2 without features left out" in diff(before, entry, "--ledger", ledger).stdout


def refused(before: Served, entry: Path, *arguments: object) -> str:
    told = diff(before, entry, *arguments)
    assert (told.returncode, told.stdout) == (2, "")
    return told.stderr


def test_a_ledger_that_cannot_be_read_is_said(before: Served, tmp_path: Path) -> None:
    entry = written(tmp_path / "next", NEXT)
    assert refused(before, entry, "--ledger", tmp_path / "none.db").endswith("none.db: no such file\n")
    (tmp_path / "text.db").write_text("no database, but longer than its header would be" * 50)
    assert "file is not a database" in refused(before, entry, "--ledger", tmp_path / "text.db")
    with closing(sqlite3.connect(tmp_path / "empty.db")) as db:
        db.execute("CREATE TABLE other (a)")
    assert "no gateway keeps its ledger there" in refused(before, entry, "--ledger", tmp_path / "empty.db")
    old = changed(before, tmp_path / "old.db", "ALTER TABLE request_logs DROP COLUMN features")
    assert "an older gateway wrote it" in refused(before, entry, "--ledger", old)
    nothing = changed(before, tmp_path / "nothing.db", "UPDATE request_logs SET features = 'null'")
    told = refused(before, entry, "--ledger", nothing)
    assert f"features of none of its {COUNT} requests were kept" in told
    assert "`ledger_keeps`" in told
    late = changed(before, tmp_path / "late.db", "UPDATE request_logs SET ts = ts - 7200")
    assert "no request in it" in refused(before, entry, "--ledger", late, "--since", "1h")
    assert refused(before, entry, "--since", "1h") == "sidecar diff: --since goes with --ledger\n"

"""What differs between two catalogues, and the verb that shows it, lists versions and goes back to one."""

import json
import sqlite3
from datetime import date
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sidecar.cli import main
from sidecar.registry.card import ModelCard
from sidecar.registry.diff import Change, as_markdown, as_text, diff
from sidecar.registry.load import BUNDLED
from sidecar.registry.versions import replace, versions

SOURCE = {"url": "https://acme.example/pricing", "fetched_at": "2026-11-01"}


def card(name: str = "acme-1", **fields: Any) -> ModelCard:
    whole = {"id": name, "provider": "acme", "context": 1000, "max_output": 100, **fields}
    return msgspec.convert(whole, ModelCard)


def price(**figures: Any) -> dict[str, Any]:
    return {"input": 1, "output": 4, "source": SOURCE, **figures}


def test_models_come_and_go_and_figures_change() -> None:
    old = [card(prices=[price()]), card("gone")]
    new = [card("new"), card(prices=[price(output=5)], context=2000)]
    found = diff(old, new)
    assert (found.added, found.removed) == (("new",), ("gone",))
    assert found.changed == (
        Change("acme-1", "output", 4.0, 5.0, None, SOURCE["url"]),
        Change("acme-1", "context", 1000, 2000),
    )
    assert not diff(old, old)


def test_a_price_from_a_day_on_shows_what_it_was_before_that_day() -> None:
    new = card(prices=[price(), price(input=2, valid_from="2026-12-01")])
    (change,) = diff([card(prices=[price()])], [new]).changed
    assert (change.field, change.old, change.new, change.since) == ("input", 1.0, 2.0, date(2026, 12, 1))
    assert change.name == "input from 2026-12-01"
    (back,) = diff([new], [card(prices=[price()])]).changed
    assert (back.old, back.new) == (2.0, 1.0)


def test_tiers_are_told_by_their_size_and_name() -> None:
    tier = {"above": 200, "input": 2, "output": 8}
    old = card(prices=[price(tiers=[tier], service_tiers={"batch": {"multiplier": 0.5}})])
    new = card(prices=[price(tiers=[tier | {"input": 3}])])
    assert [(each.field, each.old, each.new) for each in diff([old], [new]).changed] == [
        ("tiers.200.input", 2.0, 3.0),
        ("service_tiers.batch.multiplier", 0.5, None),
    ]


def test_where_a_figure_was_read_and_in_which_order_is_no_change() -> None:
    other = {"url": "https://elsewhere.example/", "fetched_at": "2026-11-02"}
    old = card(prices=[price()], aliases=["a", "b"], quality={"value": 50, "source": SOURCE})
    new = card(prices=[price(source=other, note="x")], aliases=["b", "a"], quality={"value": 50, "source": other})
    assert not diff([old], [new])


def test_it_reads_well() -> None:
    found = diff([card(prices=[price()]), card("gone")], [card(prices=[price(output=5)], aliases=["one"]), card("new")])
    assert as_text(found).splitlines() == [
        "+ new",
        "- gone",
        "~ acme-1  output: 4 -> 5  (https://acme.example/pricing)",
        "~ acme-1  aliases: - -> one",
        "1 models added, 1 removed, 2 figures of 1 models changed",
    ]
    assert "| `acme-1` | output | 4 | 5 | https://acme.example/pricing |" in as_markdown(found)


def catalogue(output: float) -> bytes:
    data = json.loads(BUNDLED.read_bytes())
    data["models"][0]["prices"][0]["output"] = output
    return json.dumps(data).encode()


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "models.json"
    for output in (51, 52, 53):
        replace(file, catalogue(output))
    return file


def test_the_file_in_use_is_compared_with_the_bundled_one(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["registry", "diff", "--file", "models.json"]) == 0
    assert " output: 50 -> 53" in capsys.readouterr().out
    assert main(["registry", "diff", "backup", "3", "--file", "models.json", "--format", "json"]) == 0
    (change,) = json.loads(capsys.readouterr().out)["changed"]
    assert (change["field"], change["old"], change["new"]) == ("output", 52, 51)
    assert main(["registry", "diff", "--format", "markdown"]) == 0
    assert capsys.readouterr().out == "0 models added, 0 removed, 0 figures of 0 models changed\n"


def test_a_rollback_is_a_change_like_any_other(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = file.read_bytes()
    assert main(["registry", "rollback", "--file", "models.json"]) == 0
    assert " output: 53 -> 52" in capsys.readouterr().out
    assert file.read_bytes() == catalogue(52)
    assert len(versions(file)) == 4
    assert main(["registry", "rollback", "--file", "models.json"]) == 0
    assert file.read_bytes() == before


def test_history_says_what_each_version_changed(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["registry", "history", "--file", "models.json"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line[0] for line in lines[:3]] == ["*", " ", " "]
    assert lines[0].endswith("0 models added, 0 removed, 1 figures of 1 models changed")
    assert lines[2].endswith("the oldest kept")
    assert lines[3] == "3 versions of models.json; * is what it holds"


def test_the_gateways_own_file_and_its_changelog_are_found(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("gateway.yaml").write_text("kind: gateway\nproviders: {ollama: {protocol: ollama}}\nregistry: models.json\n")
    with sqlite3.connect("sidecar.db") as db:
        columns = (
            "id INTEGER PRIMARY KEY, ts REAL, action TEXT, model TEXT, field TEXT, old TEXT, new TEXT, reason TEXT"
        )
        db.execute(f"CREATE TABLE registry_changelog ({columns})")
        db.execute("INSERT INTO registry_changelog VALUES (1, 0, 'applied', 'acme-1', 'input', '1', '2', '')")
    code = main(["registry", "history", "--format", "json"])
    out, err = capsys.readouterr()
    assert code == 0, err
    (entry,) = json.loads(out)["changelog"]
    assert (entry["ts"], entry["model"], entry["new"]) == ("1970-01-01T00:00:00+00:00", "acme-1", "2")
    assert [version["current"] for version in json.loads(out)["versions"]] == [True, False, False]
    assert main(["registry", "history"]) == 0
    assert "1970-01-01T00:00:00+00:00  applied acme-1 input: 1 -> 2\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["diff", "9", "--file", "models.json"], "no state `9`"),
        (["diff", "bundled", "broken.json"], "broken.json: is not JSON"),
        (["rollback", "9", "--file", "models.json"], "no version `9`"),
        (["rollback", "current", "--file", "models.json"], "no version `current`"),
        (["history"], "the bundled models.json has no versions"),
        (["rollback"], "the bundled models.json has no versions"),
    ],
)
def test_called_wrongly_is_exit_2(
    arguments: list[str], said: str, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("broken.json").write_text("{")
    before = file.read_bytes()
    assert main(["registry", *arguments]) == 2
    assert said in capsys.readouterr().err
    assert file.read_bytes() == before


def test_what_is_no_catalogue_is_not_put_back(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = file.read_bytes()
    versions(file)[1].write_text("{}")
    assert main(["registry", "rollback", "--file", "models.json"]) == 1
    assert file.read_bytes() == before

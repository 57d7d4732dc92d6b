"""`sidecar scrape NAME|--all`: pages in, a registry out; what is in doubt stays out and is said."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest

from sidecar.cli import main
from sidecar.policy import load
from sidecar.registry.load import load as load_registry
from sidecar.scrape.explain import EXPLAIN
from sidecar.scrape.finding import Reason
from sidecar.stores.updates import Updates

from .acme import GATEWAY, PRICES, models, opinion, page, price, registry, settle
from .served import Site, everything, site

Capture = pytest.CaptureFixture[str]
ROOT = Path(__file__).parents[2]


@pytest.fixture
def web() -> Iterator[Site]:
    with site() as served:
        yield served


@pytest.fixture
def here(tmp_path: Path, web: Site, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("SIDECAR_DATABASE_URL", raising=False)
    monkeypatch.chdir(tmp_path)
    settle(tmp_path, web)
    return tmp_path


def today() -> date:
    return datetime.now(UTC).date()


def log(folder: Path) -> list[tuple[str, str, str, str | None, str | None]]:
    """The changelog, oldest first: action, model, field, old, new."""
    entries = Updates(folder / "sidecar.db").changelog()[::-1]
    return [(entry.action, entry.model, entry.field, entry.old, entry.new) for entry in entries]


def test_a_new_price_is_a_new_list_with_its_provenance(here: Path, web: Site, capsys: Capture) -> None:
    body = page({**PRICES, "acme-2": (1.5, 8)})
    web.put("/prices", body)
    before = (here / "models.json").read_bytes()
    assert main(["scrape", "--all"]) == 0
    out, err = capsys.readouterr()
    assert [line.split() for line in out.splitlines()][1] == ["acme-2", "input", "2", "1.5", "acme"]
    assert "1 models changed, 5 confirmed, 0 findings" in out
    assert "[1/2] opinion: asking" in err
    old, new = models(here)["acme-2"]["prices"]
    assert (old["input"], old["valid_from"]) == (2, None)
    assert (new["input"], new["output"], new["valid_from"]) == (1.5, 8, today().isoformat())
    assert new["source"] == {
        "url": f"{web.url}/prices",
        "fetched_at": today().isoformat(),
        "sha256": sha256(body.encode()).hexdigest(),
        "selectors": {"input": "heading: Prices, column: Input", "output": "heading: Prices, column: Output"},
    }
    assert log(here) == [("changed", "acme-2", "input", "2.0", "1.5")]
    assert (here / "models.json.bak").read_bytes() == before
    yesterday = load_registry(here / "models.json").catalogue.models[1].prices[0]
    assert yesterday.valid_from is None and yesterday.input == 2, "what was spent is not repriced"


def test_what_is_the_same_is_not_written(here: Path, web: Site, capsys: Capture) -> None:
    assert main(["scrape", "acme"]) == 0
    confirmed = (here / "models.json").read_bytes()
    assert models(here)["acme-1"]["prices"][0]["source"]["sha256"]
    web.answers["/prices"] = lambda headers: (304 if headers.get("if-none-match") == '"1"' else 500, {}, b"")
    assert main(["scrape", "acme"]) == 0
    assert "6 confirmed, 0 findings" in capsys.readouterr().out
    assert (here / "models.json").read_bytes() == confirmed


def test_a_dry_run_writes_nothing(here: Path, web: Site, capsys: Capture) -> None:
    web.put("/prices", page({**PRICES, "acme-2": (1.5, 8)}))
    before = {path: path.read_bytes() for path in here.rglob("*") if path.is_file()}
    assert main(["scrape", "acme", "--dry-run", "--format", "json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert [(change["model"], change["old"], change["new"]) for change in report["changes"]] == [("acme-2", 2, 1.5)]
    assert {path: path.read_bytes() for path in here.rglob("*") if path.is_file()} == before


def test_a_jump_is_kept_out_and_the_rest_goes_in_until_a_person_says_so(here: Path, web: Site, capsys: Capture) -> None:
    web.put("/prices", page({**PRICES, "acme-1": (0.001, 0.004), "acme-2": (1.5, 8)}))
    assert main(["scrape", "acme"]) == 1
    assert f"{web.url}/prices:6:1: error[price-jump]: `acme-1`: `input` from 1 to 0.001" in capsys.readouterr().err
    assert (price(here, "acme-1"), price(here, "acme-2")) == ((1, 4), (1.5, 8))
    assert [entry[:2] for entry in log(here)] == [("quarantined", "acme-1"), ("changed", "acme-2")]
    assert main(["scrape", "acme", "--accept"]) == 0
    assert price(here, "acme-1") == (0.001, 0.004)


def test_a_model_that_is_gone_is_kept_and_marked_once(here: Path, web: Site, capsys: Capture) -> None:
    assert main(["scrape", "acme"]) == 0
    web.put("/prices", page({name: both for name, both in PRICES.items() if name != "acme-3"}))
    assert main(["scrape", "acme"]) == 1
    assert "error[vanished]: `acme-3` was on the last page" in capsys.readouterr().err
    assert models(here)["acme-3"]["unlisted"] == today().isoformat()
    assert log(here)[-1][:2] == ("vanished", "acme-3")
    assert main(["scrape", "acme"]) == 0
    web.put("/prices", page(PRICES))
    assert main(["scrape", "acme"]) == 0
    assert models(here)["acme-3"]["unlisted"] is None


def test_a_page_that_shrank_is_not_believed(here: Path, web: Site, capsys: Capture) -> None:
    assert main(["scrape", "acme"]) == 0
    before = (here / "models.json").read_bytes()
    web.put("/prices", page({"acme-1": (1, 4), "acme-2": (1.5, 8), "acme-4": (4, 16)}))
    for _ in range(2):
        assert main(["scrape", "acme"]) == 1
        assert "error[fewer-rows]: 3 of the 6 models of the last page" in capsys.readouterr().err
    assert (here / "models.json").read_bytes() == before


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("# Just a moment...\nVerifying you are human.", "wall"),
        ("# Sign in\nto continue", "wall"),
        ("# Before you continue\nWe value your privacy", "wall"),
        ("# Acme\nWe have moved.", "missing-table"),
    ],
)
def test_a_page_that_is_none_fails_alone(here: Path, web: Site, capsys: Capture, body: str, reason: str) -> None:
    (here / "scrapers" / "second.yaml").write_text(
        (here / "scrapers" / "acme.yaml").read_text().replace("name: acme", "name: second").replace("/prices", "/2")
    )
    web.put("/prices", body)
    web.put("/2", page({**PRICES, "acme-2": (1.5, 8)}))
    (here / "gateway.yaml").write_text(GATEWAY.replace("[acme, opinion]", "[acme, second]"))
    assert main(["scrape", "--all", "--format", "json"]) == 1
    out, err = capsys.readouterr()
    assert f"error[{reason}]" in err
    assert json.loads(out)["outcomes"] == {"acme": "failed", "second": "changed"}
    assert price(here, "acme-2") == (1.5, 8)


def test_the_next_source_stands_in_for_one_that_fails(here: Path, web: Site, capsys: Capture) -> None:
    file = here / "scrapers" / "acme.yaml"
    first, second = file.read_text().split("  - url: ")
    file.write_text(f"{first}  - url: {web.url}/moved\n    {second.split(chr(10), 1)[1].strip()}\n  - url: {second}")
    web.put("/prices", page({**PRICES, "acme-2": (1.5, 8)}))
    assert main(["scrape", "acme"]) == 1
    assert f"{web.url}/moved:1:1: error[bad-answer]" in capsys.readouterr().err
    assert price(here, "acme-2") == (1.5, 8)


def test_a_second_opinion_contradicts_or_confirms(here: Path, web: Site, capsys: Capture) -> None:
    web.put("/prices", page({**PRICES, "acme-1": (1.5, 4), "acme-2": (1.5, 8)}))
    web.put("/opinion", opinion({"acme-1": (1.0, 4), "acme-2": (1.5, 8), "acme-3": (99, 99)}), "application/json")
    assert main(["scrape", "--all"]) == 1
    err = capsys.readouterr().err
    assert "error[disagreement]: `acme-1`" in err and "`input` is 1.5 here and 1 there" in err
    assert "acme-3" not in err, "only changes are held against it"
    assert (price(here, "acme-1"), price(here, "acme-2")) == ((1, 4), (1.5, 8))
    assert models(here)["acme-2"]["prices"][-1]["confirmed"]["url"] == f"{web.url}/opinion"


def test_an_opinion_that_cannot_be_had_is_said_and_holds_nothing_up(here: Path, web: Site, capsys: Capture) -> None:
    web.put("/prices", page({**PRICES, "acme-2": (1.5, 8)}))
    web.put("/opinion", "<html></html>", "text/html")
    assert main(["scrape", "--all"]) == 1
    assert "error[wrong-content]" in capsys.readouterr().err
    assert price(here, "acme-2") == (1.5, 8)


def test_new_models_are_named_and_taken_in_where_that_is_wanted(here: Path, web: Site, capsys: Capture) -> None:
    web.put("/prices", page({**PRICES, "acme-9": (9, 36), "acme-10": (10, 40)}))
    web.put("/opinion", opinion({"acme-9": (9, 36)}, context=200_000, max_output=9_000), "application/json")
    assert main(["scrape", "--all"]) == 0
    assert "acme: not in the registry: acme-9, acme-10" in capsys.readouterr().out
    assert "acme-9" not in models(here)
    (here / "gateway.yaml").write_text(GATEWAY.replace("enabled: false", "enabled: false, add_models: true"))
    assert main(["scrape", "--all"]) == 0
    assert "acme: not in the registry: acme-10" in capsys.readouterr().out
    new = models(here)["acme-9"]
    assert (new["context"], new["max_output"], price(here, "acme-9")) == (200_000, 9_000, (9, 36))
    assert ("added", "acme-9", "input", None, "9.0") in log(here)


def test_figures_that_do_not_go_with_those_that_stay(here: Path, web: Site, capsys: Capture) -> None:
    text = (here / "models.json").read_text().replace('"cache_read":null', '"cache_read":0.9', 1)
    (here / "models.json").write_text(text)
    web.put("/prices", page({**PRICES, "acme-1": (0.5, 2)}))
    assert main(["scrape", "acme"]) == 1
    assert "error[implausible]: `acme-1`: together with what the registry has" in capsys.readouterr().err
    assert price(here, "acme-1") == (1, 4)


def test_a_broken_registry_is_mended_from_its_backup(here: Path, web: Site, capsys: Capture) -> None:
    (here / "models.json").write_text("{")
    (here / "models.json.bak").write_bytes(registry())
    web.put("/prices", page({**PRICES, "acme-2": (1.5, 8)}))
    assert main(["scrape", "acme"]) == 0
    assert load_registry(here / "models.json").source == "file"
    assert price(here, "acme-2") == (1.5, 8)
    assert (here / "models.json.bak").read_bytes() == registry(), "a broken file is no backup"


def test_where_nothing_is_written_the_registry_stands_beside_the_ledger(here: Path, web: Site) -> None:
    (here / "models.json").unlink()
    (here / "gateway.yaml").write_text(GATEWAY.replace("registry: models.json\n", "database: data/x.db\n"))
    live = here / "data" / "models.json"
    live.parent.mkdir()

    def version() -> tuple[bool, str | None]:
        loaded = load(here / "gateway.yaml", {}, strict=False)
        assert loaded.graph is not None
        return loaded.graph.registry.find("acme-1") is not None, loaded.registry_problem

    assert version() == (False, None)
    fresh = registry().replace(b"2026-01-01", (today() + timedelta(days=400)).isoformat().encode())
    live.write_bytes(fresh)
    assert version() == (True, None)
    live.write_bytes(registry())
    assert version() == (False, None), "the package's own is newer"
    live.write_text("{")
    (live.parent / "models.json.bak").write_bytes(fresh)
    there, problem = version()
    assert there and problem is not None and "is not JSON" in problem


def test_an_override_wins_over_every_update_and_is_marked(here: Path, web: Site, capsys: Capture) -> None:
    override = "---\nkind: registry_override\nmodels:\n  acme-2: {price: {input: 7, output: 7}, quality: 9}\n"
    mine = GATEWAY + "models:\n  acme-2: {price: {input: 5, output: 5}, speed: 3}\n" + override
    (here / "gateway.yaml").write_text(mine)
    web.put("/prices", page({**PRICES, "acme-2": (1.5, 8)}))
    assert main(["scrape", "acme"]) == 0
    capsys.readouterr()
    assert main(["models"]) == 0
    rows = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert rows["acme-2"].split()[3:7] == ["7", "7", "9", "3"]
    assert rows["acme-2"].endswith("(overridden: price, speed, quality)")
    assert "overridden" not in rows["acme-1"]
    assert main(["models", "--format", "json"]) == 0
    cards = {card["id"]: card for card in json.loads(capsys.readouterr().out)}
    assert cards["acme-2"]["overridden"] == ["price", "speed", "quality"]
    assert price(here, "acme-2") == (1.5, 8), "the file itself has the page's"


def test_called_wrongly(here: Path, capsys: Capture) -> None:
    for arguments in ([], ["acme", "--all"], ["nobody"], ["--all", "--from", "x"]):
        assert main(["scrape", *arguments]) == 2
    assert "no scraper `nobody`" in capsys.readouterr().err


def test_two_at_once_are_one(here: Path, web: Site) -> None:
    asked, go = threading.Event(), threading.Event()

    def slow(headers: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        asked.set()
        go.wait(20)
        return 200, {"content-type": "text/markdown"}, page(PRICES).encode()

    web.answers["/prices"] = slow
    command = [sys.executable, "-m", "sidecar", "scrape", "acme"]
    environ = {**os.environ, "PYTHONPATH": str(ROOT)}
    first = subprocess.Popen(command, cwd=here, env=environ, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        assert asked.wait(20)
        second = subprocess.run(command, cwd=here, env=environ, capture_output=True, text=True)
        assert (second.returncode, second.stdout) == (1, "")
        assert "another update of the registry is under way" in second.stderr
    finally:
        go.set()
    assert first.wait(20) == 0
    assert web.paths.count("/prices") == 1


def test_a_lease_ends_with_its_time_and_a_tick_is_done_once(tmp_path: Path) -> None:
    store = Updates(tmp_path / "x.db")
    store.prepare()
    assert store.claim("a", now=100, until=200)
    assert not store.claim("b", now=150, until=250)
    assert store.claim("a", now=150, until=250), "who has it may go on"
    assert store.claim("b", now=251, until=300), "who died is not waited for"
    store.release("a", done=260)
    assert store.last() is None, "what was taken away is not ended"
    store.release("b", done=260, outcome="{}")
    assert store.last() == (260, "{}")
    assert not store.claim("a", now=270, until=300, tick=255), "that night's is done"
    assert store.claim("a", now=270, until=300, tick=265)


@pytest.mark.parametrize("reason", Reason)
def test_every_reason_is_explained(reason: Reason, capsys: Capture) -> None:
    assert main(["explain", reason.value]) == 0
    assert capsys.readouterr().out == EXPLAIN[reason]


def test_all_scrapers_at_once_ask_nobody_else(
    tmp_path: Path, web: Site, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    everything(web, tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SIDECAR_DATABASE_URL", raising=False)
    providers = "".join(f"  {name}: {{protocol: {name}}}\n" for name in ("openai", "anthropic", "google", "ollama"))
    (tmp_path / "gateway.yaml").write_text(f"kind: gateway\npolicies: []\nproviders:\n{providers}")
    assert main(["scrape", "--all", "--format", "json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert set(report["outcomes"]) == {"openai", "anthropic", "google", "ollama", "openrouter"}
    assert "failed" not in report["outcomes"].values()
    assert all(url.startswith(web.url) for url in report["requested"])
    assert len(web.asked) == 10
    assert load_registry(tmp_path / "models.json").source == "file"

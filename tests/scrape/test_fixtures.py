"""`sidecar scrape --record`, `--check`, `--learn`: pages that are kept, read again, and learned from."""

import json
from pathlib import Path

import pytest

from sidecar.cli import main

from .test_learn import SMALL
from .test_vocabulary import MARKDOWN, PAGE


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "scrapers").mkdir()
    (tmp_path / "scrapers" / "acme.yaml").write_text(MARKDOWN)
    (tmp_path / "page.md").write_text(PAGE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_page_is_recorded_and_read_again(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scrape", "acme", "--from", "page.md", "--record"]) == 0
    rows, said = capsys.readouterr()
    (kept,) = (here / "scrapers" / "fixtures" / "acme").iterdir()
    assert said.startswith("recorded: ") and "2 models" in said
    assert (kept / "page.md").read_bytes() == PAGE.encode()
    assert (kept / "rows.json").read_text() == rows
    assert main(["scrape", "acme", "--check"]) == 0
    assert capsys.readouterr().out == "ok: 1 pages of `acme` are read as recorded\n"


def test_a_second_page_of_a_day_does_not_take_the_firsts_place(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        assert main(["scrape", "acme", "--from", "page.md", "--record", "--to", "kept"]) == 0
    assert len(list((here / "kept").iterdir())) == 2
    assert main(["scrape", "acme", "--check", "--to", "kept"]) == 0


def test_a_scraper_that_reads_otherwise_is_exit_1_with_a_diff(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["scrape", "acme", "--from", "page.md", "--record"])
    (here / "scrapers" / "acme.yaml").write_text(MARKDOWN.replace("acme-one: acme-1", "acme-one: acme-9"))
    capsys.readouterr()
    assert main(["scrape", "acme", "--check"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert '-    "id": "acme-1",' in lines and '+    "id": "acme-9",' in lines
    assert lines[-1] == "1 of 1 pages of `acme` are read otherwise than recorded"


def test_what_proves_nothing_is_not_recorded(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "page.md").write_text("# nothing\n")
    assert main(["scrape", "acme", "--from", "page.md", "--record"]) == 1
    assert "not recorded: no model was read" in capsys.readouterr().err
    assert not (here / "scrapers" / "fixtures").exists()


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["acme", "--check"], "no fixtures in scrapers/fixtures/acme"),
        (["acme", "--learn", "page.md"], "none with --learn"),
        (["--from", "page.md"], "a scraper's name goes with --from"),
        (["acme", "--check", "--record"], "--record needs --from"),
        (["--learn", "nowhere.html"], "nowhere.html: no such file"),
        (["--learn", "page.md", "--like", "nobody"], "no scraper `nobody`"),
        (["--learn", "page.md", "--provider", "nobody"], "no model of `nobody` is known"),
        (["--learn", "page.md", "--known", "page.md"], "page.md: "),
        (["--learn", "page.md", "--registry", "page.md"], "page.md is not JSON"),
        (["--learn", "odd"], "odd: byte 0 is not UTF-8"),
    ],
)
def test_called_wrongly_is_exit_2(
    arguments: list[str], said: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "odd").write_bytes(b"\xff\xfe")
    assert main(["scrape", *arguments]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("arguments, most", [(["acme", "--from", "large"], 16), (["--learn", "large"], 4)])
def test_a_page_without_end_is_not_read(
    arguments: list[str], most: int, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with (here / "large").open("wb") as file:
        file.truncate(2**40)
    assert main(["scrape", *arguments]) == 2
    assert f"large: larger than {most} MiB, the largest page that is read" in capsys.readouterr().err


def test_what_is_learned_is_a_scraper_that_can_be_used(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "new.html").write_text(SMALL)
    assert main(["scrape", "--learn", "new.html"]) == 0
    (here / "scrapers" / "new.yaml").write_text(capsys.readouterr().out)
    assert main(["scrape", "new", "--from", "new.html"]) == 0
    assert [row["id"] for row in json.loads(capsys.readouterr().out)] == ["gpt-4o", "gpt-4o-mini", "gpt-4.1", "acme-7"]


def test_rows_of_an_earlier_scrape_are_known_too(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scrape", "acme", "--from", "page.md"]) == 0
    (here / "rows.json").write_text(capsys.readouterr().out)
    changed = PAGE.replace("## Prices", "## What it costs").replace("Input", "You send")
    (here / "changed.md").write_text(changed)
    assert main(["scrape", "acme", "--from", "changed.md"]) == 1
    capsys.readouterr()
    assert main(["scrape", "--learn", "changed.md", "--like", "acme", "--known", "rows.json"]) == 0
    out = capsys.readouterr().out
    assert "# Confidence 1.00: 2 of 2 known models" in out
    assert "heading: What it costs" in out and "url: 'https://acme.example/pricing.md'" in out


def test_a_page_without_prices_says_what_was_looked_at(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scrape", "--learn", "page.md"]) == 1
    out, err = capsys.readouterr()
    assert out == "" and "page.md: no known prices found: looked at 3 tables" in err

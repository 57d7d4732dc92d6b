"""`sidecar scrape`: a saved page in, rows out, nothing written."""

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest

from sidecar.cli import main
from sidecar.scrape.page import MAX_BYTES

from .test_vocabulary import MARKDOWN, PAGE


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "scrapers").mkdir()
    (tmp_path / "scrapers" / "acme.yaml").write_text(MARKDOWN)
    (tmp_path / "page.md").write_text(PAGE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_rows_are_json(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scrape", "acme", "--from", "page.md"]) == 0
    out, err = capsys.readouterr()
    assert json.loads(out)[0] == {"id": "acme-1", "input": 1.5, "output": 6.0, "context": 200_000}
    assert err == ""
    assert {path.name for path in here.rglob("*")} == {"scrapers", "acme.yaml", "page.md"}


def test_a_page_that_was_saved_as_gzip_is_unpacked(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    packed, page = gzip.compress(PAGE.encode()), here / "page.md.gz"
    page.write_bytes(packed)
    assert main(["scrape", "acme", "--from", "page.md.gz"]) == 0
    assert json.loads(capsys.readouterr().out)[0]["id"] == "acme-1"
    for bad in (packed[:-12], packed[:20] + b"\xff" * 9 + packed[29:], b"\x1f\x8b"):
        page.write_bytes(bad)
        assert main(["scrape", "acme", "--from", "page.md.gz"]) == 2
        assert "page.md.gz: a gzip file that is broken: " in capsys.readouterr().err
    page.write_bytes(gzip.compress(bytes(MAX_BYTES + 1)))
    assert main(["scrape", "acme", "--from", "page.md.gz"]) == 2
    assert "larger than 16 MiB" in capsys.readouterr().err


def test_rows_are_a_table_for_people(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scrape", "scrapers/acme.yaml", "--from", "page.md", "--format", "text"]) == 0
    assert capsys.readouterr().out.splitlines()[1].split()[:3] == ["acme-1", "1.5", "6"]


def test_what_is_quarantined_is_said_and_is_exit_1(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "page.md").write_text(PAGE.replace("$1.50", "$1.50 / 1K tokens"))
    assert main(["scrape", "acme", "--from", "page.md"]) == 1
    out, err = capsys.readouterr()
    assert json.loads(out) == []
    assert err.splitlines() == [
        "page.md:1:1: error[too-many-bad]: 1 of 2 models are bad: none is believed",
        "page.md:6:1: error[wrong-unit]: `acme-1`: an amount per thousand where the page has it per 1M",
        "2 quarantined, 0 models in page.md",
    ]


def test_called_wrongly_is_exit_2(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["scrape", "nobody", "--from", "page.md"]) == 2
    assert "no scraper `nobody`; there are acme, anthropic" in capsys.readouterr().err
    assert main(["scrape", "acme", "--from", "nowhere.md"]) == 2
    assert "nowhere.md: no such file" in capsys.readouterr().err


def test_a_wrong_scraper_is_exit_1(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "scrapers" / "acme.yaml").write_text(MARKDOWN.replace("Prices", "'('"))
    assert main(["scrape", "acme", "--from", "page.md"]) == 1
    assert "error[bad-value]" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["anthropic", "google", "ollama", "openai", "openrouter"])
def test_the_shipped_scrapers_are_found_from_anywhere(
    name: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["scrape", name, "--from", "page.md"]) == 1
    assert "error[wrong-page]" in capsys.readouterr().err


def test_serving_does_not_load_what_scraping_needs() -> None:
    program = "import sys, sidecar.cli.run; print([m for m in ('parsel', 'lxml', 'jmespath') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"

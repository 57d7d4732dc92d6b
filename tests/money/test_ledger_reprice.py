"""`sidecar ledger reprice` on a real ledger: past rows at today's prices, and the file left as it was."""

import asyncio
import json
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sidecar.cli import main
from sidecar.stores.ledger import Row
from sidecar.stores.sqlite import SQLiteLedger

DAY = 86_400
HOUSE = """\
kind: gateway
database: data/house.db
providers:
  house: {protocol: openai, base_url: http://127.0.0.1:1/v1}
models:
  mine: {provider: house, context: 8000, max_output: 2000, price: {input: 1, output: 2, cache_read: 0.5}}
"""
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("SIDECAR_CONFIG", "SIDECAR_DATABASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def ran(*arguments: str) -> tuple[int, str, str]:
        try:
            code = main(["ledger", "reprice", *arguments])
        except SystemExit as exit_:
            code = exit_.code if isinstance(exit_.code, int) else 1
        taken = capsys.readouterr()
        return code, taken.out, taken.err

    return ran


def ledger(path: Path, *rows: dict[str, Any]) -> Path:
    """A file as the gateway writes it."""

    async def write() -> None:
        store = SQLiteLedger(path)
        for number, row in enumerate(rows):
            plain = {"ts": time.time() - DAY, "request_id": f"req_{number}", "attempt": 1, "outcome": "answered"}
            plain |= {"surface": "chat", "requested_model": "auto", "tenant": "t", "key_name": "k", "provider": "p"}
            store.add(Row(**{**plain, **row}))
        await store.close()

    asyncio.run(write())
    return path


def row(model: str, cost: int | None, size: int = 1000, output: int = 100, **more: Any) -> dict[str, Any]:
    return {"model": model, "cost_nano": cost, "input_tokens": size, "output_tokens": output, **more}


def test_recorded_repriced_and_the_difference_by_model(here: Path, run: Run) -> None:
    """gpt-4o-mini costs 0.15 and 0.60 a million: 1000 and 100 tokens are 210000 nano-USD."""
    path = ledger(here / "old.db", row("gpt-4o-mini", 200_000), row("gpt-4o-mini", 210_000), row("llama3.1:8b", 0))
    code, out, err = run("--database", str(path), "--format", "json")
    assert (code, err) == (0, "")
    assert json.loads(out) == [
        {
            "model": "gpt-4o-mini", "rows": 2, "recorded_nano": 410_000, "repriced_nano": 420_000,
            "difference_nano": 10_000, "unrecorded": 0, "unrecorded_nano": 0,
        },
        {
            "model": "llama3.1:8b", "rows": 1, "recorded_nano": 0, "repriced_nano": 0, "difference_nano": 0,
            "unrecorded": 0, "unrecorded_nano": 0,
        },
    ]  # fmt: skip
    code, out, err = run("--database", str(path))
    assert (code, err) == (0, "")
    head, mini, llama, last = out.splitlines()
    assert head.split() == ["model", "rows", "recorded", "USD", "repriced", "USD", "difference"]
    assert mini.split() == ["gpt-4o-mini", "2", "0.00041", "0.00042", "0.00001"]
    assert llama.split() == ["llama3.1:8b", "1", "0", "0", "0"]
    assert last == "ok: 3 rows, 2 models, difference 0.00001 USD"


def test_cached_and_written_tokens_have_their_own_prices(here: Path, run: Run) -> None:
    more = {"cached_tokens": 3000, "cache_write_tokens": 2000}
    path = ledger(here / "old.db", row("claude-haiku-4-5", 3_900_000, 5100, 200, **more))
    assert run("--database", str(path))[1].splitlines()[-1] == "ok: 1 rows, 1 models, difference 0 USD"


def test_a_model_without_a_price_is_named_and_the_end_is_1(here: Path, run: Run) -> None:
    path = ledger(here / "old.db", row("gone-model", 500), row("gone-model", None), row("gpt-4o-mini", 210_000))
    code, out, _ = run("--database", str(path))
    assert code == 1
    assert out.splitlines()[1].split() == ["gone-model", "2", "0.0000005", "no", "price", "no", "price"]
    assert out.splitlines()[-1] == "gone-model: no price today for 2 rows"
    code, out, _ = run("--database", str(path), "--format", "json")
    first = json.loads(out)[0]
    assert (code, first["model"], first["repriced_nano"], first["difference_nano"]) == (1, "gone-model", None, None)


def test_rows_recorded_without_a_cost_stay_out_of_the_difference(here: Path, run: Run) -> None:
    path = ledger(here / "old.db", row("gpt-4o-mini", None), row("gpt-4o-mini", 210_000))
    code, out, _ = run("--database", str(path))
    assert code == 0
    assert "gpt-4o-mini: 1 rows had no price then: 0.00021 USD today" in out
    assert out.splitlines()[-1] == "ok: 2 rows, 1 models, difference 0 USD"


def test_what_was_never_billed_is_no_row(here: Path, run: Run) -> None:
    """Cache hits, refusals, failures without a token, and what is older."""
    path = ledger(
        here / "old.db",
        row("gpt-4o-mini", 0, attempt=0, outcome="hit"),
        row("gpt-4o-mini", None, 0, 0, failure="refused"),
        row("gpt-4o-mini", 1, ts=time.time() - 31 * DAY),
    )
    assert run("--database", str(path))[1].splitlines()[-1] == "ok: 0 rows, 0 models, difference 0 USD"
    assert run("--database", str(path), "--since", "32d")[1].splitlines()[-1].startswith("ok: 1 rows")


def test_the_configuration_s_models_and_database_are_used(here: Path, run: Run) -> None:
    (here / "gateway.yaml").write_text(HOUSE)
    ledger(here / "data" / "house.db", row("mine", 1_000_000, cached_tokens=400))
    code, out, _ = run()
    assert (code, out.splitlines()[1].split()) == (0, ["mine", "1", "0.001", "0.001", "0"])
    code, out, _ = run("--config", str(here / "gateway.yaml"), "--format", "json")
    assert (code, json.loads(out)[0]["repriced_nano"]) == (0, 600 * 1000 + 400 * 500 + 100 * 2000)


def test_nothing_is_written(here: Path, run: Run) -> None:
    path = ledger(here / "old.db", row("gpt-4o-mini", 1))
    before = path.read_bytes()
    run("--database", str(path))
    assert path.read_bytes() == before
    with sqlite3.connect(path) as db:
        assert db.execute("SELECT cost_nano FROM request_logs").fetchall() == [(1,)]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--database", "absent.db"), "absent.db: unable to open database file"),
        (("--database", "text.db"), "text.db: file is not a database"),
        (("--database", "empty.db"), "empty.db: no such table: request_logs"),
        (("--database", "text.db", "--since", "a while"), "`a while` is not a length of time"),
        ((), "gateway.yaml: no such file"),
    ],
)
def test_what_cannot_be_read_ends_with_2(here: Path, run: Run, arguments: tuple[str, ...], said: str) -> None:
    (here / "text.db").write_text("no database at all, but long enough to look at" * 100)
    (here / "empty.db").touch()
    code, out, err = run(*arguments)
    assert (code, out) == (2, "")
    assert said in err
    assert not (here / "absent.db").exists()


def test_a_bad_configuration_ends_with_1(here: Path, run: Run) -> None:
    (here / "gateway.yaml").write_text("kind: gateway\nproviders: 7\n")
    code, out, err = run("--database", "any.db")
    assert (code, out) == (1, "")
    assert "providers" in err

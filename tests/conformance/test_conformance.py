"""Every cell as docs/stream-contract.md says, the ledger with it, and the table in that document as it was seen."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from .cases import CASES, NEXT, TEXT, Cell
from .measure import Outcome
from .run import Run, conform
from .table import committed

BEFORE_THE_FAULT = TEXT[: len(TEXT) * 2 // 6]
"""Two of six chunks."""


@dataclass(frozen=True)
class Wanted:
    """What a case comes to. `failure` is its name in the ledger; `but` are its exceptions: a wire, a form or both."""

    outcome: Outcome
    failure: str | None
    tries: int
    next_tries: int | None
    but: dict[str, "Wanted"] = field(default_factory=dict)

    def of(self, cell: Cell) -> "Wanted":
        """Its own line, or that of the exception."""
        form = "stream" if cell.stream else "JSON"
        return next((self.but[n] for n in (f"{cell.wire} {form}", cell.wire, form) if n in self.but), self)

    def told(self, cell: Cell) -> str:
        """The cell as it stands in the table."""
        if cell.chained and self.next_tries is not None:
            return str(Outcome(200, text=NEXT, tries=self.next_tries))
        return str(self.outcome if self.outcome.tries else _with(self.outcome, self.tries))


def _with(outcome: Outcome, tries: int) -> Outcome:
    return Outcome(outcome.status, outcome.code, outcome.text, outcome.finish, outcome.error, outcome.done, tries)


def _error(status: int, code: str) -> Outcome:
    return Outcome(status, code)


def retry(failure: str, status: int, code: str, **but: Wanted) -> Wanted:
    """The same model once more, then the next."""
    return Wanted(_error(status, code), failure, 2, 3, _named(but))


def fall_back(failure: str, status: int, code: str, **but: Wanted) -> Wanted:
    """The next model at once."""
    return Wanted(_error(status, code), failure, 1, 2, _named(but))


def fail(failure: str, status: int, code: str, **but: Wanted) -> Wanted:
    """The caller is told; nobody else is asked."""
    return Wanted(_error(status, code), failure, 1, None, _named(but))


def answer(text: str = TEXT, finish: str = "stop") -> Wanted:
    """No failure."""
    return Wanted(Outcome(200, text=text, finish=finish), None, 1, None)


def breaks(failure: str, code: str, **but: Wanted) -> Wanted:
    """What was sent, then an error event, and never `[DONE]`."""
    outcome = Outcome(200, text=BEFORE_THE_FAULT, error=code, done=False)
    return Wanted(outcome, failure, 1, None, _named(but))


def _named(but: dict[str, Wanted]) -> dict[str, Wanted]:
    return {name.replace("_", " "): wanted for name, wanted in but.items()}


BAD, LARGE = "invalid_request_error", "request_too_large"
SERVER = retry("server_error", 502, "provider_server_error")
DECLINED = "I'm sorry, but I can't help with that."
STREAM = retry("stream_error", 502, "provider_stream_error", JSON=SERVER, google=SERVER)

WANTED = {
    "refused": retry("refused", 502, "provider_refused"),
    "dns": retry("dns", 502, "provider_dns"),
    "tls": fall_back("tls", 502, "provider_tls"),
    "connect_timeout": retry("connect_timeout", 504, "connect_timeout"),
    "bad_request": fail("bad_request", 400, BAD, google=fail("bad_request", 400, "INVALID_ARGUMENT")),
    "authentication": fall_back("authentication", 502, "provider_authentication"),
    "permission": fall_back("authentication", 502, "provider_authentication"),
    "not_found": fall_back("not_found", 404, "model_not_found"),
    "request_timeout": retry("request_timeout", 504, "provider_timeout"),
    "too_large": fail(
        *("too_large", 413, LARGE),
        openai=fail("too_large", 413, BAD),
        google=fail("too_large", 413, "INVALID_ARGUMENT"),
    ),
    "rate_limited": retry("rate_limited", 429, "provider_rate_limited"),
    "rate_limited for a minute": fall_back("rate_limited", 429, "provider_rate_limited"),
    "quota": fall_back("quota", 429, "insufficient_quota"),
    "server_error": SERVER,
    "bad_gateway": retry("bad_gateway", 502, "provider_bad_gateway"),
    "unavailable": retry(
        *("overloaded", 503, "provider_overloaded"), anthropic=retry("unavailable", 503, "provider_unavailable")
    ),
    "overloaded": retry("overloaded", 503, "provider_overloaded"),
    "context_overflow": fall_back("context_overflow", 400, "context_length_exceeded"),
    "content_filter": Wanted(
        *(Outcome(200, finish="content_filter"), None, 1, None),
        but={"openai": fail("content_filter", 400, "content_filter"), "ollama": answer(DECLINED)},
    ),
    "empty": Wanted(Outcome(200, finish="stop"), "empty", 2, 3),
    "first_token_timeout": fall_back("first_token_timeout", 504, "first_token_timeout"),
    "idle_timeout": fall_back("first_token_timeout", 504, "first_token_timeout"),
    "stream_error": STREAM,
    "malformed": retry("malformed", 502, "provider_malformed"),
    "truncated": retry("truncated", 502, "provider_truncated", JSON=retry("malformed", 502, "provider_malformed")),
    "reset": retry("reset", 502, "provider_reset"),
    "total_timeout": fail("total_timeout", 504, "total_timeout"),
    "slow": answer(),
    "idle_timeout later": breaks("idle_timeout", "idle_timeout"),
    "stream_error later": breaks(
        *("stream_error", "provider_stream_error"), google=breaks("server_error", "provider_server_error")
    ),
    "malformed later": breaks("malformed", "provider_malformed"),
    "truncated later": breaks("truncated", "provider_truncated"),
    "reset later": breaks("truncated", "provider_truncated"),
    "total_timeout later": Wanted(
        Outcome(200, text="and so on, ", error="total_timeout", done=False), "total_timeout", 1, None
    ),
}


OPENED = {"idle_timeout", "stream_error", "malformed", "truncated"}
"""Cases whose streams have begun when they fail, before their first token."""


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    yield asyncio.run(asyncio.wait_for(conform(), 120))


def wanted(cell: Cell) -> Wanted:
    return WANTED[cell.case.name].of(cell)


def test_every_case_has_its_line() -> None:
    assert [case.name for case in CASES if case.name not in WANTED] == []


def test_every_cell_is_as_the_contract_says(run: Run) -> None:
    wrong = [
        f"{cell.prompt}: {outcome}; should be: {wanted(cell).told(cell)}"
        for cell, outcome in run.seen.items()
        if str(outcome) != wanted(cell).told(cell)
    ]
    assert not wrong, "\n" + "\n".join(wrong)


def test_the_ledger_has_a_row_for_each_try(run: Run) -> None:
    for cell, outcome in run.seen.items():
        rows = run.rows[cell]
        assert [row["attempt"] for row in rows] == list(range(1, (outcome.tries or 0) + 1)), cell.prompt
        # That all were empty makes the last of them the answer.
        last = None if outcome.status == 200 and not outcome.error else wanted(cell).failure
        failures = [row["failure"] for row in rows]
        assert failures == [*[wanted(cell).failure] * (len(rows) - 1), last], cell.prompt
        assert [row["outcome"] for row in rows] == ["failed" if name else "answered" for name in failures]


def test_failed_tries_are_charged_what_the_provider_said_and_broken_streams_what_was_seen(run: Run) -> None:
    for cell, rows in run.rows.items():
        for row in rows:
            charged = (row["cost_nano"] > 0, row["estimated"] == 1)
            if row["failure"] in (None, "empty"):
                assert charged == (True, False), cell.prompt
            elif cell.case.late:
                assert charged == (True, True), cell.prompt
                assert row["output_tokens"] > 0, cell.prompt
            else:
                # Anthropic's streams open with the size of the prompt.
                opened = cell.wire == "anthropic" and cell.stream and cell.case.name in OPENED
                assert charged == (opened, False), cell.prompt


def test_the_tries_told_are_the_requests_that_were_sent(run: Run) -> None:
    for cell, outcome in run.seen.items():
        if not cell.case.network:
            assert outcome.tries == outcome.asked, cell.prompt


def test_the_published_table_is_what_was_seen(run: Run) -> None:
    """`python -m tests.conformance --write` writes it anew. Lines of what cannot be played here stay as they are."""
    published = committed().splitlines()
    assert [line for line in run.table.splitlines() if line not in published] == []
    named = {line.split(" | ")[0] for line in published}
    assert named == {line.split(" | ")[0] for line in run.table.splitlines()} | (named if run.partly else set())

"""What findings look like: every `render/*.yaml`, read as a user's file, against its `.txt` byte for byte."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from sidecar.config.codes import EXPLAIN, Code
from sidecar.config.diagnostic import Diagnostic, Place, Severity, error
from sidecar.config.document import decode
from sidecar.config.render import render_github, render_json, render_text

from .toys import read

CASES = sorted((Path(__file__).parent / "render").glob("*.yaml"))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_rendered(case: Path, golden: Callable[[Path, str], None]) -> None:
    text, findings = decode(case.read_bytes(), case.name)
    if not findings:
        _, findings = read(text, file=case.name)
    assert any(case.stem.startswith(finding.code) for finding in findings)
    golden(case.with_suffix(".txt"), render_text(findings, {case.name: text}))


def test_every_code_is_explained() -> None:
    assert set(EXPLAIN) == set(Code)
    assert all(text.strip() and text.endswith("\n") for text in EXPLAIN.values())


def test_sorted_counted_and_silent_when_there_is_nothing() -> None:
    findings = [
        error(Code.SYNTAX, "third", Place("b.yaml", 1, 2, 3)),
        Diagnostic(Code.EMPTY_FILE, Severity.WARNING, "second", Place("a.yaml", 10)),
        error(Code.SYNTAX, "first", Place("a.yaml", 9)),
    ]
    text = render_text(findings, {"a.yaml": "", "b.yaml": "abc", "c.yaml": ""})
    assert text == (
        "a.yaml:9:1: error[syntax]: first\n"
        "a.yaml:10:1: warning[empty-file]: second\n"
        "b.yaml:1:2: error[syntax]: third\n  1 | abc\n    |  ^\n"
        "2 errors, 1 warning in 3 files\n"
    )
    assert render_text([], {"a.yaml": ""}) == ""


def test_a_second_place_in_another_file() -> None:
    finding = Diagnostic(
        Code.DUPLICATE_KEY, Severity.ERROR, "twice", Place("b.yaml", 1, 1, 2), also=(Place("a.yaml", 2, 1, 4), "here")
    )
    text = render_text([finding], {"a.yaml": "x\nabc", "b.yaml": "z"})
    assert text == (
        "b.yaml:1:1: error[duplicate-key]: twice\n  1 | z\n    | ^\n"
        "a.yaml:2:1: note: here\n  2 | abc\n    | ^^^\n"
        "1 error, 0 warnings in 2 files\n"
    )


def test_colour_only_when_asked() -> None:
    findings = [error(Code.SYNTAX, "x", Place("a.yaml", 1))]
    assert "\x1b" not in render_text(findings, {"a.yaml": "a"})
    assert "\x1b[1;31merror[syntax]:\x1b[0m" in render_text(findings, {"a.yaml": "a"}, color=True)


def test_json_is_ascii_and_complete() -> None:
    text = render_json([error(Code.SYNTAX, "caf\x9b", Place("ü.yaml", 1, 2, 3), "help")])
    assert text.isascii()
    document = json.loads(text)
    assert document["errors"] == 1 and document["warnings"] == 0
    assert document["findings"] == [
        {
            "code": "syntax",
            "severity": "error",
            "message": "caf\x9b",
            "help": "help",
            "file": "ü.yaml",
            "line": 1,
            "column": 2,
            "end_column": 3,
            "also": None,
        }
    ]


def test_github_cannot_be_made_to_run_another_command() -> None:
    text = render_github([error(Code.SYNTAX, "100%\n::set-env::", Place("a,b:c.yaml", 1, 2, 3), "help")])
    assert text == (
        "::error file=a%2Cb%3Ac.yaml,line=1,col=2,endColumn=3,title=syntax::100%25\\x0a::set-env:: (help)\n"
    )


@pytest.mark.parametrize("line", ["api_key: hunter2", 'admin_token: "hunter2"', "{password: hunter2}"])
def test_what_looks_like_a_secret_is_not_printed_with_another_fault(line: str) -> None:
    text = render_text([error(Code.UNKNOWN_FIELD, "x", Place("a.yaml", 1))], {"a.yaml": line})
    assert "hunter2" not in text and "***" in text


@pytest.mark.parametrize("line", ["api_key: ${KEY}", "max_tokens: 100", "token: env:X"])
def test_what_is_no_secret_is_printed(line: str) -> None:
    assert line in render_text([error(Code.UNKNOWN_FIELD, "x", Place("a.yaml", 1))], {"a.yaml": line})

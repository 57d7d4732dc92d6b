"""`sidecar emulate --faults`: what is wrong with the file is said to the character, and what is right is served."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from sidecar.cli import main

ROOT = Path(__file__).parents[2]

MISTAKES = {
    "kind: faults\nfaults:\n  - fault: rate_limit\n    probabilty: 0.2\n": """\
faults.yaml:3:12: error[bad-value]: `fault` must be one of `authentication`, `bad_gateway`, `bad_request`, \
`connect_timeout`, `content_filter`, `context_overflow`, `dns`, `empty`, `first_token_timeout`, `idle_timeout`, \
`malformed`, `not_found` and 15 more
  3 |   - fault: rate_limit
    |            ^^^^^^^^^^ did you mean `rate_limited`?
faults.yaml:4:5: error[unknown-field]: `probabilty` is not a field of an entry of `faults`
  4 |     probabilty: 0.2
    |     ^^^^^^^^^^ did you mean `probability`?
2 errors, 0 warnings in 1 file
""",
    "kind: faults\nfaults:\n  - {fault: reset}\n  - {fault: quota, after: 3}\n": """\
faults.yaml:4:5: error[bad-value]: `after` is for `idle_timeout`, `malformed`, `reset`, `stream_error` and \
`truncated`, not for `quota`
  4 |   - {fault: quota, after: 3}
    |     ^
1 error, 0 warnings in 1 file
""",
    "kind: fault\nfaults: []\n": """\
faults.yaml:1:7: error[unknown-kind]: there is no kind `fault`
  1 | kind: fault
    |       ^^^^^ did you mean `faults`?
1 error, 0 warnings in 1 file
""",
}

UNREAD = "strikes before a request is read, when its `{}` is not known: `match` may name `provider` and `nth`"
SENSELESS = {
    "{fault: refused, match: {model: gpt-4o}}": f"`refused` {UNREAD.format('model')}",
    "{fault: tls, match: {provider: openai, contains: hello}}": f"`tls` {UNREAD.format('contains')}",
    "{fault: connect_timeout, match: {tools: false}, lasting: 1s}": f"`connect_timeout` {UNREAD.format('tools')}",
    **dict.fromkeys(
        ("{fault: dns, match: {nth: 2}}", "{fault: dns, times: 1}", "{fault: dns, probability: 0.5}"),
        "`dns` is for the whole run: who looks a name up does not ask the emulator, so `nth`, `times` and "
        "`probability` cannot be counted",
    ),
    **dict.fromkeys(
        ("{fault: refused, match: {nth: 2}}", "{fault: refused, times: 1}", "{fault: refused, probability: 0.5}"),
        "`refused` with `nth`, `times` or `probability` needs `lasting`: a connection that is kept out leaves no trace "
        "to count, so say how long they all are",
    ),
    "{fault: tls, lasting: 1s}": "`lasting` is for `connect_timeout` and `refused`, not for `tls`",
    "{fault: refused, delay: 1s}": "`delay` is for `slow` and `total_timeout`, not for `refused`",
    "{fault: total_timeout, delay: 0s}": (
        "`delay` must be more than 0: it passes between the pieces of an answer without end"
    ),
    "{fault: slow}": "`slow` needs a `delay`",
    "{fault: connect_timeout, after: 1}": (
        "`after` is for `idle_timeout`, `malformed`, `reset`, `stream_error` and `truncated`, not for `connect_timeout`"
    ),
    "{fault: dns, message: gone}": "`dns` has no error text: leave out `message`",
}


@pytest.mark.parametrize("fault", SENSELESS)
def test_a_fault_that_makes_no_sense(
    fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "faults.yaml").write_text(f"kind: faults\nfaults:\n  - {fault}\n")
    assert main(["emulate", "--faults", "faults.yaml"]) == 1
    said = f"faults.yaml:3:5: error[bad-value]: {SENSELESS[fault]}\n  3 |   - {fault}\n    |     ^\n"
    assert capsys.readouterr() == ("", f"{said}1 error, 0 warnings in 1 file\n")


@pytest.mark.parametrize("text", MISTAKES, ids=["fields", "sense", "kind"])
def test_what_is_wrong_with_the_file(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "faults.yaml").write_text(text)
    assert main(["emulate", "--faults", "faults.yaml"]) == 1
    assert capsys.readouterr() == ("", MISTAKES[text])


def test_no_such_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["emulate", "--faults", "no-such.yaml"]) == 2
    assert capsys.readouterr().err == "sidecar emulate: no-such.yaml: no such file\n"


def test_faults_are_served_beside_a_script(tmp_path: Path) -> None:
    (tmp_path / "script.yaml").write_text("kind: emulator\nreplies: [{text: scripted}]\n")
    (tmp_path / "faults.yaml").write_text(
        f"# yaml-language-server: $schema={ROOT}/schemas/faults.schema.json\n"
        "kind: faults\nfaults: [{fault: rate_limited, retry_after: 2s, match: {nth: 1}}]\n"
    )
    command = [sys.executable, "-m", "sidecar", "emulate", "script.yaml", "--faults", "faults.yaml", "--port", "0"]
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(command, cwd=tmp_path, env=env, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        url = process.stdout.readline().strip().partition("=")[2] + "/chat/completions"
        body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hello"}]}
        first, second = (httpx.post(url, json=body, headers={"authorization": "Bearer k"}) for _ in range(2))
        assert (first.status_code, first.headers["retry-after"]) == (429, "2")
        assert second.json()["choices"][0]["message"]["content"] == "scripted"
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0

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
`content_filter`, `context_overflow`, `empty`, `first_token_timeout`, `idle_timeout`, `malformed`, `not_found`, \
`overloaded`, `permission` and 10 more
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

"""The verbs that serve, each as a process of its own, offline and without a key."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import httpx

ROOT = Path(__file__).parents[2]
BARE = {"PATH": os.environ["PATH"], "HOME": "/nowhere", "PYTHONUNBUFFERED": "1"}


def started(*arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "sidecar", *arguments],
        cwd=ROOT, env=BARE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_demo_once() -> None:
    process = started("demo", "--once", "--port", "0", "--key", "gw_for_the_demo_test")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    rows = out.split("\n\n")[0].splitlines()
    assert rows[0].split() == ["prompt", "tier", "model", "why", "cost", "USD", "strongest", "USD"]
    assert len(rows) == 13
    for row in rows[1:]:
        *_, tier, model, why, cost, strongest = re.split(r" {2,}", row)
        assert tier in ("simple", "moderate", "complex", "expert") and model != "-" and why
        assert 0 < float(cost) <= float(strongest)
    assert re.search(r"^base URL +http://127\.0\.0\.1:\d+/v1$", out, re.MULTILINE)
    assert re.search(r"^key +gw_for_the_demo_test$", out, re.MULTILINE)
    assert re.search(r"^status +http://127\.0\.0\.1:\d+/status$", out, re.MULTILINE)


def test_a_demo_needs_a_key_that_cannot_be_guessed() -> None:
    process = started("demo", "--once", "--key", "short")
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (2, "", "sidecar demo: a key has at least 16 characters\n")


def test_emulate_prints_where_it_is() -> None:
    process = started("emulate", "--port", "0")
    try:
        assert process.stdout is not None
        lines = dict(process.stdout.readline().strip().split("=", 1) for _ in range(4))
        assert set(lines) == {"OPENAI_BASE_URL", "ANTHROPIC_BASE_URL", "GOOGLE_GEMINI_BASE_URL", "OLLAMA_BASE_URL"}
        body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hello"}]}
        headers = {"authorization": "Bearer sk-x"}
        answer = httpx.post(f"{lines['OPENAI_BASE_URL']}/chat/completions", json=body, headers=headers)
        assert answer.status_code == 200 and answer.json()["choices"][0]["message"]["content"]
        taken = started("emulate", "--port", lines["OPENAI_BASE_URL"].split(":")[2].split("/")[0])
        _, err = taken.communicate(timeout=60)
        assert taken.returncode == 1 and err.startswith("sidecar emulate: 127.0.0.1:")
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0


def test_run_writes_text_for_people_when_asked(tmp_path: Path) -> None:
    (tmp_path / "gateway.yaml").write_text("kind: gateway\npolicies: []\n")
    process = started("run", str(tmp_path / "gateway.yaml"), "--port", "0", "--log-format", "text")
    try:
        assert process.stderr is not None
        line = next(line for line in process.stderr if "listening" in line)
        assert re.fullmatch(r"\d\d:\d\d:\d\d\.\d{3} info    listening host=127.0.0.1 port=\d+ policy=\w{12}\n", line)
    finally:
        process.send_signal(signal.SIGTERM)
        _, rest = process.communicate(timeout=20)
    assert process.returncode == 0 and "draining running=0" in rest


def test_a_sample_of_one_in_nothing_is_none(tmp_path: Path) -> None:
    (tmp_path / "gateway.yaml").write_text("kind: gateway\npolicies: []\n")
    _, err = (run := started("run", str(tmp_path / "gateway.yaml"), "--log-sample", "0")).communicate(timeout=60)
    assert (run.returncode, err.splitlines()[-1]) == (2, "sidecar run: --log-sample 0: one in how many? At least 1")

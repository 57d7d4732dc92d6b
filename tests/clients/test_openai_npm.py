"""The official npm SDK, unmodified: one run of node/client.mjs, and what it must have found."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gateway import KEY, MODELS, Emulated
from shared import absent, tool

from .conftest import VERBATIM

NODE = Path(__file__).parent / "node"


@pytest.fixture(scope="module")
def results(both: Emulated) -> Iterator[Any]:
    node = tool("node")
    if not (NODE / "node_modules" / "openai").is_dir():
        absent("the npm packages are not installed (`make test-setup`)")
    seen = len(both.rows(count=0))
    run = subprocess.run(
        [node, "client.mjs", both.v1, KEY, *MODELS],
        cwd=NODE,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.returncode == 0, run.stderr
    rows = both.rows(count=seen + len(MODELS))[seen:]
    assert [row for row in rows if row["outcome"] != "answered"] == []
    yield json.loads(run.stdout)


def test_a_whole_answer(results: Any, model: str, both: Emulated) -> None:
    got = results["json"][model]
    assert (got["text"], got["finish"]) == (VERBATIM, "stop"), got
    assert (got["usage"]["prompt_tokens"], got["usage"]["completion_tokens"]) == (1000, 200)
    [row] = both.rows(got["id"])
    assert (row["model"], row["input_tokens"]) == (model, 1000)


def test_a_stream(results: Any, model: str) -> None:
    got = results["stream"][model]
    assert (got["text"], got["finish"]) == (VERBATIM, "stop"), got
    assert (got["usage"]["prompt_tokens"], got["usage"]["completion_tokens"]) == (1000, 200)


def test_fragments_of_calls_add_up(results: Any, model: str) -> None:
    calls = results["fragments"][model]
    assert [(call["type"], call["name"]) for call in calls] == [("function", "get_weather")] * 2, calls
    assert all(set(json.loads(call["arguments"])) == {"city"} for call in calls)
    assert len({call["id"] for call in calls}) == 2


def test_the_sdks_tool_loop(results: Any, model: str) -> None:
    got = results["runTools"][model]
    assert got.get("roles") == ["user", "assistant", "tool", "tool", "assistant"], got
    assert len(got["called"]) == 2 and all("city" in arguments for arguments in got["called"])
    assert got["text"]


def test_structured_output(results: Any, model: str) -> None:
    got = results["parse"][model]
    assert "whole" in got, got
    assert set(got["whole"]) == {"answer", "verdict", "note"} and got["whole"]["verdict"] in ("right", "wrong")
    assert got["streamed"] == got["whole"]
    assert set(results["zodTool"][model]) == {"answer", "verdict", "note"}


def test_errors_have_the_sdks_classes(results: Any) -> None:
    errors = results["errors"]
    raised = {name: (error["raised"], error["status"], error["code"]) for name, error in errors.items()}
    assert raised == {
        "badRequest": ("BadRequestError", 400, "empty_array"),
        "badKey": ("AuthenticationError", 401, "invalid_api_key"),
        "unknownModel": ("NotFoundError", 404, "model_not_found"),
        "unknownModelStreamed": ("NotFoundError", 404, "model_not_found"),
    }
    assert errors["badRequest"]["param"] == "messages"
    assert all(error["requestID"] for name, error in errors.items() if name != "badKey")


def test_the_models_are_listed(results: Any) -> None:
    assert set(MODELS) < set(results["models"])

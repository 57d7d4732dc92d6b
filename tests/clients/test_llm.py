"""Simon Willison's `llm`, unmodified: its command line with `extra-openai-models.yaml`, and its Python library."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from gateway import KEY, MODELS, Emulated

from .conftest import VERBATIM

pytestmark = pytest.mark.usefixtures("flawless")
Run = Callable[..., str]
TOOL = 'def get_weather(city: str) -> str:\n    "The weather of a city."\n    return f"sunny in {city}"\n'


@pytest.fixture
def llm(both: Emulated, tmp_path: Path) -> Run:
    """Runs the command in a home of its own that knows the gateway's models."""
    models = [
        {
            "model_id": model.replace("test", "sidecar"),
            "model_name": model,
            "api_base": both.v1,
            "api_key_name": "sidecar",
            "supports_tools": True,
            "supports_schema": True,
            "vision": True,
        }
        for model in MODELS
    ]
    (tmp_path / "extra-openai-models.yaml").write_text(yaml.safe_dump(models))
    (tmp_path / "keys.json").write_text(json.dumps({"sidecar": KEY}))

    def run(*arguments: str) -> str:
        command = [sys.executable, "-m", "llm", *arguments]
        environ = {"PATH": os.environ["PATH"], "LLM_USER_PATH": str(tmp_path)}
        done = subprocess.run(
            command, env=environ, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_a_prompt_streamed(llm: Run, model: str) -> None:
    assert llm("-m", model.replace("test", "sidecar"), "Say it verbatim").removesuffix("\n") == VERBATIM


def test_a_prompt_not_streamed_and_its_usage(llm: Run, model: str) -> None:
    name = model.replace("test", "sidecar")
    assert llm("-m", name, "--no-stream", "-s", "Be brief.", "Say it verbatim").removesuffix("\n") == VERBATIM
    [logged] = json.loads(llm("logs", "--json"))
    assert (logged["input_tokens"], logged["output_tokens"]) == (1000, 200)


def test_a_tool_is_called_and_its_result_sent(llm: Run, model: str, both: Emulated) -> None:
    answer = llm("-m", model.replace("test", "sidecar"), "--functions", TOOL, "Call get_weather for Oslo")
    assert answer.strip()
    assert "sunny in" in both.last.raw.decode()


def test_a_schema_is_kept(llm: Run, model: str) -> None:
    answer = llm("-m", model.replace("test", "sidecar"), "--schema", "name, age int", "Invent a dog")
    dog = json.loads(answer)
    assert set(dog) == {"name", "age"} and isinstance(dog["age"], int)

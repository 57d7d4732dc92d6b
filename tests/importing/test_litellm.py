"""LiteLLM configurations of several houses: what is written is valid, says the same, and holds no secret."""

import json
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.cli import main
from sidecar.config.document import parse
from sidecar.importing.litellm import Imported, convert
from sidecar.policy import load
from sidecar.registry.index import Registry
from sidecar.registry.load import load as load_registry
from sidecar.stages.fallback import Fallback
from sidecar.stages.quota import Quota

CASES = sorted((Path(__file__).parent / "litellm").glob("*.yaml"))
REGISTRY = Registry(load_registry().catalogue.models, datetime.now(UTC).date())


def imported(content: str, name: str = "config.yaml") -> Imported:
    documents, findings = parse(content, name)
    assert findings == []
    return convert(documents[0], REGISTRY)


def write(result: Imported, folder: Path) -> None:
    for path, content in result.files.items():
        (folder / path).parent.mkdir(exist_ok=True)
        (folder / path).write_text(content)


def of(name: str) -> Imported:
    return imported((Path(__file__).parent / "litellm" / f"{name}.yaml").read_text())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.stem)
def test_what_is_written(case: Path, tmp_path: Path, golden: Callable[[Path, str], None]) -> None:
    result = imported(case.read_text())
    shown = "".join(f"--- {path}\n{content}" for path, content in sorted(result.files.items()))
    golden(case.with_suffix(".txt"), shown)
    assert "hunter2" not in shown
    write(result, tmp_path)
    loaded = load(tmp_path / "gateway.yaml", {}, strict=False)
    assert loaded.graph is not None, loaded.text
    assert loaded.errors == 0, loaded.text


def graph(name: str, folder: Path) -> Any:
    write(of(name), folder)
    loaded = load(folder / "gateway.yaml", {}, strict=False)
    assert loaded.graph is not None, loaded.text
    return loaded.graph


def test_names_chains_and_limits_mean_what_they_meant(tmp_path: Path) -> None:
    found = graph("balanced", tmp_path)
    fast, second = found.registry.find("fast"), found.registry.find("fast-2")
    assert (fast.upstream, fast.provider, second.upstream, second.provider) == (
        *("gpt-4o-mini", "openai"),
        *("gpt-4o-mini", "openai-2"),
    )
    assert fast.price == REGISTRY.find("gpt-4o-mini").price  # type: ignore[union-attr]
    fallback = next(spec for spec in found.stages if isinstance(spec, Fallback))
    assert fallback.chains == {
        "fast": ("fast-2", "smart", "long"),
        "fast-2": ("fast", "smart", "long"),
        "smart": ("long",),
    }
    assert (fallback.retries, fallback.alternatives, fallback.timeouts.total) == (2, 0, "30s")
    [limit] = next(spec for spec in found.stages if isinstance(spec, Quota)).limits
    assert (limit.requests, limit.tokens, limit.when) == ("240/m", "100000/m", 'model in ["fast", "quick"]')
    assert found.aliases == {"quick": "fast", "hidden-one": "smart"}


def test_every_note_says_where() -> None:
    notes = {note.path: note.line for note in of("balanced").notes}
    lines = (Path(__file__).parent / "litellm" / "balanced.yaml").read_text().splitlines()
    for path, line in notes.items():
        assert path.rpartition(".")[2] in lines[line - 1], (path, lines[line - 1])
    for path in (
        "router_settings.redis_password",
        "general_settings.database_url",
        "model_list.1.litellm_params.weight",
    ):
        assert path in notes


KEYS = (
    *("model_list", "litellm_settings", "router_settings", "general_settings", "model_name", "litellm_params", "model"),
    *("api_base", "api_key", "rpm", "fallbacks", "cache", "cache_params", "master_key", "model_info", "ttl", "timeout"),
    *("model_group_alias", "default_fallbacks", "input_cost_per_token", "output_cost_per_token", "max_tokens", "x"),
)
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["openai/gpt-4o", "gpt-4o", "os.environ/X", "http://[", "a b", "", "*", "hosted_vllm/x"])
)  # fmt: skip
ANY = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4)
)
DEPLOYMENT = st.fixed_dictionaries(
    {"model_name": st.sampled_from(["gpt-4o", "a", "a b", "claude-opus-4-5", "*"]) | ANY},
    optional={"litellm_params": st.dictionaries(st.sampled_from(KEYS), ANY, max_size=5), "model_info": ANY},
)
BLOCK = st.dictionaries(st.sampled_from(KEYS), ANY, max_size=4)


@settings(max_examples=40, deadline=None)
@given(
    st.fixed_dictionaries(
        {"model_list": st.lists(DEPLOYMENT, max_size=4) | ANY},
        optional={"router_settings": BLOCK, "litellm_settings": BLOCK, "general_settings": BLOCK | ANY},
    )
)
def test_any_configuration_is_carried_over_to_a_sound_one(data: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write(imported(json.dumps(data)), folder)
        loaded = load(folder / "gateway.yaml", {}, strict=False)
        assert loaded.graph is not None, loaded.text


def test_the_verb_writes_and_never_over_what_is_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    case = str(CASES[0].with_name("local.yaml"))
    assert main(["import", "--from", "litellm", case, str(tmp_path / "new")]) == 0
    out = capsys.readouterr().out
    assert f"{case}:20: model_list.2.litellm_params.api_key: a secret is not copied" in out
    assert "hunter2" not in out
    assert main(["validate", str(tmp_path / "new")]) == 0
    before = (tmp_path / "new" / "gateway.yaml").read_bytes()
    assert main(["import", "--from", "litellm", case, str(tmp_path / "new")]) == 1
    assert "is there already" in capsys.readouterr().err
    assert (tmp_path / "new" / "gateway.yaml").read_bytes() == before
    assert main(["import", "--from", "litellm", str(tmp_path / "gone.yaml")]) == 2


def test_a_file_that_is_no_yaml_is_shown_where(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "config.yaml").write_text("model_list: [\n")
    assert main(["import", "--from", "litellm", str(tmp_path / "config.yaml"), str(tmp_path / "new")]) == 1
    assert "error[syntax]" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()

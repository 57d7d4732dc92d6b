"""Every verb as a person calls it: exit code, what goes to standard output, what to standard error."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sidecar.cli import VERBS
from sidecar.config.codes import EXPLAIN, Code
from sidecar.identity.keys import hash_text, well_formed

ROOT = Path(__file__).parents[2]
HOUSE = """\
kind: gateway
providers:
  house: {protocol: openai, base_url: http://127.0.0.1:1/v1, api_key: "${HOUSE_KEY}"}
models:
  mine: {provider: house, context: 8000, max_output: 2000, capabilities: all, price: {input: 1, output: 2}}
"""
KEY = "gw_house_key_0123456789"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a sound configuration, and nothing of the developer's environment."""
    for name in ("SIDECAR_CONFIG", "SIDECAR_PORT", "HOUSE_KEY", "NO_COLOR", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "gateway.yaml").write_text(HOUSE)
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "route.yaml").write_text("kind: score\nstrategy: cost\n")
    return tmp_path


def test_called_wrongly(sidecar, here: Path) -> None:  # type: ignore[no-untyped-def]
    for wrong in ([], ["nothing"], ["validate", "--format", "xml"], ["keys"], ["explain"], ["run", "--port", "x"]):
        ran = sidecar(*wrong)
        assert ran.code == 2 and ran.err.startswith("usage: sidecar") and not ran.out
    for verb in VERBS:
        assert sidecar(verb, "--help").code == 0
    assert sidecar("--version").out.startswith("sidecar ")


def test_validate_says_that_it_looked(sidecar, here: Path) -> None:  # type: ignore[no-untyped-def]
    for arguments in ([], ["gateway.yaml"], ["."]):
        ran = sidecar("validate", *arguments)
        assert (ran.code, ran.out, ran.err) == (0, "ok: 2 files, 1 policy, 7 nodes, 1 model\n", "")


def test_validate_what_is_wrong(sidecar, here: Path) -> None:  # type: ignore[no-untyped-def]
    (here / "policies" / "route.yaml").write_text("kind: fallback\nretires: 3\n")
    expected = (
        "policies/route.yaml:2:1: error[unknown-field]: `retires` is not a field of stage `fallback`\n"
        "  2 | retires: 3\n    | ^^^^^^^ did you mean `retries`?\n1 error, 0 warnings in 2 files\n"
    )
    ran = sidecar("validate")
    assert (ran.code, ran.out, ran.err) == (1, expected, "")
    ran = sidecar("validate", "--format", "json")
    data = json.loads(ran.out)
    assert ran.code == 1 and data["errors"] == 1 and data["findings"][0]["code"] == "unknown-field"
    ran = sidecar("validate", "--format", "github")
    assert ran.code == 1 and ran.out.startswith("::error file=policies/route.yaml,line=2,col=1,")
    for verb in ("graph", "show", "models", "run"):
        ran = sidecar(verb)
        assert (ran.code, ran.out, ran.err) == (1, "", expected)
    ran = sidecar("explain", "hello")
    assert (ran.code, ran.out, ran.err) == (1, "", expected)


def test_validate_warnings(sidecar, here: Path) -> None:  # type: ignore[no-untyped-def]
    (here / "gateway.yaml").write_text(HOUSE + "listen: {port: '${SIDECAR_PORT}'}\n")
    ran = sidecar("validate")
    assert ran.code == 0 and "warning[unset-variable]" in ran.out
    assert sidecar("validate", "--deny-warnings").code == 1
    assert json.loads(sidecar("validate", "--format", "json").out)["warnings"] == 1
    assert sidecar("run").code == 1  # what is a warning in CI stops a start


def test_nothing_to_look_at(sidecar, here: Path) -> None:  # type: ignore[no-untyped-def]
    (here / "empty").mkdir()
    for path in ("no-such.yaml", "empty"):
        ran = sidecar("validate", path)
        assert ran.code == 2 and path in ran.err and not ran.out
    for verb in ("run", "graph", "show", "models"):
        ran = sidecar(verb, "no-such.yaml")
        assert (ran.code, ran.out, ran.err) == (2, "", "sidecar: no-such.yaml: no such file\n")
    (here / "gateway.yaml").unlink()
    assert sidecar("validate").code == 2 and sidecar("show").code == 2


def test_the_environment_names_the_file(sidecar, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    (here / "gateway.yaml").rename(here / "other.yaml")
    monkeypatch.setenv("SIDECAR_CONFIG", "other.yaml")
    assert sidecar("validate").code == 0 and "other.yaml" in sidecar("show").out


def test_validate_standard_input(sidecar, here: Path) -> None:  # type: ignore[no-untyped-def]
    assert sidecar("validate", "-", stdin=b"kind: cache\nttl: 5m\n").out == "ok: 1 file, 1 policy\n"
    ran = sidecar("validate", "-", stdin=b"kind: cache\ntll: 5m\n")
    assert ran.code == 1 and ran.out.startswith("-:2:1: error[unknown-field]")
    # What other files hold is not missed: stages and models that only they have.
    text = HOUSE + "pipeline: [authenticate, score.x, fallback]\n"
    assert sidecar("validate", "-", stdin=text.encode()).code == 0
    assert sidecar("validate", "-", stdin=b"kind: classify\non: {expert: score.x}\n").code == 0


def test_colour_is_for_people(sidecar, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    (here / "policies" / "route.yaml").write_text("kind: scor\n")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert "\x1b[" in sidecar("validate").out
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[" not in sidecar("validate").out


def test_policies_by_themselves(sidecar, here: Path) -> None:  # type: ignore[no-untyped-def]
    for path in ("policies", "policies/route.yaml"):
        ran = sidecar("validate", path)
        assert ran.code == 0 and ran.out.startswith("ok: 1 file, 1 policy, ")


@pytest.mark.parametrize("code", list(Code))
def test_explain_a_code(sidecar, here: Path, code: Code) -> None:  # type: ignore[no-untyped-def]
    ran = sidecar("explain", code)
    assert (ran.code, ran.out, ran.err) == (0, EXPLAIN[code], "")


def test_explain_a_request(sidecar, here: Path) -> None:  # type: ignore[no-untyped-def]
    ran = sidecar("explain", "hello")
    assert ran.code == 0 and "=> execute" in ran.out and ran.out.endswith("chain     mine\n")
    assert ran.err == "note: no provider has a key here; explained as if all had one\n"
    body = json.dumps({"model": "auto:speed", "messages": [{"role": "user", "content": "hello"}]}).encode()
    for arguments, stdin in ((["-"], body), (["body.json"], b""), ([body.decode()], b"")):
        (here / "body.json").write_bytes(body)
        ran = sidecar("explain", *arguments, "--format", "json", "--header", "X-Sidecar-Task=title", stdin=stdin)
        data = json.loads(ran.out)
        assert ran.code == 0 and (data["end"], data["model"], data["strategy"]) == ("execute", "mine", "speed")
        assert data["features"]["task"] == "title" and data["chain"] == ["mine"]


def test_a_prompt_may_be_long_and_json_may_be_wrong(sidecar, here: Path) -> None:  # type: ignore[no-untyped-def]
    assert "=> execute" in sidecar("explain", "hello " * 1000).out
    wrong = sidecar("explain", '{"model": ')
    assert (wrong.code, wrong.out) == (2, "") and "not JSON" in wrong.err


@pytest.mark.parametrize("verb", ["run", "demo", "emulate"])
@pytest.mark.parametrize("port", ["65536", "-1", "9" * 30, "x"])
def test_a_port_that_is_none_is_said(sidecar, here: Path, verb: str, port: str) -> None:  # type: ignore[no-untyped-def]
    ran = sidecar(verb, f"--port={port}")
    assert ran.code == 2 and f"`{port}` is not a port: 0 to 65535" in ran.err


def test_explain_a_refusal(sidecar, here: Path) -> None:  # type: ignore[no-untyped-def]
    body = json.dumps({"model": "none", "messages": [{"role": "user", "content": "hello"}]}).encode()
    ran = sidecar("explain", "-", stdin=body)
    assert ran.code == 1 and "refused   404 model_not_found: " in ran.out
    for arguments, stdin in (
        (["-"], b"{not json"),
        (["-"], b"[]"),
        (["-"], b'{"messages": []}'),
        (["no-such.json"], b""),
        (["hello", "--key", "nobody"], b""),
        (["hello", "--header", "task"], b""),
    ):
        ran = sidecar("explain", *arguments, stdin=stdin)
        assert ran.code == 2 and "sidecar explain: " in ran.err and not ran.out


def test_graph_and_models(sidecar, here: Path) -> None:  # type: ignore[no-untyped-def]
    assert sidecar("graph").out.startswith("%% policy ")
    assert sidecar("graph", "--format", "dot").out.startswith("digraph")
    assert json.loads(sidecar("graph", "--format", "json").out)["entry"] == "rate_limit"
    assert "mine" in sidecar("models").out and "gpt-4o-mini" not in sidecar("models").out
    assert "gpt-4o-mini" in sidecar("models", "--all").out
    assert [card["id"] for card in json.loads(sidecar("models", "--format", "json").out)] == ["mine"]


def test_show_holds_no_secret(sidecar, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setenv("HOUSE_KEY", "sk-very-secret-0123456789")
    monkeypatch.setenv("APP_KEY", KEY)
    (here / "policies" / "keys.yaml").write_text("kind: authenticate\nkeys: [{name: app, secret: '${APP_KEY}'}]\n")
    ran = sidecar("show")
    assert ran.code == 0 and "sk-very-secret" not in ran.out + ran.err and KEY not in ran.out + ran.err
    data = json.loads(ran.out)
    assert data["gateway"]["providers"]["house"]["api_key"] == "${HOUSE_KEY}"
    assert data["pipeline"][0] == "rate_limit" and len(data["policy"]) == 64


def test_keys(sidecar, here: Path) -> None:  # type: ignore[no-untyped-def]
    ran = sidecar("keys", "create", "app", "--tenant", "acme")
    key = ran.out.strip()
    assert ran.code == 0 and well_formed(key) and key not in ran.err
    assert hash_text(key) in ran.err
    (here / "policies" / "keys.yaml").write_text("kind: authenticate\nkeys:\n" + ran.err.partition("\n\n")[2])
    assert sidecar("validate").code == 0 and json.loads(sidecar("show").out)["stages"][0]["keys"][0]["name"] == "app"
    ran = sidecar("keys", "hash", stdin=f"{key}\n".encode())
    assert (ran.code, ran.out, ran.err) == (0, hash_text(key) + "\n", "")
    ran = sidecar("keys", "hash", stdin=f"{key[:-1]}\n".encode())
    assert ran.code == 0 and "checksum" in ran.err
    assert sidecar("keys", "hash").code == 2
    assert sidecar("keys", "create", "two words").code == 2
    assert sidecar("keys", "create", "other").out.strip() != key


def test_schema(sidecar, here: Path) -> None:  # type: ignore[no-untyped-def]
    assert sidecar("schema", "--check").code == 1
    assert sidecar("schema", "--write").code == 0
    assert sidecar("schema", "--check").code == 0
    changed = here / "schemas" / "cache.schema.json"
    changed.write_text(changed.read_text().replace("1000", "2000", 1))
    ran = sidecar("schema", "--check")
    assert (ran.code, ran.out) == (1, "") and ran.err.startswith("schemas/cache.schema.json: out of date")
    assert set(json.loads(sidecar("schema").out)) == {path.name for path in (here / "schemas").iterdir()}
    assert sidecar("schema", "--check", "--folder", str(ROOT / "schemas")).code == 0


def test_a_port_that_is_none(sidecar, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setenv("SIDECAR_PORT", "http")
    ran = sidecar("run")
    assert (ran.code, ran.err) == (2, "sidecar run: SIDECAR_PORT=http: not a port\n")


def test_emulate_a_script_that_is_wrong(sidecar, here: Path) -> None:  # type: ignore[no-untyped-def]
    (here / "script.yaml").write_text("kind: emulator\nreplis: []\n")
    ran = sidecar("emulate", "script.yaml")
    assert ran.code == 1 and "error[unknown-field]" in ran.err and not ran.out
    assert sidecar("emulate", "no-such.yaml").code == 2


@pytest.mark.parametrize("strict", [True, False])
def test_what_is_shipped_has_no_finding(sidecar, monkeypatch: pytest.MonkeyPatch, strict: bool) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.chdir(ROOT)
    for name in list(os.environ):
        if strict or name.startswith(("SIDECAR", "OPENAI", "ANTHROPIC", "GEMINI", "GOOGLE", "OLLAMA", "UPSTREAM")):
            monkeypatch.delenv(name)
    ran = sidecar("validate", "gateway.yaml", "policies", "examples", "--deny-warnings")
    assert ran.code == 0 and ran.out.startswith("ok: ") and not ran.err


def test_starting_costs_little() -> None:
    heavy = ("litestar", "granian", "aiohttp", "httpx", "jsonschema", "sqlite_utils", "yaml", "watchfiles")
    code = (
        "import sys\nfrom sidecar.cli import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit:\n    pass\n"
        f"sys.exit(','.join(name for name in {heavy} if name in sys.modules))"
    )
    for arguments, loaded in ((["--version"], ""), (["validate", "gateway.yaml"], "yaml")):
        ran = subprocess.run([sys.executable, "-c", code, *arguments], cwd=ROOT, capture_output=True, text=True)
        assert ran.stderr.strip() == loaded, ran.stderr

"""`sidecar test` as a person calls it: cases in YAML in, what is printed and the exit code out."""

import io
import json
import os
import signal
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from sidecar.policy import load
from sidecar.registry.load import load as load_registry

from .conftest import Sidecar

ROOT = Path(__file__).parents[2]
GATEWAY = """\
kind: gateway
providers:
  house: {protocol: openai, base_url: "http://127.0.0.1:1/v1", api_key: "${HOUSE_KEY}"}
  attic: {protocol: ollama}
models:
  small: {provider: house, context: 8000, max_output: 2000, capabilities: all, quality: 20, speed: 200,
          price: {input: 0.1, output: 0.1}}
  large: {provider: attic, context: 128000, max_output: 16000, capabilities: all, quality: 80, speed: 50,
          price: {input: 10, output: 10}}
pipeline: [rate_limit, authenticate, cache, classify, score, fallback]
"""
CLASSIFY = """\
kind: classify
tiers: [simple, expert]
rules:
  - {name: short, when: last_tokens < 20, tier: simple}
  - {name: tagged, when: task == "legal", tier: expert}
default: expert
"""
SCORE = "kind: score\nstrategy: cost\ntiers:\n  simple: {models: [small]}\n  expert: {models: [large]}\n"
GOOD = """\
kind: test
cases:
  - name: short questions
    request: {prompt: Hello.}
    expect: {tier: simple, rule: short, model: small, chain: [small]}
"""
BAD = GOOD + "  - {name: long ones, request: {last_tokens: 20}, expect: {tier: simple, model: [small]}}\n"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a policy and one file of cases."""
    for name in ("SIDECAR_CONFIG", "HOUSE_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "policies").mkdir()
    files = {"gateway": GATEWAY, "policies/classify": CLASSIFY, "policies/score": SCORE, "policies/route_test": GOOD}
    for name, text in files.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    return tmp_path


def cases(here: Path, *written: str, defaults: str = "") -> None:
    """Write the file of cases."""
    rows = "".join(f"  - {case}\n" for case in written)
    (here / "policies" / "route_test.yaml").write_text(f"kind: test\n{defaults}cases:\n{rows}")


def test_it_says_that_it_looked(sidecar: Sidecar, here: Path) -> None:
    expected = (0, "ok: 1 case, 7 of 19 rules and edges taken (36 %)\n", "")
    for arguments in ((), ("gateway.yaml",), (".",), ("policies",), ("policies/route_test.yaml",), (str(here),)):
        assert sidecar("test", *arguments) == expected
    assert sidecar("test", "gateway.yaml", "policies/route_test.yaml") == expected  # the same gateway, once


def test_a_failure_shows_the_place_the_difference_and_the_walk(sidecar: Sidecar, here: Path) -> None:
    (here / "policies" / "route_test.yaml").write_text(BAD)
    ran = sidecar("test")
    lines = ran.out.splitlines()
    assert ran.code == 1 and not ran.err
    assert lines[0] == "policies/route_test.yaml:6:12: FAILED long ones"
    assert lines[1] == "  policies/route_test.yaml:6:66: tier: expected simple, got expert"
    assert lines[2].endswith(": model: expected small, got large")
    assert "      -      short                  -> simple     last_tokens < 20" in lines
    assert any(line.startswith("    walk      rate_limit:allowed") for line in lines)
    assert lines[-1] == "failed: 1 of 2 cases, 8 of 19 rules and edges taken (42 %)"


def test_formats(sidecar: Sidecar, here: Path) -> None:
    (here / "policies" / "route_test.yaml").write_text(BAD)
    data = json.loads(sidecar("test", "--format", "json").out)
    assert (data["passed"], data["failed"]) == (1, 1) and data["coverage"]["total"] == 19
    good, bad = data["cases"]
    assert (good["passed"], good["explanation"], good["line"]) == (True, None, 3)
    assert bad["explanation"]["tier"] == "expert"
    tier = bad["differences"][0]
    assert (tier["field"], tier["expected"], tier["seen"], tier["line"]) == ("tier", "simple", "expert", 6)
    ran = sidecar("test", "--format", "github")
    assert ran.code == 1
    assert ran.out.startswith("::error file=policies/route_test.yaml,line=6,col=66,")
    assert "::long ones: tier: expected simple, got expert\n" in ran.out


def test_junit(sidecar: Sidecar, here: Path) -> None:
    (here / "policies" / "route_test.yaml").write_text(BAD.replace("long ones", '"long & <ones>"'))
    assert sidecar("test", "--junit", "report.xml").code == 1
    suite = ET.parse(here / "report.xml").getroot()[0]
    assert (suite.get("tests"), suite.get("failures")) == ("2", "1")
    assert [case.get("name") for case in suite] == ["short questions", "long & <ones>"]
    failure = suite[1][0]
    assert "tier: expected simple" in failure.get("message", "") and "walk  " in (failure.text or "")
    ran = sidecar("test", "--junit", "no/such/folder.xml")
    assert ran.code == 2 and "no/such/folder.xml: no such file" in ran.err


def test_run_by_name(sidecar: Sidecar, here: Path) -> None:
    (here / "policies" / "route_test.yaml").write_text(BAD)
    assert sidecar("test", "--run", "^short").out.startswith("ok: 1 case, ")
    ran = sidecar("test", "--run", "nothing")
    assert (ran.code, ran.out, ran.err) == (2, "", "sidecar test: none of 2 cases has a name like that\n")
    assert sidecar("test", "--run", "(").code == 2


def test_coverage(sidecar: Sidecar, here: Path) -> None:
    ran = sidecar("test", "--coverage")
    assert ran.code == 0 and "policies/classify.yaml:5:12: never taken: rule tagged\n" in ran.out
    assert "policies/score.yaml:1:7: never taken: edge score:none\n" in ran.out
    assert "rule short" not in ran.out and "edge score:chosen" not in ran.out
    assert sidecar("test", "--fail-under", "36").code == 0
    ran = sidecar("test", "--fail-under", "37")
    assert ran.code == 1 and ran.err == "sidecar test: 36 % is below --fail-under 37\n"
    assert sidecar("test", "--fail-under", "101").code == 2


def test_what_cannot_be_is_no_edge(sidecar: Sidecar, here: Path) -> None:
    (here / "policies" / "classify.yaml").write_text(CLASSIFY.replace("tier: expert}", "tier: simple}"))
    (here / "policies" / "keys.yaml").write_text("kind: authenticate\nanonymous: never\n")
    ran = sidecar("test", "--coverage")
    assert "classify:expert" not in ran.out and "authenticate:anonymous" not in ran.out


def test_nothing_to_run(sidecar: Sidecar, here: Path) -> None:
    ran = sidecar("test", "no-such.yaml")
    assert ran.code == 2 and ran.err.startswith("sidecar test: no-such.yaml: no such file")
    (here / "policies" / "route_test.yaml").unlink()
    ran = sidecar("test")
    assert (ran.code, ran.err) == (2, "sidecar test: there is no case in a *_test.yaml file\n")


def test_errors_come_before_cases(sidecar: Sidecar, here: Path) -> None:
    cases(here, "{name: a, expect: {tier: simpel}}")
    expected = (
        "policies/route_test.yaml:3:30: error[unknown-tier]: `simpel` is not a tier of this policy\n"
        "  3 |   - {name: a, expect: {tier: simpel}}\n"
        "    |                              ^^^^^^ did you mean `simple`?\n"
    )
    ran = sidecar("test")
    assert ran.code == 1 and not ran.out and ran.err.startswith(expected)
    assert sidecar("test", "--format", "github").out.startswith("::error file=policies/route_test.yaml,line=3,col=30")
    ran = sidecar("validate")
    assert ran.code == 1 and ran.out.startswith(expected)
    ran = sidecar("validate", "policies/route_test.yaml")
    assert ran.code == 0  # by itself: names are looked up in a policy
    (here / "policies" / "score.yaml").write_text("kind: score\nstrateg: cost\n")
    ran = sidecar("test")
    assert ran.code == 1 and "error[unknown-field]: `strateg`" in ran.err and not ran.out


def test_validate_counts_the_cases(sidecar: Sidecar, here: Path) -> None:
    assert sidecar("validate").out == "ok: 3 files, 2 policies, 6 nodes, 2 models, 1 case\n"


def test_the_environment_and_the_day_do_not_count(
    sidecar: Sidecar, here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (here / "policies" / "classify.yaml").write_text(
        CLASSIFY.replace('name: tagged, when: task == "legal"', "name: tagged, when: 'task == \"${TASK:-legal}\"'")
    )
    cases(here, "{name: a, request: {last_tokens: 50, headers: {X-Sidecar-Task: legal}}, expect: {rule: tagged}}")
    monkeypatch.setenv("TASK", "other")
    monkeypatch.setenv("HOUSE_KEY", "")
    assert sidecar("test").code == 0


def test_prices_are_those_of_the_registrys_day() -> None:
    loaded = load(ROOT / "gateway.yaml", {}, strict=False, still=True)
    assert loaded.graph is not None and loaded.graph.registry.day == load_registry(None).catalogue.generated


def test_what_looks_like_a_token_is_judged_as_one(sidecar: Sidecar, here: Path) -> None:
    (here / "policies" / "keys.yaml").write_text(
        "kind: authenticate\njwt: [{name: h, issuer: h, audience: [a], algorithms: [HS256], secret: '${S:-}'}]\n"
    )
    cases(
        here,
        "{name: token, caller: {credential: a.b.c}, expect: {refusal: {status: 401, code: invalid_token}}}",
        "{name: key, caller: {credential: gw_x}, expect: {refusal: {status: 401, code: invalid_api_key}}}",
        "{name: unsaid, caller: {issuer: h, claims: {a: b}}, expect: {refusal: {code: invalid_token}}}",
    )
    ran = sidecar("test")
    assert ran.code == 0, ran.out + ran.err


def test_requests(sidecar: Sidecar, here: Path) -> None:
    cases(
        here,
        "{name: filled up, request: {tokens: 7745}, expect: {dropped: {small: 'context: needs 8001, has 8000'}}}",
        "{name: not quite, request: {tokens: 7744}, expect: {model: small}}",
        "{name: any field, request: {body: {response_format: {type: json_object}}}, expect: {model: small}}",
        "{name: tools of my own, request: {tools: [{type: function, function: {name: f}}]}, expect: {model: small}}",
        "{name: an alias of none, request: {model: nothing}, expect: {refusal: {code: model_not_found}}}",
    )
    ran = sidecar("test")
    assert ran.code == 0, ran.out


def test_the_world(sidecar: Sidecar, here: Path) -> None:
    (here / "policies" / "keys.yaml").write_text(
        "kind: authenticate\nkeys:\n"
        f"  - {{name: app, tenant: acme, models: [large], hash: 'sha256:{'0' * 64}'}}\n"
        f"  - {{name: other, labels: {{team: red}}, hash: 'sha256:{'1' * 64}'}}\n"
    )
    (here / "policies" / "score.yaml").write_text("kind: score\nstrategy: cost\n")
    (here / "policies" / "classify.yaml").write_text(
        'kind: classify\nrules:\n  - {name: red, when: labels.team == "red", tier: simple}\n'
        '  - {name: acme, when: tenant == "acme", tier: expert}\n'
        '  - {name: claimed, when: claims.team == "blue", tier: complex}\n'
    )
    cases(
        here,
        "{name: the first key unless another is named, expect: {rule: acme, chain: [large]}}",
        "{name: another, caller: {key: other}, expect: {rule: red, chain: [small, large]}}",
        "{name: changed, caller: {key: other, labels: {team: green}}, expect: {rule: none}}",
        "{name: claims, caller: {key: x, tenant: t, claims: {team: blue}}, expect: {rule: claimed}}",
        "{name: nobody, caller: {anonymous: true}, expect: {edges: {authenticate: anonymous}}}",
        "{name: down, caller: {key: other}, world: {down: {house: outage}}, expect: {chain: [large], "
        "dropped: {small: outage}}}",
        "{name: one model down, caller: {key: other}, world: {down: {house/small: rests}}, expect: {chain: [large]}}",
        "{name: learned, caller: {key: other}, request: {model: 'auto:speed'}, world: {speed: {large: 900}}, "
        "expect: {model: large, strategy: speed}}",
        "{name: used, world: {used: {key: {requests: 60}}, time: 2026-11-21T03:00:00Z}, "
        "expect: {refusal: {status: 429, retry_after: 61}}}",
        "{name: cached, world: {cache: hit}, expect: {outcome: respond, headers: {X-Sidecar-Cache: hit}}}",
        "{name: not for others, world: {cached_for: {key: other}}, expect: {cache: {result: miss, ttl: 60m}}}",
    )
    ran = sidecar("test")
    assert ran.code == 0, ran.out


@pytest.mark.parametrize(
    ("expect", "said"),
    [
        ("outcome: refuse", "outcome: expected refuse, got execute"),
        ("rule: none", "rule: expected none, got short"),
        ("strategy: speed", "strategy: expected speed, got cost"),
        ("model: large", "model: expected large, got small"),
        ("model: [large, none]", "model: expected large or none, got small"),
        ("chain: [small, large]", "chain: expected small -> large, got small"),
        ("chain: []", "chain: expected none, got small"),
        ("dropped: {small: context}", "dropped.small: expected `context`, got not dropped"),
        ("edges: {cache: hit}", "edges.cache: expected hit, got miss"),
        ("headers: {x-sidecar-tier: expert}", "headers.x-sidecar-tier: expected expert, got simple"),
        ("headers: {x-tier: expert}", "headers.x-tier: expected expert, got no such header"),
        ("refusal: {status: 429}", "refusal: expected a refusal, got none"),
        ("plan: {retries: 9}", "plan.retries: expected 9, got 1"),
        ("plan: {idle: 61s}", "plan.idle: expected 61s, got 60s"),
        ("plan: {hedge: p95}", "plan.hedge: expected p95, got off"),
        ("plan: {failures: {tls: retry}}", "plan.failures.tls: expected retry, got fall_back"),
        ("plan: {failures: {too_large: retry}}", "plan.failures.too_large: expected retry, got fail"),
        ("cache: {result: hit}", "cache.result: expected hit, got miss"),
        ("cache: {ttl: 2h}", "cache.ttl: expected 2h, got 3600s"),
    ],
)
def test_every_expectation_can_fail(sidecar: Sidecar, here: Path, expect: str, said: str) -> None:
    cases(here, f"{{name: a, expect: {{{expect}}}}}")
    ran = sidecar("test")
    assert ran.code == 1 and ran.out.splitlines()[1].endswith(f": {said}"), ran.out + ran.err


@pytest.mark.parametrize(
    ("refusal", "said"),
    [
        ("status: 400", "status: expected 400, got 404"),
        ("code: gone", "code: expected gone, got model_not_found"),
        ("message: gone", "message: expected `gone`, got `The model `nothing` does not exist here; "),
        ("param: prompt", "param: expected prompt, got model"),
        ("retry_after: 5", "retry_after: expected 5, got none"),
    ],
)
def test_every_part_of_a_refusal_can_fail(sidecar: Sidecar, here: Path, refusal: str, said: str) -> None:
    cases(here, f"{{name: a, request: {{model: nothing}}, expect: {{refusal: {{{refusal}}}}}}}")
    ran = sidecar("test")
    assert ran.code == 1 and f": refusal.{said}" in ran.out.splitlines()[1], ran.out + ran.err


def test_defaults_and_tables(sidecar: Sidecar, here: Path) -> None:
    (here / "policies" / "route_test.yaml").write_text(
        "kind: test\n"
        "defaults: {request: {prompt: Hello., headers: {x-sidecar-task: legal}}, expect: {outcome: execute}}\n"
        "cases:\n"
        "  - {name: as the defaults say, expect: {rule: short}}\n"
        "  - {name: laid over, request: {last_tokens: 20}, expect: {rule: tagged}}\n"
        "  - name: table\n"
        "    expect: {rule: none}\n"
        "    table:\n"
        "      columns: [request.last_tokens, request.headers.x-sidecar-task, expect.rule]\n"
        "      rows:\n"
        "        - [19, null, short]\n"
        "        - [20, null, tagged]\n"
        "        - [20, other, null]\n"
        "        - [20, other, short]\n"
    )
    ran = sidecar("test")
    assert ran.out.splitlines()[:2] == [
        "policies/route_test.yaml:14:11: FAILED table[4]",
        "  policies/route_test.yaml:14:23: rule: expected short, got none",
    ]
    assert ran.out.splitlines()[-1].startswith("failed: 1 of 6 cases")


def test_names_of_files_and_cases_are_made_printable(sidecar: Sidecar, here: Path) -> None:
    cases(here, '{name: "a\\e[31m\\nb", expect: {tier: expert}}')
    ran = sidecar("test")
    assert "\x1b" not in ran.out and "FAILED a\\x1b[31m\\x0ab" in ran.out
    assert sidecar("test", "--format", "github").out.count("\n") == 2
    assert sidecar("test", "--junit", "out.xml").code == 1 and ET.parse(here / "out.xml")


def test_several_gateways_at_once(sidecar: Sidecar, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    ran = sidecar("test", "gateway.yaml", "examples/failover", "examples/kubernetes-jwt", "examples/providers")
    assert ran.code == 0 and ran.out.startswith("ok: ") and not ran.err


def test_the_shipped_cases_take_every_rule_and_edge(sidecar: Sidecar, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    ran = sidecar("test", "--coverage", "--fail-under", "100")
    assert ran.code == 0, ran.out
    assert int(ran.out.split()[1]) >= 100


def test_a_gateway_does_not_read_cases(sidecar: Sidecar, here: Path) -> None:
    before = json.loads(sidecar("show").out)
    (here / "policies" / "route_test.yaml").write_text("kind: nothing\n")
    assert json.loads(sidecar("show").out) == before


def test_watch_runs_again_until_it_is_stopped(here: Path) -> None:
    environ = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "sidecar", "test", "--watch"]
    with subprocess.Popen(command, cwd=here, env=environ, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("ok: 1 case")
        while (line := _changed(here, process.stdout)) == "\n":
            continue
        assert "FAILED long ones" in line
        process.send_signal(signal.SIGINT)
        process.stdout.read()
    assert process.returncode == 130


def _changed(here: Path, out: io.TextIOBase) -> str:
    """The next line after an edit. Written until it is noticed: the watching begins some time after the first run."""
    import select

    number = 0
    while not select.select([out], [], [], 0.2)[0]:
        number += 1
        (here / "policies" / "route_test.yaml").write_text(f"{BAD}# {number}\n")
    return out.readline()

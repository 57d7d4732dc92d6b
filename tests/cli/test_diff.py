"""`sidecar diff` as a person calls it: two policies, or revisions, in; what is printed and the exit code out."""

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from .conftest import Sidecar

ROOT = Path(__file__).parents[2]
GOLDENS = Path(__file__).parent / "diff"
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
aliases: {quick: "auto:speed"}
"""
FILES = {
    "gateway.yaml": GATEWAY,
    "policies/classify.yaml": """\
kind: classify
tiers: [simple, expert]
rules:
  - {name: tagged, when: task == "legal", tier: expert}
  - {name: short, when: last_tokens < 20, tier: simple}
  - {name: thinks, when: reasoning, tier: expert}
default: expert
""",
    "policies/score.yaml": """\
kind: score
strategy: cost
tiers:
  simple: {models: [small], output_tokens: 100}
  expert: {models: [large]}
""",
    "policies/doors.yaml": f"""\
kind: rate_limit
limits: [{{per: key, requests: 60/m}}]
---
kind: authenticate
keys: [{{name: app, tenant: acme, hash: "sha256:{"0" * 64}"}}]
---
kind: fallback
chains: {{small: [large]}}
---
kind: budget
budgets: [{{name: daily, limit: 10, window: day}}]
""",
    "policies/route_test.yaml": """\
kind: test
cases:
  - {name: short ones, request: {last_tokens: 19}, expect: {rule: short}}
""",
}
CORPUS = '{"messages": [{"role": "user", "content": "Hello."}], "max_tokens": 400}\n'


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two folders with the same policy, and a corpus of one request."""
    monkeypatch.delenv("SIDECAR_CONFIG", raising=False)
    monkeypatch.chdir(tmp_path)
    for side in ("old", "new"):
        for name, text in FILES.items():
            (tmp_path / side / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / side / name).write_text(text)
    (tmp_path / "asked.jsonl").write_text(CORPUS)
    return tmp_path


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


CHANGES = [
    ("classify", "last_tokens < 20", "last_tokens < 2", "~ rules.short.when: last_tokens < 20 -> last_tokens < 2"),
    (
        "classify",
        "  - {name: thinks, when: reasoning, tier: expert}\n",
        "",
        "- rules.thinks: {name: thinks, when: reas",
    ),
    (
        "classify",
        "when: reasoning, tier: expert",
        "when: reasoning, tier: simple",
        "~ rules.thinks.tier: expert -> sim",
    ),
    ("classify", "name: thinks", "name: ponders", "+ rules.ponders: {name: ponders, when: reasoning, tier: expert}"),
    ("classify", "default: expert", "default: simple", "~ default: expert -> simple"),
    ("score", "models: [small]", "models: [small, large]", "~ tiers.simple.candidates: [small] -> [large, small]"),
    ("score", "strategy: cost", "strategy: speed", "~ strategy: cost -> speed"),
    ("score", "strategy: cost", "weights: {cost: 50}", "~ weights.cost: 40 -> 50"),
    ("score", "output_tokens: 100", "output_tokens: 200", "~ tiers.simple.output_tokens: 100 -> 200"),
    ("doors", "{small: [large]}", "{small: []}", "~ chains.small: [large] -> []"),
    ("doors", "60/m", "50/m", "~ limits.per key.requests: 60/m -> 50/m"),
    ("doors", "limit: 10", "limit: 20", "~ budgets.daily.limit: 10 -> 20"),
    ("doors", "tenant: acme", "tenant: other", "~ tenant: acme -> other"),
    ("doors", "kind: fallback\n", "kind: fallback\nretries: 3\n", "~ retries: 1 -> 3"),
    ("doors", "kind: fallback\n", "kind: fallback\ntimeouts: {idle: 5s}\n", "~ timeouts.idle: 60s -> 5s"),
    (
        "doors",
        "kind: rate_limit\n",
        "kind: rate_limit\non: {limited: authenticate}\n",
        "~ rate_limit.limited: refuse -> ",
    ),
    ("doors", "kind: rate_limit\n", "kind: rate_limit\nenabled: false\n", "- the whole stage: {limits: "),
]


@pytest.mark.parametrize(("file", "before", "after", "said"), CHANGES)
def test_one_change_is_one_line(sidecar: Sidecar, here: Path, file: str, before: str, after: str, said: str) -> None:
    edit(here / "new" / "policies" / f"{file}.yaml", before, after)
    ran = sidecar("diff", "old", "new", "--corpus", "asked.jsonl")
    assert ran.code == 0 and not ran.err
    assert any(line.strip().startswith(said) for line in ran.out.splitlines()), ran.out
    assert sidecar("diff", "old", "new", "--corpus", "asked.jsonl", "--exit-code").code == 1


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        ("input: 0.1, output: 0.1", "input: 0.2, output: 0.1", "~ small.price.input: 0.1 -> 0.2"),
        ("attic: {protocol: ollama}", "attic: {protocol: ollama, enabled: false}", "~ attic.enabled: true -> false"),
        ("auto:speed", "auto:cost", "~ quick: auto:speed -> auto:cost"),
        ("aliases: {", "aliases: {best: large, ", "+ best: large"),
        ('api_key: "${HOUSE_KEY}"', "headers: {x-a: hidden-thing}", "~ house.headers: {} -> (not shown)"),
        (
            "http://127.0.0.1:1/v1",
            "http://me:hidden-thing@127.0.0.1:1/v1",
            "~ house.base_url: http://127.0.0.1:1/v1 -> http://***@",
        ),
    ],
)
def test_the_gateway(sidecar: Sidecar, here: Path, before: str, after: str, said: str) -> None:
    edit(here / "new" / "gateway.yaml", before, after)
    ran = sidecar("diff", "old", "new", "--corpus", "asked.jsonl")
    assert any(line.strip().startswith(said) for line in ran.out.splitlines()), ran.out
    for format_ in ("text", "json", "github", "markdown"):
        assert "hidden-thing" not in sidecar("diff", "old", "new", "--format", format_).out


def test_text_is_no_meaning(sidecar: Sidecar, here: Path) -> None:
    """Other spaces, comments, quotes and files; a default written out."""
    doors = (here / "new" / "policies" / "doors.yaml").read_text()
    (here / "new" / "policies" / "doors.yaml").unlink()
    (here / "new" / "policies" / "d.yaml").write_text("# moved\n" + doors.replace("name: app", "'name':   'app'"))
    edit(here / "new" / "policies" / "classify.yaml", "kind: classify\n", "kind: classify\nenabled: true\n")
    ran = sidecar("diff", "old", "new", "--exit-code")
    (first, second) = ran.out.splitlines()
    assert ran.code == 0 and second == "no semantic difference" and first.split()[1] == first.split()[3], ran.out
    (here / "new" / "policies" / "d.yaml").rename(here / "new" / "policies" / "z.yaml")
    ran = sidecar("diff", "old", "new", "--exit-code")
    assert ran.code == 0 and "no semantic difference: only the order of documents" in ran.out, ran.out


def test_order_of_rules(sidecar: Sidecar, here: Path) -> None:
    tagged = '  - {name: tagged, when: task == "legal", tier: expert}\n'
    edit(here / "new" / "policies" / "classify.yaml", tagged, "")
    edit(here / "new" / "policies" / "classify.yaml", "default:", f"{tagged}default:")
    ran = sidecar("diff", "old", "new")
    moved = [line for line in ran.out.splitlines() if line.startswith("  >")]
    assert moved == ["  > rules.tagged: first -> after thinks"]
    assert "legal" not in ran.out or "requests move" in ran.out


def test_keys_come_and_go_without_their_hashes(sidecar: Sidecar, here: Path) -> None:
    doors = here / "new" / "policies" / "doors.yaml"
    edit(doors, "0" * 64, "1" * 64)
    edit(doors, "keys: [", f'keys: [{{name: other, tenant: b, hash: "sha256:{"2" * 64}"}}, ')
    for format_ in ("text", "json", "github", "markdown"):
        out = sidecar("diff", "old", "new", "--format", format_).out
        assert "other" in out and not any(digit * 8 in out for digit in "012")
    assert "~ hash: (not shown) -> (not shown)" in sidecar("diff", "old", "new").out


def test_the_effect_in_exact_money(sidecar: Sidecar, here: Path) -> None:
    edit(here / "new" / "policies" / "classify.yaml", "last_tokens < 20", "last_tokens < 2")
    data = json.loads(sidecar("diff", "old", "new", "--corpus", "asked.jsonl", "--format", "json").out)
    tests, asked = data["effects"]
    assert (tests["corpus"], tests["requests"], tests["moved"], tests["cost"]) == ("test cases", 1, 1, None)
    assert (asked["corpus"], asked["requests"], asked["moved"]) == ("asked.jsonl", 1, 1)
    (move,) = asked["moves"]
    assert (move["old"]["model"], move["new"]["model"], move["example"]) == ("small", "large", "asked.jsonl:1")
    # 6 tokens in; out 50, 100 as the tier expects, 400 as the caller allows; 0.1 and 10 USD a million.
    assert asked["cost"]["old"] == {"low": 5_600, "expected": 10_600, "high": 40_600}
    assert asked["cost"]["new"] == {"low": 560_000, "expected": 1_060_000, "high": 4_060_000}
    assert asked["cost"]["change"] == {"low": 554_400, "expected": 1_049_400, "high": 4_019_400}


def test_refusals_gained_and_lost(sidecar: Sidecar, here: Path) -> None:
    edit(here / "new" / "policies" / "classify.yaml", "default: expert", "default: expert\non: {simple: refuse}")
    arguments = ("--corpus", "asked.jsonl")
    out = sidecar("diff", "old", "new", *arguments).out
    assert "~ classify.simple: score -> refuse" in out
    assert "asked.jsonl: 1 of 1 requests move, 1 now refused\n" in out
    assert "simple: small -> refused: refused_by_policy" in out
    assert "1 no longer refused" in sidecar("diff", "new", "old", *arguments).out
    assert "::warning " in sidecar("diff", "old", "new", *arguments, "--format", "github").out


def test_the_corpus_may_be_a_batch(sidecar: Sidecar, here: Path) -> None:
    body = json.loads(CORPUS)
    (here / "asked.jsonl").write_text(
        json.dumps({"custom_id": "1", "headers": {"X-Sidecar-Task": "legal"}, "body": body})
    )
    edit(here / "new" / "policies" / "classify.yaml", 'task == "legal"', 'task == "none"')
    assert "expert: large -> simple: small" in sidecar("diff", "old", "new", "--corpus", "asked.jsonl").out


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", ":1: not JSON"),
        ("[]", ":1: no gateway would take this request"),
        ('{"body": {}, "headers": {"a": 1}}', ":1: `headers` must be an object of texts"),
        ("\n", ": no request in it"),
        (None, ": No such file"),
    ],
)
def test_a_corpus_that_cannot_be_read(sidecar: Sidecar, here: Path, text: str | None, said: str) -> None:
    (here / "asked.jsonl").unlink() if text is None else (here / "asked.jsonl").write_text(text)
    ran = sidecar("diff", "old", "new", "--corpus", "asked.jsonl")
    assert ran.code == 2 and f"asked.jsonl{said}" in ran.err, ran.err


def test_cases_of_both_sides(sidecar: Sidecar, here: Path) -> None:
    """A case may name a rule that only one side has; one that is gone is still tried."""
    edit(
        here / "new" / "policies" / "classify.yaml",
        "name: short, when: last_tokens < 20",
        "name: tiny, when: last_tokens < 9",
    )
    edit(here / "new" / "policies" / "route_test.yaml", "short ones, request: {last_tokens: 19}, expect: {rule: short}",
         "tiny ones, request: {last_tokens: 8}, expect: {rule: tiny}")  # fmt: skip
    ran = sidecar("diff", "old", "new", "--corpus", "asked.jsonl")
    assert not ran.err and "test cases: 1 of 2 requests move\n" in ran.out
    assert "simple: small -> expert: large  (such as short ones)" in ran.out
    edit(here / "new" / "policies" / "route_test.yaml", "rule: tiny", "rule: none-such")
    assert sidecar("diff", "old", "new").err.startswith("note: 1 findings in files of cases")


def test_somebody_asks_where_nobody_is_let_in_without_a_key(sidecar: Sidecar, here: Path) -> None:
    for side in ("old", "new"):
        doors = here / side / "policies" / "doors.yaml"
        edit(doors, "kind: authenticate\n", "kind: authenticate\nanonymous: never\n")
        edit(doors, "name: app", f"name: {side}")
    edit(here / "new" / "policies" / "classify.yaml", "last_tokens < 20", "last_tokens < 2")
    assert "simple: small -> expert: large" in sidecar("diff", "old", "new", "--corpus", "asked.jsonl").out
    edit(here / "old" / "policies" / "doors.yaml", "anonymous: never", "anonymous: loopback")
    assert "1 now refused" in sidecar("diff", "old", "new", "--corpus", "asked.jsonl").out


SHIPPED = {
    "threshold": ("policies/classify.yaml", "tokens > 30000", "tokens > 10000"),
    "tier": ("policies/score.yaml", "max_quality: 45", "max_quality: 40"),
    "provider": ("gateway.yaml", "api_key: ${ANTHROPIC_API_KEY}", "api_key: ${ANTHROPIC_API_KEY}\n    enabled: false"),
    "retries": ("policies/fallback.yaml", "retries: 1", "retries: 2"),
}


@pytest.mark.parametrize("format_", ["text", "markdown", "github"])
@pytest.mark.parametrize("name", SHIPPED)
def test_goldens_of_the_shipped_policy(
    sidecar: Sidecar, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest,
    name: str, format_: str,
) -> None:  # fmt: skip
    for side in ("main", "branch"):
        # Without their cases: those change more often than what this is about.
        ignored = shutil.ignore_patterns("*_test.yaml")
        shutil.copytree(ROOT / "policies", tmp_path / side / "policies", ignore=ignored)
        shutil.copy(ROOT / "gateway.yaml", tmp_path / side)
    monkeypatch.chdir(tmp_path)
    file, before, after = SHIPPED[name]
    edit(tmp_path / "branch" / file, before, after)
    # Hashes are of every field there is: a new one, with a default, changes them.
    out = re.sub(r"\b[0-9a-f]{12}\b", "<hash>", sidecar("diff", "main", "branch", "--format", format_).out)
    golden = GOLDENS / f"{name}.{'md' if format_ == 'markdown' else format_ + '.txt'}"
    if request.config.getoption("--update-golden"):
        golden.write_text(out, encoding="utf-8")
    assert out == golden.read_text(encoding="utf-8")


def git(folder: Path, *arguments: str) -> None:
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false")
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def repository(here: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`new` as a repository with the policy in its folder `deploy`, and one commit."""
    folder = here / "repo"
    shutil.copytree(here / "new", folder / "deploy")
    git(here, "init", "-q", "-b", "main", str(folder))
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "first")
    monkeypatch.chdir(folder / "deploy")
    return folder


def test_revisions(sidecar: Sidecar, repository: Path) -> None:
    assert "no semantic difference" in sidecar("diff").out
    edit(repository / "deploy" / "policies" / "score.yaml", "strategy: cost", "strategy: speed")
    said = "~ strategy: cost -> speed"
    for arguments in ((), ("main",), ("main:deploy/gateway.yaml",), ("main:./gateway.yaml",), ("HEAD", "gateway.yaml")):
        ran = sidecar("diff", *arguments)
        assert said in ran.out and ran.code == 0, (arguments, ran)
    git(repository, "commit", "-qam", "second")
    assert "no semantic difference" in sidecar("diff").out
    ran = sidecar("diff", "HEAD~1", "main", "--format", "github")
    assert "::notice file=deploy/policies/score.yaml,line=2,col=1," in ran.out, ran.out
    assert "~ strategy: speed -> cost" in sidecar("diff", "main", "HEAD~1").out


def test_errors_of_a_revision_name_it(sidecar: Sidecar, repository: Path) -> None:
    edit(repository / "deploy" / "policies" / "score.yaml", "strategy: cost", "strategy: cots")
    git(repository, "commit", "-qam", "broken")
    ran = sidecar("diff", "HEAD", "HEAD~1")
    assert ran.code == 1 and ran.err.startswith("HEAD:deploy/policies/score.yaml:2:11: error[unknown-strategy]: ")
    assert "sidecar-old-" not in ran.err
    ran = sidecar("diff", "HEAD", "HEAD~1", "--format", "github")
    assert ran.code == 1 and ran.out.startswith("::error file=deploy/policies/score.yaml,line=2,col=11,")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nothing",), "nothing: no such file, and no such revision"),
        (("HEAD:other.yaml",), "revision `HEAD` has no other.yaml"),
        (("HEAD:../x",), "is not in the repository"),
        (("--config", "/etc/hosts"), "is not in the repository"),
        (("HEAD", "policies"), "policies: no gateway.yaml in it"),
    ],
)
def test_what_cannot_be_read(sidecar: Sidecar, repository: Path, arguments: tuple[str, ...], said: str) -> None:
    ran = sidecar("diff", *arguments)
    assert ran.code == 2 and said in ran.err and not ran.out, ran


def test_outside_of_a_repository(sidecar: Sidecar, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(here.parent))
    ran = sidecar("diff", "main")
    assert (ran.code, ran.err) == (2, "sidecar diff: main: no such file, and this is no git repository\n")


def test_links_of_a_revision_stay_inside(sidecar: Sidecar, repository: Path, here: Path) -> None:
    (here / "outside.yaml").write_text("kind: score\nname: outside\n")
    (repository / "deploy" / "policies" / "out.yaml").symlink_to(here / "outside.yaml")
    (repository / "deploy" / "policies" / "in.yaml").symlink_to("../../shared.yaml")
    (repository / "shared.yaml").write_text("kind: cache\nttl: 7m\n")
    git(repository, "add", ".")
    git(repository, "commit", "-qm", "links")
    ran = sidecar("diff", "HEAD~1", "HEAD")
    assert "~ ttl: 1h -> 7m" in ran.out and "outside" not in ran.out, ran


def test_markdown_is_not_read_out_of_a_policy(sidecar: Sidecar, here: Path) -> None:
    hostile = "'task == \"</code><img src=x> | @everybody `x` [a](b)\"'"
    edit(here / "new" / "policies" / "classify.yaml", 'task == "legal"', hostile)
    out = sidecar("diff", "old", "new", "--format", "markdown").out
    assert "<img" not in out and "@everybody" not in out and "](b)" not in out
    (row,) = [line for line in out.splitlines() if "rules.tagged.when" in line]
    assert row.count("|") == 5


def test_the_same_every_time(sidecar: Sidecar, here: Path) -> None:
    edit(here / "new" / "policies" / "score.yaml", "strategy: cost", "strategy: speed")
    runs: set[Any] = {sidecar("diff", "old", "new", "--format", "json").out for _ in range(2)}
    assert len(runs) == 1

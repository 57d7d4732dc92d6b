"""`kind: classify`: which rule decides, what a rule may say, and what is refused before it can go wrong."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.conditions import Condition, FirstMatch, context
from sidecar.features import TEXT_LIMIT, Features

from .decide import codes, decide, graph, request

TIERS = "kind: classify\ntiers: [low, mid, high]\ndefault: mid\n"


def tier(when: str, body: dict[str, Any] | None = None, **more: Any) -> str:
    """`high` when one rule holds, else the default."""
    text = f"{TIERS}rules:\n  - name: it\n    when: >-\n      {when}\n    tier: high\n"
    return decide(graph(text), body, **more)[1].tier


def test_the_first_rule_that_holds_decides() -> None:
    compiled = graph(
        TIERS + "rules:\n"
        "  - {name: one, when: tokens > 100, tier: high}\n"
        "  - {name: two, when: tokens > 10, tier: low}\n"
        "  - {name: three, when: 'true', tier: mid}\n"
    )
    for size, rule, got in ((800, "one", "high"), (80, "two", "low"), (1, "three", "mid")):
        _, call = decide(compiled, request("x" * size))
        assert (call.rule, call.tier) == (rule, got)
        assert ("classify", got) in call.trace


def test_no_rule_holds() -> None:
    _, call = decide(graph(TIERS + "rules: [{name: r, when: tokens > 1000, tier: high}]\n"))
    assert (call.rule, call.tier) == ("", "mid")
    assert ("classify", "abstain") in call.trace


def test_a_model_by_name_is_not_classified() -> None:
    text = TIERS + "rules: [{name: r, when: 'true', tier: high}]\n"
    _, call = decide(graph(text), request() | {"model": "small"})
    assert (call.rule, call.tier) == ("", "") and ("classify", "pinned") in call.trace
    _, call = decide(graph(text), request() | {"model": "auto:cost"})
    assert call.tier == "high"


@pytest.mark.parametrize(
    ("when", "body", "headers", "holds"),
    [
        ('task in ["a", "b"]', {}, {"x-sidecar-task": "b"}, True),
        ('headers["x-app"] == "shop"', {}, {"x-app": "shop"}, True),
        ('headers["x-app"] == "shop"', {}, {}, False),
        ('headers["x-app"] != "shop"', {}, {}, False),  # nothing is known of what is not there
        ('!(headers["x-app"] == "shop")', {}, {}, False),
        ('"x-app" in headers', {}, {"x-app": ""}, True),
        ('headers.exists(name, name.startsWith("x-a"))', {}, {"x-app": ""}, True),
        ('headers["x-app"] == "shop" || tokens > 0', {}, {}, True),
        ('labels.team == "legal"', {}, {}, False),
        ("has(labels.team)", {}, {}, False),
        ('text.contains("ell")', {}, {}, True),
        ('text.matches("^h.*o$")', {}, {}, True),
        ("size(text) == 5 && turns == 1 && messages == 1", {}, {}, True),
        ('["hello", "world"].exists(word, word == text)', {}, {}, True),
        ("[1, 2, 3].filter(n, n > turns).size() == 2", {}, {}, True),
        ("tools > 0", {"tools": [{"type": "function", "function": {"name": "f"}}]}, {}, True),
        ("json_object || json_schema", {"response_format": {"type": "json_object"}}, {}, True),
        ('reasoning && reasoning_effort == "low"', {"reasoning_effort": "low"}, {}, True),
        ("temperature == 0 && choices == 2 && stream", {"temperature": 0, "n": 2, "stream": True}, {}, True),
        ("max_tokens > 9000000000000000000", {"max_tokens": 10**30}, {}, True),
        ('model == "auto"', {}, {}, True),
        ("1000 / (tokens - tokens) > 0", {}, {}, False),  # a division by nothing is no rule that holds
        ("tokens * 9223372036854775807 > 0", {"messages": [{"role": "user", "content": "x" * 99}]}, {}, False),
        ("int(task) > 3", {}, {"x-sidecar-task": "four"}, False),
        ("int(task) > 3", {}, {"x-sidecar-task": "4"}, True),
    ],
)
def test_what_a_rule_may_say(when: str, body: dict[str, Any], headers: dict[str, str], holds: bool) -> None:
    assert tier(when, request() | body, headers=headers) == ("high" if holds else "mid")


def test_labels_are_those_of_the_key() -> None:
    keys = (
        "kind: authenticate\nanonymous: never\nkeys:\n"
        f"  - {{name: app, hash: 'sha256:{'ab' * 32}', tenant: acme, labels: {{team: legal}}}}\n"
    )
    rule = 'labels.team == "legal" && tenant == "acme" && key == "app"'
    compiled = graph(keys, f"{TIERS}rules: [{{name: r, when: '{rule}', tier: high}}]\n")
    _, call = decide(compiled, credential="gw_x", digest=bytes.fromhex("ab" * 32))
    assert call.tier == "high"


def test_patterns_are_names_in_rules() -> None:
    text = TIERS + (
        "patterns:\n  proof: '(?i)\\bprove\\b'\n  unused: 'x'\n"
        "rules: [{name: r, when: proof && tokens < 100, tier: high}]\n"
    )
    assert decide(graph(text), request("Prove it."))[1].tier == "high"
    assert decide(graph(text), request("Proven."))[1].tier == "mid"


def test_only_the_beginning_of_a_long_text_is_looked_at() -> None:
    text = TIERS + "patterns: {needle: needle}\nrules: [{name: r, when: needle, tier: high}]\n"
    assert decide(graph(text), request("x" * (TEXT_LIMIT - 6) + "needle"))[1].tier == "high"
    assert decide(graph(text), request("x" * (TEXT_LIMIT - 5) + "needle"))[1].tier == "mid"
    assert tier(f"size(text) == {TEXT_LIMIT}", request("x" * 100_000)) == "high"


def test_the_last_user_message_is_what_is_looked_at() -> None:
    body = {
        "model": "auto",
        "messages": [
            {"role": "user", "content": "first"},
            {"role": "assistant", "content": "needle"},
            {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
            {"role": "tool", "content": "needle", "tool_call_id": "1"},
        ],
    }
    assert tier('text == "a\\nb" && turns == 2 && tool_results == 1', body) == "high"


@pytest.mark.parametrize(
    "when",
    [
        "tokens > '5'",
        "tokens + 1",
        "nobody > 5",
        "task = 'x'",
        "tokens > 5 and stream",
        "task == 'rare' && user > 3",  # only looked at when the task is this one
        "labels.team > 5",
        "headers['X-App'] == 'shop'",
        "text.matches('(')",
        "shout(text) == 'A'",
        "(" * 200 + "true" + ")" * 200,
        "[1].exists(token, token > 0) && token > 5",
    ],
)
def test_what_can_never_work_is_found_beforehand(when: str) -> None:
    text = f'{TIERS}rules:\n  - name: it\n    when: "{when}"\n    tier: high\n'
    assert codes(text) == [("bad-condition", 6)]


def test_every_bad_rule_is_found_at_once() -> None:
    text = TIERS + (
        "rules:\n"
        "  - {name: a, when: tokens >, tier: high}\n"
        "  - {name: b, when: task, tier: hihg}\n"
        "  - {name: a, when: 'true', tier: low}\n"
        "patterns: {p: '('}\n"
    )
    assert codes(text) == [
        ("bad-condition", 5), ("bad-condition", 6), ("unknown-tier", 6), ("duplicate-name", 7), ("bad-pattern", 8),
    ]  # fmt: skip


def test_a_tier_the_policy_refuses() -> None:
    text = TIERS + "rules: [{name: r, when: 'true', tier: high}]\non: {high: refuse}\n"
    end, call = decide(graph(text))
    assert end == "refuse" and call.refusal is not None
    assert (call.refusal.status, call.refusal.code) == (403, "refused_by_policy")
    assert call.refusal.message == "The policy refuses this request: `high` at `classify`."


POOL = (
    "tokens > 5",
    "stream",
    'task == "a"',
    'headers["x"] == "b"',
    "1 / tokens == 1",
    "int(task) > 3",
    "tokens < 3 // few",
    "(" * 60 + "stream" + ")" * 60,
    "true",
)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.sampled_from(POOL[:-1]), max_size=80).flatmap(lambda few: st.just(few) | st.just([*few, "true"])),
    st.builds(
        Features,
        tokens=st.integers(0, 10),
        stream=st.booleans(),
        task=st.sampled_from(["", "a", "4"]),
        headers=st.sampled_from([{}, {"x": "b"}]),
    ),
)
def test_asking_many_at_once_is_asking_one_by_one(sources: list[str], features: Features) -> None:
    conditions = [COMPILED[source] for source in sources]
    shared = context(features, ("tokens", "stream", "task", "headers"), {})
    alone = next((place for place, one in enumerate(conditions) if one.holds(shared)), -1)
    assert FirstMatch(conditions, {}).index(features) == alone


COMPILED = {source: Condition(source) for source in POOL}


def test_a_rule_may_be_nested_as_deeply_as_the_parser_goes() -> None:
    for depth in (50, 70, 90, 95, 100):
        text = TIERS + f"rules: [{{name: r, when: {'(' * depth}true{')' * depth}, tier: high}}]\n"
        assert codes(text) in ([], [("bad-condition", 4)])
    assert tier("(" * 80 + "true" + ")" * 80) == "high"

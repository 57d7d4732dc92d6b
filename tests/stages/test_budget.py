"""Budgets in the decision: whom they apply to, whose account it is, what is dropped, and when it comes back."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sidecar.call import Call
from sidecar.chat import ChatRequest, FailureKind, Usage
from sidecar.engine.explain import explain
from sidecar.engine.trial import Asked, World
from sidecar.graph import Graph
from sidecar.registry.price import NANO
from sidecar.spec import in_words
from sidecar.stores.base import Principal, State
from sidecar.surfaces.openai_chat import OpenAIChat

from .decide import MODELS, OPEN, chain, decide, graph, request, state

MIDDAY = 1_774_958_400.0  # 2026-03-31 12:00 UTC
TWELVE_HOURS = 12 * 3600


def budget(*entries: str, more: str = "") -> str:
    lines = "".join(f"  - {{{entry}}}\n" for entry in entries)
    return f"kind: budget\n{more}budgets:\n{lines}"


DAY = "name: all, limit: 1, window: day"


def ask(compiled: Graph, stores: State, now: float = MIDDAY, **fields: Any) -> tuple[str, Call]:
    return decide(compiled, request(**{"max_tokens": 100, **fields}), stores=stores, now=now)


def spend(call: Call, usd: float, attempt: int = 1) -> None:
    """One attempt of the first model, at this cost."""
    assert call.purse is not None
    assert call.purse.enter(call.chain[0], attempt) is None
    call.purse.leave(attempt, Usage(), int(usd * NANO))


def test_nobody_has_the_stage_who_did_not_write_it() -> None:
    assert "budget" not in graph(OPEN).nodes
    end, call = decide(graph(OPEN))
    assert (end, call.purse, call.meters) == ("execute", None, [])


@pytest.mark.parametrize(
    ("window", "wait"),
    [("hour", 3600), ("day", TWELVE_HOURS), ("week", 5 * 86400 + TWELVE_HOURS), ("month", TWELVE_HOURS)],
)
def test_a_calendar_window_gives_all_back_at_its_end(window: str, wait: int) -> None:
    compiled, stores = graph(budget(f"name: all, limit: 1, window: {window}")), state()
    spend(ask(compiled, stores)[1], 1.0)
    end, call = ask(compiled, stores)
    assert (end, call.trace[-1]) == ("refuse", ("budget", "exceeded"))
    refusal = call.refusal
    assert refusal is not None
    assert (refusal.status, refusal.kind, refusal.code) == (429, "insufficient_quota", "budget_exceeded")
    assert refusal.retry_after == wait
    assert ask(compiled, stores, MIDDAY + wait - 1)[0] == "refuse"
    assert ask(compiled, stores, MIDDAY + wait)[0] == "execute"


def test_a_rolling_window_gives_back_as_time_passes() -> None:
    compiled, stores = graph(budget("name: all, limit: 1, window: 24h")), state()
    spend(ask(compiled, stores)[1], 0.5)
    spend(ask(compiled, stores, MIDDAY + 6 * 3600)[1], 0.5)
    end, call = ask(compiled, stores, MIDDAY + 6 * 3600)
    assert end == "refuse" and call.refusal is not None and call.refusal.retry_after is not None
    back = MIDDAY + 6 * 3600 + call.refusal.retry_after
    assert MIDDAY + 86400 <= back <= MIDDAY + 86400 + 86400 / 60
    assert ask(compiled, stores, back)[0] == "execute"
    spend(ask(compiled, stores, back)[1], 0.5)
    assert ask(compiled, stores, back)[0] == "refuse"


def who(compiled: Graph, **fields: Any) -> list[str]:
    """The accounts that a caller with these claims, labels and so on is charged to."""
    stores = state()
    principal = Principal(**{"key": "k", "tenant": "t", **fields})
    stores.keys._keys[b"x"] = principal  # type: ignore[attr-defined]
    _, call = decide(compiled, stores=stores, credential="c", digest=b"x", now=MIDDAY)
    return [] if call.purse is None else call.purse.accounts.split(",")


def test_whose_account_it_is() -> None:
    compiled = graph(
        budget(
            *(f"name: '{i}', limit: 1, window: day, per: {per}" for i, per in enumerate(["key", "tenant"])),
            "name: '2', limit: 1, window: day, per: labels.app",
            "name: '3', limit: 1, window: day, per: claims.org.team",
            "name: '4', limit: 1, window: day",
        )
    )
    assert who(compiled) == ["0|k", "1|t", "2|", "3|", "4|"]
    claims = {"org": {"team": "a,b|c%"}}
    assert who(compiled, labels={"app": "x"}, claims=claims)[2:] == ["2|x", "3|a%2Cb%7Cc%25", "4|"]
    for odd in ({"team": ["a"]}, {"team": None}, "a", {"team": "a\nb"}):
        assert who(compiled, claims={"org": odd})[3] == "3|"


def test_who_lacks_a_claim_does_not_escape() -> None:
    compiled = graph(
        budget(
            "name: alpha, limit: 1, window: day, when: 'claims.team == \"alpha\"'",
            "name: others, limit: 1, window: day, when: 'claims.team != \"alpha\"'",
            "name: known, limit: 1, window: day, when: 'has(claims.team)'",
        )
    )
    assert who(compiled, claims={"team": "alpha"}) == ["alpha|", "known|"]
    assert who(compiled, claims={"team": "beta"}) == ["others|", "known|"]
    assert who(compiled) == ["alpha|", "others|"]


PRICELESS = MODELS + "  priceless: {provider: house, context: 32000, max_output: 100, capabilities: all, quality: 90}\n"


def test_what_cannot_be_paid_for_leaves_the_chain() -> None:
    policies = (budget("name: all, limit: 0.01, window: day"), "kind: score\nstrategy: quality\n")
    compiled = graph(*policies, models=PRICELESS)
    end, call = ask(compiled, state(), max_tokens=2000)
    assert (end, [m.id for m in call.chain]) == ("execute", ["middle", "small"])
    assert ("large", "may cost more than a budget has left") in call.dropped
    chained = graph(*policies, "kind: fallback\nchains: {large: [middle]}\n", models=PRICELESS)
    assert chain(chained, request(max_tokens=2000) | {"model": "large"}) == ["middle"]
    pinned = graph(*policies, "kind: fallback\nalternatives: 0\n", models=PRICELESS)
    assert chain(pinned, request(max_tokens=2000)) == ["middle"]
    assert chain(pinned, request(max_tokens=2000) | {"model": "large"}) == ["budget_exceeded"]
    assert chain(pinned, request() | {"model": "priceless"}) == ["model_unpriced"]
    end, call = decide(pinned, request() | {"model": "priceless"})
    assert call.refusal is not None and call.refusal.status == 402


def test_a_caller_without_a_limit_is_given_one_only_when_little_is_left() -> None:
    compiled = graph(budget("name: all, limit: 1, window: day"), models=MODELS)
    for usd, limit in ((0.0, None), (0.9, 6_400), (0.93, 4_000)):
        stores = state()
        if usd:
            spend(ask(compiled, stores)[1], usd)
        asked = request() | {"model": "large", "max_tokens": None}
        end, call = decide(compiled, asked, stores=stores, now=MIDDAY)
        assert end == "execute"
        sent = json.loads(call.raw).get("max_tokens")
        assert sent == call.chat.max_tokens
        if limit is None:
            assert sent is None or sent >= 16_000
        else:
            assert sent is not None and 2048 <= sent <= limit
            assert json.loads(call.raw)["messages"] == asked["messages"]


def test_stages_of_two_names_keep_two_accounts_and_all_of_them_pay() -> None:
    first, second = budget(DAY), budget("name: all, limit: 2, window: day", more="name: later\n")
    compiled = graph(first.replace("budgets:", "on: {within: later}\nbudgets:"), second)
    stores = state()
    _, call = ask(compiled, stores)
    assert call.purse is not None and call.meters == [call.purse]
    assert call.purse.accounts == "all|,later/all|"


def test_where_the_policy_sends_what_is_used_up_it_is_still_counted() -> None:
    compiled = graph(budget(DAY, more="on: {exceeded: score}\n"))
    stores = state()
    spend(ask(compiled, stores)[1], 1.0)
    end, call = ask(compiled, stores)
    assert end == "refuse" and call.refusal is not None and call.refusal.code == "budget_exceeded"
    assert ("budget", "exceeded") in call.trace and call.trace[-1] == ("fallback", "none")


@given(
    text=st.text(max_size=200),
    parts=st.lists(st.sampled_from(["text", "image", "audio", "odd"]), max_size=3),
    most=st.integers(1, 5000),
    choices=st.integers(1, 4),
    tier=st.sampled_from([None, "default", "priority"]),
    used=st.tuples(st.floats(0, 1), st.floats(0, 1)),
)
@settings(deadline=None)
def test_no_bill_of_what_was_asked_is_above_what_was_held(
    text: str, parts: list[str], most: int, choices: int, tier: str | None, used: tuple[float, float]
) -> None:
    compiled, stores = graph(budget("name: all, limit: 1000, window: day")), state()
    content: list[Mapping[str, Any]] = [{"type": "text", "text": text}]
    content += [
        {"image": IMAGE, "audio": AUDIO, "odd": {"type": "odd"}, "text": {"type": "text", "text": "x"}}[p]
        for p in parts
    ]
    body = {"model": "large", "messages": [{"role": "user", "content": content}], "max_tokens": most, "n": choices}
    end, call = decide(compiled, body | ({} if tier is None else {"service_tier": tier}), stores=stores, now=MIDDAY)
    assert end == "execute"
    model = call.chain[0]
    assert call.purse is not None and call.purse.enter(model, 1) is None
    (account,) = stores.budgets.snapshot(MIDDAY) if stores.budgets.snapshot(MIDDAY) else [None]  # type: ignore[union-attr]
    tokens = len(text.encode("utf-8", "surrogatepass")) + 1000 * ("audio" in parts) + 1100 * parts.count("image")
    usage = Usage(min(int(tokens * used[0]), model.context), int(most * choices * used[1]), service_tier=tier or "")
    assert model.price is not None
    held = call.purse._held[1].nano  # type: ignore[attr-defined]
    assert model.price.cost(usage) <= held
    assert account is None or account.reserved == held
    call.purse.leave(1, usage, model.price.cost(usage))
    assert not call.purse._held  # type: ignore[attr-defined]


IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 5000}}
AUDIO = {"type": "input_audio", "input_audio": {"data": "AAAA" * 20, "format": "wav"}}


def test_a_refused_attempt_holds_nothing_in_any_account() -> None:
    compiled, stores = (
        graph(budget("name: wide, limit: 1, window: day", "name: tight, limit: 0.01, window: day")),
        state(),
    )
    _, call = ask(compiled, stores)
    assert call.purse is not None
    dear = next(model for model in compiled.registry.models if model.id == "large")
    call.chat.max_tokens = 5000
    failure = call.purse.enter(dear, 1)
    assert failure is not None and failure.kind is FailureKind.OVER_BUDGET and "`tight`" in failure.message
    store = stores.budgets
    assert store is not None
    _, other = ask(compiled, stores)
    spend(other, 0.0001)
    accounts = [store.find(terms, "", MIDDAY) for spec in compiled.stages for terms in getattr(spec, "terms", ())]
    assert [account.standing(MIDDAY) for account in accounts if account] == [(100_000, 0)] * 2


def test_explain_names_the_budgets_of_a_caller() -> None:
    compiled = graph(
        budget("name: all, limit: 0.5, window: day, per: tenant", "name: s, limit: 1, window: day, mode: soft")
    )
    raw = json.dumps(request()).encode()
    chat = OpenAIChat().parse(raw)
    assert isinstance(chat, ChatRequest)
    result = explain(compiled, Asked(chat, raw), World())
    assert [(b["budget"], b["subject"], b["hard"], b["left"]) for b in result.budgets] == [
        ("all", "default", True, NANO // 2),
        ("s", "", False, NANO),
    ]


def test_a_caller_is_told_what_helps() -> None:
    """When to come back as a person says it; and where waiting cannot help, only what can."""
    compiled, stores = graph(budget(DAY), "kind: fallback\nalternatives: 0\n"), state()
    spend(ask(compiled, stores)[1], 0.999)
    pinned = {"model": "large", "messages": request()["messages"]}
    told = []
    for most in (4000, 2_000_000):
        end, call = decide(compiled, {**pinned, "max_tokens": most}, stores=stores, now=MIDDAY + 100)
        assert end == "refuse" and call.refusal is not None and call.refusal.retry_after
        told.append(call.refusal.message)
    assert told[0].endswith(" Try again in 11 h 59 min, or with a smaller max_tokens.")
    assert told[1].endswith(", more than all of it. Set a smaller max_tokens.")


@pytest.mark.parametrize(
    ("length", "words"),
    [(0.0, "0.001 s"), (12.34, "12.3 s"), (119.0, "119 s"), (120.0, "2 min"), (3599.0, "60 min"), (7201.0, "2 h 1 min"),
     (33_317.0, "9 h 16 min"), (36_000.0, "10 h"), (172_800.0, "2 days"), (1_000_000.0, "12 days")],
)  # fmt: skip
def test_a_length_of_time_in_words(length: float, words: str) -> None:
    assert in_words(length) == words

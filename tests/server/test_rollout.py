"""Policies on trial, on a gateway that serves: who takes which request, and what a shadow sees and must not touch."""

import asyncio
import re
import shutil
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from math import sqrt
from pathlib import Path
from typing import Any

import httpx
import pytest
from gateway import Rows, Served, gateway
from house import CHAT, HELLO, ONCE, UP_KEY, Upstream, client, config, eventually, looped, upstream
from hypothesis import given
from hypothesis import strategies as st

from sidecar.engine.rollout import PARTS, place
from sidecar.stores import disagreements

OFF = "kind: rate_limit\nenabled: false\n"
CLASSIFY = "kind: classify\ntiers: [simple, expert]\ndefault: {}\n"
SCORE = "kind: score\ntiers:\n  simple: {models: [m1]}\n  expert: {models: [m2]}\n"
LIMIT = "kind: rate_limit\nlimits: [{per: ip, requests: %d/m}]\n"
KEYS = """\
kind: authenticate
keys:
  - {name: one, secret: "${KEY_ONE}", tenant: acme}
  - {name: two, secret: "${KEY_TWO}", tenant: other}
"""
ENVIRON = {"UP_KEY": UP_KEY, "KEY_ONE": "gw-key-of-tenant-acme", "KEY_TWO": "gw-key-of-tenant-other"}


def policies(tier: str, limit: str = OFF, **more: str) -> dict[str, str]:
    """A folder of policies that sends everything to one tier."""
    texts = {"classify": CLASSIFY.format(tier), "score": SCORE, "once": ONCE, "limit": limit}
    return {**texts, "cache": "kind: cache\nenabled: false\n", **more}


def write(folder: Path, texts: dict[str, str]) -> None:
    folder.mkdir(exist_ok=True)
    for name, text in texts.items():
        (folder / f"{name}.yaml").write_text(text)


@dataclass
class House:
    """A gateway whose policies send to m1, with policies beside them that send to m2."""

    folder: Path
    served: Served
    http: httpx.AsyncClient
    up: Upstream

    async def ask(self, *, status: int = 200, key: str | None = None, **headers: str) -> httpx.Response:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        if key is not None:
            named["authorization"] = f"Bearer {key}"
        response = await self.http.post(CHAT, json={"model": "auto", "messages": HELLO}, headers=named)
        assert response.status_code == status, response.text
        return response

    async def model(self, conversation: str) -> str:
        return (await self.ask(x_sidecar_conversation=conversation)).headers["x-sidecar-model"]

    def rollout(self, text: str) -> None:
        """Another `rollout` in gateway.yaml."""
        path = self.folder / "gateway.yaml"
        path.write_text(re.sub(r"^rollout:.*\n?", text and f"rollout: {text}\n", path.read_text(), flags=re.M))

    async def reloaded(self, outcome: str = "loaded") -> None:
        before = self.served.running.holder.last
        await eventually(lambda: self.served.running.holder.last is not before)
        assert self.served.running.holder.last.outcome == outcome, self.served.running.holder.last.text

    async def figure(self, name: str) -> float:
        text = (await self.http.get("/metrics")).text
        found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.M)
        return 0.0 if found is None else float(found[1])

    async def status(self) -> dict[str, Any]:
        found: dict[str, Any] = (await self.http.get("/status.json")).json()
        return found

    def disagreements(self) -> Rows:
        with sqlite3.connect(self.served.database) as db:
            db.row_factory = sqlite3.Row
            return [dict(row) for row in db.execute("SELECT * FROM shadow_disagreements ORDER BY id")]


@asynccontextmanager
async def house(folder: Path, rollout: str, now: dict[str, str], new: dict[str, str]) -> AsyncIterator[House]:
    async with upstream() as up:
        text = config({"up": up.url}, {"m1": "up", "m2": "up"}, gateway=f"rollout: {rollout}")
        (folder / "gateway.yaml").write_text(text.partition("\n---\n")[0].replace("policies: []", "policies: [now]"))
        write(folder / "now", now)
        write(folder / "next", new)
        async with gateway(folder, ENVIRON) as served, client(served.url) as http:
            yield House(folder, served, http, up)


# --- who takes which request -------------------------------------------------------------------------------------


@given(st.text(max_size=40), st.integers(0, PARTS), st.integers(0, PARTS))
def test_a_larger_share_lets_go_of_nobody(who: str, few: int, many: int) -> None:
    few, many = sorted((few, many))
    assert 0 <= place("s", "conversation", who) < PARTS
    assert place("s", "conversation", who) >= few or place("s", "conversation", who) < many


def test_places_stay_where_they_are_in_every_process_and_version() -> None:
    assert [place("canary ", "conversation", who) for who in ("a", "b", "c", "\ud800")] == [5901, 2102, 193, 7115]


@pytest.mark.parametrize("percent", [1, 10, 50])
def test_a_share_of_many_conversations_is_that_share(percent: int) -> None:
    asked = 20_000
    taken = sum(place("canary ", "conversation", f"c{n}") < percent * 100 for n in range(asked))
    expected, spread = asked * percent / 100, sqrt(asked * percent / 100 * (1 - percent / 100))
    assert abs(taken - expected) < 3 * spread


@looped
async def test_the_canary_takes_its_share_and_a_conversation_stays(tmp_path: Path) -> None:
    rollout = "{canary: {policies: [next], percent: 25}}"
    async with house(tmp_path, rollout, policies("simple"), policies("expert")) as h:
        names = [f"c{n}" for n in range(40)]
        first = [await h.model(name) for name in names]
        assert first == ["m2" if place("canary ", "conversation", name) < 2500 else "m1" for name in names]
        assert set(first) == {"m1", "m2"}
        h.rollout("{canary: {policies: [next], percent: 60}}")
        await h.reloaded()
        more = [await h.model(name) for name in names]
        assert all(after == "m2" for before, after in zip(first, more, strict=True) if before == "m2")
        assert more.count("m2") > first.count("m2")
        h.rollout("{canary: {policies: [next], percent: 25}}")
        await h.reloaded()
        assert [await h.model(name) for name in names] == first


@looped
async def test_both_sides_show_in_headers_ledger_metrics_and_status(tmp_path: Path) -> None:
    rollout = '{canary: {policies: [next], when: \'headers["x-side"] == "new"\'}}'
    async with house(tmp_path, rollout, policies("simple"), policies("expert")) as h:
        old, new = await h.ask(), await h.ask(x_side="new")
        status = await h.status()
        for answer, model, policy in (
            (old, "m1", status["policy"]),
            (new, "m2", status["rollout"]["canary"]["policy"]),
        ):
            assert answer.headers["x-sidecar-policy"] == policy[:12]
            [row] = await h.served.rows(answer.headers["x-request-id"])
            assert (row["model"], row["policy"]) == (model, policy[:12])
        assert old.headers["x-sidecar-policy"] != new.headers["x-sidecar-policy"]
        for role in ("stable", "canary"):
            assert await h.figure(f'sidecar_rollout_requests_total{{role="{role}",status="200"}}') == 1
        shown = new.headers["x-sidecar-policy"]
        assert await h.figure(f'sidecar_rollout_info{{policy="{shown}",role="canary"}}') == 1
        page = (await h.http.get("/status")).text
        assert shown in page and "takes 100 % of requests" in page


@looped
async def test_a_condition_may_ask_who_is_calling(tmp_path: Path) -> None:
    rollout = "{canary: {policies: [next], when: 'tenant == \"acme\"'}}"
    now = policies("simple", auth=KEYS)
    # Who may call is never on trial: the keys are those in use.
    new = policies("expert", auth="kind: authenticate\nkeys: []\n")
    async with house(tmp_path, rollout, now, new) as h:
        assert (await h.ask(key=ENVIRON["KEY_ONE"])).headers["x-sidecar-model"] == "m2"
        assert (await h.ask(key=ENVIRON["KEY_TWO"])).headers["x-sidecar-model"] == "m1"
        assert (await h.ask(key="gw_wrong", status=401)).json()["error"]["code"] == "invalid_api_key"


@looped
async def test_promotion_and_rollback_are_edits_of_files(tmp_path: Path) -> None:
    rollout = "{canary: {policies: [next]}}"
    async with house(tmp_path, rollout, policies("simple"), policies("expert")) as h:
        canary = (await h.ask()).headers["x-sidecar-policy"]
        h.rollout("")
        await h.reloaded()
        assert await h.model("c") == "m1"
        assert "sidecar_rollout_info{" not in (await h.http.get("/metrics")).text
        assert (await h.status())["rollout"] is None
        # Promoted: the files move, and the policy is the one that was on trial, to its hash.
        for path in (h.folder / "next").iterdir():
            shutil.move(path, h.folder / "now" / path.name)
        await h.reloaded()
        answer = await h.ask()
        assert answer.headers["x-sidecar-model"] == "m2"
        assert answer.headers["x-sidecar-policy"] == canary


# --- a candidate that is broken ----------------------------------------------------------------------------------


@looped
async def test_a_broken_candidate_is_left_out_loudly_and_nobody_else_suffers(tmp_path: Path) -> None:
    rollout = "{canary: {policies: [next]}}"
    async with house(tmp_path, rollout, policies("simple"), policies("expert")) as h:
        assert await h.model("c") == "m2"
        broken = h.folder / "next" / "classify.yaml"
        broken.write_text("kind: classify\ntiers: [simple]\ndefalt: simple\n")
        await h.reloaded("candidate refused")
        assert await h.model("c") == "m1"
        findings = (await h.http.get("/ready")).json()["configuration"]["findings"]
        assert "rollout.canary cannot be used" in findings and "next/classify.yaml:3:1" in findings
        assert await h.figure("sidecar_config_synchronized") == 0
        assert await h.figure('sidecar_rollout_info{policy="",role="canary"}') == 0
        assert "Candidate refused" in (await h.http.get("/status")).text
        assert (await h.status())["rollout"]["canary"]["policy"] is None
        # The policies in use may be edited meanwhile.
        (h.folder / "now" / "cache.yaml").write_text("kind: cache\nttl: 2h\n")
        await eventually(lambda: h.served.running.holder.current.graph.nodes.get("cache") is not None)
        assert h.served.running.holder.last.outcome == "candidate refused"
        broken.write_text(CLASSIFY.format("expert"))
        await h.reloaded()
        assert await h.model("c") == "m2"
        assert await h.figure("sidecar_config_synchronized") == 1


@looped
async def test_a_gateway_starts_without_a_broken_candidate(tmp_path: Path) -> None:
    new = policies("expert", classify="kind: nonsense\n")
    async with house(tmp_path, "{shadow: {policies: [next, gone]}}", policies("simple"), new) as h:
        assert await h.model("c") == "m1"
        last = h.served.running.holder.last
        assert last.outcome == "candidate refused"
        assert "next/classify.yaml:1:7" in last.text and "gone" in last.text
        assert "candidate refused" in h.served.log or await eventually(lambda: "candidate refused" in h.served.log)


# --- the shadow --------------------------------------------------------------------------------------------------


@looped
async def test_a_shadow_that_agrees_leaves_no_rows(tmp_path: Path) -> None:
    async with house(tmp_path, "{shadow: {policies: [next]}}", policies("simple"), policies("simple")) as h:
        for _ in range(5):
            assert (await h.ask()).headers["x-sidecar-model"] == "m1"
        assert await h.figure('sidecar_shadow_decisions_total{result="agree"}') == 5
        assert await h.figure('sidecar_shadow_decisions_total{result="differ"}') == 0
        await h.served.running.shadows.close()
        assert h.disagreements() == []


@looped
async def test_disagreements_are_kept_and_shown(tmp_path: Path) -> None:
    async with house(tmp_path, "{shadow: {policies: [next]}}", policies("simple"), policies("expert")) as h:
        answers = [await h.ask() for _ in range(3)]
        assert {answer.headers["x-sidecar-model"] for answer in answers} == {"m1"}
        assert {asked["model"] for asked in (a.body for a in h.up.asked)} == {"m1"}
        assert await h.figure('sidecar_shadow_decisions_total{result="differ"}') == 3
        await h.served.running.shadows.close()
        rows = h.disagreements()
        assert [row["request_id"] for row in rows] == [answer.headers["x-request-id"] for answer in answers]
        status = await h.status()
        row = rows[0]
        assert (row["tier"], row["model"], row["refusal"]) == ("simple", "m1", "")
        assert (row["shadow_tier"], row["shadow_model"], row["shadow_refusal"]) == ("expert", "m2", "")
        assert row["policy"] == answers[0].headers["x-sidecar-policy"] == status["policy"][:12]
        assert row["shadow"] == status["rollout"]["shadow"]["policy"][:12]
        newest = status["rollout"]["shadow"]["newest"]
        assert [one["request"] for one in newest] == [row["request_id"] for row in reversed(rows)]
        assert (newest[0]["decided"], newest[0]["shadow"]) == ("simple m1", "expert m2")
        page = (await h.http.get("/status")).text
        assert answers[0].headers["x-request-id"] in page and "3 differ" in page
        await eventually(lambda: '"event":"shadow"' in h.served.log)
        assert h.served.log.count('"event":"shadow"') < 3


@looped
async def test_the_shadow_takes_no_limit_and_sees_those_of_its_own(tmp_path: Path) -> None:
    now, new = policies("simple", LIMIT % 6), policies("simple", LIMIT % 4)
    async with house(tmp_path, "{shadow: {policies: [next]}}", now, new) as h:
        for number in range(6):
            answer = await h.ask()
            assert answer.headers["x-ratelimit-remaining-requests"] == str(5 - number)
        await h.ask(status=429)
        await h.served.running.shadows.close()
        # The fifth and the sixth are over the shadow's limit; the seventh is over both.
        found = [(row["model"], row["shadow_refusal"]) for row in h.disagreements()]
        assert found == [("m1", "rate_limit_exceeded")] * 2
        assert await h.figure('sidecar_shadow_decisions_total{result="agree"}') == 5


@looped
async def test_the_last_request_of_a_limit_is_no_disagreement(tmp_path: Path) -> None:
    same = policies("simple", LIMIT % 1)
    async with house(tmp_path, "{shadow: {policies: [next]}}", same, same) as h:
        await h.ask()
        await h.ask(status=429)
        assert await h.figure('sidecar_shadow_decisions_total{result="agree"}') == 2


@looped
async def test_the_shadow_leaves_the_cache_alone(tmp_path: Path) -> None:
    now = policies("simple", cache="kind: cache\n")
    new = policies("expert", cache="kind: cache\nttl: 2h\n")
    async with house(tmp_path, "{shadow: {policies: [next]}}", now, new) as h:
        assert [(await h.ask()).headers["x-sidecar-cache"] for _ in range(3)] == ["miss", "hit", "hit"]
        # What came from the cache was not decided anew.
        assert await h.figure('sidecar_shadow_decisions_total{result="differ"}') == 1
        cache = h.served.running.stores.cache
        assert cache is not None and len(cache) == 1


@looped
async def test_a_sample_is_a_share_of_requests(tmp_path: Path) -> None:
    async with house(tmp_path, "{shadow: {policies: [next], sample: 0}}", policies("simple"), policies("expert")) as h:
        await h.ask()
        assert h.served.running.shadows.differed == 0


@looped
async def test_the_table_keeps_the_newest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disagreements, "_PRUNE", disagreements._PRUNE.replace("10000", "2"))
    async with house(tmp_path, "{shadow: {policies: [next]}}", policies("simple"), policies("expert")) as h:
        ids = [(await h.ask()).headers["x-request-id"] for _ in range(5)]
        await h.served.running.shadows.close()
        assert [row["request_id"] for row in h.disagreements()] == ids[-2:]


@looped
async def test_too_many_at_once_are_dropped_and_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidecar.engine.shadow.MAX_WAITING", 0)
    async with house(tmp_path, "{shadow: {policies: [next]}}", policies("simple"), policies("expert")) as h:
        await h.ask()
        assert await h.figure('sidecar_shadow_decisions_total{result="dropped"}') == 1
        assert (await h.status())["rollout"]["shadow"]["dropped"] == 1


BUDGET = """\
kind: budget
budgets: [{name: all, limit: %s, window: day}]
"""


@looped
async def test_the_shadow_holds_no_money_and_leaves_the_request_as_it_is(tmp_path: Path) -> None:
    """Where money is short a walk bounds the output: the shadow's must not bound the one that is sent."""
    new = policies("expert", budget=BUDGET % "0.02")
    async with house(tmp_path, "{shadow: {policies: [next]}}", policies("simple"), new) as h:
        await h.ask()
        await h.served.running.shadows.close()
        assert [(row["model"], row["shadow_model"]) for row in h.disagreements()] == [("m1", "m2")]
        assert "max_tokens" not in h.up.asked[-1].body
        assert (await h.status())["budgets"] == []
        assert h.served.running.stores.budgets._accounts == {}


@looped
async def test_a_canarys_own_budget_is_kept_and_remembered(tmp_path: Path) -> None:
    new = policies("expert", budget=BUDGET % "1")
    async with house(tmp_path, "{canary: {policies: [next]}}", policies("simple"), new) as h:
        await h.ask()
        [row] = await h.served.rows()
        assert row["budgets"] == "all|"
        [standing] = h.served.running.stores.budgets.snapshot(row["ts"])
        assert (standing.name, standing.spent) == ("all", row["cost_nano"])


# --- under load --------------------------------------------------------------------------------------------------


@looped
async def test_every_answer_says_under_which_policy_it_was_decided(tmp_path: Path) -> None:
    """Reloads while callers never pause: the hash on the answer always goes with the model that it leads to."""
    rollout = "{canary: {policies: [next], percent: 50}, shadow: {policies: [next]}}"
    async with house(tmp_path, rollout, policies("simple"), policies("expert")) as h:
        models: dict[str, set[str]] = {}
        stop = asyncio.Event()

        async def call(number: int) -> None:
            while not stop.is_set():
                answer = await h.ask(x_sidecar_conversation=f"c{number}")
                models.setdefault(answer.headers["x-sidecar-policy"], set()).add(answer.headers["x-sidecar-model"])

        callers = [asyncio.create_task(call(number)) for number in range(6)]
        # Each edit changes the hash of one side, and never where it leads.
        for edit in range(6):
            side = ("now", "next")[edit % 2]
            (h.folder / side / "cache.yaml").write_text(f"kind: cache\nenabled: false\nttl: {edit + 2}h\n")
            (h.folder / side / "once.yaml").write_text(ONCE + f"timeouts: {{total: {edit + 30}s}}\n")
            await h.reloaded()
        stop.set()
        await asyncio.gather(*callers)
        rows = await h.served.rows()
    assert {frozenset(led) for led in models.values()} == {frozenset({"m1"}), frozenset({"m2"})}
    assert len(models) >= 4
    assert all(models[row["policy"]] == {row["model"]} for row in rows if row["policy"] in models)

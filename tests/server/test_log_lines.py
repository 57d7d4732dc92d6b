"""What the log says of requests: one line each, also of those that cannot be read; by level, as JSON or as text."""

import json
from typing import Any

from gateway import Served, gateway
from house import CHAT, HELLO, UP_KEY, client, config, eventually, fails, looped, says, upstream

from sidecar.engine.log import Style


def lines(served: Served, event: str) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in served.log.splitlines()]
    return [line for line in found if line["event"] == event]


@looped
async def test_a_line_has_the_status_that_the_caller_got() -> None:
    async with upstream(m2=fails(500)) as up:
        text = config({"up": up.url}, {"m1": "up", "m2": "up"})
        async with gateway(text, {"UP_KEY": UP_KEY}) as served, client(served.url) as http:
            answers = [await http.post(CHAT, json={"model": m, "messages": HELLO}) for m in ("m1", "m2", "nope")]
            answers.append(await http.post(CHAT, content=b'{"secret-nonsense'))
            answers.append(await http.get(CHAT))
            await eventually(lambda: len(lines(served, "request")) == 5)
            told = {line["request_id"]: line for line in lines(served, "request")}
            for answer in answers:
                assert told[answer.headers["x-request-id"]]["http_status"] == answer.status_code
            outcomes = [told[answer.headers["x-request-id"]]["outcome"] for answer in answers]
            assert outcomes == ["answered", "failed", "refused", "turned_away", "turned_away"]
            levels = [told[answer.headers["x-request-id"]]["level"] for answer in answers]
            assert levels == ["info", "warning", "info", "info", "info"]
            assert "secret-nonsense" not in served.log


@looped
async def test_a_level_leaves_out_what_is_below() -> None:
    async with upstream(m2=fails(500)) as up:
        text = config({"up": up.url}, {"m1": "up", "m2": "up"})
        async with gateway(text, {"UP_KEY": UP_KEY}, Style(level="warning")) as served, client(served.url) as http:
            for model in ("m1", "m2", "m1", "m2"):
                await http.post(CHAT, json={"model": model, "messages": HELLO})
            await eventually(lambda: len(lines(served, "request")) == 2)
            assert {line["model"] for line in lines(served, "request")} == {"m2"}


@looped
async def test_debug_tells_of_one_decision_in_so_many_without_a_word_of_the_request() -> None:
    async with upstream(m1=says("the-secret-answer")) as up:
        text = config({"up": up.url}, {"m1": "up", "m2": "up"})
        style = Style(level="debug", sample=3)
        async with gateway(text, {"UP_KEY": UP_KEY}, style) as served, client(served.url, "the-secret-key") as http:
            messages = [{"role": "user", "content": "the-secret-question"}]
            ids = []
            for _ in range(7):
                body = {"model": "auto", "messages": messages, "user": "the-secret-user"}
                answer = await http.post(CHAT, json=body, headers={"x-sidecar-task": "the-secret-task"})
                ids.append(answer.headers["x-request-id"])
            await eventually(lambda: len(lines(served, "request")) == 7)
            await eventually(lambda: len(lines(served, "decision")) == 3)
            told = lines(served, "decision")
            assert [line["request_id"] for line in told] == ids[::3]
            assert told[0]["chain"][0] in ("m1", "m2") and told[0]["tier"]
            assert told[0]["way"][-1].startswith("fallback") or "score: chosen" in told[0]["way"]
            assert "secret" not in served.log


@looped
async def test_text_is_for_people_and_names_from_callers_do_nothing_to_their_terminal() -> None:
    async with upstream(m1=says("hello", usage=(11, 22))) as up:
        text = config({"up": up.url}, {"m1": "up"})
        style = Style(text=True, colored=True)
        async with gateway(text, {"UP_KEY": UP_KEY}, style) as served, client(served.url) as http:
            await http.post(CHAT, json={"model": "m1", "messages": HELLO})
            await http.post(CHAT, json={"model": "\x1b]0;owned\x07\u202e\nroot", "messages": HELLO})
            await eventually(lambda: served.log.count("\n") >= 2)
            told = served.log.splitlines()
            assert len(told) == 2
            assert "m1 -> m1" in told[0] and "11+22 tokens" in told[0] and " USD" in told[0] and "req_" in told[0]
            assert told[0][2] == ":" and "\x1b[32minfo   \x1b[0m 200" in told[0]
            assert "404" in told[1] and "\\u001b]0;owned\\u0007\\u202e\\u000aroot" in told[1]
            assert "model_not_found" in told[1]

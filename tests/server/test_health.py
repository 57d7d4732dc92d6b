"""/health, /live, /ready, /metrics and /v1/models: what probes, dashboards and SDKs read."""

import re

import httpx
from gateway import gateway
from house import CHAT, HELLO, UP_KEY, client, config, eventually, fails, looped, says, streams, upstream
from prometheus_client.parser import text_string_to_metric_families

LABELS = {
    "sidecar_requests": {"status"},
    "sidecar_attempts": {"gen_ai_provider_name", "gen_ai_request_model", "outcome"},
    "sidecar_decisions": {"tier", "rule"},
}


async def metrics(http: httpx.AsyncClient) -> dict[str, dict[frozenset[tuple[str, str]], float]]:
    """Samples by name and labels, as Prometheus itself parses them."""
    response = await http.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    found: dict[str, dict[frozenset[tuple[str, str]], float]] = {}
    for family in text_string_to_metric_families(response.text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[frozenset(sample.labels.items())] = sample.value
    return found


@looped
async def test_a_healthy_gateway() -> None:
    async with upstream() as up:
        async with (
            gateway(config({"up": up.url}, {"m1": "up"}), {"UP_KEY": UP_KEY}) as served,
            client(served.url) as http,
        ):
            for path in ("/health", "/live"):
                response = await http.get(path)
                assert (response.status_code, response.json()) == (200, {"status": "ok"})
            response = await http.get("/ready")
            body = response.json()
            assert (response.status_code, body["status"]) == (200, "ready")
            assert (body["database"], body["registry"]) == ("ok", "ok")
            assert body["configuration"]["outcome"] == "loaded"
            assert "reasons" not in body
            assert re.fullmatch(r"[0-9a-f]{12}", body["policy"])
            assert not up.asked


@looped
async def test_without_any_model_it_is_not_ready_and_says_why() -> None:
    async with gateway("kind: gateway\npolicies: []\n") as served, client(served.url) as http:
        response = await http.get("/ready")
        assert response.status_code == 503
        assert response.json()["reasons"] == {"registry": "no model of a configured provider"}
        assert (await http.get("/health")).status_code == 200
        refused = await http.post(CHAT, json={"model": "auto", "messages": HELLO})
        assert refused.status_code == 503


@looped
async def test_a_provider_without_its_key_is_left_out_and_the_rest_works() -> None:
    async with upstream() as up:
        text = config({"up": up.url, "bare": up.url}, {"m1": "up", "m2": "bare"})
        head, tail = text.split("bare: {", 1)
        text = head + "bare: {" + tail.replace("${UP_KEY}", "${OTHER_KEY}", 1)
        async with gateway(text, {"UP_KEY": UP_KEY}) as served, client(served.url) as http:
            assert (await http.get("/ready")).status_code == 200
            status = (await http.get("/status.json")).json()
            shown = {p["name"]: (p["state"], p["key"], p["reason"]) for p in status["providers"]}
            assert shown == {"up": ("ready", "set", None), "bare": ("down", "not set", "no key: OTHER_KEY is not set")}
            listed = [m["id"] for m in (await http.get("/v1/models")).json()["data"] if m["owned_by"] != "sidecar"]
            assert listed == ["m1"]
            for _ in range(5):
                response = await http.post(CHAT, json={"model": "auto", "messages": HELLO})
                assert response.headers["x-sidecar-model"] == "m1"
            refused = await http.post(CHAT, json={"model": "m2", "messages": HELLO})
            assert refused.status_code == 503
            assert "OTHER_KEY is not set" in refused.json()["error"]["message"]
            assert set(up.models) == {"m1"}


@looped
async def test_everything_that_happens_is_counted() -> None:
    async with upstream(m1=says("x" * 100, usage=(11, 22)), m2=fails(500), m3=streams("a", "b")) as up:
        text = config({"up": up.url}, {"m1": "up", "m2": "up", "m3": "up"})
        async with gateway(text, {"UP_KEY": UP_KEY}) as served, client(served.url) as http:
            for model, status in (("m1", 200), ("m1", 200), ("m2", 502), ("m3", 200), ("nope", 404), ("auto", 200)):
                body = {"model": model, "messages": HELLO, "stream": model == "m3"}
                response = await http.post(CHAT, json=body, headers={"x-sidecar-route": "off"})
                assert response.status_code in (status, 502) if model == "auto" else response.status_code == status
            await http.post(CHAT, content=b"{")
            await eventually(lambda: not served.running.chat.watches)
            found = await metrics(http)
            answered = found["sidecar_requests_total"]
            assert answered[frozenset({("status", "404")})] == 1
            assert answered[frozenset({("status", "400")})] == 1
            assert sum(answered.values()) == 7
            who = {("gen_ai_provider_name", "up"), ("gen_ai_request_model", "m1")}
            attempts = found["sidecar_attempts_total"]
            assert attempts[frozenset({*who, ("outcome", "answered")})] >= 2
            failed = {("gen_ai_provider_name", "up"), ("gen_ai_request_model", "m2"), ("outcome", "server_error")}
            assert attempts[frozenset(failed)] >= 1
            tokens = found["gen_ai_client_token_usage_sum"]
            assert tokens[frozenset({*who, ("gen_ai_token_type", "input")})] >= 22
            assert tokens[frozenset({*who, ("gen_ai_token_type", "output")})] >= 44
            assert found["gen_ai_server_time_to_first_token_seconds_count"][frozenset(who)] >= 2
            assert found["sidecar_overhead_seconds_count"][frozenset()] == 7
            assert sum(found["sidecar_decisions_total"].values()) == 1
            assert found["sidecar_config_synchronized"][frozenset()] == 1
            for name, labels in LABELS.items():
                assert {key for sample in found[f"{name}_total"] for key, _ in sample} == labels


@looped
async def test_no_caller_can_make_a_label() -> None:
    async with upstream() as up:
        async with (
            gateway(config({"up": up.url}, {"m1": "up"}), {"UP_KEY": UP_KEY}) as served,
            client(served.url) as http,
        ):
            for number in range(20):
                evil = f"evil-{number}"
                headers = {"x-sidecar-task": evil, "x-sidecar-strategy": "cost", "x-sidecar-cache": evil}
                for model in (evil, "auto", "m1"):
                    body = {"model": model, "messages": HELLO, evil: 1, "user": evil}
                    await http.post(CHAT, json=body, headers={**headers, "authorization": f"Bearer {evil}"})
            await eventually(lambda: not served.running.chat.watches)
            assert "evil" not in (await http.get("/metrics")).text


@looped
async def test_the_list_of_models_is_what_sdks_parse() -> None:
    async with upstream() as up:
        text = config({"up": up.url}, {"m1": "up"}, gateway="aliases: {mine: m1}")
        async with gateway(text, {"UP_KEY": UP_KEY}) as served, client(served.url) as http:
            body = (await http.get("/v1/models")).json()
            assert body["object"] == "list"
            rows = {row["id"]: row for row in body["data"]}
            assert list(rows) == ["auto", "auto:cost", "auto:quality", "auto:speed", "auto:balanced", "mine", "m1"]
            for row in rows.values():
                assert (row["object"], type(row["created"])) == ("model", int)
            assert (rows["m1"]["owned_by"], rows["m1"]["context_window"]) == ("up", 100_000)
            for model in rows:
                response = await http.post(CHAT, json={"model": model, "messages": HELLO})
                assert response.status_code == 200, model


@looped
async def test_the_log_has_one_line_a_request_and_no_word_of_it() -> None:
    async with upstream(m1=says("the-secret-answer")) as up:
        async with (
            gateway(config({"up": up.url}, {"m1": "up"}), {"UP_KEY": UP_KEY}) as served,
            client(served.url) as http,
        ):
            body = {"model": "m1", "messages": [{"role": "user", "content": "the-secret-question"}], "user": "the-user"}
            ids = [(await http.post(CHAT, json=body)).headers["x-request-id"] for _ in range(3)]
            await eventually(lambda: served.log.count('"event":"request"') == 3)
            for request_id in ids:
                assert served.log.count(request_id) == 1
            assert "secret" not in served.log
            assert b"secret" not in served.database.read_bytes()

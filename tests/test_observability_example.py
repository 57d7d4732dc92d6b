"""examples/observability: rules that fire, a dashboard that asks for what there is, mounts of what is there."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from gateway import gateway
from house import CHAT, HELLO, UP_KEY, client, config, fails, looped, says, streams, upstream
from prometheus_client.parser import text_string_to_metric_families
from shared import tool

HERE = Path(__file__).parents[1] / "examples" / "observability"
OURS = re.compile(r"\b((?:sidecar|gen_ai)_\w+)(?=[{\[\s)]|$)")
BUDGET = "kind: budget\nbudgets: [{name: day, limit: 10, window: day}]\n"
TARGETS = {"instance", "job", "le", "alertname"}
"""Labels that Prometheus itself adds."""


def dashboard() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((HERE / "grafana" / "sidecar.json").read_text(encoding="utf-8"))
    return found


def document(name: str) -> Any:
    return yaml.safe_load((HERE / name).read_text(encoding="utf-8"))


def queries() -> Iterator[tuple[str, str]]:
    """Every question that is asked of Prometheus, and who asks it."""
    for panel in dashboard()["panels"]:
        if panel["type"] != "logs":
            yield from ((panel["title"], target["expr"]) for target in panel["targets"])
    for group in document("alerts.yml")["groups"]:
        yield from ((rule["alert"], rule["expr"]) for rule in group["rules"])


@pytest.mark.parametrize(
    "command", ["check rules alerts.yml", "test rules alerts_test.yml", "check config prometheus.yml"]
)
def test_promtool_agrees(command: str) -> None:
    ran = subprocess.run([tool("promtool"), *command.split()], cwd=HERE, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_every_alert_is_played() -> None:
    played = (HERE / "alerts_test.yml").read_text(encoding="utf-8")
    alerts = [rule["alert"] for group in document("alerts.yml")["groups"] for rule in group["rules"]]
    assert [alert for alert in alerts if alert not in played] == []


@looped
async def test_every_query_asks_for_metrics_and_labels_that_there_are() -> None:
    async with upstream(m1=[says("hello"), streams("a", "b", "c")], m2=fails(500)) as up:
        text = config({"up": up.url}, {"m1": "up", "m2": "up"}, "kind: cache\n", BUDGET)
        text = text.replace('api_key: "${UP_KEY}"}', 'api_key: "${UP_KEY}", concurrency: 9}')
        async with gateway(text, {"UP_KEY": UP_KEY}) as served, client(served.url) as http:
            for model, stream in (("m1", False), ("m1", True), ("m2", False), ("auto", False)):
                await http.post(CHAT, json={"model": model, "messages": HELLO, "stream": stream})
            exposed = (await http.get("/metrics")).text
    labels: dict[str, set[str]] = {}
    for family in text_string_to_metric_families(exposed):
        for sample in family.samples:
            labels.setdefault(sample.name, set()).update(sample.labels)
    for asker, query in queries():
        names = OURS.findall(re.sub(r"\{[^}]*\}|by \([^)]*\)|\"[^\"]*\"", " ", query))
        assert names or "up{" in query, asker
        assert [name for name in names if name not in labels] == [], asker
        asked = {label for group in re.findall(r"\b(?:by|on) \(([^)]*)\)", query) for label in group.split(", ")}
        asked |= {label for inside in re.findall(r"\{([^}]*)\}", query) for label in re.findall(r"(\w+)[=!]", inside)}
        assert asked <= TARGETS.union(*(labels[name] for name in names)), asker


def test_the_dashboard_is_whole() -> None:
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len({panel["title"] for panel in panels}) == len(panels)
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in panels)
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels]
    assert len(set(places)) == len(places)
    variables = {variable["name"] for variable in dashboard()["templating"]["list"]}
    assert set(re.findall(r"\$\{?(\w+)", json.dumps(panels))) <= {*variables, "__rate_interval"}


def test_what_is_mounted_is_there_and_cannot_be_changed() -> None:
    services = document("compose.yml")["services"]
    volumes = set(document("compose.yml")["volumes"])
    for name, service in services.items():
        for mount in service["volumes"]:
            source, target, *mode = mount.split(":")
            if source in volumes:
                continue
            assert (HERE / source).exists() and mode == ["ro"], f"{name}: {mount}"
            assert target.startswith("/"), mount
        if "image" in service:
            assert re.search(r":v?\d+\.\d+\.\d+$", service["image"]), f"{name}: which version?"
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ())), name
    build = services["sidecar"]["build"]
    assert (HERE / build["context"] / build["dockerfile"]).is_file()
    assert all("=" not in variable for variable in services["sidecar"]["environment"]), "keys come from outside"


def test_what_is_configured_speaks_of_services_that_there_are() -> None:
    services = set(document("compose.yml")["services"])
    texts = [
        (HERE / name).read_text(encoding="utf-8")
        for name in ("prometheus.yml", "config.alloy", "grafana/datasources.yml")
    ]
    hosts = set(re.findall(r"(?:http://|\")([a-z]+):\d{4}\b", "\n".join(texts)))
    assert hosts == {"sidecar", "alertmanager", "prometheus", "loki"} <= services
    sources = {source["uid"] for source in document("grafana/datasources.yml")["datasources"]}
    assert sources == {v["current"]["value"] for v in dashboard()["templating"]["list"] if v["type"] == "datasource"}

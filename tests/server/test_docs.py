"""The API document is valid, complete and true of a running gateway; its pages need no script and no internet."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from gateway import ROOT, Served
from jsonschema import Draft202012Validator
from litestar.routes import HTTPRoute
from openapi_spec_validator import OpenAPIV31SpecValidator
from pages import ask, checked, client, served

from sidecar.chat import ChatRequest
from sidecar.server.app import CHAT, build
from sidecar.server.docs_openapi import openapi
from sidecar.surfaces.base import Invalid
from sidecar.surfaces.openai_chat import OpenAIChat

SPEC = openapi()
PAGES = {
    "/docs",
    "/redoc",
    "/openapi.json",
    "/status",
    "/status/models",
    "/status/whole",
    "/status/events",
    "/status.js",
    "/favicon.svg",
}
"""Paths that are for people, not part of the API."""


def run(folder: Path, check: Callable[[Served, httpx.AsyncClient], Awaitable[None]]) -> None:
    async def main() -> None:
        async with served(folder) as gateway, client(gateway) as http:
            await check(gateway, http)

    asyncio.run(main())


def faults(schema: dict[str, Any], value: Any) -> list[str]:
    """What keeps a value from fitting a schema of the document."""
    validator = Draft202012Validator({**schema, "components": SPEC["components"]})
    return [f"{'/'.join(map(str, e.path))}: {e.message}" for e in validator.iter_errors(value)]


def operations() -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in SPEC["paths"].items():
        for method, operation in methods.items():
            yield method, path, operation


def test_it_is_valid_openapi_3_1() -> None:
    assert SPEC["openapi"] == "3.1.0"
    assert list(OpenAPIV31SpecValidator(SPEC).iter_errors()) == []


def test_every_schema_is_a_schema_and_is_used() -> None:
    text = json.dumps(SPEC)
    for name, schema in SPEC["components"]["schemas"].items():
        Draft202012Validator.check_schema(schema)
        assert schema["description"], name
        # A stream's body is no JSON: its events are named in words.
        assert f'"#/components/schemas/{name}"' in text or name == "ChatCompletionChunk"


def test_every_field_of_a_request_is_described() -> None:
    described = {n for n, s in SPEC["components"]["schemas"]["ChatRequest"]["properties"].items() if "description" in s}
    assert described == set(ChatRequest.__struct_fields__)


def test_every_header_the_code_speaks_of_is_documented() -> None:
    folders = [ROOT / "sidecar" / part for part in ("server", "stages", "surfaces", "engine", "features.py")]
    files = [f for place in folders for f in ([place] if place.is_file() else place.rglob("*.py"))]
    spoken = set()
    for file in files:
        if not file.name.startswith("docs"):
            spoken |= set(re.findall(r"""["']((?:x-sidecar|x-request|retry)-[a-z-]*[a-z])["']""", file.read_text()))
    assert "x-sidecar-policy" in spoken
    components = SPEC["components"]
    assert spoken <= {*components["headers"], *components["parameters"]}


def test_every_example_fits_its_schema() -> None:
    seen = 0
    for _, _, operation in operations():
        bodies = [operation["requestBody"]] if "requestBody" in operation else []
        for node in (*bodies, *operation["responses"].values()):
            for media in node["content"].values():
                examples = [e["value"] for e in media.get("examples", {}).values()]
                for example in (*examples, *([media["example"]] if "example" in media else [])):
                    assert faults(media["schema"], example) == []
                    seen += 1
    assert seen > 20


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"model": ""},
        {"model": "m" * 257},
        {"model": 7},
        {"messages": []},
        {"messages": "hello"},
        {"messages": [{"role": "wizard", "content": "x"}]},
        {"messages": [{"content": "x"}]},
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "x"}]}]},
        {"n": 0},
        {"n": 129},
        {"n": None},
        {"max_tokens": 0},
        {"max_completion_tokens": 1},
        {"stop": ["a", "b"]},
        {"stop": 5},
        {"tools": [{"type": "function", "function": {"name": "f"}}]},
        {"tools": [{"function": {"name": "f"}}]},
        {"tool_choice": {"type": "function", "function": {"name": "f"}}},
        {"temperature": "hot"},
        {"some_field_of_tomorrow": {"x": 1}},
    ],
)
def test_the_request_schema_takes_what_the_gateway_takes(change: dict[str, Any]) -> None:
    body = {"model": "auto", "messages": [{"role": "user", "content": "x"}], **change}
    taken = not isinstance(OpenAIChat().parse(msgspec.json.encode(body)), Invalid)
    assert (faults({"$ref": "#/components/schemas/ChatRequest"}, body) == []) is taken


def _true(response: httpx.Response, path: str, method: str = "get") -> None:
    """A response that the document foretells: status, type, body and our own headers."""
    foretold = SPEC["paths"][path][method]["responses"][str(response.status_code)]
    kind = response.headers["content-type"].partition(";")[0]
    media = foretold["content"][kind]
    if kind == "application/json":
        assert faults(media["schema"], response.json()) == []
    own = {name for name in response.headers if name.startswith(("x-sidecar-", "x-ratelimit-", "x-request-"))}
    assert own <= set(foretold.get("headers", ()))


def test_what_the_gateway_answers_is_what_the_document_says(tmp_path: Path) -> None:
    async def check(gateway: Served, http: httpx.AsyncClient) -> None:
        for answer in (await ask(http, "hi"), await ask(http, "hi")):
            assert answer.status_code == 200
            _true(answer, CHAT, "post")
        _true(await ask(http, "hi", n=0), CHAT, "post")
        _true(await ask(http, "hi", model="no-such-model"), CHAT, "post")
        _true(await http.post(CHAT, json={"model": "auto", "messages": [{"role": "user"}]}), CHAT, "post")
        _true(await http.get(CHAT), CHAT, "post")
        _true(await http.post(CHAT, content=b"{}", headers={"content-encoding": "gzip"}), CHAT, "post")
        gateway.running.chat.draining = True
        _true(await ask(http, "hi"), CHAT, "post")
        _true(await http.get("/ready"), "/ready")
        gateway.running.chat.draining = False
        for path in ("/v1/models", "/health", "/live", "/ready", "/metrics", "/status.json"):
            _true(await http.get(path), path)
        _true(await http.get("/status.json", headers={"host": "x.example"}), "/status.json")

    run(tmp_path, check)


def test_every_event_of_a_stream_is_what_the_document_says(tmp_path: Path) -> None:
    async def check(gateway: Served, http: httpx.AsyncClient) -> None:
        response = await ask(http, "hi", stream=True, stream_options={"include_usage": True})
        _true(response, CHAT, "post")
        events = [line[6:] for line in response.text.splitlines() if line.startswith("data: ")]
        assert events[-1] == "[DONE]"
        for event in events[:-1]:
            assert faults({"$ref": "#/components/schemas/ChatCompletionChunk"}, json.loads(event)) == []
        assert "cost_usd" in json.loads(events[-2])["sidecar"]

    run(tmp_path, check)


def test_every_route_is_in_the_document_and_every_operation_is_a_route(tmp_path: Path) -> None:
    async def check(gateway: Served, http: httpx.AsyncClient) -> None:
        app = build(gateway.running).litestar
        routed = {
            (method.lower(), re.sub(r":\w+}", "}", route.path))
            for route in app.routes
            for method in (route.methods if isinstance(route, HTTPRoute) else ["post"])
            if method != "OPTIONS" and route.path not in PAGES
        }
        assert routed == {(method, path) for method, path, _ in operations()}

    run(tmp_path, check)


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
def test_the_pages_show_all_of_it_and_every_link_leads_somewhere(tmp_path: Path, path: str) -> None:
    async def check(gateway: Served, http: httpx.AsyncClient) -> None:
        page = checked(await http.get(path))
        places = {str(attributes["id"]) for _, attributes in page.elements if "id" in attributes}
        for link in page.of("a"):
            target = str(link["href"])
            if target.startswith("#"):
                assert target[1:] in places
            else:
                assert (await http.get(target)).status_code == 200
        for name in (*SPEC["paths"], *SPEC["components"]["schemas"], *SPEC["components"]["parameters"]):
            assert name in page.text
        for schema in SPEC["components"]["schemas"].values():
            assert all(field in page.within("code") for field in schema.get("properties", ()))
        assert not re.findall(r"https?://(?!127\.0\.0\.1)", page.text)

    run(tmp_path, check)


def test_the_document_is_served_and_names_nothing_of_this_gateway(tmp_path: Path) -> None:
    async def check(gateway: Served, http: httpx.AsyncClient) -> None:
        response = await http.get("/openapi.json", headers={"host": "gateway.example"})
        assert response.headers["content-type"] == "application/json"
        assert response.json() == json.loads(json.dumps(SPEC))
        assert "hostile" not in response.text

    run(tmp_path, check)

"""What the tests of the pages share: a strict reader of HTML, and a small gateway with an emulated provider."""

import re
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path

import httpx
from gateway import Served, gateway

from sidecar.emulator import Emulator
from sidecar.listen import listening

KEY = "gw-key-of-the-page-tests"
PROVIDER_KEY = "sk-provider-0123456789-SECRET"
VOID = {"meta", "link", "br", "wbr"}

ADMIN_KEY = "an-admin-key-of-the-page-tests"

GATEWAY = """\
kind: gateway
admin:
  keys:
    - {name: owner, secret: "${ADMIN_KEY}"}
providers:
  near:
    protocol: openai
    base_url: ${NEAR_URL}
    api_key: ${NEAR_KEY}
  absent:
    protocol: anthropic
    api_key: ${ABSENT_KEY}
  hostile:
    protocol: ollama
    base_url: http://user:password@<script>alert(1)</script>.example/secret-path
models:
  gpt-4o-mini:
    provider: near
  claude-haiku-4-5:
    provider: absent
policies: [policies]
"""
POLICIES = """\
kind: authenticate
anonymous: {anonymous}
keys:
  - name: app
    secret: ${{SIDECAR_KEY}}
---
kind: cache
enabled: true
"""


class Page(HTMLParser):
    """A page read without forgiveness: every element must be closed in its turn."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.source = text
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._open: list[str] = []
        self._texts: dict[str, list[str]] = {}
        self.feed(text)
        self.close()
        assert not self._open, f"never closed: {self._open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        names = [name for name, _ in attrs]
        assert len(names) == len(set(names)), f"<{tag}> says something twice"
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self._open and self._open[-1] == tag, f"</{tag}> closes {self._open[-1:]}"
        self._open.pop()

    def handle_data(self, data: str) -> None:
        self._texts.setdefault(self._open[-1] if self._open else "", []).append(data)
        if "style" not in self._open:
            self.words.append(data)

    @property
    def text(self) -> str:
        return "".join(self.words)

    def of(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of every element of a name."""
        return [attributes for name, attributes in self.elements if name == tag]

    def within(self, tag: str) -> str:
        """The text directly in the elements of a name."""
        return "".join(self._texts.get(tag, ()))


def checked(response: httpx.Response) -> Page:
    """A page that holds every rule all pages have."""
    assert response.headers["content-type"] == "text/html; charset=utf-8"
    page = Page(response.text)
    assert response.text.startswith('<!doctype html>\n<html lang="en">')
    assert page.within("title")
    assert len(page.of("h1")) == 1
    assert any(meta.get("name") == "viewport" for meta in page.of("meta"))
    tables = len(page.of("table"))
    assert len(page.of("caption")) == tables
    assert all(th.get("scope") in ("row", "col") for th in page.of("th"))
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    _alone(page)
    _policy(page, response.headers["content-security-policy"])
    return page


def _alone(page: Page) -> None:
    """No script but our file, no inline style, and nothing from another host."""
    assert all(set(script) == {"src", "defer"} for script in page.of("script"))
    assert not page.within("script")
    assert not {"iframe", "object", "embed", "form", "base", "img"} & {name for name, _ in page.elements}
    for name, attributes in page.elements:
        assert not any(key.startswith("on") or key == "style" for key in attributes), (name, attributes)
        for key in ("href", "src"):
            if attributes.get(key) is not None:
                assert re.match(r"[/#](?!/)", str(attributes[key])), (name, attributes)
    assert not re.search(r"url\(|@import", page.within("style"))


def _policy(page: Page, policy: str) -> None:
    digest = b64encode(sha256(page.within("style").encode()).digest()).decode()
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    nothing = ("default-src", "base-uri", "form-action", "frame-ancestors")
    wanted = {**dict.fromkeys(nothing, "'none'"), "style-src": f"'sha256-{digest}'", "img-src": "'self'"}
    if page.of("script"):
        wanted |= {"script-src": "'self'", "connect-src": "'self'"}
    assert rules == wanted


@asynccontextmanager
async def served(folder: Path, anonymous: str = "never") -> AsyncIterator[Served]:
    """A gateway with one provider that answers, one without a key, and one with a name to be careful with."""
    (folder / "policies").mkdir()
    (folder / "gateway.yaml").write_text(GATEWAY)
    (folder / "policies" / "all.yaml").write_text(POLICIES.format(anonymous=anonymous))
    async with listening(Emulator()) as port:
        environ = {
            "ADMIN_KEY": ADMIN_KEY,
            "SIDECAR_KEY": KEY,
            "NEAR_KEY": PROVIDER_KEY,
            "NEAR_URL": f"http://127.0.0.1:{port}/openai/v1",
        }
        async with gateway(folder, environ) as running:
            yield running


@asynccontextmanager
async def client(gateway: Served) -> AsyncIterator[httpx.AsyncClient]:
    """A client next door, without a key."""
    async with httpx.AsyncClient(base_url=gateway.url, trust_env=False, timeout=20) as http:
        yield http


async def ask(http: httpx.AsyncClient, text: str, **more: object) -> httpx.Response:
    """One chat with the gateway's key."""
    body = {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": text}], **more}
    return await http.post("/v1/chat/completions", json=body, headers={"authorization": f"Bearer {KEY}"})

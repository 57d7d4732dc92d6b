"""A web server on this machine with the pages of a test, and scrapers that ask it."""

import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from .pages import OLLAMA, OPENROUTER, SCRAPERS, data

Answer = tuple[int, dict[str, str], bytes]
TYPES = {"html": "text/html; charset=utf-8", "json": "application/json", "markdown": "text/markdown; charset=utf-8"}
LATEST = {
    "openai": "openai_pricing_2026-05-03.html.gz",
    "anthropic": "claude_pricing_2026-05-11.md",
    "google": "gemini_pricing_jina_2026-05-07.md",
    "openrouter": OPENROUTER,
    "ollama": OLLAMA,
}
"""The newest page of each scraper's first source."""


@dataclass
class Site:
    """What is served by path, and what was asked for: `answers` may be changed between two requests."""

    url: str
    answers: dict[str, Answer | Callable[[dict[str, str]], Answer]] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    @property
    def paths(self) -> list[str]:
        return [path for path, _ in self.asked]

    def put(self, path: str, body: str | bytes, type: str = "text/markdown", status: int = 200, **headers: str) -> None:
        """Serve this from now on."""
        raw = body.encode() if isinstance(body, str) else body
        self.answers[path] = (status, {"content-type": type, **headers}, raw)


@contextmanager
def site() -> Iterator[Site]:
    """A server on a port of its own; what is not put there is 404."""
    served = Site("")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            headers = {name.lower(): value for name, value in self.headers.items()}
            served.asked.append((self.path, headers))
            answer = served.answers.get(self.path, (404, {"content-type": "text/plain"}, b"no"))
            status, more, body = answer(headers) if callable(answer) else answer
            if status == 200 and more.get("etag", "") == headers.get("if-none-match"):
                status, body = 304, b""
            self.send_response(status)
            for name, value in {"content-length": str(len(body)), **more}.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            try:
                self.wfile.write(body)
            except ConnectionError:
                self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    served.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield served
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def everything(served: Site, folder: Path) -> None:
    """All shipped scrapers in `folder`/scrapers, asking `served`, which has the newest page of each."""
    (folder / "scrapers").mkdir()
    for file in SCRAPERS.glob("*.yaml"):
        name = file.stem
        urls = iter(range(100))
        text = re.sub(
            r"(?m)^(  - url: ).*$",
            lambda match: f"{match[1]}{served.url}/{name}/{next(urls)}",  # noqa: B023  used at once
            file.read_text(encoding="utf-8"),
        )
        (folder / "scrapers" / file.name).write_text(text, encoding="utf-8")
        type = re.findall(r"(?m)^    type: (\w+)", text)[0]
        served.put(f"/{name}/0", data(LATEST[name]), TYPES[type], etag=f'"{name}-1"')

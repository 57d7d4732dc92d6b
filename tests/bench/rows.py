"""The servers that are compared: how each is configured, started and asked."""

import importlib.metadata
import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench import install, wire
from tests.bench.install import ROOT, SkipRow
from tests.bench.load import Target
from tests.bench.process import Launch, environment, free_port

KEY = "gw_bench_0123456789abcdefghij"
_GRANIAN = (
    "--interface",
    "asgi",
    "--loop",
    "uvloop",
    "--http",
    "1",
    "--no-ws",
    "--workers",
    "1",
    "--log-level",
    "error",
)
_EXAMPLE = ROOT / "examples" / "benchmark"
_NGINX = """\
daemon off;
worker_processes 1;
pid {dir}/nginx.pid;
error_log stderr error;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/fastcgi;
  uwsgi_temp_path {dir}/uwsgi; scgi_temp_path {dir}/scgi;
  keepalive_requests 1000000000;
  upstream up {{ server 127.0.0.1:{upstream}; keepalive 64; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{port};
    location = /ready {{ return 200; }}
    location / {{
      proxy_pass http://up;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
    }}
  }}
}}
"""
_LITELLM = """\
model_list:
  - model_name: {model}
    litellm_params: {{model: openai/{model}, api_base: "{url}", api_key: sk-upstream-bench-0123456789}}
litellm_settings: {{telemetry: false, num_retries: 0}}
general_settings: {{master_key: sk-bench-0123456789abcdef}}
"""


@dataclass(frozen=True)
class Row:
    """One server and what is measured of it. `column` of the result is the row it is printed in."""

    name: str
    title: str
    version: str
    target: Target
    launch: Launch | None  # None: the upstream itself, asked directly
    runs: tuple[str, ...] = ("json", "stream")
    own_python: bool = False  # runs on the same interpreter files as this harness: weighed and timed alone
    printed_in: str = ""
    renewed: bool = False  # a process of its own for each round: one differs from the next for all its life, by memory


@dataclass(frozen=True)
class Place:
    """What every row is built from."""

    scratch: Path
    upstream: int
    may_install: bool
    url: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "url", f"http://127.0.0.1:{self.upstream}/v1")

    def directory(self, name: str) -> Path:
        path = self.scratch / name
        path.mkdir(exist_ok=True)
        path.chmod(0o755)
        return path

    def env(self, name: str, **extra: str) -> dict[str, str]:
        return environment(HOME=str(self.directory(name)), **extra)


def direct(place: Place) -> list[Row]:
    title = "no proxy (load side alone)"
    return [Row("direct", title, "", Target(place.upstream, wire.MODEL), None)]


def nginx(place: Place) -> list[Row]:
    command = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if not command:
        raise SkipRow("nginx is not installed")
    home, port = place.directory("nginx"), free_port()
    (home / "nginx.conf").write_text(_NGINX.format(dir=home, upstream=place.upstream, port=port))
    version = install.output(command, "-v").rpartition("/")[2]
    argv = [command, "-e", "stderr", "-p", str(home), "-c", str(home / "nginx.conf")]
    launch = Launch(argv, port, "/ready", home, place.env("nginx"))
    return [Row("nginx", "nginx proxy_pass", version, Target(port, wire.MODEL), launch)]


def bare(place: Place) -> list[Row]:
    port = free_port()
    argv = [
        sys.executable,
        "-m",
        "granian",
        *_GRANIAN,
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "tests.bench.bare:app",
    ]
    launch = Launch(argv, port, "/ready", ROOT, place.env("bare", UPSTREAM_URL=place.url))
    version = ", ".join(
        f"{name} {importlib.metadata.version(name)}" for name in ("granian", "aiohttp", "uvloop", "msgspec")
    )
    return [Row("bare", "bare ASGI + aiohttp", version, Target(port, wire.MODEL), launch, own_python=True)]


def sidecar(place: Place) -> list[Row]:
    command = Path(sys.executable).with_name("sidecar")
    if not command.exists():
        raise SkipRow("the command `sidecar` is not in this environment")
    if not (_EXAMPLE / "gateway.yaml").exists():
        raise SkipRow("examples/benchmark/gateway.yaml does not exist")
    version = importlib.metadata.version("llm-sidecar")
    commit = install.output("git", "describe", "--always", "--dirty")
    rows = []
    for name, config, runs in (
        ("sidecar", _example(place.directory("config")) / "gateway.yaml", ("json", "stream")),
        ("sidecar-cache", _with_cache(place.directory("cached-config")) / "gateway.yaml", ("cache",)),
    ):
        port = free_port()
        env = place.env(name, UPSTREAM_URL=place.url, SIDECAR_PORT=str(port), SIDECAR_KEY=KEY)
        launch = Launch([str(command), "run", str(config)], port, "/ready", place.directory(name), env)
        target = Target(port, "auto", {"authorization": f"Bearer {KEY}"})
        shown = f"{version} ({commit})" if commit and " " not in commit else version
        rows.append(Row(name, name, shown, target, launch, runs, own_python=True, printed_in="sidecar"))
    return rows


def observing(place: Place) -> list[Row]:
    """The sidecar that tells nobody anything and counts nothing, and the one with metrics that logs every request and
    traces all of them."""
    version, rows = importlib.metadata.version("llm-sidecar"), []
    traced = f"access_log: true\ntracing: {{endpoint: 'http://127.0.0.1:{place.upstream}/v1/traces'}}\n"
    for name, module, more in (
        ("observing-off", "tests.bench.unobserved", "access_log: false\ntracing: {enabled: false}\n"),
        ("observing-on", "sidecar", traced),
    ):
        config, port = _example(place.directory(f"{name}-config")) / "gateway.yaml", free_port()
        config.write_text(config.read_text() + more)
        env = place.env(name, UPSTREAM_URL=place.url, SIDECAR_PORT=str(port), SIDECAR_KEY=KEY)
        argv = [sys.executable, "-m", module, "run", str(config)]
        launch = Launch(argv, port, "/ready", ROOT, env)
        target = Target(port, "auto", {"authorization": f"Bearer {KEY}"})
        rows.append(Row(name, name, version, target, launch, own_python=True, renewed=True))
    return rows


def litellm(place: Place) -> list[Row]:
    command, version = install.litellm(may_install=place.may_install)
    home, port = place.directory("litellm"), free_port()
    (home / "config.yaml").write_text(_LITELLM.format(model=wire.MODEL, url=place.url))
    argv = [str(command), "--config", "config.yaml", "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]
    # Its bundled price list: else it would ask the network while its start is timed.
    env = place.env("litellm", LITELLM_LOCAL_MODEL_COST_MAP="True")
    launch = Launch([*argv, "--telemetry", "False"], port, "/health/readiness", home, env, patience=120)
    target = Target(port, wire.MODEL, {"authorization": "Bearer sk-bench-0123456789abcdef"})
    return [Row("litellm", "LiteLLM proxy", version, target, launch)]


def portkey(place: Place) -> list[Row]:
    start, version = install.portkey(may_install=place.may_install)
    home, port = place.directory("portkey"), free_port()
    # Loopback upstreams are refused by default in some versions; this is the option that allows them.
    env = place.env("portkey", NODE_ENV="production", TRUSTED_CUSTOM_HOSTS="127.0.0.1")
    launch = Launch(["node", str(start), f"--port={port}", "--headless"], port, "/", home, env)
    headers = {
        "authorization": "Bearer sk-upstream-bench-0123456789",
        "x-portkey-provider": "openai",
        "x-portkey-custom-host": place.url,
    }
    shown = f"{version}, Node {install.output('node', '--version').lstrip('v')}"
    return [Row("portkey", "Portkey gateway", shown, Target(port, wire.MODEL, headers), launch)]


BUILDERS: dict[str, Callable[[Place], list[Row]]] = {
    "direct": direct,
    "nginx": nginx,
    "bare": bare,
    "sidecar": sidecar,
    "portkey": portkey,
    "litellm": litellm,
    "observing": observing,
}
USUAL = tuple(name for name in BUILDERS if name != "observing")
"""The rows of the table in the README."""


def _example(home: Path) -> Path:
    """A copy of the benchmark's configuration, so that its ledger starts empty and leaves nothing in the tree."""
    shutil.copytree(_EXAMPLE, home, dirs_exist_ok=True, ignore=shutil.ignore_patterns("*.db*"))
    return home


def _with_cache(home: Path) -> Path:
    """The same with the cache switched on, nothing else changed."""
    _example(home)
    switched = 0
    for path in sorted(home.rglob("*.y*ml")):
        parts = re.split(r"(?m)^(---.*\n)", path.read_text())
        for i, part in enumerate(parts):
            if re.search(r"(?m)^kind:\s*[\"']?cache\b", part):
                parts[i] = _enabled(part)
                switched += 1
        path.write_text("".join(parts))
    if not switched:
        (home / "policies").mkdir(exist_ok=True)
        (home / "policies" / "cache.yaml").write_text("kind: cache\nenabled: true\n")
    return home


def _enabled(document: str) -> str:
    text, found = re.subn(r"(?m)^enabled:.*$", "enabled: true", document, count=1)
    return text if found else document.rstrip("\n") + "\nenabled: true\n"

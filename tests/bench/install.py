"""The gateways we compare with, each in an environment of its own under `.bench/` (git-ignored).

Installed at the first run; whatever cannot be installed is skipped with the reason.
"""

import json
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HOME = ROOT / ".bench"
PATIENCE = 420
# Portkey cannot stream with 1.14.2 or newer ("TypeError: immutable", its issue 1389).
_PORTKEY = {"dependencies": {"@portkey-ai/gateway": "latest"}, "overrides": {"@hono/node-server": "1.14.1"}}


class SkipRow(Exception):
    """A row that cannot be measured here; the message says why."""


def litellm(*, may_install: bool) -> tuple[Path, str]:
    """The `litellm` command and its version."""
    python = HOME / "litellm" / "bin" / "python"
    version = _python_package(python, "litellm")
    if not version:
        _allowed(may_install, "litellm")
        HOME.mkdir(exist_ok=True)
        uv = shutil.which("uv")
        if uv:
            _call([uv, "venv", "--quiet", "--allow-existing", "--python", sys.executable, str(python.parents[1])])
            _call([uv, "pip", "install", "--quiet", "--python", str(python), "litellm[proxy]"])
        else:
            _call([sys.executable, "-m", "venv", str(python.parents[1])])
            _call([str(python), "-m", "pip", "install", "--quiet", "litellm[proxy]"])
        version = _python_package(python, "litellm")
    if not version:
        raise SkipRow("installed, yet not importable")
    return python.with_name("litellm"), version


def portkey(*, may_install: bool) -> tuple[Path, str]:
    """The gateway's start file for `node` and its version."""
    if not shutil.which("node") or not shutil.which("npm"):
        raise SkipRow("node and npm are not installed")
    package = HOME / "portkey" / "node_modules" / "@portkey-ai" / "gateway"
    start = package / "build" / "start-server.js"
    if not start.exists():
        _allowed(may_install, "portkey")
        (HOME / "portkey").mkdir(parents=True, exist_ok=True)
        (HOME / "portkey" / "package.json").write_text(json.dumps({"private": True, **_PORTKEY}))
        quiet = ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
        _call(["npm", "install", *quiet, "--prefix", str(HOME / "portkey")])
    if not start.exists():
        raise SkipRow("the npm package has no build/start-server.js")
    return start, json.loads((package / "package.json").read_text())["version"]


def output(*argv: str) -> str:
    """What a command prints (both streams), or nothing when it is not there."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=20, check=False, cwd=ROOT)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return (done.stdout + done.stderr).strip()


def _python_package(python: Path, name: str) -> str:
    if not python.exists():
        return ""
    found = output(str(python), "-c", f"import importlib.metadata as m; print(m.version({name!r}))")
    return "" if "Error" in found else found


def _allowed(may_install: bool, name: str) -> None:
    if not may_install:
        raise SkipRow("not installed, and --no-install was given")
    print(f"installing {name} into .bench/{name} ...", file=sys.stderr, flush=True)


def _call(argv: list[str]) -> None:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, timeout=PATIENCE, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SkipRow(f"the install failed: {error}") from error
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["(no output)"]
        raise SkipRow(f"the install failed: {lines[-1][:200]}")

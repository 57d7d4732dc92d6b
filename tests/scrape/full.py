"""`python -m tests.scrape.full`: an update with all shipped scrapers against a server of this machine, measured."""

import os
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from .served import everything, site

GATEWAY = """
kind: gateway
policies: []
providers:
  openai: {protocol: openai}
  anthropic: {protocol: anthropic}
  google: {protocol: google}
  ollama: {protocol: ollama}
"""


def main() -> int:
    with tempfile.TemporaryDirectory() as name, site() as served:
        folder = Path(name)
        everything(served, folder)
        (folder / "gateway.yaml").write_text(GATEWAY)
        environ = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "SIDECAR_DATABASE_URL": ""}
        for title in ("first update, everything new", "second update, everything 304"):
            before, began = len(served.asked), time.monotonic()
            done = subprocess.run(
                [sys.executable, "-m", "sidecar", "scrape", "--all"],
                cwd=folder, env=environ, capture_output=True, text=True,
            )  # fmt: skip
            took = time.monotonic() - began
            memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
            asked = served.paths[before:]
            print(f"{title}: exit {done.returncode}, {took:.1f} s, at most {memory:.0f} MB, {len(asked)} requests")
            print(f"  {done.stdout.splitlines()[-1]}")
            if "-v" in sys.argv:
                print(done.stderr, done.stdout)
        print(f"{datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, Python {sys.version.split()[0]}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

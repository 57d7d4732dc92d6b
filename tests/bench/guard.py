"""Ends what a killed harness left behind: `kill -9` lets it clear up nothing, and paused servers would stay for ever.

The harness starts this file beside itself and writes the process id of every server (each leads a session) to its
stdin. When the pipe closes without the word `done`, all processes of these sessions are killed and the scratch
directory goes.
"""

import contextlib
import os
import shutil
import signal
import sys
from pathlib import Path


def main(scratch: str) -> None:
    sessions = set()
    for line in sys.stdin:
        if line == "done\n":
            return
        sessions.add(line.strip())
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if (entry / "stat").read_text().rpartition(")")[2].split()[3] in sessions:
                    os.kill(int(entry.name), signal.SIGKILL)
    shutil.rmtree(scratch, ignore_errors=True)


if __name__ == "__main__":
    main(sys.argv[1])

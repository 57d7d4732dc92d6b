"""`sidecar run` that also tells how many tasks it has: at SIGUSR1 the number goes to the file $SOAK_TASKS."""

import asyncio
import os
import signal
from pathlib import Path

from sidecar.cli import entry


def _tell(*_: object) -> None:
    Path(os.environ["SOAK_TASKS"]).write_text(str(len(asyncio.all_tasks())), encoding="utf-8")


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, _tell)
    entry()

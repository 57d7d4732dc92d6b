"""Which threads may interrupt the event loop's, where all of them share one core: none.

A thread that is woken is given the processor at once by Linux, in the midst of what the loop's thread is doing, and
takes from it what it has in the caches. With the server's threads woken for every packet that was three tenths of a
request (docs/architecture.md). As batch threads they wait until the loop has nothing to do, or has had its share of
the time; on a core of their own they run as ever.
"""

import os
import sys
from contextlib import suppress


def into_background(thread: int = 0) -> None:
    """Make a thread of this process, by the system's number for it, one that interrupts no other; 0 is the calling one.

    Its own threads from then on are as well. Where the system knows no such thing, or forbids it, all stays as it is.
    """
    if sys.platform == "linux":
        with suppress(OSError):
            os.sched_setscheduler(thread, os.SCHED_BATCH, os.sched_param(0))

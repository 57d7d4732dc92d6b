"""`sidecar top`: `/status.json` of a running gateway, live in a terminal."""

import argparse
import os
import select
import shutil
import signal
import sys
import termios
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

from ..server.status_data import Status
from .config import colored
from .top_read import UnreadableError, read_status
from .top_screen import Size, screen

URL = "http://127.0.0.1:8787"
SECONDS = 1.0
_ENTER, _LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
"""The terminal's second screen, without a cursor; and back."""
_QUIT = b"q\x03\x04"


def options(parser: argparse.ArgumentParser) -> None:
    """Which gateway."""
    parser.add_argument("--url", default=URL, help=f"where the gateway listens (default: {URL})")
    parser.add_argument(
        "--key", default=os.environ.get("SIDECAR_ADMIN_KEY"),
        help="an admin key, for a gateway elsewhere (default: $SIDECAR_ADMIN_KEY, which no process list shows)",
    )  # fmt: skip
    parser.add_argument("--once", action="store_true", help="print once; so it is where there is no terminal")


def action(options: argparse.Namespace) -> int:
    """0, or 1 when the gateway cannot be reached or refuses, 2 for a URL that is none."""
    try:
        status = read_status(options.url, options.key)
    except ValueError as fault:
        sys.stderr.write(f"sidecar top: --url {options.url}: {fault}\n")
        return 2
    except UnreadableError as fault:
        sys.stderr.write(f"sidecar top: {options.url}: {fault}\n")
        return 1
    if options.once or not _can_redraw():
        lines = screen(status, options.url, None, colored=colored(sys.stdout))
        sys.stdout.write("\n".join(lines) + "\n")
        return 0
    with _terminal() as keys:
        _watch(status, options.url, options.key, keys)
    return 0


def _can_redraw() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"


def _watch(status: Status, url: str, key: str | None, keys: "_Keys") -> None:
    """Draw, wait for a second, a key or another size of the terminal, read; until somebody has seen enough."""
    problem, due = "", time.monotonic() + SECONDS
    while True:
        _draw(status, url, problem)
        if keys.wait(due - time.monotonic()):
            return
        if time.monotonic() < due:
            continue
        try:
            status, problem = read_status(url, key), ""
        except UnreadableError as fault:
            problem = str(fault)
        due = time.monotonic() + SECONDS


def _draw(status: Status, url: str, problem: str) -> None:
    """Line by line over what stands there: a screen that is wiped first flickers."""
    size = shutil.get_terminal_size()
    lines = screen(status, url, Size(size.columns, size.lines), problem=problem, colored=colored(sys.stdout))
    sys.stdout.write("\x1b[H" + "\x1b[K\n".join(lines) + "\x1b[K\x1b[J")
    sys.stdout.flush()


class _Keys:
    """What is typed, and signals, both of which end a wait."""

    def __init__(self, woken: int) -> None:
        self._woken = woken

    def wait(self, seconds: float) -> bool:
        """Wait at most so long. Whether somebody wants to leave."""
        typed = sys.stdin.fileno()
        ready, _, _ = select.select([typed, self._woken], [], [], max(0.0, seconds))
        if self._woken in ready:
            os.read(self._woken, 512)
        if typed not in ready:
            return False
        data = os.read(typed, 64)
        return not data or any(byte in _QUIT for byte in data)


@contextmanager
def _terminal() -> Iterator[_Keys]:
    """The terminal as a screen of ours; however this ends, it is as it was."""
    typed = sys.stdin.fileno()
    before = termios.tcgetattr(typed)
    woken, wakes = os.pipe()
    os.set_blocking(wakes, False)
    handlers = {
        number: signal.signal(number, handler)
        for number, handler in ((signal.SIGWINCH, _nothing), (signal.SIGTERM, _leave), (signal.SIGHUP, _leave))
    }
    signal.set_wakeup_fd(wakes, warn_on_full_buffer=False)
    try:
        tty.setcbreak(typed)
        sys.stdout.write(_ENTER)
        yield _Keys(woken)
    except KeyboardInterrupt:
        pass  # how one leaves
    finally:
        termios.tcsetattr(typed, termios.TCSADRAIN, before)
        sys.stdout.write(_LEAVE)
        sys.stdout.flush()
        signal.set_wakeup_fd(-1)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        os.close(woken)
        os.close(wakes)


def _nothing(number: int, frame: object) -> None:
    """The wake-up is all that is wanted."""


def _leave(number: int, frame: object) -> NoReturn:
    raise KeyboardInterrupt

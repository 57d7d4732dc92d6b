"""`python -m tests.pictures`: the pictures of the status page in docs/images, of a gateway that has been in use.

They are made with the first lines of the page at 1280 pixels and with a phone's screen at 390, in light and in dark.
"""

import asyncio
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from browser.look import look, missing  # noqa: E402
from browser.scene import lived_in  # noqa: E402

FOLDER = ROOT / "docs" / "images"
MAX_BYTES = 300_000
SIZES = {1280: 1440, 390: 1700}
"""Width and height of what is shown, in pixels."""


async def main() -> int:
    """0 when all are written, 1 when a tool is missing or a picture is too large."""
    absent = missing()
    if absent is not None:
        sys.stderr.write(f"{absent}\n")
        return 1
    looks = [
        {
            "width": width,
            "height": height,
            "dark": dark,
            "live": True,
            "full": False,
            "picture": str(_path(width, dark)),
        }
        for width, height in SIZES.items()
        for dark in (False, True)
    ]
    with tempfile.TemporaryDirectory() as folder:
        async with lived_in(Path(folder)) as served:
            await look(f"{served.url}/status", looks)
    large = [path for width in SIZES for dark in (False, True) if _size(path := _path(width, dark)) > MAX_BYTES]
    sys.stderr.writelines(f"{name} is larger than {MAX_BYTES} bytes\n" for name in large)
    return 1 if large else 0


def _path(width: int, dark: bool) -> Path:
    return FOLDER / f"status-{'dark' if dark else 'light'}-{width}.png"


def _size(path: Path) -> int:
    return path.stat().st_size


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))

"""What the emulator was asked: kept for tests, shown with every credential taken out."""

from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
from msgspec import Struct

_MAX_REQUESTS = 1000
_MAX_BYTES = 64 * 2**20
_TELLTALES = ("auth", "key", "token", "secret", "cookie")
_HIDDEN = "***"


class Recorded(Struct, kw_only=True):
    """One request. `headers` have lower-case names. `status` is 0 until the answer starts; `disconnected` is set
    when the caller left before its end, after `chunks` chunks."""

    provider: str
    protocol: str
    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    raw: bytes
    status: int = 0
    chunks: int = 0
    disconnected: bool = False

    @property
    def body(self) -> Any:
        """The parsed body, or None where it is no JSON. Parsed when asked for: most requests never are."""
        try:
            return msgspec.json.decode(self.raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None

    def shown(self) -> dict[str, Any]:
        """For `GET /_emulator/requests`: no value of a field whose name speaks of credentials."""
        return {
            "provider": self.provider,
            "protocol": self.protocol,
            "method": self.method,
            "path": self.path,
            "query": _redacted(self.query),
            "headers": _redacted(self.headers),
            "body": self.body,
            "status": self.status,
            "chunks": self.chunks,
            "disconnected": self.disconnected,
        }


class Ring:
    """The last 1000 requests, or fewer where their bodies are large: what it holds is bounded in bytes too."""

    def __init__(self) -> None:
        self._kept: deque[Recorded] = deque()
        self._bytes = 0

    def add(self, entry: Recorded) -> None:
        """Keeps one more and drops the oldest that do not fit."""
        self._kept.append(entry)
        self._bytes += len(entry.raw)
        while len(self._kept) > _MAX_REQUESTS or (self._bytes > _MAX_BYTES and len(self._kept) > 1):
            self._bytes -= len(self._kept.popleft().raw)

    def clear(self) -> None:
        """Forgets all."""
        self._kept.clear()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._kept)

    def __iter__(self) -> Iterator[Recorded]:
        return iter(self._kept)

    def __getitem__(self, place: int) -> Recorded:
        return self._kept[place]


def _redacted(fields: Mapping[str, str]) -> dict[str, str]:
    return {
        name: _HIDDEN if any(word in name.lower() for word in _TELLTALES) else value for name, value in fields.items()
    }

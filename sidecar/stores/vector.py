"""What the ledger keeps of a request beside its row, so that it can be decided again: features, never its text.

The text is kept only where gateway.yaml says `ledger_keeps: text`.
"""

import re
import secrets
from collections.abc import Mapping
from contextlib import closing
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from .database import open_database

KEY = 64
"""Bytes of the fingerprints' key: a whole block, so that no body can stand in for a part of it."""
_SIZE = 16
_ADDRESS = 6
_GET = "SELECT key FROM fingerprint_key"
_PUT = "INSERT OR IGNORE INTO fingerprint_key VALUES (1, ?)"


class Vector(Struct, frozen=True, omit_defaults=True, gc=False):
    """Features of one request by their names in rules, and what else a decision reads. What is at its default is left
    out.

    `ip` and `fingerprint` (of the whole body) are keyed digests: equal ones tell that it was the same. `size` is the
    body's bytes. `headers` are those of the sidecar and those that conditions name, null when absent; `claims` and
    `user` only as far as conditions read them. `patterns` are the regular expressions that were searched for, by
    `mark`. `user` is null when it was not kept, and `temperature` when it was 1. `text` is there when the gateway was
    told to keep it.
    """

    tokens: int = 0
    system_tokens: int = 0
    last_tokens: int = 0
    max_tokens: int = 0
    messages: int = 0
    turns: int = 0
    tools: int = 0
    tool_results: int = 0
    images: int = 0
    documents: int = 0
    audio: int = 0
    has_code: bool = False
    json_object: bool = False
    json_schema: bool = False
    reasoning: bool = False
    reasoning_effort: str = ""
    choices: int = 1
    temperature: float | None = None
    size: int = 0
    local: bool = False
    ip: str = ""
    fingerprint: bytes = b""
    headers: Mapping[str, str | None] = {}
    labels: Mapping[str, str] = {}
    claims: Mapping[str, Any] = {}
    user: str | None = None
    patterns: Mapping[str, bool] = {}
    text: str | None = None


class Fingerprints:
    """Keyed digests. Until there is a key to `use` they are of this process alone."""

    def __init__(self) -> None:
        self.use(secrets.token_bytes(KEY))

    def use(self, key: bytes) -> None:
        """Make digests with this key from now on."""
        self._keyed = sha256(key)
        self.address = lru_cache(maxsize=4096)(self._address)

    def of(self, body: bytes) -> bytes:
        """The fingerprint of a body. SHA-256 after the key, cut short: twice as fast here as keyed BLAKE2."""
        found = self._keyed.copy()
        found.update(body)
        return found.digest()[:_SIZE]

    def _address(self, address: str) -> str:
        return self.of(address.encode())[:_ADDRESS].hex()


def fingerprint_key(path: Path, secret: str) -> bytes:
    """The key: made from the gateway's secret, or, without one, a random one that the database keeps. Raises
    sqlite3.Error."""
    if secret:
        return sha256(b"fingerprint\0" + secret.encode()).digest() * 2
    with closing(open_database(path).conn) as db:
        with db:
            db.execute(_PUT, [secrets.token_bytes(KEY)])
        key: bytes = db.execute(_GET).fetchone()[0]
    return key


@lru_cache(maxsize=4096)
def mark(pattern: str) -> str:
    """A regular expression's own name: whatever a policy calls it, and as long as it stays the same."""
    return sha256(pattern.encode("utf-8", "surrogatepass")).hexdigest()[:12]


def headers_named(condition: str) -> set[str]:
    """The headers that a condition asks for by name."""
    return {name for found in _HEADER.findall(condition) for name in found if name}


def claims_named(condition: str) -> set[str]:
    """The claims that a condition asks for by name; of nested ones the outermost."""
    return {name for found in _CLAIM.findall(condition) for name in found if name}


def _asks(what: str) -> re.Pattern[str]:
    return re.compile(rf"""{what}\[["']([^"']+)["']\]|{what}\.(\w+)(?!\w*\()|["']([^"']+)["'] in {what}\b(?![.\[])""")


_HEADER = _asks("headers")
_CLAIM = _asks("claims")
decode = msgspec.json.Decoder(Vector | None).decode
"""The vector in a row of the ledger; None where there is none. Raises msgspec.DecodeError."""

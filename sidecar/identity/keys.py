"""Gateway keys: `gw_`, 32 random bytes in base 62, a checksum that secret scanners can verify. Stored as a hash."""

import secrets
from functools import lru_cache
from hashlib import sha256
from zlib import crc32

PREFIX = "gw_"
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_BODY = 43
_CHECK = 6


def generate() -> str:
    """A new key. Shown once; only its hash is kept."""
    body = _base62(int.from_bytes(secrets.token_bytes(32)), _BODY)
    return f"{PREFIX}{body}{_checksum(body)}"


def well_formed(key: str) -> bool:
    """Whether the prefix, length and checksum are right: a typing error is told from a wrong key offline."""
    body, check = key[len(PREFIX) : -_CHECK], key[-_CHECK:]
    return key.startswith(PREFIX) and len(body) == _BODY and check == _checksum(body)


@lru_cache(maxsize=1024)
def digest(key: str) -> bytes:
    """SHA-256 of a key: what look-ups compare. 256 random bits need no slow hash.

    Remembered for the keys in use: a caller sends the same one with every request, and what is remembered says
    nothing of whether the key is (still) good.
    """
    return sha256(key.encode("utf-8", "surrogateescape")).digest()


def hash_text(key: str) -> str:
    """The hash as it is written in YAML: `sha256:<hex>`."""
    return f"sha256:{digest(key).hex()}"


def _checksum(body: str) -> str:
    return _base62(crc32(body.encode()), _CHECK)


def _base62(number: int, width: int) -> str:
    digits = []
    for _ in range(width):
        number, rest = divmod(number, 62)
        digits.append(_ALPHABET[rest])
    return "".join(reversed(digits))

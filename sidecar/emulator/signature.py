"""Signatures of thinking: handed out with it, and checked when a later turn brings it back.

No state: a signature carries its own proof. The key is no secret, the emulator guards nothing; it only must
notice what a real provider would notice: thinking that was changed, dropped in part, or made up by others.
"""

import hmac
from base64 import b64decode, b64encode
from binascii import Error
from hashlib import sha256

_KEY = b"sidecar emulator"
_VERSION = b"\x12\xb5\x02"
# What Google documents for calls that no Gemini model made: the validator lets these two pass.
_PASSES = {"context_engineering_is_the_way_to_go", "skip_thought_signature_validator"}


def sign(thinking: str) -> str:
    """Anthropic's kind: bound to the text of the block."""
    proof = hmac.digest(_KEY, thinking.encode(errors="replace"), sha256)
    return b64encode(_VERSION + proof + hmac.digest(_KEY, proof, sha256)).decode()


def signed(thinking: str, signature: str) -> bool:
    """Whether this very signature was handed out for this very text."""
    return hmac.compare_digest(sign(thinking).encode(), signature.encode(errors="replace"))


def token(seed: int) -> str:
    """Google's kind: opaque, and valid by itself wherever it stands."""
    nonce = seed.to_bytes(8, "big")
    return b64encode(_VERSION + nonce + hmac.digest(_KEY, nonce, sha256)).decode()


def is_token(value: str) -> bool:
    """Whether `token` made this value. SDKs send base64 back in the URL-safe alphabet; both are read."""
    if value in _PASSES:
        return True
    try:
        raw = b64decode(value.replace("-", "+").replace("_", "/"), validate=True)
    except (Error, ValueError):
        return False
    if raw.decode("utf-8", "replace") in _PASSES:
        return True
    nonce = raw[len(_VERSION) : len(_VERSION) + 8]
    return hmac.compare_digest(raw, _VERSION + nonce + hmac.digest(_KEY, nonce, sha256))
